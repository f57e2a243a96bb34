//! What a store needs after it was put back from an older copy: to begin beyond everything that was handed out since.
//!
//! A copy remembers where its counters stood. Whatever was leased after it was made is not in it, and would be leased again:
//! links that somebody has printed would lead elsewhere. Nothing outside the store says how far the counters went, but how
//! fast they can go is a promise of `lease.rs`: at most `RAISE` of them are opened in each `REST`, over all processes
//! (419,430 a second; a single process on `SQLite` does not rest, but has to write each link to its disk, which is a tenth of
//! that at best). So the age of the copy bounds them. The same key epoch goes on beyond that bound: one key makes no code of two counters,
//! where a fresh key would meet the lost codes by chance.

use std::sync::Arc;
use std::time::Duration;

use domain::UnixMs;
use domain::limits::CODE_SPACE;
use domain::port::{Clock, CodeRange, LeaseStore, PortError, PortErrorKind};
use domain::snowflake::WORKER_MAX;
use tokio::task::JoinSet;

use crate::ranges::{RAISE, REST};

/// By how much the clock that dated the copy and the one that is read now may differ.
const CLOCK_DOUBT: Duration = Duration::from_hours(1);
/// How far beyond the clock a window of ids may reach that was granted before the copy was put back: [`crate::Options::ahead_max`].
const AHEAD: Duration = Duration::from_mins(1);
/// Worker rows moved at once.
const CONCURRENCY: usize = 16;
/// How often a row is tried that somebody else changes meanwhile.
const ATTEMPTS: usize = 5;

/// What was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub epoch: u32,
    /// Where the copy stood, and where codes go on.
    pub from: u64,
    pub to: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the store does not answer: {0}")]
    Store(#[from] PortError),
    #[error("the copy is from the future: the clock here, or the time that was given, is wrong")]
    Future,
    #[error("a row is being changed by a running process: stop all of them first")]
    Busy,
    #[error(
        "a copy {age_h} h old may have lost up to {counters} codes, more than there are left beyond it; \
         if fewer were made, say how many a second at most (--codes-per-s)"
    )]
    TooOld { age_h: u64, counters: u64 },
}

/// How many counters may have been leased at most since the copy was begun, beyond the `lim` it holds. `per_s`: what the
/// operator knows, where it is less than what is possible.
fn leased_since(age: Duration, per_s: Option<u64>) -> u64 {
    let age = age.saturating_add(CLOCK_DOUBT);
    let rests = u64::try_from(age.as_millis() / REST.as_millis()).unwrap_or(u64::MAX).saturating_add(2);
    let possible = rests.saturating_mul(RAISE);
    per_s.map_or(possible, |per_s| possible.min(age.as_secs().saturating_add(1).saturating_mul(per_s)))
}

/// The last epoch goes on beyond all that can have been leased of it. Nothing of it is open at once: whoever proves by the
/// old `lim` has time to learn the new one.
fn beyond(row: &CodeRange, lost: u64) -> Option<CodeRange> {
    let next = row.lim.checked_add(lost)?;
    let lim = next.checked_add(RAISE).filter(|lim| *lim <= CODE_SPACE)?;
    Some(CodeRange { next, open: next, lim, ..*row })
}

/// Of older epochs nothing more is granted: what was open may be gone, and none of it is missed.
fn closed(row: &CodeRange) -> CodeRange {
    CodeRange { next: row.open, ..*row }
}

/// Moves code ranges and worker windows beyond what was handed out after the copy that `store` was put back from was begun.
/// May be repeated: each time it moves on further. No process may be making links meanwhile.
///
/// # Errors
/// See [`Error`]. Rows that were moved before an error stay so, which is harmless.
pub async fn move_beyond(
    store: Arc<dyn LeaseStore>,
    copied_at: UnixMs,
    clock: &dyn Clock,
    per_s: Option<u64>,
) -> Result<Vec<Moved>, Error> {
    // Windows that were granted in the last second of the processes before may reach this much further.
    let pause = tokio::time::Instant::now() + Duration::from_secs(1);
    let began = clock.now();
    if copied_at > began.saturating_add(CLOCK_DOUBT) {
        return Err(Error::Future);
    }
    let age = began.since(copied_at);
    let lost = leased_since(age, per_s);
    let mut moved = Vec::new();
    let epochs = store.ranges().await?.len();
    for index in 0..epochs {
        let is_last = index + 1 == epochs;
        moved.extend(move_range(&*store, index, is_last, (age, lost)).await?);
    }
    tokio::time::sleep_until(pause).await;
    move_workers(store, clock.now().saturating_add(AHEAD)).await?;
    Ok(moved)
}

async fn move_range(store: &dyn LeaseStore, index: usize, is_last: bool, (age, lost): (Duration, u64)) -> Result<Option<Moved>, Error> {
    for _ in 0..ATTEMPTS {
        let Some(row) = store.ranges().await?.get(index).copied() else { return Ok(None) };
        let new =
            if is_last { beyond(&row, lost).ok_or(Error::TooOld { age_h: age.as_secs() / 3_600, counters: lost })? } else { closed(&row) };
        // An unknown outcome is read again: once more beyond is as good.
        match store.swap_range(&row, &new).await {
            Ok(true) => return Ok(is_last.then_some(Moved { epoch: row.epoch, from: row.next, to: new.next })),
            Ok(false) => {}
            Err(error) if error.kind == PortErrorKind::Unavailable => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Busy)
}

/// Every worker, for any may have been at work whose row the copy does not have.
async fn move_workers(store: Arc<dyn LeaseStore>, until: UnixMs) -> Result<(), Error> {
    let mut tasks = JoinSet::new();
    for worker in 0..=WORKER_MAX {
        if tasks.len() >= CONCURRENCY {
            joined(tasks.join_next().await)?;
        }
        tasks.spawn(move_worker(store.clone(), worker, until.get()));
    }
    while let Some(ended) = tasks.join_next().await {
        joined(Some(ended))?;
    }
    Ok(())
}

fn joined(ended: Option<Result<Result<(), Error>, tokio::task::JoinError>>) -> Result<(), Error> {
    // A task that panicked has moved nothing.
    ended.unwrap_or(Ok(Ok(()))).unwrap_or(Err(Error::Busy))
}

async fn move_worker(store: Arc<dyn LeaseStore>, worker: u16, until: i64) -> Result<(), Error> {
    let mut last = Error::Busy;
    for _ in 0..ATTEMPTS {
        let old = match store.worker_until(worker).await {
            Ok(old) => old,
            Err(error) => {
                last = error.into();
                continue;
            }
        };
        if old >= until {
            return Ok(());
        }
        match store.swap_worker(worker, old, until).await {
            Ok(true) => return Ok(()),
            Ok(false) => last = Error::Busy,
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: CodeRange = CodeRange { epoch: 0, key: [1; 16], next: 10, open: 20, lim: 30 };

    #[test]
    fn as_many_as_can_have_been_leased_and_no_fewer() {
        // 5 s open one raise; two more and the clocks' doubt come on top.
        let raises = |age: u64| leased_since(Duration::from_secs(age), None) / RAISE;
        assert_eq!(raises(0), 3_600 / 5 + 2);
        assert_eq!(raises(86_400), (86_400 + 3_600) / 5 + 2);
        assert_eq!(leased_since(Duration::from_secs(99), Some(10)), (3_600 + 99 + 1) * 10);
        assert_eq!(leased_since(Duration::ZERO, Some(u64::MAX)), leased_since(Duration::ZERO, None), "never more than is possible");
    }

    #[test]
    fn the_last_epoch_goes_on_beyond_and_opens_nothing_at_once() {
        assert_eq!(beyond(&ROW, 100), Some(CodeRange { next: 130, open: 130, lim: 130 + RAISE, ..ROW }));
        assert_eq!(beyond(&ROW, CODE_SPACE), None);
        assert_eq!(beyond(&ROW, u64::MAX), None);
        assert_eq!(closed(&ROW), CodeRange { next: 20, ..ROW });
    }
}
