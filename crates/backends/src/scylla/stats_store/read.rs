//! Reading quarter-hours and roll-ups.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use domain::port::{PortResult, RollupUnit, Tally, TallySum, Want};
use domain::{Counts, Owner, Slot, Subject};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::super::value::to_count;
use super::StatsStore;
use super::marks::List;
use super::row::{first_slot, int, owner_key, spans, subject_key, tally, unit_number};
use crate::calendar::first_day;

/// Reads of one call under way at a time.
pub(super) const READS: usize = 16;
/// A range of up to this many partitions is read without asking which of them have rows.
const DIRECT_MAX: usize = 32;

/// What the parts of a day are at this moment.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The sum over all parts, which grows whenever one is added or counts more.
    pub(super) upto: u64,
    /// Whose link it is.
    pub(super) owner: Option<Owner>,
}

impl StatsStore {
    pub(super) async fn read_slots(&self, subject: &Subject, from: Slot, to: Slot, want: Want) -> PortResult<Vec<(Slot, Tally)>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let spans = self.spans_with_rows(subject, from, to).await?;
        let reads = spans.into_iter().map(|span| self.read_span(subject, span, (from, to), want));
        let spans: Vec<BTreeMap<Slot, Tally>> = stream::iter(reads).buffered(READS).try_collect().await?;
        Ok(spans.into_iter().flatten().collect())
    }

    /// Partitions that may have rows. A day with parts is marked or rolled up, so most of a long range need not be asked.
    async fn spans_with_rows(&self, subject: &Subject, from: Slot, to: Slot) -> PortResult<Vec<i32>> {
        let all = spans(subject, from, to);
        if all.len() <= DIRECT_MAX {
            return Ok(all.collect());
        }
        let of_day = |day: u32| spans(subject, first_slot(day).max(from), first_slot(day + 1).min(to));
        Ok(self.days_with_rows(subject, from.day()..to.get().div_ceil(Slot::PER_DAY)).await?.into_iter().flat_map(of_day).collect())
    }

    pub(super) async fn days_with_rows(&self, subject: &Subject, range: Range<u32>) -> PortResult<Vec<u32>> {
        // Marks first: what is rolled up meanwhile is found by its roll-up.
        let mut days: BTreeSet<u32> = self.days(List::Marks).await?.range(range.clone()).map(|(day, _)| *day).collect();
        days.extend(self.rolled_counts(&subject_key(subject), RollupUnit::Day, range).await?.into_keys());
        Ok(days.into_iter().collect())
    }

    async fn read_span(&self, subject: &Subject, span: i32, (from, to): (Slot, Slot), want: Want) -> PortResult<BTreeMap<Slot, Tally>> {
        let key = subject_key(subject);
        let mut sums: BTreeMap<Slot, TallySum> = BTreeMap::new();
        let mut damaged = false;
        let values = (key.as_str(), span, int(from.get()), int(to.get()));
        let read = self.cql.each(self.statements.slots.of(want), values, |row| {
            let slot = Slot::new(row.need::<i32>("slot")?.max(0).unsigned_abs());
            let (tally, is_whole) = tally(row, want)?;
            damaged |= is_whole.is_err() | sums.entry(slot).or_default().add(&tally).is_err();
            Ok(())
        });
        read.await?;
        if damaged {
            self.damaged("a part");
        }
        Ok(sums.into_iter().map(|(slot, sum)| (slot, sum.finish())).collect())
    }

    pub(super) async fn read_rollups(
        &self,
        subject: &Subject,
        unit: RollupUnit,
        range: Range<u32>,
        want: Want,
    ) -> PortResult<Vec<(u32, Tally)>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let key = subject_key(subject);
        let days = match unit {
            RollupUnit::Day => range.clone(),
            RollupUnit::Month => first_day(range.start)..first_day(range.end),
        };
        // Marks first: a roll-up read after it was found clean has all that was known then.
        let dirty = self.marked_days(&key, days.clone()).await?;
        let sums = match unit {
            RollupUnit::Day => BTreeMap::new(),
            RollupUnit::Month => self.rolled_counts(&key, RollupUnit::Day, days).await?,
        };
        let (mut found, mut damaged) = (Vec::new(), false);
        let values = (key.as_str(), unit_number(unit), int(range.start), int(range.end));
        let read = self.cql.each(self.statements.rollups.of(want), values, |row| {
            let number = row.need::<i32>("number")?.max(0).unsigned_abs();
            let (mut tally, is_whole) = tally(row, want)?;
            tally.visitor_days = to_count(row.need("visitor_days")?)?;
            damaged |= is_whole.is_err();
            let is_exact = match unit {
                RollupUnit::Day => !dirty.contains(&number),
                RollupUnit::Month => {
                    let days = first_day(number)..first_day(number + 1);
                    let sum: u64 = sums.range(days.clone()).map(|(_, counts)| counts.clicks).sum();
                    // Two processes that sum up two days of a month at once each miss the other's.
                    !dirty.iter().any(|day| days.contains(day)) && sum == tally.counts.clicks
                }
            };
            if is_exact {
                found.push((number, tally));
            }
            Ok(())
        });
        read.await?;
        if damaged {
            self.damaged("a roll-up");
        }
        Ok(found)
    }

    /// The days in the range that this subject has marks on.
    pub(super) async fn marked_days(&self, key: &str, range: Range<u32>) -> PortResult<Vec<u32>> {
        let days = self.days(List::Marks).await?;
        let looks = days.range(range).map(|(day, _)| async { Ok((*day, self.marks_of(*day, key).await?.is_empty())) });
        let looks: Vec<_> = looks.collect();
        let marked: Vec<(u32, bool)> = stream::iter(looks).buffered(READS).try_collect().await?;
        Ok(marked.into_iter().filter(|(_, is_clean)| !is_clean).map(|(day, _)| day).collect())
    }

    /// The counts of stored roll-ups, dirty or not.
    pub(super) async fn rolled_counts(&self, key: &str, unit: RollupUnit, range: Range<u32>) -> PortResult<BTreeMap<u32, Counts>> {
        let mut counts = BTreeMap::new();
        let values = (key, unit_number(unit), int(range.start), int(range.end));
        let read = self.cql.each(&self.statements.rolled_clicks, values, |row| {
            counts.insert(row.need::<i32>("number")?.max(0).unsigned_abs(), super::row::counts(row)?);
            Ok(())
        });
        read.await?;
        Ok(counts)
    }

    /// What the stored roll-up of a day was made of.
    pub(super) async fn rolled_seen(&self, key: &str, day: u32) -> PortResult<Option<u64>> {
        let rows = self.cql.rows(&self.statements.rolled_seen, (key, unit_number(RollupUnit::Day), int(day))).await?;
        rows.first(|row| to_count(row.need("seen")?))
    }

    pub(super) async fn seen(&self, subject: &Subject, day: u32) -> PortResult<Seen> {
        let (key, mut seen) = (subject_key(subject), Seen::default());
        for span in spans(subject, first_slot(day), first_slot(day + 1)) {
            let read = self.cql.each(&self.statements.seen, (key.as_str(), span), |row| {
                seen.upto = seen.upto.saturating_add(to_count(row.get("upto")?.unwrap_or(0))?);
                if seen.owner.is_none() {
                    seen.owner = row.get::<&str>("owner")?.map(Owner::from_stored);
                }
                Ok(())
            });
            read.await?;
        }
        Ok(seen)
    }

    /// Everyone's list, and the owner's.
    pub(super) fn lists_of(seen: &Seen) -> Vec<String> {
        seen.owner.iter().map(owner_key).chain([String::from("*")]).collect()
    }
}
