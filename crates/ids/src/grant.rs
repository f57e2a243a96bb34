//! How windows of ids are granted: by moving the worker's row ahead.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::api::Deadline;
use domain::snowflake::{EPOCH_MS, IDS_PER_MS, MS_MAX, Parts, SEQUENCE_MAX};
use domain::{Error, LinkId, Reason, Result, UnixMs, snowflake};
use tokio::time::timeout;

use crate::retry::{Failure, Retries, granted, unavailable};
use crate::service::Service;
use crate::windows::{Position, Windows, position_of};

/// How long a call that already has its ids may be held up to fetch the next window.
const PREFETCH_MAX: Duration = Duration::from_millis(250);
/// After a failed prefetch, how long others are spared it.
const PREFETCH_REST: Duration = Duration::from_secs(1);
/// A window that would end further ahead than two windows is cut to this part, so that restarts in
/// quick succession do not run away from the clock.
const SHORT_WINDOW: u32 = 10;

/// When the next prefetch may be tried, after one that failed.
pub(crate) type Prefetch = Option<tokio::time::Instant>;

impl Service {
    /// Holds no lock while ids are written out: a batch costs as much to reserve as one.
    pub(crate) async fn ids(&self, count: u32) -> Result<Vec<LinkId>> {
        let mut ids = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        let mut left = u64::from(count);
        while left > 0 {
            let now = self.now();
            let taken = self.windows().take(left, now);
            if taken.is_empty() {
                self.wait_for_window().await?;
                continue;
            }
            self.note_ahead(Duration::from_millis(taken.end.saturating_sub(now) / IDS_PER_MS));
            left -= taken.end - taken.start;
            ids.extend(taken.filter_map(|position| self.id_at(position)));
        }
        self.meters.ids.increment(u64::from(count));
        Ok(ids)
    }

    /// Asks for the next window while the one in use is still good for half its time. Whoever calls
    /// has its ids already, so a failure here fails nobody: it is counted, and tried again later.
    pub(crate) async fn prefetch_window(&self, deadline: Deadline) {
        if !self.windows().is_low(self.now()) {
            return;
        }
        let Ok(mut retry_at) = self.granting.try_lock() else { return };
        let now = tokio::time::Instant::now();
        if retry_at.is_some_and(|at| now < at) || !self.windows().is_low(self.now()) {
            return;
        }
        let time = (deadline.remaining(Instant::now()) / 2).min(PREFETCH_MAX);
        let done = timeout(time, self.try_window()).await;
        *retry_at = if matches!(done, Ok(Ok(()))) { None } else { Some(now + PREFETCH_REST) };
    }

    /// Until a window is there, by whoever got it.
    async fn wait_for_window(&self) -> Result<()> {
        let mut retry_at = self.granting.lock().await;
        let mut retries = Retries::default();
        while self.windows().is_spent(self.now()) {
            if let Err(failure) = self.try_window().await {
                retries.after(failure, &*self.entropy).await?;
            }
        }
        *retry_at = None;
        Ok(())
    }

    /// Moves our worker's row ahead and adds the window this grants, if it does. The caller holds `granting`.
    async fn try_window(&self) -> Result<(), Failure> {
        let worker = self.options.worker;
        let old = self.store.worker_until(worker).await?;
        let now = self.clock.now();
        let from = UnixMs::new(old).max(now).max(UnixMs::new(EPOCH_MS));
        if from.since(now) > self.options.ahead_max {
            self.note_ahead(from.since(now));
            return Err(Failure::Final(unavailable(
                "no ids: the clock is far behind what this worker was granted; set it right or use another worker number",
            )));
        }
        let until = self.window_end(from, now);
        if until.get() - EPOCH_MS > i64::try_from(MS_MAX).unwrap_or(i64::MAX) {
            return Err(Failure::Final(Error::new(
                Reason::Unavailable,
                "no ids: the clock, or this worker's row, is beyond the year 2094",
            )));
        }
        granted(self.store.swap_worker(worker, old, until.get()).await, &self.meters.windows)?;
        self.windows().add(position_of(from)..position_of(until));
        Ok(())
    }

    fn window_end(&self, from: UnixMs, now: UnixMs) -> UnixMs {
        let window = self.options.window;
        let whole = from.saturating_add(window);
        if whole <= now.saturating_add(window * 2) { whole } else { from.saturating_add(window / SHORT_WINDOW) }
    }

    fn note_ahead(&self, ahead: Duration) {
        self.meters.ahead.set(ahead.as_secs_f64());
        let was_behind = self.clock_is_behind.load(Ordering::Relaxed);
        if !was_behind && ahead > self.options.window * 2 && !self.clock_is_behind.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                worker = self.options.worker,
                ahead_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX),
                "ids run ahead of the clock: it was set back, or more ids are asked for than one worker has"
            );
        } else if was_behind && ahead < self.options.window {
            self.clock_is_behind.store(false, Ordering::Relaxed);
        }
    }

    fn now(&self) -> Position {
        position_of(self.clock.now())
    }

    fn windows(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never `None`: windows lie within the layout, and the worker number was checked.
    fn id_at(&self, position: Position) -> Option<LinkId> {
        let ms = i64::try_from(position / IDS_PER_MS).ok()?;
        let sequence = u16::try_from(position % IDS_PER_MS).unwrap_or(SEQUENCE_MAX);
        snowflake::encode(Parts { at: UnixMs::new(EPOCH_MS + ms), worker: self.options.worker, sequence })
    }
}
