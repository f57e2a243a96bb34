//! The servers of a CQL store: do they answer, what are they, are their clocks right, is the keyspace fit.

use backends::scylla::{Keyspace, Look, OpenError, Server, Url};
use chassis::Finding;

use super::{clocks, codes};
use crate::config::Config;
use crate::wire;

/// The first versions that everything here works on.
const CASSANDRA_MIN: (u32, u32) = (4, 1);
const SCYLLA_MIN: (u32, u32) = (6, 0);

pub(super) async fn examine(config: &Config, url: &Url) -> Vec<Finding> {
    match wire::look::cql(config, url).await {
        Ok(look) => judge(url, &look),
        Err(error) => vec![Finding::fail("store", error.to_string(), mend(&error, url))],
    }
}

/// Most errors say it themselves; this is the command.
fn mend(error: &OpenError, url: &Url) -> String {
    match error {
        OpenError::NotMigrated { .. } | OpenError::Migration { .. } => "terse migrate, with the same configuration".into(),
        OpenError::Newer { .. } => "install the Terse that brought the keyspace to this version".into(),
        OpenError::NoConditions { .. } => {
            format!("cqlsh -e \"DROP KEYSPACE {0}\" while it is still empty, then terse migrate", url.keyspace())
        }
        OpenError::Login { .. } => "correct the user and the password in the URL of the store".into(),
        OpenError::WhichDc { .. } | OpenError::NoSuchDc { .. } => {
            "add ?dc=NAME to the URL of the store; nodetool status lists the names".into()
        }
        OpenError::Unreachable { .. } | OpenError::Failed { .. } => {
            format!("start what does not run: nodetool status; and see that this machine reaches {}", url.nodes().join(", "))
        }
    }
}

fn judge(url: &Url, look: &Look) -> Vec<Finding> {
    let mut findings = vec![servers(&look.servers), versions(&look.servers), server_clocks(&look.servers), copies(url, look)];
    match &look.keyspace {
        Ok(keyspace) => findings.extend(of_keyspace(url, keyspace)),
        Err(error) => findings.push(Finding::fail("store schema", error.to_string(), mend(error, url))),
    }
    findings
}

fn servers(servers: &[Server]) -> Finding {
    let silent: Vec<_> = servers.iter().filter_map(|server| Some((server, server.answer.as_ref().err()?))).collect();
    match silent.first() {
        None => Finding::ok("store", format!("{} of {} servers answer", servers.len(), servers.len())),
        Some((server, why)) => {
            let detail = format!("{} of {} servers do not answer, {} among them: {why}", silent.len(), servers.len(), server.address);
            let mend = format!("nodetool status, then start the server at {}", server.address);
            if silent.len() < servers.len() { Finding::warn("store", detail, mend) } else { Finding::fail("store", detail, mend) }
        }
    }
}

fn versions(servers: &[Server]) -> Finding {
    let facts: Vec<_> = servers.iter().filter_map(|server| server.answer.as_ref().ok()).collect();
    let old = facts.iter().find(|facts| {
        let least = if facts.is_scylla { SCYLLA_MIN } else { CASSANDRA_MIN };
        number(&facts.version).is_some_and(|version| version < least)
    });
    let mut names: Vec<_> = facts.iter().map(|facts| facts.version.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    match (old, names.as_slice()) {
        (Some(old), _) => Finding::fail(
            "store version",
            format!("{} is too old", old.version),
            format!("upgrade to Cassandra {}.{} or ScyllaDB {}.{}, or later", CASSANDRA_MIN.0, CASSANDRA_MIN.1, SCYLLA_MIN.0, SCYLLA_MIN.1),
        ),
        (None, []) => Finding::ok("store version", "no server tells"),
        (None, [one]) => Finding::ok("store version", (*one).to_owned()),
        (None, several) => Finding::warn(
            "store version",
            format!("servers differ: {}", several.join(", ")),
            "finish the upgrade: nodetool version on each",
        ),
    }
}

/// `Cassandra 5.0.5` → (5, 0).
fn number(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(' ').nth(1)?.split(['.', '-', '~']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A server ahead of the others makes a later change of theirs look older than its own.
fn server_clocks(servers: &[Server]) -> Finding {
    let seen = servers.iter().filter_map(|server| {
        let facts = server.answer.as_ref().ok()?;
        Some(clocks::Seen { who: server.address.clone(), ahead_ms: facts.clock_ahead_ms, doubt_ms: facts.clock_doubt_ms })
    });
    clocks::judge("store clocks", seen)
}

fn copies(url: &Url, look: &Look) -> Finding {
    const NAME: &str = "store copies";
    let in_words: Vec<_> = look.copies.iter().map(|(dc, copies)| format!("{copies} in {dc}")).collect();
    let in_words = in_words.join(", ");
    for (dc, copies) in &look.copies {
        let servers = look.servers.iter().filter(|server| server.dc == *dc).count();
        let wanted = servers.min(3);
        if *copies < wanted {
            let mend = format!(
                "cqlsh -e \"ALTER KEYSPACE {} WITH replication = {{'class': 'NetworkTopologyStrategy', '{dc}': {wanted}}}\", then nodetool repair --full {0} on each server",
                url.keyspace()
            );
            return Finding::warn(NAME, format!("each row has {in_words}, on {servers} servers: losing one loses rows"), mend);
        }
    }
    match look.copies.as_slice() {
        [] => Finding::warn(NAME, "the keyspace is not replicated by data centre", "terse migrate, where there is no keyspace yet"),
        [(_, 1)] => {
            Finding::warn(NAME, format!("each row has {in_words}: losing the server loses it"), "add servers, or see that it is backed up")
        }
        _ => Finding::ok(NAME, format!("each row has {in_words}")),
    }
}

fn of_keyspace(url: &Url, keyspace: &Keyspace) -> Vec<Finding> {
    vec![
        Finding::ok("store schema", format!("keyspace {} has version {}", url.keyspace(), keyspace.schema)),
        Finding::ok("store conditions", "a row inserted twice IF NOT EXISTS was taken once"),
        codes::left(&keyspace.ranges),
        codes::keys(&keyspace.keys),
    ]
}

#[cfg(test)]
mod tests {
    use backends::scylla::Facts;
    use chassis::Status;

    use super::*;

    fn server(answer: Result<&str, &str>) -> Server {
        let facts = |version: &str| Facts {
            version: version.to_owned(),
            is_scylla: version.starts_with("ScyllaDB"),
            clock_ahead_ms: 0,
            clock_doubt_ms: 1,
        };
        Server { address: "10.0.0.1:9042".into(), dc: "dc1".into(), answer: answer.map(facts).map_err(str::to_owned) }
    }

    #[test]
    fn some_or_all_do_not_answer() {
        let (lives, dead) = (server(Ok("Cassandra 5.0.5")), server(Err("refused")));
        for (given, status) in
            [(vec![lives.clone()], Status::Ok), (vec![lives, dead.clone()], Status::Warn), (vec![dead.clone(), dead], Status::Fail)]
        {
            assert_eq!(servers(&given).status, status, "{given:?}");
        }
    }

    #[test]
    fn versions_that_are_too_old_or_differ() {
        for (given, status) in [
            (vec!["Cassandra 5.0.5", "Cassandra 5.0.5"], Status::Ok),
            (vec!["Cassandra 5.0.5", "Cassandra 4.1.0"], Status::Warn),
            (vec!["Cassandra 4.0.9"], Status::Fail),
            (vec!["ScyllaDB 2025.4.1-0.1"], Status::Ok),
            (vec!["ScyllaDB 5.4.0"], Status::Fail),
        ] {
            let given: Vec<_> = given.into_iter().map(|version| server(Ok(version))).collect();
            assert_eq!(versions(&given).status, status, "{given:?}");
        }
    }

    #[test]
    fn as_many_copies_as_servers_allow() {
        let url = Url::parse("scylla://a/terse").unwrap();
        let look = |count: usize, copies: usize| Look {
            servers: vec![server(Ok("Cassandra 5.0.5")); count],
            copies: vec![("dc1".into(), copies)],
            keyspace: Err(OpenError::NotMigrated { url: String::new(), found: 0, known: 1 }),
        };
        for (count, of_each, status) in [(3, 3, Status::Ok), (3, 1, Status::Warn), (1, 1, Status::Warn), (5, 3, Status::Ok)] {
            let found = copies(&url, &look(count, of_each));
            assert_eq!(found.status, status, "{found:?}");
        }
        assert!(judge(&url, &look(3, 3)).iter().any(|finding| finding.mend.as_deref().is_some_and(|mend| mend.contains("terse migrate"))));
    }
}
