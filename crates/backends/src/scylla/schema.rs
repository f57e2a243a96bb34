//! The tables of a keyspace, step by step, and who may run on them.

use std::error::Error as StdError;
use std::time::Duration;

use scylla::client::session::Session;
use scylla::cluster::Node;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::serialize::row::SerializeRow;
use scylla::statement::{Consistency, SerialConsistency, Statement};

use super::error::OpenError;
use super::fields::Fields;
use super::{Options, Url, session};

type Source = Box<dyn StdError + Send + Sync>;

macro_rules! step {
    ($file:literal) => {
        ($file, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/cql/", $file)))
    };
}

/// Step `i` brings a keyspace from version `i` to `i + 1`. Steps are only ever added.
const STEPS: &[(&str, &str)] = &[step!("001_links.cql"), step!("002_stats.cql"), step!("003_admin.cql")];

/// Which versions there are, and the first Terse that knows them.
const SCHEMA_STEPS: &str = "CREATE TABLE IF NOT EXISTS schema_steps (part tinyint, version int, name text, needs_terse text, \
     PRIMARY KEY ((part), version)) WITH speculative_retry = 'NONE'";

const DDL_TIMEOUT: Duration = Duration::from_secs(30);
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Copies of each row, where the cluster has as many servers.
const REPLICATION: usize = 3;
/// The first `ScyllaDB` whose tablets know conditional statements.
const TABLETS_WITH_CONDITIONS: (u32, u32) = (2025, 4);

/// How often a statement is sent while servers are still taking in a change of the schema, and the time between.
const UNSETTLED_MAX: u32 = 20;
const UNSETTLED_WAIT: Duration = Duration::from_millis(250);

/// A step that [`migrate`] has run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the keyspace has now.
    pub version: u32,
    pub name: &'static str,
}

/// How far the schema of a keyspace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of the keyspace; 0 when there is none.
    pub found: u32,
    /// What this build brings keyspaces to.
    pub known: u32,
}

pub(super) fn known() -> u32 {
    u32::try_from(STEPS.len()).unwrap_or(u32::MAX)
}

/// Looks at a keyspace, and changes nothing.
pub async fn inspect(url: &Url, options: Options) -> Result<Version, OpenError> {
    let session = session::connect(url, &options).await?;
    let found = match session::enter(url, &session).await {
        Ok(()) => found(url, &session).await?,
        Err(_) => 0,
    };
    Ok(Version { found, known: known() })
}

/// What [`migrate`] would run: nothing was, when this returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub version: Version,
    /// Each statement with the step it belongs to; that which makes the keyspace belongs to none.
    pub statements: Vec<(Option<&'static str>, String)>,
}

/// Looks at a keyspace, and answers what it lacks.
pub async fn plan(url: &Url, options: Options) -> Result<Plan, OpenError> {
    let session = session::connect(url, &options).await?;
    let failed = |source: Source| OpenError::Failed { url: url.to_string(), source };
    let mut lacks = Vec::new();
    let found = if session::enter(url, &session).await.is_ok() {
        found(url, &session).await?
    } else {
        lacks.push((None, create_keyspace(url, &session).await.map_err(failed)?));
        0
    };
    for (name, text) in STEPS.iter().copied().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        lacks.extend(statements(text).map(|statement| (Some(name), statement)));
    }
    Ok(Plan { version: Version { found, known: known() }, statements: lacks })
}

/// Makes the keyspace where it is missing and runs the steps it lacks; answers which. May be run again, and
/// by several at once: all of them change the schema through the same server, one statement after another.
pub async fn migrate(url: &Url, options: Options) -> Result<Vec<Step>, OpenError> {
    let session = session::connect(url, &options).await?;
    let failed = |source: Source| OpenError::Failed { url: url.to_string(), source };
    if session::enter(url, &session).await.is_err() {
        let statement = create_keyspace(url, &session).await.map_err(failed)?;
        change(&session, &statement).await.map_err(failed)?;
        session::enter(url, &session).await?;
    }
    let found = found(url, &session).await?;
    if found == known() {
        return Ok(Vec::new());
    }
    change(&session, SCHEMA_STEPS).await.map_err(failed)?;
    let mut done = Vec::new();
    for (version, (name, text)) in (1..).zip(STEPS.iter().copied()).skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        let failed = |source: Source| OpenError::Migration { url: url.to_string(), version, name, source };
        for statement in statements(text) {
            change(&session, &statement).await.map_err(failed)?;
        }
        record(&session, version, name).await.map_err(failed)?;
        done.push(Step { version, name });
    }
    Ok(done)
}

/// Refuses a keyspace that is not what this build needs.
pub(super) async fn check(url: &Url, session: &Session) -> Result<(), OpenError> {
    let found = found(url, session).await?;
    if found < known() {
        return Err(OpenError::NotMigrated { url: url.to_string(), found, known: known() });
    }
    Ok(())
}

/// The version of a keyspace that is not newer than we are.
async fn found(url: &Url, session: &Session) -> Result<u32, OpenError> {
    let failed = |source: Source| OpenError::Failed { url: url.to_string(), source };
    let tables = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
    let tables: Vec<String> = read(session, tables, (url.keyspace(),), "table_name").await.map_err(failed)?;
    if !tables.iter().any(|table| table == "schema_steps") {
        return Ok(0);
    }
    let versions = read::<i32>(session, "SELECT version FROM schema_steps WHERE part = 0", (), "version").await;
    let versions = match versions {
        Ok(versions) => versions,
        // Another one is making it: this server lists the table and cannot read it yet.
        Err(source) if is_missing(source.as_ref()) => return Ok(0),
        Err(source) => return Err(failed(source)),
    };
    let found = versions.into_iter().filter_map(|version| u32::try_from(version).ok()).max().unwrap_or(0);
    if found <= known() {
        return Ok(found);
    }
    let needs = "SELECT needs_terse FROM schema_steps WHERE part = 0 ORDER BY version DESC LIMIT 1";
    let needs: Vec<String> = read(session, needs, (), "needs_terse").await.map_err(failed)?;
    let needs = needs.into_iter().next().unwrap_or_else(|| "of the version that wrote it".to_owned());
    Err(OpenError::Newer { url: url.to_string(), found, known: known(), needs })
}

/// Whether a server says that it does not know the table.
fn is_missing(error: &(dyn StdError + Send + Sync + 'static)) -> bool {
    matches!(error.downcast_ref().and_then(answered), Some(DbError::Invalid))
}

/// Whether a server was between two schemas: it forgot the statement, or knows a table in one place and not in another.
fn is_unsettled(error: &ExecutionError) -> bool {
    matches!(answered(error), Some(DbError::Unprepared { .. } | DbError::ServerError))
}

fn answered(error: &ExecutionError) -> Option<&DbError> {
    let ExecutionError::LastAttemptError(RequestAttemptError::DbError(kind, _)) = error else { return None };
    Some(kind)
}

/// Sends a statement that may run twice, and again while other changes of the schema are in its way.
async fn send(session: &Session, statement: Statement, values: impl SerializeRow) -> Result<QueryResult, ExecutionError> {
    let mut unsettled = 0;
    loop {
        match session.query_unpaged(statement.clone(), &values).await {
            Err(error) if unsettled < UNSETTLED_MAX && is_unsettled(&error) => unsettled += 1,
            answer => return answer,
        }
        tokio::time::sleep(UNSETTLED_WAIT).await;
    }
}

async fn record(session: &Session, version: u32, name: &str) -> Result<(), Source> {
    let mut statement = Statement::new("INSERT INTO schema_steps (part, version, name, needs_terse) VALUES (0, ?, ?, ?) IF NOT EXISTS");
    statement.set_consistency(Consistency::LocalQuorum);
    statement.set_serial_consistency(Some(SerialConsistency::Serial));
    statement.set_request_timeout(Some(DDL_TIMEOUT));
    let version = i32::try_from(version)?;
    // Not applied: another one was faster with the same step.
    send(session, statement, (version, name, env!("CARGO_PKG_VERSION"))).await?;
    Ok(())
}

/// One column of every row of a small table.
async fn read<T>(session: &Session, text: &str, values: impl SerializeRow, column: &'static str) -> Result<Vec<T>, Source>
where
    T: for<'frame, 'metadata> scylla::deserialize::value::DeserializeValue<'frame, 'metadata>,
{
    let mut statement = Statement::new(text);
    statement.set_consistency(Consistency::LocalQuorum);
    statement.set_request_timeout(Some(READ_TIMEOUT));
    let rows: QueryRowsResult = send(session, statement, values).await?.into_rows_result()?;
    let mut read = Vec::new();
    for fields in rows.rows::<Fields<'_, '_>>()? {
        if let Some(value) = fields?.get::<T>(column)? {
            read.push(value);
        }
    }
    Ok(read)
}

/// Changes the schema, and waits until all servers agree on it. Always through the server with the smallest
/// id: two servers that make the same table at once give it two ids, and the one loses its rows.
async fn change(session: &Session, text: &str) -> Result<(), Source> {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(DDL_TIMEOUT));
    statement.set_consistency(Consistency::LocalQuorum);
    let state = session.get_cluster_state();
    if let Some(node) = state.get_nodes_info().iter().filter(|node| node.is_connected()).min_by_key(|node| node.host_id) {
        let target = NodeIdentifier::HostId(node.host_id);
        statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(target, None)));
    }
    tracing::info!(statement = text.lines().next().unwrap_or(text), "changing the schema");
    send(session, statement, ()).await?;
    session.await_schema_agreement().await?;
    Ok(())
}

/// Comments are lines of their own, and a statement ends a line.
fn statements(text: &str) -> impl Iterator<Item = String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let statements: Vec<String> = code.join("\n").split(";\n").map(|statement| statement.trim().trim_end_matches(';').to_owned()).collect();
    statements.into_iter().filter(|statement| !statement.is_empty())
}

async fn create_keyspace(url: &Url, session: &Session) -> Result<String, Source> {
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info();
    let Some(dc) = url.dc.clone().or_else(|| session::dcs(session).into_iter().next()) else {
        return Err("the servers name no data centre; say one with `?dc=…`".into());
    };
    let servers = nodes.iter().filter(|node| node.datacenter.as_ref() == Some(&dc)).count();
    let replication = url.replication.map_or_else(|| servers.clamp(1, REPLICATION), usize::from);
    if replication > servers {
        return Err(format!("`replication={replication}` is more than the {servers} servers of data centre `{dc}`").into());
    }
    let is_scylla = nodes.iter().any(|node: &std::sync::Arc<Node>| node.sharder().is_some());
    let tablets = if is_scylla && !tablets_know_conditions(session).await { " AND tablets = {'enabled': false}" } else { "" };
    Ok(format!(
        "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {{'class': 'NetworkTopologyStrategy', '{dc}': {replication}}}{tablets}",
        url.keyspace()
    ))
}

/// Of `ScyllaDB`. A version that cannot be read is taken for an old one: without tablets all work.
async fn tablets_know_conditions(session: &Session) -> bool {
    let versions: Vec<String> = read(session, "SELECT version FROM system.versions", (), "version").await.unwrap_or_default();
    !versions.is_empty()
        && versions.iter().all(|version| year_and_number(version).is_some_and(|version| version >= TABLETS_WITH_CONDITIONS))
}

/// `2025.4.1-0.20251210.abcdef` → (2025, 4). Versions before 2025.1 counted otherwise: 6.2 is an older one.
fn year_and_number(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '-', '~']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_fall_apart_into_statements() {
        let text = "-- a comment; with\nCREATE TABLE a (\n  -- inside;\n  b int\n) WITH c = 'd';\n\nCREATE TABLE e (f int);\n";
        let found: Vec<String> = statements(text).collect();
        assert_eq!(found, ["CREATE TABLE a (\n  b int\n) WITH c = 'd'", "CREATE TABLE e (f int)"]);
        for (name, text) in STEPS {
            let found: Vec<String> = statements(text).collect();
            assert_eq!(
                found.len(),
                text.matches(";\n").count() - text.lines().filter(|line| line.starts_with("--") && line.ends_with(';')).count()
            );
            for statement in found {
                let can_run_again = statement.contains(" IF NOT EXISTS ") || statement.contains(" IF EXISTS ");
                assert!(can_run_again, "{name}: {statement}");
            }
        }
    }

    #[test]
    fn tablets_only_where_they_know_conditions() {
        for (version, knows) in [
            ("6.2.0-0.20240912", false),
            ("2024.2.1", false),
            ("2025.3.9-0.1", false),
            ("2025.4.0~rc1-0.1", true),
            ("2025.4.0", true),
            ("2026.1.0", true),
            ("x", false),
        ] {
            assert_eq!(year_and_number(version).is_some_and(|version| version >= TABLETS_WITH_CONDITIONS), knows, "{version}");
        }
    }
}
