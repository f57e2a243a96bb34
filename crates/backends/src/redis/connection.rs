//! One connection over both kinds of Redis, with no default of the driver taken on trust.

use std::fs;
use std::path::Path;
use std::time::Duration;

use redis::aio::{AsyncPushSender, ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::cluster_read_routing::{ReadCandidates, ReadRoutingStrategy};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, Pipeline, ProtocolVersion, RedisConnectionInfo,
    RedisFuture, RedisResult, TlsCertificates, Value,
};

use super::error::OpenError;
use super::url::{Kind, RedisUrl, TlsFiles};
use super::{Options, Reads};

/// A peer that vanished without a word is noticed by the kernel after this.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Waits between the attempts of one request; the second goes where the first was told to go.
const RETRY_WAIT_MS: (u64, u64) = (1, 5);
const RECONNECT_WAIT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

/// What knows how to connect.
pub(super) enum Opener {
    Single(Box<Client>, Options),
    Cluster(Box<ClusterClient>, Options),
}

#[derive(Clone)]
pub(super) enum Connection {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Opener {
    pub(super) fn new(url: &RedisUrl, options: &Options) -> Result<Self, OpenError> {
        let certificates = url.tls.as_ref().map(read_certificates).transpose()?;
        let nodes = url.nodes.iter().map(|node| info(url, &node.host, node.port)).collect::<RedisResult<Vec<_>>>()?;
        match (url.kind, nodes) {
            (Kind::Single { .. }, nodes) => {
                let node =
                    nodes.into_iter().next().ok_or((redis::ErrorKind::InvalidClientConfig, "no host")).map_err(redis::RedisError::from)?;
                let client = match certificates {
                    Some(certificates) => Client::build_with_tls(node, certificates)?,
                    None => Client::open(node)?,
                };
                Ok(Self::Single(client.into(), options.clone()))
            }
            (Kind::Cluster, nodes) => Ok(Self::Cluster(cluster(nodes, certificates, options)?.into(), options.clone())),
        }
    }

    /// Nothing is connected yet when this returns; the first request, or the probe, does it.
    pub(super) fn open(&self) -> RedisResult<Connection> {
        match self {
            Self::Single(client, options) => {
                Ok(Connection::Single(ConnectionManager::new_lazy_with_config(Client::clone(client), manager(options))?))
            }
            Self::Cluster(client, options) => {
                let config = ClusterConfig::new().set_connection_timeout(options.connect_timeout).set_response_timeout(options.timeout);
                Ok(Connection::Cluster(client.get_pending_async_connection_with_config(config)))
            }
        }
    }

    /// A connection of its own for messages: it has more patience, since nobody waits for it.
    pub(super) fn open_for_messages(&self, patience: Duration, push: impl AsyncPushSender) -> RedisResult<Connection> {
        match self {
            Self::Single(client, options) => {
                let config = manager(options).set_response_timeout(Some(patience)).set_push_sender(push);
                Ok(Connection::Single(ConnectionManager::new_lazy_with_config(Client::clone(client), config)?))
            }
            Self::Cluster(client, options) => {
                let config = ClusterConfig::new()
                    .set_connection_timeout(options.connect_timeout)
                    .set_response_timeout(patience)
                    .set_push_sender(push);
                Ok(Connection::Cluster(client.get_pending_async_connection_with_config(config)))
            }
        }
    }
}

impl Connection {
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Sharded in a cluster, so that a message goes to one node and not to all.
    pub(super) async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::Single(connection) => connection.subscribe(channel).await,
            Self::Cluster(connection) => connection.ssubscribe(channel).await,
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

pub(super) fn info(url: &RedisUrl, host: &str, port: u16) -> RedisResult<ConnectionInfo> {
    let host = host.to_owned();
    let address = match url.tls {
        None => ConnectionAddr::Tcp(host, port),
        Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
    };
    let db = match url.kind {
        Kind::Single { db } => i64::from(db),
        Kind::Cluster => 0,
    };
    let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_db(db);
    if let Some(user) = &url.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = &url.password {
        settings = settings.set_password(password);
    }
    Ok(address.into_connection_info()?.set_tcp_settings(tcp()).set_redis_settings(settings))
}

fn tcp() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(SILENCE_MAX / 2).with_interval(SILENCE_MAX / 4);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(SILENCE_MAX);
    settings
}

fn manager(options: &Options) -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(options.connect_timeout))
        .set_response_timeout(Some(options.timeout))
        // Of connecting, not of requests.
        .set_number_of_retries(1)
        .set_min_delay(RECONNECT_WAIT.0)
        .set_max_delay(RECONNECT_WAIT.1)
        .set_pipeline_buffer_size(options.requests_max)
        .set_concurrency_limit(options.requests_max)
}

fn cluster(nodes: Vec<ConnectionInfo>, certificates: Option<TlsCertificates>, options: &Options) -> RedisResult<ClusterClient> {
    let mut builder = ClusterClient::builder(nodes)
        .use_protocol(ProtocolVersion::RESP3)
        .tcp_settings(tcp())
        .connection_timeout(options.connect_timeout)
        .response_timeout(options.timeout)
        .overall_response_timeout(Some(options.timeout.max(options.connect_timeout) * 2))
        .retries(options.retries)
        .min_retry_wait(RETRY_WAIT_MS.0)
        .max_retry_wait(RETRY_WAIT_MS.1)
        .connection_concurrency_limit(options.requests_max);
    if let Some(certificates) = certificates {
        builder = builder.certs(certificates);
    }
    if options.reads == Reads::AnyCopy {
        builder = builder.read_routing_strategy(AnyCopy);
    }
    builder.build()
}

/// Reads go to the primary and its replicas alike.
#[derive(Default)]
struct AnyCopy;

impl ReadRoutingStrategy for AnyCopy {
    fn route_read<'a>(&self, candidates: &ReadCandidates<'a>) -> &'a redis::cluster::NodeAddress {
        match candidates {
            ReadCandidates::AnyNode(nodes) => {
                let (count, pick) = (nodes.replicas().len().get() + 1, super::dice::roll());
                let pick = usize::try_from(pick % u64::try_from(count).unwrap_or(1)).unwrap_or(0);
                nodes.replicas().get(pick).unwrap_or_else(|| nodes.primary())
            }
            ReadCandidates::ReplicasOnly(nodes) => nodes.replicas().choose_random(),
        }
    }
}

pub(super) fn read_certificates(files: &TlsFiles) -> Result<TlsCertificates, OpenError> {
    let read = |path: &Path| fs::read(path).map_err(|source| OpenError::File { path: path.to_owned(), source });
    let client_tls = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? }),
        _ => None,
    };
    Ok(TlsCertificates { client_tls, root_cert: files.ca.as_deref().map(read).transpose()? })
}
