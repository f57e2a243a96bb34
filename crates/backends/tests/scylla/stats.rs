//! Counted clicks on a keyspace: the contract, and what only a store without read-before-write must prove.

use std::collections::BTreeMap;
use std::sync::Arc;

use backends::scylla::{PartStamps, StatsStore, open_stats};
use backends::system::{SystemClock, SystemEntropy};
use domain::port::{DirtyDay, LogId, LogPosition, Part, Rollup, RollupUnit, StatsStore as _, Tally, Want};
use domain::visitors::Visitors;
use domain::{Counts, Dimension, LinkId, Owner, Slot, Subject, UnixMs};

use crate::world::{Group, World};

/// Long over by any clock.
const DAY: u32 = 20_310;

/// One process's store.
async fn open(world: &World, stamps: PartStamps) -> Arc<StatsStore> {
    open_stats(&world.connect().await, Arc::new(SystemClock), &SystemEntropy, stamps).await.unwrap()
}

macro_rules! contract {
    ($($test:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $test() {
            let world = World::new(&[Group::Stats]).await;
            domain::port::contract::stats_store::$test(open(&world, PartStamps::Counted).await).await;
            world.close().await;
        })*
    };
}

contract!(
    progress_moves_with_the_parts_and_never_back,
    a_part_written_again_or_late_changes_nothing,
    chunks_partitions_and_logs_add_up,
    slots_come_in_order_with_what_is_wanted,
    days_with_new_parts_are_dirty,
    a_part_that_comes_while_rolling_up_keeps_the_day_dirty,
    rollups_are_kept_as_they_are_until_they_are_stale,
    rollups_need_no_parts,
    top_links_are_those_with_most_clicks,
    only_old_rolled_up_slots_expire_and_they_stay_gone,
);

fn position(offset: u64) -> LogPosition {
    LogPosition { log: LogId([1; 16]), partition: 0, offset }
}

fn link(number: u64) -> Subject {
    Subject::Link(LinkId::new(number))
}

fn slot(day: u32, quarter: u32) -> Slot {
    Slot::new(day * Slot::PER_DAY + quarter)
}

fn part(subject: &Subject, slot: Slot, chunk: u64, upto: u32, clicks: u64) -> Part {
    let mut visitors = Visitors::default();
    (0..clicks).for_each(|visitor| visitors.add(visitor));
    let owner = matches!(subject, Subject::Link(_)).then(|| Owner::parse("ann").unwrap());
    let dimensions = [(Dimension::Country, [("DE".into(), clicks)].into())].into();
    let tally = Tally { counts: Counts { clicks, humans: clicks }, dimensions, visitors: visitors.encode(), visitor_days: 0 };
    Part { subject: subject.clone(), slot, chunk, upto, owner, tally }
}

async fn slots(store: &StatsStore, subject: &Subject, day: u32) -> Vec<(Slot, Tally)> {
    store.slots(subject, slot(day, 0), slot(day + 1, 0), Want::Everything).await.unwrap()
}

/// Small, fast, the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

/// What a consumer writes while it counts three chunks of one partition: each row as it was at each flush.
fn flushes(random: &mut Random) -> Vec<Vec<Part>> {
    let mut flushes = Vec::new();
    for chunk in 0..3 {
        let mut counted: BTreeMap<(u64, u32), u64> = BTreeMap::new();
        let mut upto = 0;
        for _ in 0..4 {
            let mut dirty = BTreeMap::new();
            for _ in 0..8 {
                upto += 1;
                let key = (1 + u64::try_from(random.next(3)).unwrap(), u32::try_from(random.next(2)).unwrap());
                let clicks = counted.entry(key).or_default();
                *clicks += 1;
                dirty.insert(key, (upto, *clicks));
            }
            let parts =
                dirty.into_iter().map(|((number, quarter), (upto, clicks))| part(&link(number), slot(DAY, quarter), chunk, upto, clicks));
            flushes.push(parts.collect());
        }
    }
    flushes
}

async fn totals(store: &StatsStore) -> Vec<Vec<(Slot, Tally)>> {
    let mut totals = Vec::new();
    for number in 1..=3 {
        totals.push(slots(store, &link(number), DAY).await);
    }
    totals
}

/// Two processes write the flushes of one partition: each stops somewhere and begins its chunk again, and some calls are
/// repeated later, by a process that believes it is still alive.
async fn faulty(first: &StatsStore, second: &StatsStore, flushes: &[Vec<Part>], random: &mut Random) {
    let mut zombie: Vec<Vec<Part>> = Vec::new();
    let mut at = 0;
    while at < flushes.len() {
        let store = if random.next(2) == 0 { first } else { second };
        let mut parts = flushes[at].clone();
        if random.next(3) == 0 {
            parts.reverse();
            store.apply(parts[..parts.len() / 2].into(), position(0)).await.unwrap();
            at = at / 4 * 4;
            zombie.push(flushes[at].clone());
            continue;
        }
        store.apply(parts.clone().into(), position(0)).await.unwrap();
        zombie.push(parts);
        at += 1;
    }
    for _ in 0..12 {
        let late = zombie[random.next(zombie.len())].clone();
        let store = if random.next(2) == 0 { first } else { second };
        store.apply(late.into(), position(0)).await.unwrap();
    }
}

async fn schedules(stamps: PartStamps, seed: u64) -> (Vec<Vec<(Slot, Tally)>>, Vec<Vec<(Slot, Tally)>>) {
    let world = World::new(&[Group::Stats]).await;
    let (first, second) = (open(&world, stamps).await, open(&world, stamps).await);
    let mut random = Random(seed);
    let flushes = flushes(&mut random);
    for parts in &flushes {
        first.apply(parts.clone().into(), position(0)).await.unwrap();
    }
    let clean = totals(&first).await;
    world.run("TRUNCATE click_parts").await;
    faulty(&first, &second, &flushes, &mut random).await;
    let faulty = totals(&second).await;
    world.close().await;
    (clean, faulty)
}

#[tokio::test]
async fn faults_give_the_totals_of_a_clean_run() {
    for seed in [1, 2, 3] {
        let (clean, faulty) = schedules(PartStamps::Counted, seed).await;
        assert_eq!(clean.iter().flatten().map(|(_, tally)| tally.counts.clicks).sum::<u64>(), 96);
        assert_eq!(clean, faulty, "seed {seed}");
    }
}

/// The sabotage: with the time of the write, whoever writes last wins, and late is not right.
#[tokio::test]
async fn stamped_by_the_clock_the_same_faults_lose_clicks() {
    let (clean, faulty) = schedules(PartStamps::WallClock, 1).await;
    let sum = |totals: &[Vec<(Slot, Tally)>]| totals.iter().flatten().map(|(_, tally)| tally.counts.clicks).sum::<u64>();
    assert_eq!(sum(&clean), 96);
    assert!(sum(&faulty) < 96, "{}", sum(&faulty));
}

async fn dirty(store: &StatsStore, subject: &Subject) -> Option<DirtyDay> {
    store.dirty_days(DAY + 1, 1_000).await.unwrap().into_iter().find(|dirty| dirty.subject == *subject && dirty.day == DAY)
}

async fn sum_up(store: &StatsStore, dirty: &DirtyDay) -> Rollup {
    let mut sum = domain::port::TallySum::default();
    for (_, tally) in slots(store, &dirty.subject, dirty.day).await {
        sum.add(&tally).unwrap();
    }
    let tally = Tally { visitors: Vec::new(), visitor_days: 1, ..sum.finish() };
    Rollup { subject: dirty.subject.clone(), unit: RollupUnit::Day, number: dirty.day, tally, seen: dirty.seen }
}

/// At each point of the way of a roll-up another process's part comes: it is counted in the end, and until then the
/// roll-up is not shown.
#[tokio::test]
async fn no_mark_is_lost_to_a_roll_up_under_way() {
    let world = World::new(&[Group::Stats]).await;
    let (consumer, roller) = (open(&world, PartStamps::Counted).await, open(&world, PartStamps::Counted).await);
    let mut expected = 0;
    for point in 0..6_u32 {
        let subject = link(u64::from(point) + 1);
        let part_at = |upto: u32| part(&subject, slot(DAY, upto), 0, upto, 1);
        consumer.apply(vec![part_at(1)].into(), position(1)).await.unwrap();
        let mut clicks = 1;
        if point == 1 {
            consumer.apply(vec![part_at(2)].into(), position(2)).await.unwrap();
        }
        let seen = dirty(&roller, &subject).await.unwrap();
        if point == 2 {
            consumer.apply(vec![part_at(2)].into(), position(2)).await.unwrap();
        }
        let rollup = sum_up(&roller, &seen).await;
        if point == 3 {
            consumer.apply(vec![part_at(2)].into(), position(2)).await.unwrap();
        }
        let late = async {
            if point == 4 {
                consumer.apply(vec![part_at(2)].into(), position(2)).await.unwrap();
            }
        };
        let (put, ()) = tokio::join!(roller.put_rollups(vec![rollup]), late);
        put.unwrap();
        if point == 5 {
            consumer.apply(vec![part_at(2)].into(), position(2)).await.unwrap();
        }
        clicks += u64::from(point > 0);
        for found in roller.rollups(&subject, RollupUnit::Day, DAY, DAY + 1, Want::Counts).await.unwrap() {
            assert_eq!(found.1.counts.clicks, clicks, "point {point}: what is shown is whole");
        }
        while let Some(again) = dirty(&roller, &subject).await {
            let rollup = sum_up(&roller, &again).await;
            roller.put_rollups(vec![rollup]).await.unwrap();
        }
        let found = consumer.rollups(&subject, RollupUnit::Day, DAY, DAY + 1, Want::Counts).await.unwrap();
        assert_eq!(found.iter().map(|(_, tally)| tally.counts.clicks).collect::<Vec<_>>(), [clicks], "point {point}");
        expected += clicks;
    }
    assert_eq!(expected, 11);
    world.close().await;
}

/// Each sums up another day of the month, and neither sees the other's.
#[tokio::test]
async fn a_month_that_two_processes_wrote_at_once_is_not_shown_and_is_mended() {
    let world = World::new(&[Group::Stats]).await;
    let (one, two) = (open(&world, PartStamps::Counted).await, open(&world, PartStamps::Counted).await);
    let subject = link(9);
    let month = 12 * 55 + 7;
    let day_of = |rollup: &Rollup| rollup.number;
    one.apply(vec![part(&subject, slot(DAY, 1), 0, 1, 2), part(&subject, slot(DAY + 1, 1), 0, 2, 3)].into(), position(2)).await.unwrap();
    let days = one.dirty_days(DAY + 2, 10).await.unwrap();
    assert_eq!(days.len(), 2);
    let of_month = |day: &Rollup| Rollup { unit: RollupUnit::Month, number: month, seen: 0, ..day.clone() };
    for (store, dirty) in [&one, &two].into_iter().zip(&days) {
        let day = sum_up(store, dirty).await;
        assert!((DAY..DAY + 2).contains(&day_of(&day)));
        store.put_rollups(vec![day.clone(), of_month(&day)]).await.unwrap();
    }
    assert!(one.rollups(&subject, RollupUnit::Month, month, month + 1, Want::Counts).await.unwrap().is_empty());
    let again = one.dirty_days(DAY + 2, 10).await.unwrap();
    assert_eq!(again.len(), 1, "one day is to be summed up again, and the month with it");
    let day = sum_up(&one, &again[0]).await;
    let tally = Tally { counts: Counts { clicks: 5, humans: 5 }, ..day.tally.clone() };
    let whole = Rollup { unit: RollupUnit::Month, number: month, seen: 0, tally, ..day.clone() };
    one.put_rollups(vec![day, whole]).await.unwrap();
    let shown = two.rollups(&subject, RollupUnit::Month, month, month + 1, Want::Counts).await.unwrap();
    assert_eq!(shown.iter().map(|(number, tally)| (*number, tally.counts.clicks)).collect::<Vec<_>>(), [(month, 5)]);
    assert!(two.dirty_days(DAY + 2, 10).await.unwrap().is_empty());
    world.close().await;
}

/// A process that has not heard of the seal writes a late part all the same: it stays hidden.
#[tokio::test]
async fn a_part_of_an_expired_day_is_hidden_wherever_it_comes_from() {
    let world = World::new(&[Group::Stats]).await;
    let (old, new) = (open(&world, PartStamps::Counted).await, open(&world, PartStamps::Counted).await);
    let subject = Subject::Everyone;
    let parts = vec![part(&subject, slot(DAY, 1), 0, 1, 2), part(&subject, slot(DAY, 95), 0, 9, 3)];
    old.apply(parts.clone().into(), position(2)).await.unwrap();
    let seen = dirty(&new, &subject).await.unwrap();
    let rollup = sum_up(&new, &seen).await;
    new.put_rollups(vec![rollup]).await.unwrap();
    let before = UnixMs::new(slot(DAY + 1, 0).start().get());
    assert_eq!(new.expire_slots(before, 10).await.unwrap(), 2);
    world.run("TRUNCATE click_settings").await;
    let unaware = open(&world, PartStamps::Counted).await;
    unaware.apply(parts.into(), position(2)).await.unwrap();
    assert!(slots(&new, &subject, DAY).await.is_empty());
    while let Some(again) = dirty(&new, &subject).await {
        let rollup = sum_up(&new, &again).await;
        new.put_rollups(vec![rollup]).await.unwrap();
    }
    let kept = new.rollups(&subject, RollupUnit::Day, DAY, DAY + 1, Want::Counts).await.unwrap();
    assert_eq!(kept.iter().map(|(_, tally)| tally.counts.clicks).collect::<Vec<_>>(), [5], "nor does it spoil the roll-up");
    world.close().await;
}
