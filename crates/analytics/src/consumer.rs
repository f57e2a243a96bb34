//! The consumer: reads one partition of the click log, counts it chunk by chunk, and stores the rows.
//!
//! A start, a restart and the recovery from any failure of the log are the same thing: read the open chunk
//! again from its start. A failure of the store is waited out with the rows in memory, without reading on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chassis::trace;
use chassis::{Lifecycle, OnError, Stage};
use domain::UnixMs;
use domain::limits::CLICK_CHUNK_LEN;
use domain::port::{ClickBatch, ClickSource, Clock, LogPosition, PortError, PortResult, StatsStore};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fold::Fold;
use crate::live::{Adding, Live};
use crate::metrics as names;
use crate::traced::{Counting, Traced};

/// What is done when a consumer is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// All that was recorded is counted first: nobody else will.
    CountTheRest,
    /// What is counted is stored; somebody else counts the rest.
    StoreWhatIsCounted,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub at_end: AtEnd,
    /// Clicks of one read.
    pub batch_len_max: usize,
    /// Between two flushes; the first click after a pause is flushed at once.
    pub flush_interval: Duration,
    /// The same above `dirty_len_busy` rows: counting on for longer saves writes of the same rows.
    pub flush_interval_busy: Duration,
    pub dirty_len_busy: usize,
    /// Rows of one call of the store.
    pub apply_len_max: usize,
    /// Pause after the first failure, doubled up to the second.
    pub retry_min: Duration,
    pub retry_max: Duration,
    /// How long the drain waits for records that were written but cannot be read yet.
    pub drain_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            at_end: AtEnd::CountTheRest,
            batch_len_max: 4_096,
            flush_interval: Duration::from_secs(1),
            flush_interval_busy: Duration::from_secs(5),
            dirty_len_busy: 10_000,
            apply_len_max: 8_192,
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(10),
            drain_wait: Duration::from_secs(2),
        }
    }
}

pub struct Service<S> {
    source: S,
    store: Arc<dyn StatsStore>,
    clock: Arc<dyn Clock>,
    options: Options,
    progress: watch::Sender<u64>,
    live: Option<Live>,
    handles: Metrics,
}

/// What others may know of a running consumer.
#[derive(Clone, Debug)]
pub struct Handle(watch::Receiver<u64>);

impl Handle {
    /// All records below this offset are counted and stored.
    pub fn progress(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits until all records below `offset` are counted and stored; `false` when the consumer has ended before.
    pub async fn reached(&mut self, offset: u64) -> bool {
        self.0.wait_for(|progress| *progress >= offset).await.is_ok()
    }
}

struct Metrics {
    consumed: ::metrics::Counter,
    stored: ::metrics::Counter,
    skipped: ::metrics::Counter,
    lag: ::metrics::Gauge,
    unstored: ::metrics::Gauge,
    event_age: ::metrics::Histogram,
    flush: ::metrics::Histogram,
    parts: ::metrics::Counter,
    open_rows: ::metrics::Gauge,
    source_errors: ::metrics::Counter,
    store_errors: ::metrics::Counter,
}

impl Drop for Metrics {
    /// Of a partition that nobody reads here there is nothing to show.
    fn drop(&mut self) {
        self.lag.set(0.0);
        self.unstored.set(0.0);
        self.open_rows.set(0.0);
    }
}

impl Metrics {
    fn new(partition: u32) -> Self {
        let partition = partition.to_string();
        Self {
            consumed: ::metrics::counter!(names::CONSUMED),
            stored: ::metrics::counter!(names::STORED),
            skipped: ::metrics::counter!(names::SKIPPED),
            lag: ::metrics::gauge!(names::LAG, "partition" => partition.clone()),
            unstored: ::metrics::gauge!(names::UNSTORED, "partition" => partition.clone()),
            event_age: ::metrics::histogram!(names::EVENT_AGE),
            flush: ::metrics::histogram!(names::FLUSH),
            parts: ::metrics::counter!(names::PARTS),
            open_rows: ::metrics::gauge!(names::OPEN_ROWS, "partition" => partition),
            source_errors: ::metrics::counter!(names::ERRORS, "what" => "source"),
            store_errors: ::metrics::counter!(names::ERRORS, "what" => "store"),
        }
    }
}

/// What is known between two reads.
struct Session {
    fold: Fold,
    /// The offset of the next record to count.
    next: u64,
    /// Below it everything is stored.
    stored: u64,
    newest: Option<UnixMs>,
    last_flush: Option<Instant>,
    live: Adding,
    traced: Traced,
}

impl Session {
    fn has_unstored(&self) -> bool {
        self.next > self.stored
    }
}

impl<S: ClickSource> Service<S> {
    pub fn new(source: S, store: Arc<dyn StatsStore>, clock: Arc<dyn Clock>, options: Options) -> Self {
        let handles = Metrics::new(source.partition());
        Self { source, store, clock, options, progress: watch::Sender::new(0), live: None, handles }
    }

    /// Adds what is counted to live counts as well.
    #[must_use]
    pub fn with_live(mut self, live: Live) -> Self {
        self.live = Some(live);
        self
    }

    pub(crate) fn partition(&self) -> u32 {
        self.source.partition()
    }

    pub fn handle(&self) -> Handle {
        Handle(self.progress.subscribe())
    }

    /// Runs until background tasks drain; then counts what is recorded, stores it, and ends.
    pub fn spawn(self, lifecycle: &Lifecycle) -> Handle {
        let handle = self.handle();
        let draining = lifecycle.draining(Stage::Background);
        lifecycle.spawn("click consumer", Stage::Background, OnError::Drain, async move {
            self.run(draining).await;
            Ok::<_, Infallible>(())
        });
        handle
    }

    /// Counts until `draining`, then what is left, and stores it.
    pub async fn run(mut self, draining: CancellationToken) {
        let mut pause = self.options.retry_min;
        loop {
            let begun = tokio::select! {
                biased;
                () = given_up(&draining, self.options.at_end) => return,
                begun = self.begin() => begun,
            };
            let failed = match begun {
                Ok(mut session) => {
                    pause = self.options.retry_min;
                    self.consume(&mut session, &draining).await
                }
                Err(error) => Err(error),
            };
            let Err(error) = failed else { return };
            if draining.is_cancelled() {
                tracing::debug!(%error, partition = self.source.partition(), "ended before all that was counted was stored; it is counted again");
                return;
            }
            self.handles.source_errors.increment(1);
            let partition = self.source.partition();
            tracing::warn!(%error, source = error.source.as_deref().map(tracing::field::display), partition, "clicks cannot be read, trying again");
            // A process that ends does not wait: what is not counted is in the log, and counted at the next start.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = draining.cancelled() => return,
            }
            pause = (pause * 2).min(self.options.retry_max);
        }
    }

    /// Goes to the start of the open chunk.
    async fn begin(&mut self) -> PortResult<Session> {
        let progress = self.store.progress(self.source.log(), self.source.partition()).await?;
        let chunk_start = progress.unwrap_or(0) / CLICK_CHUNK_LEN * CLICK_CHUNK_LEN;
        let start = self.source.seek(chunk_start).await?;
        if start > chunk_start {
            tracing::info!(
                wanted = chunk_start,
                start,
                "the log no longer has the start of the open chunk; rows of its time stay as they are"
            );
        }
        let stored = progress.unwrap_or(0).max(start);
        self.progress.send_replace(progress.unwrap_or(0));
        Ok(Session {
            fold: Fold::new(start, progress),
            next: start,
            stored,
            newest: None,
            last_flush: None,
            live: Adding::beyond(progress.unwrap_or(0)),
            traced: Traced::default(),
        })
    }

    async fn consume(&mut self, session: &mut Session, draining: &CancellationToken) -> PortResult<()> {
        loop {
            let due = self.flush_due(session);
            let batch = tokio::select! {
                biased;
                () = draining.cancelled() => return self.drain(session, draining).await,
                () = sleep_until(due) => None,
                batch = self.source.next_batch(self.options.batch_len_max) => Some(batch?),
            };
            if let Some(batch) = batch {
                self.count(session, &batch, draining).await?;
            }
            if self.flush_due(session).is_some_and(|due| due <= Instant::now()) {
                self.flush(session, draining).await?;
            }
        }
    }

    /// When what is counted is to be stored; `None` while there is nothing.
    fn flush_due(&self, session: &Session) -> Option<Instant> {
        let busy = session.fold.dirty_len() > self.options.dirty_len_busy;
        let interval = if busy { self.options.flush_interval_busy } else { self.options.flush_interval };
        let due = session.last_flush.map_or_else(Instant::now, |last| last + interval);
        session.has_unstored().then_some(due)
    }

    async fn count(&mut self, session: &mut Session, batch: &ClickBatch, draining: &CancellationToken) -> PortResult<()> {
        // What is stored already is only read again to fill the open chunk.
        for (_, trace) in batch.traces.iter().filter(|(offset, _)| *offset >= session.stored) {
            session.traced.add(*trace);
        }
        for (offset, click) in batch.offsets.iter().zip(&batch.clicks) {
            self.open_chunk(session, *offset, draining).await?;
            session.fold.count(*offset, click);
            if self.live.is_some() {
                session.live.count(*offset, click);
            }
            session.next = offset + 1;
            session.newest = session.newest.max(Some(click.at));
        }
        self.open_chunk(session, batch.next_offset, draining).await?;
        session.next = session.next.max(batch.next_offset);
        let counted = u64::try_from(batch.clicks.len()).unwrap_or(u64::MAX);
        self.handles.consumed.increment(counted);
        self.handles.skipped.increment(batch.next_offset.saturating_sub(batch.start.offset).saturating_sub(counted));
        self.handles.open_rows.set(gauge(session.fold.len()));
        self.handles.lag.set(gauge(usize::try_from(self.source.lag()).unwrap_or(usize::MAX)));
        self.handles.unstored.set(gauge(usize::try_from(session.next.saturating_sub(session.stored)).unwrap_or(usize::MAX)));
        Ok(())
    }

    /// Closes the chunk, if `offset` lies beyond it.
    async fn open_chunk(&mut self, session: &mut Session, offset: u64, draining: &CancellationToken) -> PortResult<()> {
        if offset < session.fold.end() {
            return Ok(());
        }
        session.next = session.next.max(session.fold.end());
        if session.has_unstored() {
            self.flush(session, draining).await?;
        }
        let before = std::mem::replace(&mut session.fold, Fold::new(0, None));
        session.fold = Fold::after(before, offset / CLICK_CHUNK_LEN * CLICK_CHUNK_LEN, Some(session.stored));
        Ok(())
    }

    /// Stores the rows, then says to the log what is counted. Returns when it is done.
    async fn flush(&mut self, session: &mut Session, draining: &CancellationToken) -> PortResult<()> {
        let counting = Counting { partition: self.source.partition(), clicks: session.next - session.stored };
        let Some(span) = session.traced.take(&counting) else { return self.store_rows(session, draining).await };
        let stored = trace::in_scope(span.scope(), self.store_rows(session, draining)).await;
        span.end(stored.as_ref().err().map(|_| "not_stored"));
        stored
    }

    async fn store_rows(&mut self, session: &mut Session, draining: &CancellationToken) -> PortResult<()> {
        let began = Instant::now();
        let rows = session.fold.sort_dirty();
        let mut done = 0;
        loop {
            let parts = session.fold.parts(done, self.options.apply_len_max);
            done += parts.len();
            let is_last = done >= rows || parts.is_empty();
            // Only the last call moves the progress: it must never be ahead of a row.
            let offset = if is_last { session.next } else { session.stored };
            self.handles.parts.increment(u64::try_from(parts.len()).unwrap_or(u64::MAX));
            self.apply(parts.into(), offset, draining).await?;
            if is_last {
                break;
            }
        }
        self.handles.stored.increment(session.next.saturating_sub(session.stored));
        self.handles.unstored.set(0.0);
        session.stored = session.next;
        if let Some(live) = &self.live {
            live.add(session.live.take(session.stored));
        }
        session.fold.stored(session.stored);
        session.last_flush = Some(began);
        self.handles.flush.record(began.elapsed());
        if let Some(newest) = session.newest.take() {
            self.handles.event_age.record(self.clock.now().since(newest));
        }
        self.progress.send_replace(session.stored);
        self.source.commit(session.stored).await
    }

    /// Tries until it succeeds; once the process ends, one failure is enough: the log has it all.
    async fn apply(&self, parts: Arc<[domain::port::Part]>, offset: u64, draining: &CancellationToken) -> PortResult<()> {
        let position = LogPosition { log: self.source.log(), partition: self.source.partition(), offset };
        let (mut pause, mut has_failed) = (self.options.retry_min, false);
        loop {
            let Err(error) = self.store.apply(parts.clone(), position).await else {
                if has_failed {
                    tracing::info!(partition = position.partition, "counted clicks are stored again");
                }
                return Ok(());
            };
            self.handles.store_errors.increment(1);
            if draining.is_cancelled() {
                return Err(error);
            }
            if !std::mem::replace(&mut has_failed, true) {
                log_store_error(&error);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = draining.cancelled() => {}
            }
            pause = (pause * 2).min(self.options.retry_max);
        }
    }

    /// Counts all that was recorded before the intake ended, if nobody else will. What the log has not synced in time is counted
    /// at the next start.
    async fn drain(&mut self, session: &mut Session, draining: &CancellationToken) -> PortResult<()> {
        while self.options.at_end == AtEnd::CountTheRest && self.source.lag() > 0 {
            let batch = tokio::time::timeout(self.options.drain_wait, self.source.next_batch(self.options.batch_len_max)).await;
            let Ok(batch) = batch else {
                tracing::warn!(left = self.source.lag(), "clicks of the log cannot be read in time; they are counted at the next start");
                break;
            };
            self.count(session, &batch?, draining).await?;
        }
        if session.has_unstored() {
            self.flush(session, draining).await?;
        }
        Ok(())
    }
}

fn log_store_error(error: &PortError) {
    tracing::warn!(%error, source = error.source.as_deref().map(tracing::field::display), "counted clicks cannot be stored; said once, tried until it works");
}

/// A consumer that leaves the rest to others does not even begin when it is told to end.
async fn given_up(draining: &CancellationToken, at_end: AtEnd) {
    match at_end {
        AtEnd::CountTheRest => std::future::pending().await,
        AtEnd::StoreWhatIsCounted => draining.cancelled().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge needs no 53 bits")]
fn gauge(value: usize) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests;
