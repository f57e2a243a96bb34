//! The links clicked most: candidates from the lists of each day, counted by their roll-ups or their parts.

use std::collections::{BTreeMap, HashMap};

use domain::port::{PortResult, RollupUnit, Want};
use domain::{Counts, LinkId, Slot, Subject};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::super::value::{to_count, to_id};
use super::marks::List;
use super::row::{class_floor, first_slot, int, subject_key};
use super::{StatsStore, WRITES};

/// Links of one day kept apart.
const KEPT: usize = 1_000;
/// Rows read of one day: a link has one for each class it was seen to reach, a dozen at most of those that matter.
const ROWS_MAX: i32 = 16_000;
/// Candidates counted for each link asked for, where a day has more links than are kept apart.
const CANDIDATES_PER_LINK: usize = 4;
const CANDIDATES_MIN: usize = 100;
/// Days that are read without asking first whether they have rows.
const DIRECT_MAX: usize = 31;

/// What one day's list says of a link.
#[derive(Clone, Copy, Debug)]
struct Listed {
    class: i32,
    /// Once its day is rolled up.
    counts: Option<Counts>,
}

struct Day {
    number: u32,
    links: HashMap<LinkId, Listed>,
    /// Links may be missing.
    trimmed: bool,
    /// Whether the roll-ups are to be trusted: the whole day is asked for, and none of its links is dirty.
    is_settled: bool,
    from: Slot,
    to: Slot,
}

impl StatsStore {
    pub(super) async fn read_top(&self, subject: &Subject, from: Slot, to: Slot, limit: usize) -> PortResult<Vec<(LinkId, Counts)>> {
        if from >= to || matches!(subject, Subject::Link(_)) {
            return Ok(Vec::new());
        }
        let days = self.top_days(subject, from, to).await?;
        let mut estimates: HashMap<LinkId, u64> = HashMap::new();
        for (link, listed) in days.iter().flat_map(|day| &day.links) {
            let clicks = listed.counts.map_or_else(|| class_floor(listed.class), |counts| counts.clicks);
            let sum = estimates.entry(*link).or_default();
            *sum = sum.saturating_add(clicks);
        }
        let mut candidates: Vec<(LinkId, u64)> = estimates.into_iter().collect();
        if days.iter().any(|day| day.trimmed) {
            candidates.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            candidates.truncate(limit.saturating_mul(CANDIDATES_PER_LINK).max(CANDIDATES_MIN));
        }
        let counts = candidates.into_iter().map(|(link, _)| self.count_link(link, &days));
        let mut top: Vec<(LinkId, Counts)> = stream::iter(counts).buffer_unordered(WRITES).try_collect().await?;
        top.retain(|(_, counts)| counts.clicks > 0);
        top.sort_unstable_by(|a, b| b.1.clicks.cmp(&a.1.clicks).then(a.0.cmp(&b.0)));
        top.truncate(limit);
        Ok(top)
    }

    async fn top_days(&self, subject: &Subject, from: Slot, to: Slot) -> PortResult<Vec<Day>> {
        let range = from.day()..to.get().div_ceil(Slot::PER_DAY);
        let marked: BTreeMap<u32, _> = self.days(List::Marks).await?;
        let numbers = if range.len() <= DIRECT_MAX { range.collect() } else { self.days_with_rows(subject, range).await? };
        let key = subject_key(subject);
        let reads = numbers.into_iter().map(|number| {
            let (begin, end) = (first_slot(number), first_slot(number.saturating_add(1)));
            let is_settled = from <= begin && end <= to && !marked.contains_key(&number);
            self.top_day(&key, Day { number, links: HashMap::new(), trimmed: false, is_settled, from: from.max(begin), to: to.min(end) })
        });
        let reads: Vec<_> = reads.collect();
        stream::iter(reads).buffered(super::read::READS).try_collect().await
    }

    async fn top_day(&self, key: &str, mut day: Day) -> PortResult<Day> {
        let mut rows = 0;
        let read = self.cql.each(&self.statements.top, (key, int(day.number), ROWS_MAX), |row| {
            rows += 1;
            let (link, class) = (to_id(row.need("link")?)?, row.need("class")?);
            let counts = match (row.get("clicks")?, row.get("humans")?) {
                (Some(clicks), Some(humans)) => Some(Counts { clicks: to_count(clicks)?, humans: to_count(humans)? }),
                _ => None,
            };
            if day.links.len() < KEPT || day.links.contains_key(&link) {
                // The first row of a link is its highest class; of two counts the later one is larger.
                let listed = day.links.entry(link).or_insert(Listed { class, counts });
                listed.counts = listed.counts.into_iter().chain(counts).max_by_key(|counts| counts.clicks);
            }
            Ok(())
        });
        read.await?;
        day.trimmed = rows >= ROWS_MAX || day.links.len() >= KEPT;
        Ok(day)
    }

    /// The exact counts of one candidate.
    async fn count_link(&self, link: LinkId, days: &[Day]) -> PortResult<(LinkId, Counts)> {
        let mut sum = Counts::default();
        for day in days {
            match day.links.get(&link) {
                Some(Listed { counts: Some(counts), .. }) if day.is_settled => sum += *counts,
                None if !day.trimmed => {}
                Some(_) | None => sum += self.count_day(link, day).await?,
            }
        }
        Ok((link, sum))
    }

    async fn count_day(&self, link: LinkId, day: &Day) -> PortResult<Counts> {
        let subject = Subject::Link(link);
        if day.is_settled {
            let rolled = self.rolled_counts(&subject_key(&subject), RollupUnit::Day, day.number..day.number + 1).await?;
            if let Some(counts) = rolled.get(&day.number) {
                return Ok(*counts);
            }
        }
        let slots = self.read_slots(&subject, day.from, day.to, Want::Counts).await?;
        Ok(slots.iter().fold(Counts::default(), |mut sum, (_, tally)| {
            sum += tally.counts;
            sum
        }))
    }
}
