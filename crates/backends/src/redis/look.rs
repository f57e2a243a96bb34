//! What `terse doctor` asks of the nodes, each by itself.

use std::collections::HashMap;
use std::time::Duration;

use domain::port::Clock;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::time::timeout;

use super::connection::{info, read_certificates};
use super::error::OpenError;
use super::url::{Node, RedisUrl};

/// All that one node is asked, together.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone, Debug)]
pub struct Look {
    /// Of a cluster: every node that the first one to answer knows.
    pub nodes: Vec<Seen>,
    /// `None`: it is no cluster.
    pub cluster: Option<Cluster>,
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub address: String,
    /// Why it does not answer.
    pub answer: Result<Facts, String>,
}

/// As a node that answered says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    pub is_ok: bool,
    /// Of 16,384.
    pub slots_ok: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Such as `Redis 7.0.15` or `Valkey 8.0.1`.
    pub version: String,
    pub major: u32,
    pub is_primary: bool,
    /// Runs as a part of a cluster.
    pub in_cluster: bool,
    /// 0: no limit.
    pub memory_max: u64,
    pub memory_used: u64,
    /// What it does at that limit, such as `noeviction`.
    pub policy: String,
    /// What it holds reaches a disk. `None`: it does not say.
    pub persists: Option<bool>,
    /// Up to which length a value stays packed. `None`: it does not say.
    pub packed_value_len_max: Option<u64>,
    /// How far its clock is ahead of ours; negative when it is behind.
    pub clock_ahead_ms: i64,
    pub clock_doubt_ms: i64,
}

/// # Errors
/// The certificates cannot be read. That nodes do not answer is told of each.
pub async fn look(url: &RedisUrl, clock: &dyn Clock) -> Result<Look, OpenError> {
    let mut nodes = url.nodes.clone();
    let mut cluster = None;
    if url.is_cluster() {
        for node in &url.nodes {
            if let Ok((state, all)) = within(ask_cluster(url, node)).await {
                (cluster, nodes) = (Some(state), all);
                break;
            }
        }
        cluster.get_or_insert_default();
    }
    let mut seen = Vec::new();
    for node in &nodes {
        let answer = within(ask(url, node, clock)).await;
        seen.push(Seen { address: format!("{}:{}", node.host, node.port), answer });
    }
    if let Some(Err(certificates)) = url.tls.as_ref().map(read_certificates) {
        return Err(certificates);
    }
    Ok(Look { nodes: seen, cluster })
}

async fn within<T>(asked: impl Future<Output = Result<T, OpenError>>) -> Result<T, String> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| match error {
            OpenError::Client(error) => error.to_string(),
            OpenError::File { .. } => error.to_string(),
        }),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn connect(url: &RedisUrl, node: &Node) -> Result<MultiplexedConnection, OpenError> {
    let info = info(url, &node.host, node.port)?;
    let client = match url.tls.as_ref().map(read_certificates).transpose()? {
        Some(certificates) => Client::build_with_tls(info, certificates)?,
        None => Client::open(info)?,
    };
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

async fn ask_cluster(url: &RedisUrl, node: &Node) -> Result<(Cluster, Vec<Node>), OpenError> {
    let mut connection = connect(url, node).await?;
    let state: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection).await?;
    let nodes: String = redis::cmd("CLUSTER").arg("NODES").query_async(&mut connection).await?;
    let cluster =
        Cluster { is_ok: field(&state, "cluster_state") == "ok", slots_ok: field(&state, "cluster_slots_ok").parse().unwrap_or(0) };
    Ok((cluster, nodes.lines().filter_map(node_of).collect()))
}

/// `id ip:port@bus,hostname flags …`
fn node_of(line: &str) -> Option<Node> {
    let mut words = line.split(' ');
    let address = words.nth(1)?;
    let flags = words.next()?;
    let (address, _) = address.split_once('@')?;
    let (host, port) = address.rsplit_once(':')?;
    let is_there = !host.is_empty() && !flags.contains("noaddr") && !flags.contains("handshake");
    is_there.then_some(Node { host: host.to_owned(), port: port.parse().ok()? })
}

async fn ask(url: &RedisUrl, node: &Node, clock: &dyn Clock) -> Result<Facts, OpenError> {
    let mut connection = connect(url, node).await?;
    let before = clock.now();
    let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut connection).await?;
    let took_ms = i64::try_from(clock.now().since(before).as_millis()).unwrap_or(i64::MAX);
    let said: String = redis::cmd("INFO").query_async(&mut connection).await?;
    // A user without administration may not ask for these.
    let mut setting = async |name: &str| -> Result<Option<String>, RedisError> {
        let mut found: HashMap<String, String> = redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection).await?;
        Ok(found.remove(name))
    };
    let save = setting("save").await.ok().flatten();
    let packed = setting("hash-max-listpack-value").await.ok().flatten();
    let mut facts = facts(&said);
    facts.persists = match (field(&said, "aof_enabled"), save) {
        ("1", _) => Some(true),
        (_, Some(save)) => Some(!save.is_empty()),
        (_, None) => None,
    };
    facts.packed_value_len_max = packed.and_then(|packed| packed.parse().ok());
    facts.clock_ahead_ms = seconds * 1_000 + micros / 1_000 - before.get() - took_ms / 2;
    facts.clock_doubt_ms = took_ms / 2 + 1;
    Ok(facts)
}

fn facts(said: &str) -> Facts {
    let (name, version) = match field(said, "valkey_version") {
        "" => ("Redis", field(said, "redis_version")),
        version => ("Valkey", version),
    };
    let number = |name: &str| field(said, name).parse().unwrap_or(0);
    Facts {
        version: format!("{name} {version}"),
        major: version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0),
        is_primary: field(said, "role") == "master",
        in_cluster: field(said, "cluster_enabled") == "1",
        memory_max: number("maxmemory"),
        memory_used: number("used_memory"),
        policy: field(said, "maxmemory_policy").to_owned(),
        ..Facts::default()
    }
}

/// `name:value` on a line of its own; empty when there is none.
fn field<'a>(said: &'a str, name: &str) -> &'a str {
    let found = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_say_is_read() {
        let said = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.0.1\r\n# Memory\r\nused_memory:5\r\nmaxmemory:64\r\nmaxmemory_policy:noeviction\r\nrole:master\r\ncluster_enabled:0\r\n";
        let wanted = Facts {
            version: "Valkey 8.0.1".into(),
            major: 8,
            is_primary: true,
            memory_max: 64,
            memory_used: 5,
            policy: "noeviction".into(),
            ..Facts::default()
        };
        assert_eq!(facts(said), wanted);
        assert_eq!(facts("redis_version:6.2.0").version, "Redis 6.2.0");
        assert_eq!(facts("").major, 0);
    }

    #[test]
    fn nodes_of_a_cluster() {
        let line = "07c3 127.0.0.1:30004@31004,hostname4 slave e7d1 0 1426238317239 4 connected";
        assert_eq!(node_of(line), Some(Node { host: "127.0.0.1".into(), port: 30_004 }));
        assert_eq!(node_of("07c3 :0@0 slave,noaddr e7d1 0 1 4 disconnected"), None);
        assert_eq!(node_of("nonsense"), None);
    }
}
