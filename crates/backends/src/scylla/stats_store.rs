//! Counted clicks. Each part is one row, written by one plain insert whose timestamp says how much of its chunk is
//! counted in it: replays, zombies and writes that overtake each other change nothing. There are no counters, no
//! transactions and no conditions; what is known of days as a whole is in `stats_store/marks.rs`.

mod expire;
mod marks;
mod memo;
mod read;
mod rollups;
mod row;
mod statements;
mod top;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::port::{Clock, DirtyDay, Entropy, LogId, LogPosition, Part, PortResult, Rollup, RollupUnit, StatsStore as Port, Tally, Want};
use domain::{Counts, LinkId, Slot, Subject, UnixMs};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use self::marks::{Cursor, List};
use self::memo::{Memo, TopDue};
use self::statements::Statements;
use super::value::{count, id, to_count};
use super::{OpenError, Scylla};
use crate::metrics::CQL_BAD_ROWS;
use crate::stats_codec;

/// Rows of one call under way at a time.
const WRITES: usize = 64;
/// How long what is known of sealed days may be old, for clicks of these days, and for those of long ago.
const SEAL_AGE: Duration = Duration::from_mins(1);
const SEAL_AGE_LATE: Duration = Duration::from_secs(1);
/// Clicks of long ago.
const LATE: Duration = Duration::from_hours(7 * 24);

/// What timestamp a part is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::manual_non_exhaustive, reason = "the hidden one is for tests that show why the other is right")]
pub enum PartStamps {
    /// The start of the slot, plus how much of the chunk is counted.
    Counted,
    /// The time of the write: wrong, and here to prove that tests notice.
    #[doc(hidden)]
    WallClock,
}

pub struct StatsStore {
    cql: Scylla,
    clock: Arc<dyn Clock>,
    statements: Statements,
    part_stamps: PartStamps,
    /// This process, among those that mark days.
    marker: i64,
    last_stamp: AtomicI64,
    memo: Mutex<Memo>,
    cursor: Mutex<Cursor>,
    seal: Mutex<Seal>,
    said_damaged: AtomicBool,
}

/// Parts of days before it are not taken any more.
#[derive(Clone, Copy, Debug)]
struct Seal {
    before: u32,
    read_at: Option<Instant>,
}

/// The keyspace must have been brought up to date by [`super::migrate`].
pub async fn open_stats(
    cql: &Scylla,
    clock: Arc<dyn Clock>,
    entropy: &dyn Entropy,
    stamps: PartStamps,
) -> Result<Arc<StatsStore>, OpenError> {
    Ok(Arc::new(StatsStore {
        statements: Statements::prepare(cql).await?,
        cql: cql.clone(),
        clock,
        part_stamps: stamps,
        marker: entropy.u64().cast_signed(),
        last_stamp: AtomicI64::new(0),
        memo: Mutex::default(),
        cursor: Mutex::default(),
        seal: Mutex::new(Seal { before: 0, read_at: None }),
        said_damaged: AtomicBool::new(false),
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StatsStore {
    /// Later than all stamps of this process before, and about the time in microseconds.
    fn stamp(&self) -> i64 {
        let now = self.clock.now().get().saturating_mul(1_000);
        let step = |last: i64| Some(now.max(last.saturating_add(1)));
        let last = self.last_stamp.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step).unwrap_or_else(|last| last);
        now.max(last.saturating_add(1))
    }

    fn cursor(&self) -> Cursor {
        lock(&self.cursor).clone()
    }

    fn set_cursor(&self, cursor: Cursor) {
        *lock(&self.cursor) = cursor;
    }

    /// A value that cannot be read costs itself, is counted, and said once.
    fn damaged(&self, what: &'static str) {
        ::metrics::counter!(CQL_BAD_ROWS, "op" => "cql: statistics").increment(1);
        if !self.said_damaged.swap(true, Ordering::Relaxed) {
            tracing::error!(store = %self.cql.url(), what, "statistics hold something that cannot be read; it is passed over, here and elsewhere");
        }
    }

    async fn sealed_before(&self, oldest: u32) -> PortResult<u32> {
        let known = *lock(&self.seal);
        let late = Slot::at(self.clock.now().saturating_sub(LATE)).day();
        let age_max = if oldest < late { SEAL_AGE_LATE } else { SEAL_AGE };
        let began = Instant::now();
        if known.read_at.is_some_and(|at| began.duration_since(at) < age_max) {
            return Ok(known.before);
        }
        let rows = self.cql.rows(&self.statements.setting, ("sealed_before",)).await?;
        let before = rows.first(|row| to_count(row.need("value")?))?.unwrap_or(0);
        Ok(self.knows_sealed(u32::try_from(before).unwrap_or(u32::MAX), began))
    }

    fn knows_sealed(&self, before: u32, read_at: Instant) -> u32 {
        let mut seal = lock(&self.seal);
        *seal = Seal { before: seal.before.max(before), read_at: Some(read_at) };
        seal.before
    }

    async fn write_parts(&self, parts: &[Part], position: &LogPosition) -> PortResult<()> {
        let source = &row::source(position);
        // By index: a closure over references is not general enough for a future that moves between threads.
        let writes = (0..parts.len()).map(|at| async move {
            let part = &parts[at];
            let due = lock(&self.memo).top_due(part);
            self.write_part(part, source).await?;
            match due {
                Some(due) => self.write_top(part, due).await,
                None => Ok(()),
            }
        });
        let written = stream::iter(writes).buffer_unordered(WRITES).try_collect::<()>().await;
        if written.is_err() {
            let mut memo = lock(&self.memo);
            for part in parts {
                if let Subject::Link(link) = part.subject {
                    memo.top_failed(part.slot.day(), link);
                }
            }
        }
        written
    }

    async fn write_part(&self, part: &Part, source: &[u8]) -> PortResult<()> {
        let (subject, tally) = (row::subject_key(&part.subject), &part.tally);
        let key = (subject.as_str(), row::span(&part.subject, part.slot), row::int(part.slot.get()), source, count(part.chunk));
        let dimensions = stats_codec::encode(&tally.dimensions, tally.counts.clicks);
        let (clicks, humans) = (count(tally.counts.clicks), count(tally.counts.humans));
        let at = match self.part_stamps {
            PartStamps::Counted => row::part_timestamp(part),
            PartStamps::WallClock => self.stamp(),
        };
        let upto = i64::from(part.upto);
        let (visitors, dimensions) = (tally.visitors.as_slice(), dimensions.as_slice());
        let statements = &self.statements;
        if let Some(owner) = &part.owner {
            let values = (key.0, key.1, key.2, key.3, key.4, upto, clicks, humans, dimensions, visitors, owner.as_str(), at);
            self.cql.write(&statements.put_part_of_link, values).await
        } else {
            let values = (key.0, key.1, key.2, key.3, key.4, upto, clicks, humans, dimensions, visitors, at);
            self.cql.write(&statements.put_part, values).await
        }
    }

    /// The link is listed among those clicked that day; how often, its roll-up will say.
    async fn write_top(&self, part: &Part, due: TopDue) -> PortResult<()> {
        let (Subject::Link(link), Some(owner)) = (&part.subject, &part.owner) else { return Ok(()) };
        let (owner, day) = (row::owner_key(owner), part.slot.day());
        // Below the timestamp of any count, which it must not hide.
        let at = row::rollup_timestamp(RollupUnit::Day, day, 0);
        for (wanted, whose) in [(due.of_owner, owner.as_str()), (due.of_everyone, "*")] {
            if wanted {
                self.cql.write(&self.statements.list_top, (whose, row::int(day), due.class, id(*link), at)).await?;
            }
        }
        Ok(())
    }

    /// Marks what is not marked yet. What runs still cannot be summed up, so one mark lasts until its day has ended.
    async fn mark_parts(&self, parts: &[Part]) -> PortResult<()> {
        let days: BTreeSet<(u32, &Subject)> = parts.iter().map(|part| (part.slot.day(), &part.subject)).collect();
        let today = Slot::at(self.clock.now()).day();
        let due: Vec<(u32, Subject)> = {
            let memo = lock(&self.memo);
            days.into_iter()
                .filter(|(day, subject)| *day < today || !memo.is_marked(*day, subject))
                .map(|(day, subject)| (day, subject.clone()))
                .collect()
        };
        self.mark(List::Marks, &due).await?;
        let mut memo = lock(&self.memo);
        for (day, subject) in due.iter().filter(|(day, _)| *day >= today) {
            memo.marked(*day, subject);
        }
        Ok(())
    }

    async fn apply_parts(&self, mut parts: Arc<[Part]>, position: LogPosition) -> PortResult<()> {
        if let Some(oldest) = parts.iter().map(|part| part.slot.day()).min() {
            let sealed = self.sealed_before(oldest).await?;
            if parts.iter().any(|part| part.slot.day() < sealed) {
                parts = parts.iter().filter(|part| part.slot.day() >= sealed).cloned().collect();
            }
        }
        self.write_parts(&parts, &position).await?;
        self.mark_parts(&parts).await?;
        // The timestamp of the offset: the progress never moves back, whoever is late.
        let (log, part) = (position.log.0.to_vec(), row::int(position.partition));
        let next = count(position.offset);
        self.cql.write(&self.statements.put_progress, (log, part, next, next)).await
    }
}

#[async_trait]
impl Port for StatsStore {
    async fn apply(&self, parts: Arc<[Part]>, position: LogPosition) -> PortResult<()> {
        self.apply_parts(parts, position).await
    }

    async fn progress(&self, log: LogId, partition: u32) -> PortResult<Option<u64>> {
        let rows = self.cql.rows(&self.statements.progress, (log.0.to_vec(), row::int(partition))).await?;
        rows.first(|row| to_count(row.need("next")?))
    }

    async fn slots(&self, subject: &Subject, from: Slot, to: Slot, want: Want) -> PortResult<Vec<(Slot, Tally)>> {
        self.read_slots(subject, from, to, want).await
    }

    async fn rollups(&self, subject: &Subject, unit: RollupUnit, from: u32, to: u32, want: Want) -> PortResult<Vec<(u32, Tally)>> {
        self.read_rollups(subject, unit, from..to, want).await
    }

    async fn dirty_days(&self, before_day: u32, limit: usize) -> PortResult<Vec<DirtyDay>> {
        self.find_dirty(before_day, limit).await
    }

    async fn put_rollups(&self, rollups: Vec<Rollup>) -> PortResult<()> {
        self.write_rollups(rollups).await
    }

    async fn top_links(&self, subject: &Subject, from: Slot, to: Slot, limit: usize) -> PortResult<Vec<(LinkId, Counts)>> {
        self.read_top(subject, from, to, limit).await
    }

    async fn expire_slots(&self, before: UnixMs, limit: usize) -> PortResult<usize> {
        self.expire(Slot::at(before).day(), limit).await
    }
}
