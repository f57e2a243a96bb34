//! How blocks of counters are leased, and how the key of the permutation is changed.

use std::time::{Duration, Instant};

use domain::api::{CodeBlock, Deadline};
use domain::limits::CODE_SPACE;
use domain::port::{CodeRange, Outcome, PortError, PortErrorKind};
use domain::{Error, Reason, Result};

use crate::ranges::{self, Known, Step};
use crate::retry::{Failure, Retries, granted};
use crate::service::Service;

/// A `lim` of the last range, and since when this process has known it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenLim {
    epoch: u32,
    lim: u64,
    since: tokio::time::Instant,
}

enum Progress {
    Granted(CodeBlock),
    /// The row moved on without a grant.
    Moved,
    /// Counters are there, but not open for so long.
    Resting(Duration),
}

impl Service {
    pub(crate) async fn lease(&self, count: u64, deadline: Deadline) -> Result<CodeBlock> {
        let mut retries = Retries::default();
        loop {
            match self.try_lease(count).await {
                Ok(Progress::Granted(block)) => return Ok(block),
                Ok(Progress::Moved) => {}
                Ok(Progress::Resting(rest)) if rest < deadline.remaining(Instant::now()) => tokio::time::sleep(rest).await,
                Ok(Progress::Resting(rest)) => {
                    return Err(Error::new(Reason::Unavailable, "no codes are open yet; try again").with_retry_after(rest));
                }
                Err(failure) => retries.after(failure, &*self.entropy).await?,
            }
        }
    }

    /// Begins a new key epoch: from now on codes are made with `key`. Old codes stay what they are.
    /// Answers the epoch's number; asked twice with the newest key, it changes nothing.
    ///
    /// # Errors
    /// `Invalid` when an older epoch used the key; `Unavailable` when the store does not answer.
    pub async fn rotate_key(&self, key: [u8; 16]) -> Result<u32> {
        let mut retries = Retries::default();
        loop {
            match self.try_rotate(key).await {
                Ok(epoch) => return Ok(epoch),
                Err(failure) => retries.after(failure, &*self.entropy).await?,
            }
        }
    }

    async fn try_rotate(&self, key: [u8; 16]) -> Result<u32, Failure> {
        let (last, older) = self.ranges().await?;
        if last.key == key {
            return Ok(last.epoch);
        }
        if older.iter().any(|range| range.key == key) {
            return Err(Failure::Final(Error::new(Reason::InvalidField, "this key was used before: give a fresh one")));
        }
        let known = if self.store.bounds_are_immediate() { Known::ToAll } else { Known::NotYet };
        let new = ranges::following_range(&last, key, known);
        if !self.store.add_range(new).await? {
            return Err(Failure::Race);
        }
        tracing::info!(epoch = new.epoch, "codes are made with a new key from now on");
        Ok(new.epoch)
    }

    async fn try_lease(&self, count: u64) -> Result<Progress, Failure> {
        let mut seen = self.leasing.lock().await;
        let (last, older) = self.ranges().await?;
        let rest = self.rest_left(&mut seen, &last);
        let known = if rest.is_zero() { Known::ToAll } else { Known::NotYet };
        let step = ranges::step(&last, count, known);
        // While the last epoch is too young to grant, the one before it still can.
        let from_older = || older.iter().rev().find_map(|row| Some((*row, ranges::grant_open(row, count)?)));
        if step.row != last {
            self.swap(&last, step).await
        } else if let Some((row, step)) = from_older() {
            self.swap(&row, step).await
        } else if ranges::is_exhausted(&last, count) {
            let detail = "all codes of seven characters are used up: begin a new key epoch, or use a strategy with longer codes";
            Err(Failure::Final(Error::new(Reason::Unavailable, detail)))
        } else {
            Ok(Progress::Resting(rest))
        }
    }

    async fn swap(&self, row: &CodeRange, step: Step) -> Result<Progress, Failure> {
        granted(self.store.swap_range(row, &step.row).await, &self.meters.blocks)?;
        self.meters.counters_left.set(gauge(CODE_SPACE.saturating_sub(step.row.next)));
        let Some(counters) = step.granted else { return Ok(Progress::Moved) };
        self.meters.counters.increment(counters.end - counters.start);
        Ok(Progress::Granted(CodeBlock { epoch: row.epoch, key: row.key, start: counters.start, end: counters.end }))
    }

    /// How much longer the `lim` of `row` must rest before it is known to all. Measured from the end of
    /// the read that first showed it to us: it was in the store before that.
    fn rest_left(&self, seen: &mut Option<SeenLim>, row: &CodeRange) -> Duration {
        if self.store.bounds_are_immediate() {
            return Duration::ZERO;
        }
        let now = tokio::time::Instant::now();
        let same = seen.filter(|seen| seen.epoch == row.epoch && seen.lim == row.lim);
        let known = same.unwrap_or(SeenLim { epoch: row.epoch, lim: row.lim, since: now });
        *seen = Some(known);
        self.options.rest.saturating_sub(now - known.since)
    }

    /// The last range and those before it; the first one is made if there was none.
    async fn ranges(&self) -> Result<(CodeRange, Vec<CodeRange>), Failure> {
        let mut known = self.store.ranges().await?;
        if known.is_empty() {
            self.store.add_range(ranges::first_range_with(self.first_key)).await?;
            known = self.store.ranges().await?;
        }
        let absent = || PortError::new(PortErrorKind::Corrupt, "ids: read back the first range", Outcome::NotApplied);
        let last = known.pop().ok_or_else(absent)?;
        Ok((last, known))
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most 62^7, which is below 2^53")]
fn gauge(counters: u64) -> f64 {
    counters as f64
}
