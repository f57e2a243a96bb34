//! What `doctor` asks of other servers, with the bounds that the services themselves have.

use backends::{kafka, redis, scylla};
use domain::port::PortResult;
use rpc::Connector;

use super::{clock, options};
use crate::config::Config;

pub(crate) async fn cql(config: &Config, url: &scylla::Url) -> Result<scylla::Look, scylla::OpenError> {
    Box::pin(scylla::look(url, options::scylla(config), clock())).await
}

pub(crate) async fn brokers(url: &kafka::Url) -> PortResult<kafka::Look> {
    kafka::look(url).await
}

pub(crate) async fn topics(config: &Config, url: &kafka::Url) -> PortResult<Vec<kafka::Fault>> {
    kafka::inspect(url, &options::topics(config)).await
}

pub(crate) async fn redis(url: &redis::RedisUrl) -> Result<redis::Look, redis::OpenError> {
    redis::look(url, &*clock()).await
}

pub(crate) fn connector(config: &Config) -> std::io::Result<Connector> {
    Connector::new(options::caller(config))
}
