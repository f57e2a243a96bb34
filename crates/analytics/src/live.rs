//! Live counts: what was counted is added to them behind the consumer's back, and lost rather than waited for.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chassis::{Lifecycle, OnError, Stage};
use compact_str::CompactString;
use domain::port::{LiveClicks, LiveCounts};
use domain::{DomainNo, LoggedClick};
use tokio::sync::mpsc;

use crate::metrics as names;

/// Flushes that wait for the store of live counts.
const WAITING_MAX: usize = 64;
/// Links of one flush; the rest are not counted live.
const LINKS_MAX: usize = 65_536;
/// Links of one call.
const CALL_LEN_MAX: usize = 1_000;
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Where consumers leave what is to be added.
#[derive(Clone)]
pub struct Live(mpsc::Sender<Vec<LiveClicks>>);

impl Live {
    /// Starts the task that adds; it ends when the last consumer has.
    pub fn start(counts: Arc<dyn LiveCounts>, lifecycle: &Lifecycle) -> Self {
        let (sender, mut waiting) = mpsc::channel::<Vec<LiveClicks>>(WAITING_MAX);
        lifecycle.spawn("live counts", Stage::Background, OnError::Log, async move {
            let mut was_failing = false;
            while let Some(clicks) = waiting.recv().await {
                for clicks in clicks.chunks(CALL_LEN_MAX) {
                    let added = tokio::time::timeout(CALL_TIMEOUT, counts.add(clicks)).await;
                    let failed = !matches!(added, Ok(Ok(())));
                    if failed {
                        missed();
                    }
                    if failed != was_failing {
                        was_failing = failed;
                        tracing::info!(
                            "live counts {}",
                            if failed { "cannot be added to; they fall behind" } else { "are added to again" }
                        );
                    }
                }
            }
            Ok::<_, Infallible>(())
        });
        Self(sender)
    }

    pub(crate) fn add(&self, clicks: Vec<LiveClicks>) {
        if !clicks.is_empty() && self.0.try_send(clicks).is_err() {
            missed();
        }
    }
}

fn missed() {
    ::metrics::counter!(names::ERRORS, "what" => "live").increment(1);
}

/// What was counted since the last flush, by link.
#[derive(Default)]
pub(crate) struct Adding {
    /// Records below were added before.
    from: u64,
    clicks: HashMap<(DomainNo, CompactString), u64>,
}

impl Adding {
    /// Records below `progress` are only read again.
    pub(crate) fn beyond(progress: u64) -> Self {
        Self { from: progress, clicks: HashMap::new() }
    }

    pub(crate) fn count(&mut self, offset: u64, click: &LoggedClick) {
        let Some(domain) = click.domain.filter(|_| offset >= self.from && !click.code.is_empty()) else { return };
        let is_full = self.clicks.len() >= LINKS_MAX;
        match self.clicks.get_mut(&(domain, click.code.clone())) {
            Some(clicks) => *clicks += 1,
            None if is_full => {}
            None => {
                self.clicks.insert((domain, click.code.clone()), 1);
            }
        }
    }

    /// All records below `stored` are stored.
    pub(crate) fn take(&mut self, stored: u64) -> Vec<LiveClicks> {
        self.from = self.from.max(stored);
        self.clicks.drain().map(|((domain, code), clicks)| LiveClicks { domain, code, clicks }).collect()
    }
}
