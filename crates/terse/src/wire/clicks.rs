//! The click log, and what a click is made with: salts and countries.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backends::file::click_log::{self, FileClickLog};
use backends::file::salt_store::FileSaltStore;
use backends::mmdb::{Mmdb, NoGeo};
use backends::system::SystemEntropy;
use chassis::Lifecycle;
use chassis::config::Loaded;
use domain::port::{ClickLog, ClickSource, Geo, SaltStore};

use crate::config::{ClicksUrl, Config};

/// The log, and the place where it is read.
pub(super) fn open(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<(Arc<dyn ClickLog>, impl ClickSource + Sync + use<>)> {
    let config = &loaded.settings;
    let ClicksUrl::File(folder) = config.clicks();
    let options = options(config);
    let opened = FileClickLog::open(&folder, options, super::clock(), &SystemEntropy, lifecycle);
    let (log, source) = opened.with_context(|| loaded.describe("clicks.url"))?;
    Ok((log, source))
}

fn options(config: &Config) -> click_log::Options {
    click_log::Options {
        segment_len: usize::try_from(config.clicks.segment_bytes.0).unwrap_or(usize::MAX),
        sync_interval: config.clicks.sync_interval_ms.0,
        retention: Duration::from_hours(24).saturating_mul(config.clicks.retention_days),
    }
}

pub(super) fn salts(loaded: &Loaded<Config>) -> anyhow::Result<Arc<dyn SaltStore>> {
    let store = FileSaltStore::open(&loaded.settings.data, super::entropy());
    Ok(Arc::new(store.with_context(|| loaded.describe("data"))?))
}

pub(super) fn geo(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Arc<dyn Geo>> {
    match &loaded.settings.geoip.path {
        Some(path) => Ok(Mmdb::open(path, lifecycle).with_context(|| loaded.describe("geoip.path"))?),
        None => Ok(Arc::new(NoGeo)),
    }
}
