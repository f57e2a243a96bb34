//! A store in memory, simple enough to be right at a glance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use domain::port::{Dimensions, DirtyDay, LogId, LogPosition, Part, PortResult, Rollup, RollupUnit, StatsStore, Tally, TallySum, Want};
use domain::{Counts, LinkId, Owner, Slot, Subject, UnixMs};

type PartKey = (Subject, Slot, LogId, u32, u64);

#[derive(Default)]
pub(crate) struct Data {
    pub(crate) parts: BTreeMap<PartKey, Part>,
    pub(crate) progress: BTreeMap<(LogId, u32), u64>,
    rollups: BTreeMap<(Subject, RollupUnit, u32), Tally>,
    dirty: BTreeMap<(u32, Subject), u64>,
    seen: u64,
    sealed_before: u32,
    /// Slots and roll-ups answered: what reading cost.
    pub(crate) read: usize,
}

#[derive(Default)]
pub(crate) struct MemoryStats(Mutex<Data>);

impl MemoryStats {
    pub(crate) fn data(&self) -> MutexGuard<'_, Data> {
        self.0.lock().unwrap()
    }
}

impl Data {
    pub(crate) fn put(&mut self, part: Part, position: LogPosition) {
        let key = (part.subject.clone(), part.slot, position.log, position.partition, part.chunk);
        let is_newer = self.parts.get(&key).is_none_or(|old| old.upto < part.upto);
        if is_newer && part.slot.day() >= self.sealed_before {
            self.dirty.insert((part.slot.day(), part.subject.clone()), self.seen);
            self.parts.insert(key, part);
        }
    }
}

fn only(mut tally: Tally, want: Want) -> Tally {
    if !matches!(want, Want::Visitors | Want::Everything) {
        tally.visitors.clear();
    }
    tally.dimensions = match want {
        Want::Counts | Want::Visitors => Dimensions::new(),
        Want::Dimension(wanted) => tally.dimensions.into_iter().filter(|(dimension, _)| *dimension == wanted).collect(),
        Want::Everything => tally.dimensions,
    };
    tally
}

#[async_trait]
impl StatsStore for MemoryStats {
    async fn apply(&self, parts: Arc<[Part]>, position: LogPosition) -> PortResult<()> {
        let mut data = self.data();
        data.seen += 1;
        for part in parts.iter().cloned() {
            data.put(part, position);
        }
        let progress = data.progress.entry((position.log, position.partition)).or_default();
        *progress = (*progress).max(position.offset);
        Ok(())
    }

    async fn progress(&self, log: LogId, partition: u32) -> PortResult<Option<u64>> {
        Ok(self.data().progress.get(&(log, partition)).copied())
    }

    async fn slots(&self, subject: &Subject, from: Slot, to: Slot, want: Want) -> PortResult<Vec<(Slot, Tally)>> {
        let mut sums: BTreeMap<Slot, TallySum> = BTreeMap::new();
        for part in self.data().parts.values().filter(|part| part.subject == *subject && part.slot >= from && part.slot < to) {
            sums.entry(part.slot).or_default().add(&only(part.tally.clone(), want)).unwrap();
        }
        self.data().read += sums.len();
        Ok(sums.into_iter().map(|(slot, sum)| (slot, sum.finish())).collect())
    }

    async fn rollups(&self, subject: &Subject, unit: RollupUnit, from: u32, to: u32, want: Want) -> PortResult<Vec<(u32, Tally)>> {
        let mut data = self.data();
        let clean = |number: u32| {
            let days = match unit {
                RollupUnit::Day => number..number + 1,
                RollupUnit::Month => crate::calendar::first_day(number)..crate::calendar::first_day(number + 1),
            };
            days.into_iter().all(|day| !data.dirty.contains_key(&(day, subject.clone())))
        };
        let range = (subject.clone(), unit, from)..(subject.clone(), unit, to.max(from));
        let found: Vec<_> = data
            .rollups
            .range(range)
            .filter(|((.., number), _)| clean(*number))
            .map(|((.., number), tally)| (*number, only(tally.clone(), want)))
            .collect();
        data.read += found.len();
        Ok(found)
    }

    async fn dirty_days(&self, before_day: u32, limit: usize) -> PortResult<Vec<DirtyDay>> {
        let data = self.data();
        let days = data.dirty.iter().filter(|((day, _), _)| *day < before_day).take(limit);
        Ok(days.map(|((day, subject), seen)| DirtyDay { subject: subject.clone(), day: *day, seen: *seen }).collect())
    }

    async fn put_rollups(&self, rollups: Vec<Rollup>) -> PortResult<()> {
        let mut data = self.data();
        for rollup in rollups {
            let mark = (rollup.number, rollup.subject.clone());
            if rollup.unit == RollupUnit::Day && data.dirty.get(&mark).is_some_and(|seen| *seen <= rollup.seen) {
                data.dirty.remove(&mark);
            }
            data.rollups.insert((rollup.subject, rollup.unit, rollup.number), rollup.tally);
        }
        Ok(())
    }

    async fn top_links(&self, subject: &Subject, from: Slot, to: Slot, limit: usize) -> PortResult<Vec<(LinkId, Counts)>> {
        let mut sums: BTreeMap<LinkId, Counts> = BTreeMap::new();
        for part in self.data().parts.values().filter(|part| part.slot >= from && part.slot < to) {
            let is_theirs = match subject {
                Subject::Everyone => true,
                Subject::Owner(owner) => part.owner.as_ref() == Some(owner),
                Subject::Link(_) => false,
            };
            if let (true, Subject::Link(link)) = (is_theirs, &part.subject) {
                *sums.entry(*link).or_default() += part.tally.counts;
            }
        }
        let mut links: Vec<_> = sums.into_iter().collect();
        links.sort_by(|a, b| b.1.clicks.cmp(&a.1.clicks).then(a.0.cmp(&b.0)));
        links.truncate(limit);
        Ok(links)
    }

    async fn expire_slots(&self, before: UnixMs, limit: usize) -> PortResult<usize> {
        let mut data = self.data();
        data.sealed_before = data.sealed_before.max(Slot::at(before).day());
        let old = |data: &Data, part: &Part| {
            part.slot.day() < data.sealed_before && !data.dirty.contains_key(&(part.slot.day(), part.subject.clone()))
        };
        let keys: Vec<_> = data.parts.iter().filter(|(_, part)| old(&data, part)).map(|(key, _)| key.clone()).take(limit).collect();
        for key in &keys {
            data.parts.remove(key);
        }
        Ok(keys.len())
    }
}

/// `SplitMix64`: the same schedule for the same seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

pub(crate) fn owner(name: &str) -> Owner {
    Owner::parse(name).unwrap()
}

pub(crate) struct At(pub(crate) UnixMs);

impl domain::port::Clock for At {
    fn now(&self) -> UnixMs {
        self.0
    }
}

mod contract {
    use super::MemoryStats;
    use domain::port::contract::stats_store as contract;
    use std::sync::Arc;

    #[tokio::test]
    async fn the_store_of_these_tests_passes_the_contract() {
        let store = Arc::<MemoryStats>::default;
        contract::progress_moves_with_the_parts_and_never_back(store()).await;
        contract::a_part_written_again_or_late_changes_nothing(store()).await;
        contract::chunks_partitions_and_logs_add_up(store()).await;
        contract::slots_come_in_order_with_what_is_wanted(store()).await;
        contract::days_with_new_parts_are_dirty(store()).await;
        contract::a_part_that_comes_while_rolling_up_keeps_the_day_dirty(store()).await;
        contract::rollups_are_kept_as_they_are_until_they_are_stale(store()).await;
        contract::rollups_need_no_parts(store()).await;
        contract::top_links_are_those_with_most_clicks(store()).await;
        contract::only_old_rolled_up_slots_expire_and_they_stay_gone(store()).await;
    }
}
