//! Countries from a `.mmdb` file.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use chassis::lifecycle::{Lifecycle, OnError, Stage};
use domain::Country;
use domain::port::Geo;
use maxminddb::{PathElement, Reader};

/// How often the file is looked at for a change.
const RELOAD_INTERVAL: Duration = Duration::from_mins(1);

/// A database in memory, replaced when its file changes. The file is read, not mapped, so that whoever
/// writes a new one in its place disturbs nobody.
pub struct Mmdb {
    path: PathBuf,
    reader: ArcSwap<Reader<Vec<u8>>>,
    stamp: Mutex<Stamp>,
}

/// By what a change of the file is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    len: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the country database `{}` cannot be read: {source}. Name a .mmdb file in `geoip.path`, or leave it out", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{}` is no country database: {source}. Name a .mmdb file in `geoip.path`, or leave it out", path.display())]
    Damaged { path: PathBuf, source: maxminddb::MaxMindDbError },
}

impl Mmdb {
    /// Reads the file, and again within a minute of each change.
    pub fn open(path: &Path, lifecycle: &Lifecycle) -> Result<Arc<Self>, OpenError> {
        let geo = Arc::new(Self::load(path)?);
        let (kept, draining) = (geo.clone(), lifecycle.draining(Stage::Background));
        lifecycle.spawn("geoip-reload", Stage::Background, OnError::Log, async move {
            loop {
                tokio::select! {
                    () = draining.cancelled() => return Ok(()),
                    () = tokio::time::sleep(RELOAD_INTERVAL) => {}
                }
                let geo = kept.clone();
                match tokio::task::spawn_blocking(move || geo.reload()).await? {
                    Ok(true) => tracing::info!(path = %kept.path.display(), "the country database was read again"),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "the country database stays as it was"),
                }
            }
            #[expect(unreachable_code, reason = "names the task's error")]
            Ok::<(), tokio::task::JoinError>(())
        });
        Ok(geo)
    }

    fn load(path: &Path) -> Result<Self, OpenError> {
        let stamp = Stamp::of(path)?;
        Ok(Self { path: path.to_owned(), reader: ArcSwap::from_pointee(read(path)?), stamp: Mutex::new(stamp) })
    }

    /// Reads the file if it changed; answers whether it did. A file that is no database changes nothing,
    /// and is tried again: it may be half copied.
    fn reload(&self) -> Result<bool, OpenError> {
        let mut known = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path)?;
        if stamp == *known {
            return Ok(false);
        }
        self.reader.store(Arc::new(read(&self.path)?));
        *known = stamp;
        Ok(true)
    }
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, OpenError> {
        let stamp = fs::metadata(path).and_then(|metadata| Ok(Self { modified: metadata.modified()?, len: metadata.len() }));
        stamp.map_err(|source| OpenError::Unreadable { path: path.to_owned(), source })
    }
}

fn read(path: &Path) -> Result<Reader<Vec<u8>>, OpenError> {
    let bytes = fs::read(path).map_err(|source| OpenError::Unreadable { path: path.to_owned(), source })?;
    Reader::from_source(bytes).map_err(|source| OpenError::Damaged { path: path.to_owned(), source })
}

impl Geo for Mmdb {
    fn country(&self, ip: IpAddr) -> Option<Country> {
        /// `GeoLite2`, DB-IP and most others; and the flat form of some free ones.
        const PATHS: [&[PathElement<'static>]; 2] =
            [&[PathElement::Key("country"), PathElement::Key("iso_code")], &[PathElement::Key("country_code")]];
        let reader = self.reader.load();
        let found = reader.lookup(ip.to_canonical()).ok()?;
        PATHS.iter().find_map(|path| found.decode_path::<&str>(path).ok().flatten()).and_then(Country::parse)
    }
}

/// When no database is configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGeo;

impl Geo for NoGeo {
    fn country(&self, _ip: IpAddr) -> Option<Country> {
        None
    }
}

#[cfg(test)]
mod tests;
