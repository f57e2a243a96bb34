//! The click log of one process: a folder of segments, written by the redirect path through mapped
//! memory and read by the consumer in the same process.
//!
//! `log.rs` is the log; `segment.rs`, `header.rs` and `frame.rs` are what lies on the disk; `open.rs`
//! finds the end after a crash; `walk.rs` and `source.rs` read. Why it is so: `docs/adr/0003-click-spool.md`.

mod copy;
mod disk;
mod frame;
mod header;
mod log;
mod map;
mod meters;
mod open;
mod segment;
mod source;
mod walk;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chassis::lifecycle::{Lifecycle, OnError, Stage};
use domain::Click;
use domain::port::{ClickLog, Clock, Dropped, Entropy, Outcome, PortError, PortErrorKind, PortResult};

use crate::traced::click_trace;
use disk::OsDisk;
use frame::{FRAME_LEN_MAX, Frame};
use header::HEADER_LEN;
use log::{Log, Means};

pub use copy::{Copied, Found, find};
pub use open::OpenError;
pub use source::FileClickSource;

/// How often the background looks after the log when every click is synced by itself.
const TICK: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of a segment, allocated at once. Too few for any record are raised to what one needs.
    pub segment_len: usize,
    /// After this time at most a click is durable against a power cut. Zero: before its redirect is
    /// answered, which makes the redirect wait for the disk.
    pub sync_interval: Duration,
    /// How long counted clicks are kept.
    pub retention: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_len: 64 * 1024 * 1024, sync_interval: Duration::from_millis(200), retention: Duration::from_hours(30 * 24) }
    }
}

/// Clicks in files. A recorded click survives the end of the process at once, and a power cut after
/// [`Options::sync_interval`].
pub struct FileClickLog(Arc<Log>);

thread_local! {
    static FRAME: RefCell<Frame> = const { RefCell::new(Frame::EMPTY) };
}

impl FileClickLog {
    /// Opens the log in `folder`, or makes one, and starts its background task. Must be called within a
    /// runtime. A full disk is no error here: clicks are dropped and counted until there is room.
    pub fn open(
        folder: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        lifecycle: &Lifecycle,
    ) -> Result<(Arc<Self>, FileClickSource), OpenError> {
        let means = Means { disk: Arc::new(OsDisk), clock };
        let log = open_log(folder, options, means, entropy)?;
        let draining = lifecycle.draining(Stage::Background);
        let kept = log.clone();
        lifecycle.spawn("click-log", Stage::Background, OnError::Drain, async move {
            let tick = if kept.options.sync_interval.is_zero() { TICK } else { kept.options.sync_interval };
            loop {
                tokio::select! {
                    () = draining.cancelled() => break,
                    () = kept.wake.notified() => {}
                    () = tokio::time::sleep(tick) => {}
                }
                let log = kept.clone();
                tokio::task::spawn_blocking(move || log.tick()).await.map_err(io::Error::other)?;
            }
            tokio::task::spawn_blocking(move || kept.close()).await.map_err(io::Error::other)?
        });
        let source = FileClickSource::new(log.clone());
        Ok((Arc::new(Self(log)), source))
    }
}

fn open_log(folder: &Path, mut options: Options, means: Means, entropy: &dyn Entropy) -> Result<Arc<Log>, OpenError> {
    options.segment_len = options.segment_len.max(HEADER_LEN + FRAME_LEN_MAX);
    let past = open::open(folder, &*means.disk, entropy, means.clock.now())?;
    let log = Log::new(folder.to_owned(), options, means, past);
    log.prepare();
    Ok(Arc::new(log))
}

impl Log {
    fn record(&self, click: &Click<'_>) -> Result<(), Dropped> {
        let creation = self.creation.begin();
        let recorded = FRAME.with_borrow_mut(|frame| {
            frame.fill(click, click_trace(creation.as_ref()));
            self.append(frame)
        });
        if let Some(creation) = creation {
            creation.end(recorded.err().map(Dropped::as_str));
        }
        match recorded {
            Ok(offset) => {
                self.meters.recorded();
                if self.options.sync_interval.is_zero() {
                    // A failure is counted and mended by the background; the click is in the log.
                    let _ = self.sync_through(offset);
                }
                Ok(())
            }
            Err(reason) => {
                self.meters.dropped(reason);
                Err(reason)
            }
        }
    }
}

#[async_trait]
impl ClickLog for FileClickLog {
    fn record(&self, click: &Click<'_>) -> Result<(), Dropped> {
        self.0.record(click)
    }

    async fn flush(&self) -> PortResult<()> {
        let log = self.0.clone();
        let failed = |error: io::Error| PortError::new(PortErrorKind::Unavailable, "click log: sync", Outcome::Unknown).with_source(error);
        let synced = tokio::task::spawn_blocking(move || log.sync()).await;
        synced.map_err(io::Error::other).and_then(|synced| synced).map_err(failed)
    }
}
