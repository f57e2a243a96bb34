//! The service: what it is made of, and the contract it keeps. How it is granted windows of ids and
//! blocks of counters stands in `grant.rs` and `lease.rs`.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::api::{CodeBlock, Deadline, Ids};
use domain::limits::{CODE_BLOCK_MAX, IDS_BATCH_MAX};
use domain::port::{Clock, Entropy, LeaseStore};
use domain::snowflake::WORKER_MAX;
use domain::{Error, LinkId, Reason, Result};

use crate::grant::Prefetch;
use crate::lease::SeenLim;
use crate::metrics::Meters;
use crate::ranges::REST;
use crate::windows::Windows;

/// Shorter windows would be asked for more often than a store likes to be.
const WINDOW_MIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct Options {
    /// 0 to 1023, one for each process. Two processes on one number share its 4,096,000 ids a second
    /// and get in each other's way, but never repeat an id.
    pub worker: u16,
    /// How much time one grant covers. A restart leaves what is left of it unused.
    pub window: Duration,
    /// How far windows may run ahead of the clock, by demand beyond what the layout can give or by a
    /// clock set back.
    pub ahead_max: Duration,
    /// How long a raised `lim` must have been known before counters below it are granted: longer than
    /// any replica relies on an old one.
    pub rest: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { worker: 0, window: Duration::from_secs(10), ahead_max: Duration::from_mins(1), rest: REST }
    }
}

/// Hands out ids and counters; as many as wanted may run on one store.
pub struct Service {
    pub(crate) options: Options,
    pub(crate) store: Arc<dyn LeaseStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) first_key: [u8; 16],
    pub(crate) windows: Mutex<Windows>,
    /// Held while a window is asked for: one request at a time, and none for what is on its way.
    pub(crate) granting: tokio::sync::Mutex<Prefetch>,
    /// Held for one attempt at a lease: callers of one process never race each other.
    pub(crate) leasing: tokio::sync::Mutex<Option<SeenLim>>,
    pub(crate) clock_is_behind: AtomicBool,
    pub(crate) meters: Meters,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ids::Service").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Service {
    /// `first_key` becomes the key of the first range, if the store has none yet: see [`crate::first_range`].
    ///
    /// # Errors
    /// `Invalid` when an option is out of range.
    pub fn new(
        options: Options,
        store: Arc<dyn LeaseStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        first_key: [u8; 16],
    ) -> Result<Self> {
        if options.worker > WORKER_MAX {
            return Err(Error::new(Reason::InvalidField, format!("worker numbers are 0 to {WORKER_MAX}, not {}", options.worker)));
        }
        if options.window < WINDOW_MIN || options.ahead_max < options.window * 2 {
            return Err(Error::new(
                Reason::InvalidField,
                "a window of ids lasts at least 1 s and at most half of how far ids may run ahead",
            ));
        }
        Ok(Self {
            options,
            store,
            clock,
            entropy,
            first_key,
            windows: Mutex::default(),
            granting: tokio::sync::Mutex::default(),
            leasing: tokio::sync::Mutex::default(),
            clock_is_behind: AtomicBool::new(false),
            meters: Meters::new(),
        })
    }
}

#[async_trait]
impl Ids for Service {
    async fn next_ids(&self, count: u32, deadline: Deadline) -> Result<Vec<LinkId>> {
        check_count(count, IDS_BATCH_MAX)?;
        let ids = within(deadline, self.ids(count)).await?;
        self.prefetch_window(deadline).await;
        Ok(ids)
    }

    async fn lease_codes(&self, count: u32, deadline: Deadline) -> Result<CodeBlock> {
        check_count(count, CODE_BLOCK_MAX)?;
        within(deadline, self.lease(u64::from(count), deadline)).await
    }
}

fn check_count(count: u32, max: u32) -> Result<()> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    Err(Error::field("/count", Reason::InvalidField, format!("must be 1 to {max}")))
}

async fn within<T>(deadline: Deadline, work: impl Future<Output = Result<T>>) -> Result<T> {
    let time = deadline.remaining(Instant::now());
    let late = || Error::new(Reason::DeadlineExceeded, "the store did not answer in time");
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err(late()))
}
