//! Storing roll-ups, and taking away the marks of what is in them.

use std::collections::BTreeSet;

use domain::port::{PortResult, Rollup, RollupUnit};
use domain::{LinkId, Subject};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::super::value::{count, id};
use super::StatsStore;
use super::marks::{List, Mark};
use super::read::{READS, Seen};
use super::row::{class, int, rollup_timestamp, subject_key, unit_number};
use crate::calendar::first_day;
use crate::stats_codec;

/// Marks that may go when the roll-up is stored.
struct Cleared {
    day: u32,
    key: String,
    marks: Vec<Mark>,
}

impl StatsStore {
    pub(super) async fn write_rollups(&self, rollups: Vec<Rollup>) -> PortResult<()> {
        let writes = (0..rollups.len()).map(|index| self.write_rollup(&rollups[index]));
        let cleared: Vec<Option<Cleared>> = stream::iter(writes).buffer_unordered(READS).try_collect().await?;
        let days: Vec<(u32, Subject)> =
            rollups.iter().filter(|rollup| rollup.unit == RollupUnit::Day).map(|rollup| (rollup.number, rollup.subject.clone())).collect();
        // Before the marks go: what is rolled up must be found when it expires.
        self.mark(List::Rolled, &days).await?;
        let cleared: Vec<Cleared> = cleared.into_iter().flatten().collect();
        let unmark = (0..cleared.len()).map(|index| {
            let Cleared { day, key, marks } = &cleared[index];
            self.unmark(List::Marks, *day, key, marks)
        });
        stream::iter(unmark).buffer_unordered(READS).try_collect::<()>().await?;
        let months: BTreeSet<(u32, &Subject)> =
            rollups.iter().filter(|rollup| rollup.unit == RollupUnit::Month).map(|rollup| (rollup.number, &rollup.subject)).collect();
        for (month, subject) in months {
            self.check_month(subject, month).await?;
        }
        Ok(())
    }

    /// Answers with the marks that were read before the parts were found to be those summed up.
    async fn write_rollup(&self, rollup: &Rollup) -> PortResult<Option<Cleared>> {
        let key = subject_key(&rollup.subject);
        let tally = &rollup.tally;
        let (clicks, humans) = (count(tally.counts.clicks), count(tally.counts.humans));
        let dimensions = stats_codec::encode(&tally.dimensions, tally.counts.clicks);
        let at = rollup_timestamp(rollup.unit, rollup.number, tally.counts.clicks);
        let is_day = rollup.unit == RollupUnit::Day;
        let marks = if is_day { self.marks_of(rollup.number, &key).await? } else { Vec::new() };
        let of_link = if let (true, Subject::Link(link)) = (is_day, &rollup.subject) { Some(*link) } else { None };
        let seen = if marks.is_empty() && of_link.is_none() { Seen::default() } else { self.seen(&rollup.subject, rollup.number).await? };
        let visitor_days = count(tally.visitor_days);
        let (unit, number) = (unit_number(rollup.unit), int(rollup.number));
        let (dimensions, visitors) = (dimensions.as_slice(), tally.visitors.as_slice());
        let values = (key.as_str(), unit, number, clicks, humans, visitor_days, dimensions, visitors, count(rollup.seen), at);
        self.cql.write(&self.statements.put_rollup, values).await?;
        if let Some(link) = of_link {
            self.write_day_of_link(rollup, link, &seen).await?;
        }
        let is_over = is_day && rollup.number < self.settled_before();
        Ok((is_over && seen.upto == rollup.seen && !marks.is_empty()).then_some(Cleared { day: rollup.number, key, marks }))
    }

    /// From now on the lists of the day know how often the link was clicked.
    async fn write_day_of_link(&self, rollup: &Rollup, link: LinkId, seen: &Seen) -> PortResult<()> {
        let counts = rollup.tally.counts;
        let at = rollup_timestamp(RollupUnit::Day, rollup.number, counts.clicks);
        for whose in Self::lists_of(seen) {
            let values =
                (whose.as_str(), int(rollup.number), class(counts.clicks), id(link), count(counts.clicks), count(counts.humans), at);
            self.cql.write(&self.statements.put_top, values).await?;
        }
        Ok(())
    }

    /// Two processes that sum up different days of a month at the same time each write a month without the other's
    /// day. Readers notice ([`Self::read_rollups`]); here it is mended, by having one of the days summed up again.
    async fn check_month(&self, subject: &Subject, month: u32) -> PortResult<()> {
        let (key, days) = (subject_key(subject), first_day(month)..first_day(month + 1));
        let stored = self.rolled_counts(&key, RollupUnit::Month, month..month + 1).await?;
        let of_days = self.rolled_counts(&key, RollupUnit::Day, days.clone()).await?;
        let (Some(month), Some((day, _))) = (stored.get(&month), of_days.last_key_value()) else { return Ok(()) };
        if *day < self.sealed_before(*day).await? {
            return Ok(());
        }
        let sum: u64 = of_days.values().map(|counts| counts.clicks).sum();
        // A marked day will be summed up in any case, and the month with it.
        if sum > month.clicks && self.marked_days(&key, days).await?.is_empty() {
            self.redo(*day, subject).await?;
        }
        Ok(())
    }
}
