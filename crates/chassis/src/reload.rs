//! Values read from files that others replace while the process runs: certificates and their keys.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::lifecycle::{Lifecycle, OnError, Stage};

/// Between two looks at the files. A `SIGHUP` looks at once.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

crate::metrics! {
    /// Files that changed and were read again: those of the public port, of the gRPC port, and of calls to other services. After a failure
    /// what was read before stays in use.
    Counter RELOADS = "terse_reloads_total" in "changes" by ["what": "public|grpc|services", "outcome": "read|failed"];
}

/// The newest value that could be read. Clones share it.
pub struct Reloaded<T>(Arc<Inner<T>>);

struct Inner<T> {
    value: RwLock<T>,
    what: &'static str,
    files: Vec<PathBuf>,
    load: Box<dyn Fn() -> io::Result<T> + Send + Sync>,
}

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> std::fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reloaded({})", self.0.what)
    }
}

/// What a file is known by: a new one, a change of its contents and one of its rights all differ.
type Mark = Option<(u64, u64, i64, i64)>;

impl<T: Clone + Send + Sync + 'static> Reloaded<T> {
    /// Reads the value for the first time. `what` names it in the log and in metrics.
    ///
    /// # Errors
    /// What `load` says.
    pub fn new(
        what: &'static str,
        files: impl IntoIterator<Item = PathBuf>,
        load: impl Fn() -> io::Result<T> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let value = RwLock::new(load()?);
        Ok(Self(Arc::new(Inner { value, what, files: files.into_iter().collect(), load: Box::new(load) })))
    }

    pub fn current(&self) -> T {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files until the process drains, and reads them again when one has changed.
    ///
    /// # Errors
    /// The system takes no handler for `SIGHUP`.
    pub fn watch(&self, every: Duration, lifecycle: &Lifecycle) -> io::Result<()> {
        let mut asked = signal(SignalKind::hangup())?;
        let (inner, draining) = (self.0.clone(), lifecycle.draining(Stage::Background));
        // What was there before the first look may be newer than what was read.
        let mut known: Vec<Mark> = Vec::new();
        lifecycle.spawn("files that change", Stage::Background, OnError::Log, async move {
            loop {
                let looked = inner.clone();
                let before = std::mem::take(&mut known);
                if let Ok(after) = tokio::task::spawn_blocking(move || looked.look(before)).await {
                    known = after;
                }
                tokio::select! {
                    () = draining.cancelled() => return Ok::<_, Infallible>(()),
                    () = tokio::time::sleep(every) => {}
                    _ = asked.recv() => {}
                }
            }
        });
        Ok(())
    }
}

impl<T> Inner<T> {
    /// Tries once for each change, so that a mistake is told once. A certificate whose key follows a moment later is two changes.
    fn look(&self, known: Vec<Mark>) -> Vec<Mark> {
        let marks = self.marks();
        if marks == known {
            return known;
        }
        let (is_first, what) = (known.is_empty(), self.what);
        match (self.load)() {
            Ok(value) => {
                *self.value.write().unwrap_or_else(PoisonError::into_inner) = value;
                if !is_first {
                    metrics::counter!(RELOADS, "what" => what, "outcome" => "read").increment(1);
                    tracing::info!(what, "changed files were read again");
                }
            }
            Err(error) => {
                metrics::counter!(RELOADS, "what" => what, "outcome" => "failed").increment(1);
                tracing::warn!(what, %error, "changed files cannot be used; what was read before stays in use until they change again");
            }
        }
        marks
    }

    fn marks(&self) -> Vec<Mark> {
        let mark = |path: &PathBuf| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec()))
        };
        self.files.iter().map(mark).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A number in a file.
    fn number(path: &std::path::Path) -> io::Result<u32> {
        std::fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
    }

    async fn becomes(value: &Reloaded<u32>, wanted: u32) {
        let began = Instant::now();
        while value.current() != wanted {
            assert!(began.elapsed() < Duration::from_secs(10), "{} and not {wanted}", value.current());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test]
    async fn the_newest_that_can_be_read_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        assert!(Reloaded::new("test", [path.clone()], || number(std::path::Path::new("/nonexistent"))).is_err());
        std::fs::write(&path, "1").unwrap();
        let read = path.clone();
        let value = Reloaded::new("test", [path.clone()], move || number(&read)).unwrap();
        let lifecycle = Lifecycle::new(Duration::from_secs(5));
        value.watch(Duration::from_millis(2), &lifecycle).unwrap();
        std::fs::write(&path, "2").unwrap();
        becomes(&value, 2).await;
        // A broken one changes nothing; nor does one that is gone.
        std::fs::write(&path, "x").unwrap();
        std::fs::remove_file(&path).unwrap();
        let draft = folder.path().join("draft");
        std::fs::write(&draft, "3").unwrap();
        assert_eq!(value.current(), 2);
        std::fs::rename(&draft, &path).unwrap();
        becomes(&value, 3).await;
        lifecycle.drain_in_order().await;
    }

    #[test]
    fn each_change_is_tried_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let tries = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let (counted, read) = (tries.clone(), path.clone());
        let load = move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            number(&read)
        };
        let value = Reloaded::new("test", [path.clone()], load).unwrap();
        let known = value.0.look(Vec::new());
        let known = value.0.look(known);
        std::fs::write(&path, "broken").unwrap();
        let known = value.0.look(known);
        let known = value.0.look(known);
        assert_eq!((tries.load(std::sync::atomic::Ordering::Relaxed), value.current()), (3, 1));
        std::fs::write(&path, "12").unwrap();
        value.0.look(known);
        assert_eq!(value.current(), 12);
    }
}
