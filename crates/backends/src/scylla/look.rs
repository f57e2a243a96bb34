//! What `terse doctor` asks of the servers. It changes nothing but a row of the probe's.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use domain::ApiKey;
use domain::port::{Clock, CodeRange, KeyStore as _, LeaseStore as _};
use scylla::client::session::Session;
use scylla::cluster::Node;
use scylla::cluster::metadata::Strategy;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::{Consistency, Statement};

use super::error::OpenError;
use super::fields::Fields;
use super::{KeyStore, LeaseStore, Options, Scylla, Url, schema, session};

/// For one answer: a server that is only slow is not down.
const PATIENCE: Duration = Duration::from_secs(10);

/// One server of the cluster.
#[derive(Clone, Debug)]
pub struct Server {
    pub address: String,
    pub dc: String,
    /// Why it does not answer.
    pub answer: Result<Facts, String>,
}

#[derive(Clone, Debug)]
pub struct Facts {
    /// As it says itself, such as `Cassandra 5.0.5` or `ScyllaDB 2025.4.1`.
    pub version: String,
    pub is_scylla: bool,
    /// How far its clock is ahead of ours; negative when it is behind.
    pub clock_ahead_ms: i64,
    /// By how much that may be wrong: half of what asking took.
    pub clock_doubt_ms: i64,
}

#[derive(Debug)]
pub struct Look {
    pub servers: Vec<Server>,
    /// Copies of each row, by data centre; empty when the keyspace is not there, or is not replicated so.
    pub copies: Vec<(String, usize)>,
    /// The schema, conditional statements, and what is behind them.
    pub keyspace: Result<Keyspace, OpenError>,
}

#[derive(Debug)]
pub struct Keyspace {
    pub schema: u32,
    pub ranges: Vec<CodeRange>,
    pub keys: Vec<ApiKey>,
}

/// Looks at every server and at the keyspace.
///
/// # Errors
/// No server answers, or the login is refused.
pub async fn look(url: &Url, options: Options, clock: Arc<dyn Clock>) -> Result<Look, OpenError> {
    let session = session::connect(url, &options).await?;
    let state = session.get_cluster_state();
    let mut servers = Vec::new();
    for node in state.get_nodes_info() {
        let answer = ask(&session, node, &*clock).await.map_err(|error| error.to_string());
        servers.push(Server { address: node.address.to_string(), dc: node.datacenter.clone().unwrap_or_default(), answer });
    }
    let copies = match state.get_keyspace(url.keyspace()).map(|keyspace| &keyspace.strategy) {
        Some(Strategy::NetworkTopologyStrategy { datacenter_repfactors }) => {
            let mut copies: Vec<_> = datacenter_repfactors.iter().map(|(dc, copies)| (dc.clone(), *copies)).collect();
            copies.sort();
            copies
        }
        _ => Vec::new(),
    };
    Ok(Look { servers, copies, keyspace: Box::pin(keyspace(url, options)).await })
}

async fn keyspace(url: &Url, options: Options) -> Result<Keyspace, OpenError> {
    let failed = |source: domain::port::PortError| OpenError::Failed { url: url.to_string(), source: Box::new(source) };
    // Probes conditional statements.
    let scylla = Scylla::connect(url, options).await?;
    let ranges = LeaseStore::new(scylla.clone()).await?.ranges().await.map_err(failed)?;
    let keys = KeyStore::open(&scylla).await?.list(None).await.map_err(failed)?;
    Ok(Keyspace { schema: schema::known(), ranges, keys })
}

async fn ask(session: &Session, node: &Arc<Node>, clock: &dyn Clock) -> Result<Facts, Box<dyn StdError + Send + Sync>> {
    let is_scylla = node.sharder().is_some();
    let before = clock.now();
    let text = "SELECT release_version, toUnixTimestamp(now()) AS now FROM system.local WHERE key = 'local'";
    let (release, now) = one(session, node, text, |row| Ok((row.need::<String>("release_version")?, row.need::<i64>("now")?))).await?;
    let after = clock.now();
    let took_ms = i64::try_from(after.since(before).as_millis()).unwrap_or(i64::MAX);
    let version = if is_scylla {
        let text = "SELECT version FROM system.versions WHERE key = 'local'";
        let version = one(session, node, text, |row| row.need::<String>("version")).await;
        format!("ScyllaDB {}", version.unwrap_or(release))
    } else {
        format!("Cassandra {release}")
    };
    Ok(Facts { version, is_scylla, clock_ahead_ms: now - before.get() - took_ms / 2, clock_doubt_ms: took_ms / 2 + 1 })
}

/// The first row of an answer of this server and no other.
async fn one<T>(
    session: &Session,
    node: &Arc<Node>,
    text: &str,
    read: impl FnOnce(&Fields<'_, '_>) -> Result<T, super::error::Broken>,
) -> Result<T, Box<dyn StdError + Send + Sync>> {
    let mut statement = Statement::new(text);
    statement.set_consistency(Consistency::One);
    statement.set_request_timeout(Some(PATIENCE));
    let target = NodeIdentifier::HostId(node.host_id);
    statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(target, None)));
    let rows = session.query_unpaged(statement, ()).await?.into_rows_result()?;
    let row = rows.rows::<Fields<'_, '_>>()?.next().ok_or("an empty answer")??;
    Ok(read(&row)?)
}
