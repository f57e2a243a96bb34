//! The click log and where it is read, and what a click is made with.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backends::file::click_log::{self, FileClickLog, FileClickSource};
use backends::kafka;
use backends::mmdb::{Mmdb, NoGeo};
use backends::system::SystemEntropy;
use chassis::Lifecycle;
use chassis::config::Loaded;
use domain::port::{ClickLog, Geo, LiveCounts, StatsStore};

use super::clock;
use crate::config::{ClicksUrl, Config};

/// Both ends of one log.
pub(super) struct Clicks {
    pub(super) log: Arc<dyn ClickLog>,
    pub(super) source: Source,
}

/// The end where the log is read.
pub(super) enum Source {
    /// One partition, all ours.
    File(Box<FileClickSource>),
    /// Partitions shared with other processes.
    Kafka(Box<kafka::ClickFeed>),
}

pub(super) fn open(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Clicks> {
    match loaded.settings.clicks() {
        ClicksUrl::File(folder) => {
            let options = file_options(&loaded.settings);
            let opened = FileClickLog::open(&folder, options, clock(), &SystemEntropy, lifecycle);
            let (log, source) = opened.with_context(|| loaded.describe("clicks.url"))?;
            Ok(Clicks { log, source: Source::File(Box::new(source)) })
        }
        ClicksUrl::Kafka(_) => Ok(Clicks { log: log(loaded, lifecycle)?, source: source(loaded, lifecycle)? }),
    }
}

/// The end where a service by itself writes.
pub(super) fn log(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Arc<dyn ClickLog>> {
    let opened = kafka::ClickLog::start(&topic(loaded)?, kafka::ClickLogOptions::default(), lifecycle);
    Ok(opened.with_context(|| loaded.describe("clicks.url"))?)
}

/// The end where a service by itself reads.
pub(super) fn source(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Source> {
    let opened = kafka::ClickFeed::start(&topic(loaded)?, kafka::ClickFeedOptions::default(), lifecycle);
    Ok(Source::Kafka(Box::new(opened.with_context(|| loaded.describe("clicks.url"))?)))
}

fn topic(loaded: &Loaded<Config>) -> anyhow::Result<kafka::Url> {
    match loaded.settings.clicks() {
        ClicksUrl::Kafka(url) => Ok(url),
        ClicksUrl::File(_) => anyhow::bail!("{}\n  a service by itself needs kafka://HOST:PORT/TOPIC", loaded.describe("clicks.url")),
    }
}

impl Source {
    /// Counts what is read, until the process drains. Where others count too: the handle that says which of them leads.
    pub(super) fn consume(
        self,
        store: Arc<dyn StatsStore>,
        live: Arc<dyn LiveCounts>,
        options: analytics::consumer::Options,
        lifecycle: &Lifecycle,
    ) -> Option<analytics::feed::Handle> {
        match self {
            Self::File(source) => {
                analytics::consumer::Service::new(*source, store, clock(), options).spawn(lifecycle);
                None
            }
            Self::Kafka(feed) => Some(analytics::feed::Service::new(*feed, store, live, clock(), options).spawn(lifecycle)),
        }
    }
}

fn file_options(config: &Config) -> click_log::Options {
    click_log::Options {
        segment_len: usize::try_from(config.clicks.segment_bytes.0).unwrap_or(usize::MAX),
        sync_interval: config.clicks.sync_interval_ms.0,
        retention: Duration::from_hours(24).saturating_mul(config.clicks.retention_days),
    }
}

pub(super) fn geo(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Arc<dyn Geo>> {
    match &loaded.settings.geoip.path {
        Some(path) => Ok(Mmdb::open(path, lifecycle).with_context(|| loaded.describe("geoip.path"))?),
        None => Ok(Arc::new(NoGeo)),
    }
}
