//! The real servers of the distributed shape: those that all tests share, found by environment, and those of one test that
//! breaks them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::cluster::Setting;

/// Where Cassandra, Kafka and the Redis Cluster are, as `host:port` of one of their nodes.
pub(crate) struct Servers {
    cql: String,
    kafka: String,
    redis: String,
}

impl Servers {
    /// Those that all tests share, and that nobody may stop.
    pub(crate) fn shared() -> Self {
        let [cql, kafka, redis] = VARIABLES.map(from_environment);
        Self { cql, kafka, redis }
    }

    /// Settings that give a cluster its own keyspace, topics, consumer group and keys in the cache.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let (Self { cql, kafka, redis }, name) = (self, format!("t{:016x}", random()));
        vec![
            ("TERSE__STORE".into(), format!("scylla://{cql}/{name}")),
            ("TERSE__CACHE".into(), format!("redis-cluster://{redis}")),
            ("TERSE__REDIS__PREFIX".into(), format!("{name}:")),
            ("TERSE__CLICKS__URL".into(), format!("kafka://{kafka}/{name}.clicks?link_events={name}.link-events&group={name}")),
            ("TERSE__KAFKA__PARTITIONS".into(), "4".into()),
            // A conditional write here, on two cores that the servers share with the tests, takes up to a hundred times
            // what it takes on machines meant for it; what must hold in time has tests of its own.
            ("TERSE__SCYLLA__READ_TIMEOUT_MS".into(), "2000".into()),
            ("TERSE__SCYLLA__WRITE_TIMEOUT_MS".into(), "5000".into()),
            ("TERSE__SCYLLA__SETTLE_TIMEOUT_MS".into(), "8000".into()),
            ("TERSE__GATEWAY__REDIRECT_DEADLINE_MS".into(), "3000".into()),
            ("TERSE__GATEWAY__API_DEADLINE_MS".into(), "10000".into()),
        ]
    }
}

const VARIABLES: [&str; 3] = ["TERSE_TEST_CQL", "TERSE_TEST_KAFKA", "TERSE_TEST_REDIS_CLUSTER"];

/// Servers of one test's own, which it may kill and freeze; they end with it. Half a minute to start.
pub(crate) struct Stack {
    folder: TempDir,
}

#[allow(dead_code, reason = "for the tests that break servers")]
impl Stack {
    /// `cassandra_nodes`: 1 or 3.
    pub(crate) fn start(cassandra_nodes: u8) -> Self {
        let stack = Self { folder: TempDir::new().expect("a folder for the servers") };
        stack.run(&["up", "--cassandra-nodes", &cassandra_nodes.to_string()]);
        stack
    }

    pub(crate) fn servers(&self) -> Servers {
        let text = std::fs::read_to_string(self.dir().join("env")).expect("what `scripts/stack up` wrote");
        let [cql, kafka, redis] = VARIABLES.map(|variable| {
            let line = text.lines().find_map(|line| line.strip_prefix("export ")?.strip_prefix(variable)?.strip_prefix('='));
            line.unwrap_or_else(|| panic!("no {variable} in: {text}")).to_owned()
        });
        Servers { cql, kafka, redis }
    }

    /// `nodetool`, or `kill`, `stop`, `start`, `restart`, `pause` or `resume` of `cassandra-1`, `kafka`, `redis-3` …; returns when it is done.
    pub(crate) fn server(&self, verb: &str, names: &[&str]) {
        self.run(&[&[verb], names].concat());
    }

    /// Where one of them keeps what it stores.
    pub(crate) fn folder_of(&self, server: &str) -> PathBuf {
        self.dir().join(server)
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("stack")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/stack"));
        command.args(args).arg("--dir").arg(self.dir()).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) {
        let done = self.command(args).output().expect("scripts/stack runs");
        assert!(done.status.success(), "scripts/stack {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = self.command(&["down", "--wipe"]).output();
    }
}

/// Random enough that runs beside and after each other do not meet.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[expect(clippy::disallowed_methods, reason = "where the servers are is said to the tests by environment alone")]
fn from_environment(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} is not set: run scripts/test, or `scripts/stack up` and then `. target/stack/run/env`, for the servers of this test"
        )
    })
}
