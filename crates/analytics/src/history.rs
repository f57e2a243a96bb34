//! Counts made elsewhere, one row a link and day: as if a log of its own had said them.
//!
//! The rows are parts like the consumer's, under a log that has no records, with the link for a chunk and the
//! clicks for an offset. So a day imported again is the same row, and stays unless it has more clicks now.
//! Days that the store has sealed take no parts; what is new of them is added to their roll-ups.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::api::{Deadline, History, HistoryDay};
use domain::limits::{HISTORY_CLICKS_MAX, HISTORY_LEN_MAX};
use domain::port::{Clock, LogId, LogPosition, Part, Rollup, RollupUnit, StatsStore, Tally, TallySum, Want};
use domain::visitors::Visitors;
use domain::{Counts, Error, FieldError, LinkId, Owner, Reason, Result, Slot, Subject, UnixMs};
use tokio::sync::Mutex;

use crate::calendar::{first_day, month_of};
use crate::rollup::add;

/// What the rows are stored under. Part of the stored format.
const LOG: LogId = LogId(*b"imported-history");
const DAY_MS: i64 = Slot::LEN_MS * 96;
/// Days of one write: their sketches take up to 8 KB each.
const APPLY_LEN_MAX: usize = 64;
/// Visitors drawn for one day's sketch: more would cost seconds.
const VISITORS_MAX: u64 = 1_000_000;
const ERRORS_MAX: usize = 64;

pub struct Service {
    store: Arc<dyn StatsStore>,
    clock: Arc<dyn Clock>,
    /// Roll-ups of owners are read, added to and written: one link at a time.
    turn: Mutex<()>,
}

/// By days since 1970-01-01.
type Days = BTreeMap<u32, HistoryDay>;

impl Service {
    pub fn new(store: Arc<dyn StatsStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, turn: Mutex::default() }
    }

    async fn import_all(&self, link: LinkId, owner: &Owner, days: Days) -> Result<()> {
        let numbers: Vec<_> = days.keys().copied().collect();
        for numbers in numbers.chunks(APPLY_LEN_MAX) {
            let mut parts = Vec::with_capacity(numbers.len() * 3);
            for (number, day) in numbers.iter().filter_map(|number| days.get_key_value(number)) {
                parts.extend(parts_of(link, owner, *number, day));
                // A sketch of a million visitors takes milliseconds: others come in between.
                tokio::task::yield_now().await;
            }
            self.store.apply(parts.into(), LogPosition { log: LOG, partition: 0, offset: 0 }).await?;
        }
        let sealed = self.sealed(link, days).await?;
        if sealed.is_empty() {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let mut months: BTreeMap<u32, Days> = BTreeMap::new();
        for (number, day) in sealed {
            months.entry(month_of(number)).or_default().insert(number, day);
        }
        for (month, days) in months {
            self.add_to_rollups(link, owner, month, &days).await?;
        }
        Ok(())
    }

    /// The days whose part is not there although it was written.
    async fn sealed(&self, link: LinkId, mut days: Days) -> Result<Days> {
        let (Some((first, _)), Some((last, _))) = (days.first_key_value(), days.last_key_value()) else { return Ok(days) };
        for (slot, _) in self.store.slots(&Subject::Link(link), first_slot(*first), first_slot(last + 1), Want::Counts).await? {
            if slot == first_slot(slot.day()) {
                days.remove(&slot.day());
            }
        }
        Ok(days)
    }

    /// What the link's roll-ups lack of `days`, all of one month, is added to them and to its owner's and everyone's.
    async fn add_to_rollups(&self, link: LinkId, owner: &Owner, month: u32, days: &Days) -> Result<()> {
        let known = self.rollups(&Subject::Link(link), month).await?;
        let more: BTreeMap<u32, Tally> = days
            .iter()
            .map(|(number, day)| (*number, lacking(day, known.get(number))))
            .filter(|(_, tally)| tally.counts.clicks > 0)
            .collect();
        if more.is_empty() {
            return Ok(());
        }
        let mut rollups = Vec::new();
        for subject in [Subject::Link(link), Subject::Owner(owner.clone()), Subject::Everyone] {
            let mut of_days = self.rollups(&subject, month).await?;
            for (number, more) in &more {
                if !of_days.contains_key(number) {
                    self.check_summed_up(&subject, *number).await?;
                }
                let tally = of_days.entry(*number).or_default();
                tally.counts += more.counts;
                tally.visitor_days += more.visitor_days;
                rollups.push(Rollup { subject: subject.clone(), unit: RollupUnit::Day, number: *number, tally: tally.clone(), seen: 0 });
            }
            let mut sum = TallySum::default();
            for tally in of_days.values() {
                add(&mut sum, tally);
            }
            let mut tally = sum.finish();
            domain::port::cap_dimensions(&mut tally.dimensions);
            rollups.push(Rollup { subject, unit: RollupUnit::Month, number: month, tally, seen: 0 });
        }
        Ok(self.store.put_rollups(rollups).await?)
    }

    async fn rollups(&self, subject: &Subject, month: u32) -> Result<BTreeMap<u32, Tally>> {
        let days = self.store.rollups(subject, RollupUnit::Day, first_day(month), first_day(month + 1), Want::Everything).await?;
        Ok(days.into_iter().collect())
    }

    /// A sealed day that still has parts and no roll-up would be summed up without what is added now.
    async fn check_summed_up(&self, subject: &Subject, day: u32) -> Result<()> {
        if self.store.slots(subject, first_slot(day), first_slot(day + 1), Want::Counts).await?.is_empty() {
            return Ok(());
        }
        let detail = "a day of this history is being summed up just now; send it again in ten minutes";
        Err(Error::new(Reason::Unavailable, detail).with_retry_after(std::time::Duration::from_mins(10)))
    }
}

fn first_slot(day: u32) -> Slot {
    Slot::new(day.saturating_mul(Slot::PER_DAY))
}

fn parts_of(link: LinkId, owner: &Owner, number: u32, day: &HistoryDay) -> [Part; 3] {
    let mut visitors = Visitors::default();
    (0..day.visitors.min(VISITORS_MAX)).for_each(|i| visitors.add(visitor(link, number, i)));
    let tally = Tally { counts: day.counts, visitors: visitors.encode(), ..Tally::default() };
    let upto = u32::try_from(day.counts.clicks).unwrap_or(u32::MAX);
    [Subject::Link(link), Subject::Owner(owner.clone()), Subject::Everyone].map(|subject| {
        let owner = matches!(subject, Subject::Link(_)).then(|| owner.clone());
        Part { subject, slot: first_slot(number), chunk: link.get(), upto, owner, tally: tally.clone() }
    })
}

/// The same for the same, and apart for all else: who they were was never told, only how many.
fn visitor(link: LinkId, day: u32, i: u64) -> u64 {
    [link.get(), u64::from(day), i].into_iter().fold(0, |hash, part| mix(hash ^ part))
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014).
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// What a roll-up lacks of an imported day.
fn lacking(day: &HistoryDay, known: Option<&Tally>) -> Tally {
    let (known, visitors) = known.map_or_else(Default::default, |tally| (tally.counts, tally.visitor_days));
    let counts = Counts { clicks: day.counts.clicks.saturating_sub(known.clicks), humans: day.counts.humans.saturating_sub(known.humans) };
    Tally { counts, visitor_days: day.visitors.saturating_sub(visitors), ..Tally::default() }
}

/// # Errors
/// Every wrong field, up to a bound.
fn check(days: &[HistoryDay], now: UnixMs) -> Result<Days> {
    if days.len() > HISTORY_LEN_MAX {
        return Err(Error::field("/days", Reason::InvalidField, format!("at most {HISTORY_LEN_MAX} days")));
    }
    let (mut checked, mut errors) = (Days::new(), Vec::new());
    for (i, day) in days.iter().enumerate() {
        let mut fail = |field: &str, detail: &str| errors.push(FieldError::new(format!("/days/{i}/{field}"), Reason::InvalidField, detail));
        if day.start.get() < 0 || day.start.get() % DAY_MS != 0 {
            fail("start", "expected a midnight UTC, 1970 or later");
        } else if day.start > now {
            fail("start", "is in the future");
        } else if checked.insert(Slot::at(day.start).day(), *day).is_some() {
            fail("start", "this day is there twice");
        }
        if day.counts.clicks > u64::from(HISTORY_CLICKS_MAX) {
            fail("clicks", "expected at most 4294967295");
        }
        if day.counts.humans > day.counts.clicks {
            fail("humans", "there are more than clicks");
        }
        if day.visitors > day.counts.humans {
            fail("visitors", "there are more than humans");
        }
    }
    errors.truncate(ERRORS_MAX);
    checked.retain(|_, day| day.counts.clicks > 0);
    if errors.is_empty() { Ok(checked) } else { Err(Error::fields(errors)) }
}

#[async_trait]
impl History for Service {
    async fn import(&self, link: LinkId, owner: &Owner, days: &[HistoryDay], deadline: Deadline) -> Result<()> {
        let days = check(days, self.clock.now())?;
        let late = |_| Error::new(Reason::DeadlineExceeded, "the history was not stored in time; send it again, in smaller pieces");
        tokio::time::timeout_at(deadline.at().into(), self.import_all(link, owner, days)).await.map_err(late)?
    }
}

#[cfg(test)]
mod tests;
