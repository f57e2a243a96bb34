//! Services in this process.

use std::sync::Arc;

use anyhow::Context as _;
use backends::system::SystemEntropy;
use chassis::Lifecycle;
use chassis::config::Loaded;
use domain::api::{History, Ids, Links, Resolver, Stats};
use domain::port::{ClickLog, Entropy as _};

use super::cache::Shared;
use super::clicks::{self, Source};
use super::stores::Stores;
use super::{clock, entropy, options};
use crate::config::Config;

pub(crate) fn ids(loaded: &Loaded<Config>, stores: &Stores) -> anyhow::Result<Arc<dyn Ids>> {
    let mut key = [0; 16];
    SystemEntropy.fill(&mut key);
    let options = options::ids(&loaded.settings, &SystemEntropy);
    Ok(Arc::new(ids::Service::new(options, stores.leases.clone(), clock(), entropy(), key)?))
}

/// Of the store's first epoch: random, and the same in all processes on one store.
pub(super) async fn store_key(stores: &Stores) -> anyhow::Result<[u8; 16]> {
    let ranges = stores.leases.ranges().await.context("the key epochs cannot be read")?;
    Ok(ranges.first().context("the store has no key epoch; mend: terse migrate")?.key)
}

pub(super) async fn links(
    loaded: &Loaded<Config>,
    stores: &Stores,
    shared: &Shared,
    ids: Arc<dyn Ids>,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Arc<dyn Links>> {
    let deps = links::Deps {
        ids,
        links: stores.links.clone(),
        claims: stores.claims.clone(),
        budgets: stores.budgets.clone(),
        domains: stores.domains.clone(),
        jobs: stores.jobs.clone(),
        takedowns: stores.takedowns.clone(),
        cache: shared.links.clone(),
        events: shared.events.clone(),
        clock: clock(),
        entropy: entropy(),
    };
    Ok(links::Service::start(options::links(loaded, store_key(stores).await?)?, deps, lifecycle))
}

pub(super) async fn resolver(
    loaded: &Loaded<Config>,
    stores: &Stores,
    shared: &Shared,
    clicks: Arc<dyn ClickLog>,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Arc<dyn Resolver>> {
    let deps = redirect::Deps {
        links: stores.links.clone(),
        cache: shared.links.clone(),
        budgets: stores.budgets.clone(),
        issued: stores.issued.clone(),
        domains: stores.domains.clone(),
        clicks,
        takedowns: stores.takedowns.clone(),
        events: shared.events.clone(),
        salts: shared.salts.clone(),
        geo: clicks::geo(loaded, lifecycle)?,
        clock: clock(),
    };
    Ok(redirect::Service::new(options::redirect(&loaded.settings, shared.has_cache), deps, lifecycle).await?)
}

/// The consumer, the roll-ups and the answers.
pub(super) fn analytics(
    loaded: &Loaded<Config>,
    stores: &Stores,
    shared: &Shared,
    source: Source,
    lifecycle: &Lifecycle,
) -> (Arc<dyn Stats>, Arc<dyn History>) {
    let (config, store) = (&loaded.settings, &stores.stats);
    let leads = source.consume(store.clone(), shared.live.clone(), options::consumer(config), lifecycle);
    let rollup = analytics::rollup::Service::new(store.clone(), clock(), options::rollup(config));
    // A month is the sum of its days: two who add them up at once would each miss the other's.
    let rollup = match leads {
        Some(handle) => rollup.led_by(handle),
        None => rollup,
    };
    rollup.spawn(lifecycle);
    let history = analytics::history::Service::new(store.clone(), clock());
    (Arc::new(analytics::Service::new(store.clone(), clock())), Arc::new(history))
}
