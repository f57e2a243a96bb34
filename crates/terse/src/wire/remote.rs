//! Services in other processes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use chassis::config::Loaded;
use chassis::{Lifecycle, OnError, Stage, reload};
use domain::api::{History, Ids, Links, Resolver, Stats};
use gateway::balance::{Balanced, Replica};
use rpc::{Connector, Endpoints, Replicas, ResolverOptions};
use tokio::sync::watch;

use super::fallback::FallbackIds;
use super::stores::Stores;
use super::{local, options};
use crate::config::Config;

/// If it does not answer, this process has the same service on the same store.
pub(super) async fn ids(loaded: &Loaded<Config>, stores: &Stores, lifecycle: &Lifecycle) -> anyhow::Result<Arc<dyn Ids>> {
    let replicas = replicas(loaded, loaded.settings.services.ids.0.endpoints(), "ids", lifecycle).await?;
    Ok(Arc::new(FallbackIds::new(Arc::new(rpc::IdsClient::new(replicas)), local::ids(loaded, stores)?)))
}

pub(super) async fn links(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Arc<dyn Links>> {
    let replicas = replicas(loaded, loaded.settings.services.links.0.endpoints(), "links", lifecycle).await?;
    Ok(Arc::new(rpc::LinksClient::new(replicas)))
}

pub(super) async fn stats(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<(Arc<dyn Stats>, Arc<dyn History>)> {
    let replicas = replicas(loaded, loaded.settings.services.analytics.0.endpoints(), "analytics", lifecycle).await?;
    let client = Arc::new(rpc::StatsClient::new(replicas));
    Ok((client.clone(), client))
}

/// One client for each replica, and a balancer over all that there are.
pub(super) async fn resolver(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Arc<dyn Resolver>> {
    let config = &loaded.settings;
    let connector = connector(loaded, lifecycle)?;
    let mut addresses = config.services.redirect.0.endpoints().clone().watch("redirect", lifecycle).await;
    let mut known: Vec<(SocketAddr, Replica)> = Vec::new();
    let life = lifecycle.clone();
    let mut follow = move |addresses: &[SocketAddr]| {
        known.retain(|(address, _)| addresses.contains(address));
        for address in addresses {
            if !known.iter().any(|(one, _)| one == address) {
                let client = rpc::ResolverClient::new(connector.channel(*address), ResolverOptions::default(), &life);
                known.push((*address, Replica { name: address.to_string().into(), resolver: Arc::new(client) }));
            }
        }
        known.iter().map(|(_, replica)| replica.clone()).collect::<Arc<[Replica]>>()
    };
    let (sender, replicas) = watch::channel(follow(&addresses.borrow_and_update().clone()));
    let draining = lifecycle.draining(Stage::Background);
    lifecycle.spawn("redirect replicas", Stage::Background, OnError::Drain, async move {
        while let Some(Ok(())) = draining.run_until_cancelled(addresses.changed()).await {
            let now = addresses.borrow_and_update().clone();
            sender.send_replace(follow(&now));
        }
        // Where the list never changes it stays in force.
        draining.cancelled().await;
        Ok::<_, Infallible>(())
    });
    Ok(Arc::new(Balanced::start(options::balance(config), replicas, lifecycle)))
}

async fn replicas(loaded: &Loaded<Config>, endpoints: &Endpoints, name: &'static str, lifecycle: &Lifecycle) -> anyhow::Result<Replicas> {
    let connector = connector(loaded, lifecycle)?;
    Ok(Replicas::new(endpoints.clone().watch(name, lifecycle).await, connector))
}

fn connector(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Connector> {
    let connector = Connector::new(options::caller(&loaded.settings)).with_context(|| loaded.describe("services.ca"))?;
    connector.follow_certificates(reload::LOOK_EVERY, lifecycle)?;
    Ok(connector)
}
