//! What runs where: the only place that knows a service in this process from one behind a wire, and a backend by its name.
//! One small function per dependency; everything after it sees traits.

mod clicks;
mod options;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use backends::sqlite::{self, SqliteStats, Stores};
use backends::system::{SystemClock, SystemEntropy};
use chassis::config::Loaded;
use chassis::{Check, Finding, Lifecycle};
use domain::api::{History, Ids, Links, Resolver, Stats};
use domain::port::{
    ClickLog, ClickSource, Clock, DomainStore as _, Entropy, LeaseStore as _, LinkEvents, PortResult, RateLimiter, StatsStore as _,
};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::config::{Cache, Config, PublicUrl, Store};
use crate::doctor;

/// Everything that runs, and what must be closed at the end.
pub(crate) struct Process {
    pub(crate) services: gateway::Services,
    gateway: Arc<gateway::Gateway>,
    stores: Stores,
    stats: Arc<SqliteStats>,
    clicks: Arc<dyn ClickLog>,
}

/// Wires everything in one process.
pub(crate) async fn start(loaded: &Loaded<Config>, public_url: &PublicUrl, lifecycle: &Lifecycle) -> anyhow::Result<Process> {
    let config = &loaded.settings;
    describe_metrics();
    let stores = open_links(loaded)?;
    let stats = open_stats(loaded)?;
    stores.domains.set_default(public_url.host()).await.with_context(|| loaded.describe("public_url"))?;
    let ids = ids(&stores)?;
    let events = link_events(config);
    let links = links(loaded, &stores, ids.clone(), events.clone(), lifecycle).await?;
    let (log, source) = clicks::open(loaded, lifecycle)?;
    let resolver = resolver(loaded, &stores, events, log.clone(), lifecycle).await?;
    let services = gateway::Services {
        links,
        resolver,
        stats: analytics(config, stats.clone(), source, lifecycle),
        history: history(stats.clone()),
        ids,
        keys: stores.keys.clone(),
        domains: stores.domains.clone(),
        limiter: limiter(),
        clock: clock(),
        entropy: entropy(),
    };
    let gateway = gateway::Gateway::new(services.clone(), options::gateway(config, public_url));
    Ok(Process { services, gateway, stores, stats, clicks: log })
}

impl Process {
    /// Lets the public in.
    pub(crate) async fn open_door(&self, listener: TcpListener, lifecycle: &Lifecycle) -> anyhow::Result<SocketAddr> {
        Ok(gateway::Server::serve(self.gateway.clone(), listener, lifecycle).await?)
    }

    /// What `doctor` asks of a running server.
    pub(crate) fn checks(&self, data: &Path) -> Vec<(&'static str, Check)> {
        let (keys, stats, clicks) = (self.services.keys.clone(), self.stats.clone(), self.clicks.clone());
        let data = data.to_owned();
        let store: Check = Arc::new(move || {
            let keys = keys.clone();
            Box::pin(async move { judge("store", "answers", keys.any().await.map(|_| ())) })
        });
        let statistics: Check = Arc::new(move || {
            let stats = stats.clone();
            Box::pin(async move {
                let read = stats.dirty_days(u32::MAX, 1).await;
                judge("statistics", "answer", read.map(|_| ()))
            })
        });
        let log: Check = Arc::new(move || {
            let clicks = clicks.clone();
            Box::pin(async move { judge("click log", "is on the disk", clicks.flush().await) })
        });
        let disk: Check = Arc::new(move || {
            let finding = doctor::free_disk(&data);
            Box::pin(std::future::ready(finding))
        });
        vec![("store", store), ("statistics", statistics), ("click log", log), ("free disk", disk)]
    }

    /// After everything has ended: moves what is in write-ahead logs into the files.
    pub(crate) async fn close(&self) {
        self.stores.close().await;
        self.stats.close().await;
    }
}

fn judge(name: &str, fine: &str, outcome: PortResult<()>) -> Finding {
    match outcome {
        Ok(()) => Finding::ok(name, fine),
        Err(error) => {
            let cause = error.source.as_deref().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
            Finding::fail(name, cause, "see the log of the server; free some space if the disk is full")
        }
    }
}

fn describe_metrics() {
    backends::metrics::describe();
    ids::metrics::describe();
    links::describe_metrics();
    redirect::metrics::describe();
    analytics::metrics::describe();
}

// ---- stores ----

pub(crate) fn open_links(loaded: &Loaded<Config>) -> anyhow::Result<Stores> {
    let config = &loaded.settings;
    let Store::Sqlite(path) = config.store();
    sqlite::open_links(&path, options::sqlite(config), &SystemEntropy).with_context(|| loaded.describe("store"))
}

fn open_stats(loaded: &Loaded<Config>) -> anyhow::Result<Arc<SqliteStats>> {
    let config = &loaded.settings;
    let Store::Sqlite(path) = config.store();
    sqlite::open_stats(&stats_path(&path), options::sqlite(config)).with_context(|| loaded.describe("store"))
}

/// Statistics have a file of their own beside the links', so that neither waits for the other's commits.
fn stats_path(links: &Path) -> PathBuf {
    let mut name = links.file_stem().unwrap_or_default().to_owned();
    name.push("-stats.db");
    links.with_file_name(name)
}

/// The schema of one store: what was found, and what this build knows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SchemaState {
    pub(crate) place: PathBuf,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// Looks at the stores of a server that is stopped, and changes nothing.
pub(crate) fn inspect_stores(config: &Config) -> anyhow::Result<Vec<SchemaState>> {
    let Store::Sqlite(links) = config.store();
    let stats = stats_path(&links);
    let places = [(links, &sqlite::LINKS), (stats, &sqlite::STATS)];
    let found = places.into_iter().map(|(place, schema)| {
        let version = sqlite::inspect(&place, schema)?;
        Ok(SchemaState { place, from: version.found, to: version.known })
    });
    found.collect()
}

/// Brings every store up to date; answers how far each was.
pub(crate) async fn migrate(loaded: &Loaded<Config>) -> anyhow::Result<Vec<SchemaState>> {
    let before = inspect_stores(&loaded.settings).with_context(|| loaded.describe("store"))?;
    let (links, stats) = (open_links(loaded)?, open_stats(loaded)?);
    links.close().await;
    stats.close().await;
    Ok(before)
}

// ---- services ----

pub(crate) fn ids(stores: &Stores) -> anyhow::Result<Arc<dyn Ids>> {
    let mut key = [0; 16];
    SystemEntropy.fill(&mut key);
    Ok(Arc::new(ids::Service::new(ids::Options::default(), stores.leases.clone(), clock(), entropy(), key)?))
}

async fn links(
    loaded: &Loaded<Config>,
    stores: &Stores,
    ids: Arc<dyn Ids>,
    events: Arc<dyn LinkEvents>,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Arc<dyn Links>> {
    let ranges = stores.leases.ranges().await.context("the key epochs cannot be read")?;
    let first = ranges.first().context("the store has no key epoch")?;
    let deps = links::Deps {
        ids,
        links: stores.links.clone(),
        claims: stores.claims.clone(),
        budgets: stores.budgets.clone(),
        domains: stores.domains.clone(),
        jobs: stores.jobs.clone(),
        takedowns: stores.takedowns.clone(),
        events,
        clock: clock(),
        entropy: entropy(),
    };
    Ok(links::Service::start(options::links(loaded, first.key)?, deps, lifecycle))
}

async fn resolver(
    loaded: &Loaded<Config>,
    stores: &Stores,
    events: Arc<dyn LinkEvents>,
    clicks: Arc<dyn ClickLog>,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Arc<dyn Resolver>> {
    let deps = redirect::Deps {
        links: stores.links.clone(),
        budgets: stores.budgets.clone(),
        issued: stores.leases.clone(),
        domains: stores.domains.clone(),
        clicks,
        takedowns: stores.takedowns.clone(),
        events,
        salts: clicks::salts(loaded)?,
        geo: clicks::geo(loaded, lifecycle)?,
        clock: clock(),
    };
    Ok(redirect::Service::new(options::redirect(&loaded.settings), deps, lifecycle).await?)
}

/// The consumer, the roll-ups and the answers.
fn analytics(config: &Config, store: Arc<SqliteStats>, source: impl ClickSource + Sync, lifecycle: &Lifecycle) -> Arc<dyn Stats> {
    analytics::consumer::Service::new(source, store.clone(), clock(), options::consumer(config)).spawn(lifecycle);
    analytics::rollup::Service::new(store.clone(), clock(), options::rollup(config)).spawn(lifecycle);
    Arc::new(analytics::Service::new(store, clock()))
}

fn history(store: Arc<SqliteStats>) -> Arc<dyn History> {
    Arc::new(analytics::history::Service::new(store, clock()))
}

// ---- what the services need ----

fn link_events(config: &Config) -> Arc<dyn LinkEvents> {
    let Cache::Memory = config.cache.0;
    Arc::new(backends::memory::LinkEvents::default())
}

fn limiter() -> Arc<dyn RateLimiter> {
    Arc::new(backends::memory::RateLimiter::new(&backends::memory::RateLimiterOptions::default()))
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy)
}
