//! What every store of statistics promises.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;

use super::{DirtyDay, Part, Rollup, RollupUnit, StatsStore, Tally, Want};
use crate::model::{Counts, Dimension, LinkId, Owner, Slot, Subject};
use crate::port::contract::{id, owner};
use crate::port::{LogId, LogPosition};
use crate::visitors::{VisitorUnion, Visitors};

const LOG: LogId = LogId([7; 16]);
/// Of the day that most parts lie in.
const DAY: u32 = 20_700;
/// 2026-09-04 lies in this month.
const MONTH: u32 = (2026 - 1970) * 12 + 8;

fn at(offset: u64) -> LogPosition {
    LogPosition { log: LOG, partition: 0, offset }
}

fn slot(day: u32, quarter: u32) -> Slot {
    Slot::new(day * Slot::PER_DAY + quarter)
}

fn tally(clicks: u64, country: &str, visitors: std::ops::Range<u64>) -> Tally {
    let mut sketch = Visitors::default();
    visitors.for_each(|visitor| sketch.add(visitor));
    Tally {
        counts: Counts { clicks, humans: clicks.saturating_sub(1) },
        dimensions: [(Dimension::Country, [(country.into(), clicks)].into()), (Dimension::Referrer, [("a.example".into(), clicks)].into())]
            .into(),
        visitors: sketch.encode(),
        visitor_days: 0,
    }
}

fn part(subject: &Subject, slot: Slot, chunk: u64, upto: u32, clicks: u64) -> Part {
    let owner = matches!(subject, Subject::Link(_)).then(|| owner("ann"));
    Part { subject: subject.clone(), slot, chunk, upto, owner, tally: tally(clicks, "DE", 0..clicks) }
}

fn link(number: u64) -> Subject {
    Subject::Link(id(number))
}

async fn clicks(store: &dyn StatsStore, subject: &Subject) -> u64 {
    let slots = store.slots(subject, Slot::new(0), Slot::new(u32::MAX), Want::Counts).await.expect("read");
    slots.iter().map(|(_, tally)| tally.counts.clicks).sum()
}

fn rollup(subject: &Subject, unit: RollupUnit, number: u32, clicks: u64, seen: u64) -> Rollup {
    let tally = Tally { visitors: Vec::new(), visitor_days: clicks, ..tally(clicks, "DE", 0..0) };
    Rollup { subject: subject.clone(), unit, number, tally, seen }
}

async fn seen(store: &dyn StatsStore, subject: &Subject, day: u32) -> Option<u64> {
    let days = store.dirty_days(day + 1, 1_000).await.expect("read");
    days.iter().find(|dirty| dirty.subject == *subject && dirty.day == day).map(|dirty| dirty.seen)
}

pub async fn progress_moves_with_the_parts_and_never_back<S: StatsStore>(store: Arc<S>) {
    assert_eq!(store.progress(LOG, 0).await.expect("read"), None);
    store.apply(vec![part(&link(1), slot(DAY, 3), 0, 5, 2)].into(), at(5)).await.expect("write");
    assert_eq!(store.progress(LOG, 0).await.expect("read"), Some(5));
    store.apply((Vec::new()).into(), at(70_000)).await.expect("write");
    store.apply((Vec::new()).into(), at(3)).await.expect("write");
    assert_eq!(store.progress(LOG, 0).await.expect("read"), Some(70_000));
    assert_eq!(store.progress(LOG, 1).await.expect("read"), None);
    assert_eq!(store.progress(LogId([8; 16]), 0).await.expect("read"), None);
}

pub async fn a_part_written_again_or_late_changes_nothing<S: StatsStore>(store: Arc<S>) {
    let subject = link(1);
    let steps = [part(&subject, slot(DAY, 3), 0, 5, 2), part(&subject, slot(DAY, 3), 0, 9, 4)];
    for index in [0, 0, 1, 0, 1] {
        store.apply(vec![steps[index].clone()].into(), at(9)).await.expect("write");
    }
    let slots = store.slots(&subject, slot(DAY, 0), slot(DAY + 1, 0), Want::Everything).await.expect("read");
    assert_eq!(slots, [(slot(DAY, 3), steps[1].tally.clone())]);
}

pub async fn chunks_partitions_and_logs_add_up<S: StatsStore>(store: Arc<S>) {
    let subject = link(1);
    store
        .apply(vec![part(&subject, slot(DAY, 3), 0, 5, 2), part(&subject, slot(DAY, 3), 1, 5, 3)].into(), at(65_541))
        .await
        .expect("write");
    for position in [LogPosition { partition: 1, ..at(5) }, LogPosition { log: LogId([8; 16]), ..at(5) }] {
        let mut other = part(&subject, slot(DAY, 3), 0, 5, 10);
        other.tally = tally(10, "FR", 5..15);
        store.apply(vec![other].into(), position).await.expect("write");
    }
    let slots = store.slots(&subject, slot(DAY, 3), slot(DAY, 4), Want::Everything).await.expect("read");
    let [(_, sum)] = &slots[..] else { panic!("{slots:?}") };
    assert_eq!(sum.counts, Counts { clicks: 25, humans: 21 });
    assert_eq!(sum.dimensions[&Dimension::Country], [("DE".into(), 5), ("FR".into(), 20)].into());
    let mut union = VisitorUnion::default();
    union.add(&sum.visitors).expect("a sketch");
    assert_eq!(union.estimate(), 13, "0..3 and 5..15");
}

pub async fn slots_come_in_order_with_what_is_wanted<S: StatsStore>(store: Arc<S>) {
    let subjects = [link(1), Subject::Owner(owner("ann")), Subject::Everyone];
    for subject in &subjects {
        let parts = [9, 3, 6].map(|quarter| part(subject, slot(DAY, quarter), 0, quarter, u64::from(quarter)));
        store.apply(parts.into(), at(10)).await.expect("write");
    }
    for subject in &subjects {
        let read = async |want| store.slots(subject, slot(DAY, 3), slot(DAY, 9), want).await.expect("read");
        let everything = read(Want::Everything).await;
        assert_eq!(everything.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [slot(DAY, 3), slot(DAY, 6)]);
        assert_eq!(everything[1].1, tally(6, "DE", 0..6));
        assert!(read(Want::Counts).await.iter().all(|(_, tally)| tally.dimensions.is_empty() && tally.visitors.is_empty()));
        assert!(read(Want::Visitors).await.iter().all(|(_, tally)| tally.dimensions.is_empty() && !tally.visitors.is_empty()));
        let countries = read(Want::Dimension(Dimension::Country)).await;
        assert!(countries.iter().all(|(_, tally)| tally.dimensions.len() == 1 && tally.dimensions.contains_key(&Dimension::Country)));
    }
    let nobody = Subject::Owner(Owner::from_stored("nobody"));
    assert!(store.slots(&nobody, slot(DAY, 0), slot(DAY, 9), Want::Counts).await.expect("read").is_empty());
}

pub async fn days_with_new_parts_are_dirty<S: StatsStore>(store: Arc<S>) {
    let parts = vec![part(&link(1), slot(DAY, 3), 0, 5, 2), part(&Subject::Owner(owner("ann")), slot(DAY + 1, 3), 0, 6, 2)];
    store.apply(parts.clone().into(), at(6)).await.expect("write");
    let days = store.dirty_days(DAY + 1, 10).await.expect("read");
    assert!(matches!(&days[..], [DirtyDay { subject, day: DAY, .. }] if *subject == link(1)), "{days:?}");
    assert_eq!(store.dirty_days(DAY + 2, 10).await.expect("read").len(), 2);
    assert_eq!(store.dirty_days(DAY + 2, 1).await.expect("read").len(), 1);

    let seen_first = seen(&*store, &link(1), DAY).await.expect("dirty");
    store.put_rollups(vec![rollup(&link(1), RollupUnit::Day, DAY, 2, seen_first)]).await.expect("write");
    assert_eq!(seen(&*store, &link(1), DAY).await, None);
    store.apply(parts.into(), at(6)).await.expect("write");
    assert_eq!(seen(&*store, &link(1), DAY).await, None, "a replay brings nothing new");
    store.apply(vec![part(&link(1), slot(DAY, 9), 0, 7, 1)].into(), at(7)).await.expect("write");
    assert!(seen(&*store, &link(1), DAY).await.is_some(), "a late part does");
}

pub async fn a_part_that_comes_while_rolling_up_keeps_the_day_dirty<S: StatsStore>(store: Arc<S>) {
    store.apply(vec![part(&link(1), slot(DAY, 3), 0, 5, 2)].into(), at(5)).await.expect("write");
    let before = seen(&*store, &link(1), DAY).await.expect("dirty");
    store.apply(vec![part(&link(1), slot(DAY, 3), 0, 6, 3)].into(), at(6)).await.expect("write");
    store.put_rollups(vec![rollup(&link(1), RollupUnit::Day, DAY, 2, before)]).await.expect("write");
    assert!(seen(&*store, &link(1), DAY).await.is_some());
    assert!(store.rollups(&link(1), RollupUnit::Day, DAY, DAY + 1, Want::Counts).await.expect("read").is_empty());
}

pub async fn rollups_are_kept_as_they_are_until_they_are_stale<S: StatsStore>(store: Arc<S>) {
    let subject = Subject::Owner(owner("ann"));
    store.apply(vec![part(&subject, slot(DAY, 3), 0, 5, 2)].into(), at(5)).await.expect("write");
    let seen = seen(&*store, &subject, DAY).await.expect("dirty");
    let day = rollup(&subject, RollupUnit::Day, DAY, 2, seen);
    let month = rollup(&subject, RollupUnit::Month, MONTH, 2, 0);
    store.put_rollups(vec![day.clone(), month.clone()]).await.expect("write");
    let read = async |unit, number| store.rollups(&subject, unit, number, number + 1, Want::Everything).await.expect("read");
    assert_eq!(read(RollupUnit::Day, DAY).await, [(DAY, day.tally)]);
    assert_eq!(read(RollupUnit::Month, MONTH).await, [(MONTH, month.tally)]);
    assert!(read(RollupUnit::Day, MONTH).await.is_empty(), "days and months are apart");
    store.apply(vec![part(&subject, slot(DAY - 2, 3), 0, 6, 2)].into(), at(6)).await.expect("write");
    assert_eq!(read(RollupUnit::Day, DAY).await.len(), 1);
    assert!(read(RollupUnit::Month, MONTH).await.is_empty(), "a day of it is dirty");
    store.apply(vec![part(&subject, slot(DAY, 9), 0, 7, 2)].into(), at(7)).await.expect("write");
    assert!(read(RollupUnit::Day, DAY).await.is_empty());
}

pub async fn rollups_need_no_parts<S: StatsStore>(store: Arc<S>) {
    for subject in [link(1), Subject::Owner(owner("new")), Subject::Everyone] {
        let day = rollup(&subject, RollupUnit::Day, DAY, 7, 0);
        store.put_rollups(vec![day.clone()]).await.expect("write");
        let read = store.rollups(&subject, RollupUnit::Day, DAY, DAY + 1, Want::Everything).await.expect("read");
        assert_eq!(read, [(DAY, day.tally)]);
    }
}

pub async fn top_links_are_those_with_most_clicks<S: StatsStore>(store: Arc<S>) {
    let mut parts = Vec::new();
    for (number, quarter, clicks) in [(1, 3, 5), (2, 3, 7), (3, 40, 9), (1, 40, 3)] {
        parts.push(part(&link(number), slot(DAY, quarter), 0, 9, clicks));
    }
    parts.push(part(&link(2), slot(DAY + 1, 0), 0, 9, 100));
    let mut of_bob = part(&link(4), slot(DAY, 3), 0, 9, 50);
    of_bob.owner = Some(owner("bob"));
    parts.push(of_bob);
    store.apply(parts.clone().into(), at(9)).await.expect("write");
    store.apply(parts.into(), at(9)).await.expect("write");

    let top = async |subject: Subject, from, to, limit| -> Vec<(LinkId, u64)> {
        let links = store.top_links(&subject, from, to, limit).await.expect("read");
        links.into_iter().map(|(link, counts)| (link, counts.clicks)).collect()
    };
    let (ann, day, next) = (Subject::Owner(owner("ann")), slot(DAY, 0), slot(DAY + 1, 0));
    assert_eq!(top(ann.clone(), day, next, 10).await, [(id(3), 9), (id(1), 8), (id(2), 7)]);
    assert_eq!(top(ann.clone(), day, slot(DAY + 2, 0), 1).await, [(id(2), 107)]);
    assert_eq!(top(ann.clone(), day, slot(DAY, 4), 10).await, [(id(2), 7), (id(1), 5)], "only a part of the day");
    assert_eq!(top(Subject::Everyone, day, next, 2).await, [(id(4), 50), (id(3), 9)]);
    assert!(top(Subject::Owner(owner("nobody")), day, next, 2).await.is_empty());
    assert!(top(ann, slot(DAY + 2, 0), slot(DAY + 9, 0), 2).await.is_empty());
}

pub async fn only_old_rolled_up_slots_expire_and_they_stay_gone<S: StatsStore>(store: Arc<S>) {
    let subject = link(1);
    let parts: Vec<_> = (0..4).map(|day| part(&subject, slot(DAY + day, 3), 0, 5 + day, 1)).collect();
    store.apply(parts.clone().into(), at(9)).await.expect("write");
    for day in [DAY, DAY + 1, DAY + 3] {
        let seen = seen(&*store, &subject, day).await.expect("dirty");
        store.put_rollups(vec![rollup(&subject, RollupUnit::Day, day, 1, seen)]).await.expect("write");
    }
    let before = slot(DAY + 3, 50).start();
    assert_eq!(store.expire_slots(before, 1).await.expect("write"), 1);
    assert_eq!(store.expire_slots(before, 10).await.expect("write"), 1);
    assert_eq!(store.expire_slots(before, 10).await.expect("write"), 0);
    assert_eq!(clicks(&*store, &subject).await, 2, "the dirty day, and the day that has not ended");
    store.apply(parts.into(), at(9)).await.expect("write");
    assert_eq!(clicks(&*store, &subject).await, 2, "a replay brings none back");
    let kept = store.rollups(&subject, RollupUnit::Day, DAY, DAY + 1, Want::Counts).await.expect("read");
    assert_eq!(kept.len(), 1, "and spoils no roll-up");
}
