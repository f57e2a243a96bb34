//! What `terse doctor` asks of the brokers.

use std::collections::HashMap;

use domain::port::PortResult;
use rdkafka::admin::ResourceSpecifier;

use super::client::{Quiet, config};
use super::error::{cut_off, unread};
use super::topics::{ANSWER, Admin, LOOK, asking};
use super::url::Url;

/// What the brokers say of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// `host:port` of each broker of the cluster.
    pub brokers: Vec<String>,
    /// How groups of consumers may agree: `classic`, `consumer`. Empty when brokers do not say: before Kafka 3.7.
    pub group_protocols: Vec<String>,
    /// Whether a topic is made by whoever names it.
    pub makes_topics: bool,
}

/// # Errors
/// No broker answers, or the login may not read the brokers' settings.
pub async fn look(url: &Url) -> PortResult<Look> {
    let admin: Admin = config(url).create_with_context(Quiet).map(std::sync::Arc::new).map_err(unread(LOOK))?;
    let asked = admin.clone();
    let metadata = tokio::task::spawn_blocking(move || asked.inner().fetch_metadata(None, ANSWER)).await;
    let metadata = metadata.map_err(cut_off(LOOK))?.map_err(unread(LOOK))?;
    let brokers = metadata.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port())).collect();
    let mut settings = HashMap::new();
    if let Some(broker) = metadata.brokers().first() {
        let answer = admin.describe_configs([&ResourceSpecifier::Broker(broker.id())], &asking()).await.map_err(unread(LOOK))?;
        for resource in answer.into_iter().flatten() {
            settings.extend(resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))));
        }
    }
    let setting = |name: &str| settings.get(name).map_or("", String::as_str);
    let list = |name: &str| setting(name).split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Ok(Look {
        brokers,
        group_protocols: list("group.coordinator.rebalance.protocols"),
        makes_topics: setting("auto.create.topics.enable") == "true",
    })
}
