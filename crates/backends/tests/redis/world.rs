//! Servers, and handles on them that meet no other test's keys.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backends::redis::{Options, Redis, RedisUrl};
use backends::system::SystemEntropy;
use chassis::Lifecycle;
use domain::port::Entropy as _;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Server {
    Single,
    Cluster,
}

impl Server {
    pub(crate) const BOTH: [Self; 2] = [Self::Single, Self::Cluster];

    pub(crate) fn url(self) -> RedisUrl {
        let (variable, scheme) = match self {
            Self::Single => ("TERSE_TEST_REDIS", "redis"),
            Self::Cluster => ("TERSE_TEST_REDIS_CLUSTER", "redis-cluster"),
        };
        #[expect(clippy::disallowed_methods, reason = "where the test servers are is told by the environment")]
        let address = std::env::var(variable);
        let address =
            address.unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test, or scripts/stack up and set {variable}=host:port"));
        format!("{scheme}://{address}").parse().unwrap()
    }
}

/// One process's view of a server.
pub(crate) struct World {
    pub(crate) redis: Redis,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) prefix: String,
    pub(crate) url: RedisUrl,
}

/// Patient: a busy machine is no fault.
pub(crate) fn patient(prefix: &str) -> Options {
    Options {
        name: "test",
        prefix: prefix.to_owned(),
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        failures_max: 1_000,
        ..Options::cache()
    }
}

pub(crate) fn prefix() -> String {
    format!("test{:x}:", SystemEntropy.u64())
}

impl World {
    pub(crate) async fn new(server: Server) -> Self {
        Self::at(server.url(), patient(&prefix())).await
    }

    pub(crate) async fn at(url: RedisUrl, options: Options) -> Self {
        let world = Self::start(url, options);
        within(Duration::from_secs(30), world.redis.connected()).await;
        world
    }

    /// Does not wait for the server.
    pub(crate) fn start(url: RedisUrl, options: Options) -> Self {
        let lifecycle = Lifecycle::new(Duration::from_secs(5));
        let prefix = options.prefix.clone();
        Self { redis: Redis::start(&url, options, &lifecycle).unwrap(), lifecycle, prefix, url }
    }

    /// Another process with the same keys.
    pub(crate) async fn twin(&self) -> Self {
        Self::at(self.url.clone(), patient(&self.prefix)).await
    }

    /// A connection past everything that is tested.
    pub(crate) async fn raw(&self) -> Raw {
        let text = self.url.to_string();
        if let Some(nodes) = text.strip_prefix("redis-cluster://") {
            let nodes = nodes.split(',').map(|node| format!("redis://{node}"));
            let client = redis::cluster::ClusterClient::builder(nodes).response_timeout(Duration::from_secs(10)).build().unwrap();
            return Raw::Cluster(client.get_async_connection().await.unwrap());
        }
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
        let client = redis::Client::open(text).unwrap();
        Raw::Single(client.get_multiplexed_async_connection_with_config(&config).await.unwrap())
    }
}

pub(crate) enum Raw {
    Single(redis::aio::MultiplexedConnection),
    Cluster(redis::cluster_async::ClusterConnection),
}

impl Raw {
    pub(crate) async fn ask<T: redis::FromRedisValue>(&mut self, cmd: &redis::Cmd) -> T {
        match self {
            Self::Single(connection) => cmd.query_async(connection).await.unwrap(),
            Self::Cluster(connection) => cmd.query_async(connection).await.unwrap(),
        }
    }

    /// Every key that contains `part`.
    pub(crate) async fn keys(&mut self, part: &str) -> Vec<Vec<u8>> {
        let mut cmd = redis::cmd("KEYS");
        cmd.arg(format!("*{part}*"));
        self.ask(&cmd).await
    }
}

pub(crate) fn cmd(words: &[&[u8]]) -> redis::Cmd {
    let mut cmd = redis::cmd(std::str::from_utf8(words[0]).unwrap());
    for word in &words[1..] {
        cmd.arg(*word);
    }
    cmd
}

pub(crate) async fn within<T>(limit: Duration, what: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, what).await.expect("in time")
}

/// Asks until `what` answers yes.
pub(crate) async fn eventually(says: &str, mut what: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !what().await {
        assert!(Instant::now() < deadline, "not {says} after 30 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A server of the test's own, which it may kill.
pub(crate) struct OwnServer {
    pub(crate) port: u16,
    child: Option<Child>,
    more: Vec<String>,
}

impl OwnServer {
    /// On a port that was free a moment ago, not yet running.
    pub(crate) fn reserve(more: &[&str]) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { port, child: None, more: more.iter().map(ToString::to_string).collect() }
    }

    pub(crate) fn run(&mut self) {
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]).args(&self.more);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server is installed");
        self.child = Some(child);
    }

    pub(crate) fn url(&self) -> RedisUrl {
        format!("redis://127.0.0.1:{}", self.port).parse().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it in its tracks, or lets it go on: connections stay open.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn arc<T>(value: T) -> Arc<T> {
    Arc::new(value)
}
