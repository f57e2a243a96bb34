//! The stores: files of this machine, or a keyspace that many share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use backends::sqlite::{self, SqliteStats};
use backends::system::SystemEntropy;
use backends::{kafka, scylla};
use chassis::Lifecycle;
use chassis::config::Loaded;
use domain::port::{ClaimStore, ClickBudget, DomainStore, IssuedBounds, JobStore, KeyStore, LeaseStore, LinkStore, StatsStore, Takedowns};
use serde::Serialize;

use super::{clock, entropy, options};
use crate::config::{ClicksUrl, Config, Store};

pub(crate) struct Stores {
    pub(crate) links: Arc<dyn LinkStore>,
    pub(crate) claims: Arc<dyn ClaimStore>,
    pub(crate) budgets: Arc<dyn ClickBudget>,
    pub(crate) leases: Arc<dyn LeaseStore>,
    pub(crate) issued: Arc<dyn IssuedBounds>,
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) domains: Arc<dyn DomainStore>,
    pub(crate) jobs: Arc<dyn JobStore>,
    pub(crate) takedowns: Arc<dyn Takedowns>,
    pub(crate) stats: Arc<dyn StatsStore>,
    files: Option<Files>,
}

/// What is closed at the end.
struct Files {
    links: sqlite::Stores,
    stats: Arc<SqliteStats>,
}

impl Stores {
    pub(crate) async fn close(&self) {
        if let Some(files) = &self.files {
            files.links.close().await;
            files.stats.close().await;
        }
    }
}

pub(crate) async fn open(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Stores> {
    match loaded.settings.store() {
        Store::Sqlite(path) => open_files(loaded, &path),
        Store::Scylla(url) => {
            let opened = Box::pin(open_keyspace(&url, options::scylla(&loaded.settings), lifecycle)).await;
            opened.with_context(|| loaded.describe("store"))
        }
    }
}

fn open_files(loaded: &Loaded<Config>, path: &Path) -> anyhow::Result<Stores> {
    let config = &loaded.settings;
    let links = sqlite::open_links(path, options::sqlite(config), &SystemEntropy).with_context(|| loaded.describe("store"))?;
    let stats = sqlite::open_stats(&stats_path(path), options::sqlite(config)).with_context(|| loaded.describe("store"))?;
    Ok(Stores {
        links: links.links.clone(),
        claims: links.claims.clone(),
        budgets: links.budgets.clone(),
        leases: links.leases.clone(),
        issued: links.leases.clone(),
        keys: links.keys.clone(),
        domains: links.domains.clone(),
        jobs: links.jobs.clone(),
        takedowns: links.takedowns.clone(),
        stats: stats.clone(),
        files: Some(Files { links, stats }),
    })
}

async fn open_keyspace(url: &scylla::Url, options: scylla::Options, lifecycle: &Lifecycle) -> Result<Stores, scylla::OpenError> {
    let opened = Box::pin(scylla::open_links(url, options, clock(), entropy(), lifecycle)).await?;
    let stats = scylla::open_stats(opened.scylla(), clock(), &SystemEntropy, scylla::PartStamps::Counted).await?;
    Ok(Stores {
        links: opened.links,
        claims: opened.claims,
        budgets: opened.budgets,
        leases: opened.leases.clone(),
        issued: opened.leases,
        keys: opened.keys,
        domains: opened.domains,
        jobs: opened.jobs,
        takedowns: opened.takedowns,
        stats,
        files: None,
    })
}

/// Statistics have a file of their own beside the links', so that neither waits for the other's commits.
pub(crate) fn stats_path(links: &Path) -> PathBuf {
    let mut name = links.file_stem().unwrap_or_default().to_owned();
    name.push("-stats.db");
    links.with_file_name(name)
}

/// One thing that a migration looks after: what was found, and what this build knows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Step {
    /// A file, a keyspace or a topic.
    pub(crate) place: String,
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Of a plan: what would be sent to the servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) statements: Vec<String>,
}

/// Looks at the files of a server that is stopped, and changes nothing.
pub(crate) fn inspect(links: &Path) -> anyhow::Result<Vec<Step>> {
    let stats = stats_path(links);
    let places = [(links.to_owned(), &sqlite::LINKS), (stats, &sqlite::STATS)];
    let found = places.into_iter().map(|(place, schema)| {
        let version = sqlite::inspect(&place, schema)?;
        Ok(Step { place: place.display().to_string(), from: version.found, to: version.known, statements: Vec::new() })
    });
    found.collect()
}

/// Brings every store and topic up to date; answers how far each was.
pub(crate) async fn migrate(loaded: &Loaded<Config>) -> anyhow::Result<Vec<Step>> {
    let config = &loaded.settings;
    let mut steps = match config.store() {
        Store::Sqlite(path) => {
            let before = inspect(&path).with_context(|| loaded.describe("store"))?;
            open_files(loaded, &path)?.close().await;
            before
        }
        Store::Scylla(url) => {
            let version = Box::pin(scylla::inspect(&url, options::scylla(config))).await.with_context(|| loaded.describe("store"))?;
            Box::pin(scylla::migrate(&url, options::scylla(config))).await.with_context(|| loaded.describe("store"))?;
            vec![Step {
                place: format!("keyspace {}", url.keyspace()),
                from: version.found.into(),
                to: version.known.into(),
                statements: Vec::new(),
            }]
        }
    };
    if let ClicksUrl::Kafka(url) = config.clicks() {
        let topics = kafka::migrate(&url, &options::topics(config)).await.with_context(|| loaded.describe("clicks.url"))?;
        steps.extend(topics.into_iter().map(of_topic));
    }
    Ok(steps)
}

fn of_topic(topic: kafka::Step) -> Step {
    Step { place: topic.what, from: i64::from(!topic.applied), to: 1, statements: Vec::new() }
}

/// What [`migrate`] would do; changes nothing.
pub(crate) async fn plan(loaded: &Loaded<Config>) -> anyhow::Result<Vec<Step>> {
    let config = &loaded.settings;
    let mut steps = match config.store() {
        Store::Sqlite(path) => inspect(&path).with_context(|| loaded.describe("store"))?,
        Store::Scylla(url) => {
            let plan = Box::pin(scylla::plan(&url, options::scylla(config))).await.with_context(|| loaded.describe("store"))?;
            let statements = plan.statements.into_iter().map(|(_, statement)| statement).collect();
            let (from, to) = (plan.version.found.into(), plan.version.known.into());
            vec![Step { place: format!("keyspace {}", url.keyspace()), from, to, statements }]
        }
    };
    if let ClicksUrl::Kafka(url) = config.clicks() {
        let topics = kafka::plan(&url, &options::topics(config)).await.with_context(|| loaded.describe("clicks.url"))?;
        steps.extend(topics.into_iter().map(of_topic));
    }
    Ok(steps)
}
