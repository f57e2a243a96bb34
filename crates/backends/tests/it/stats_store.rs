//! `stats.db`: the contract, and what only this backend promises.

use std::sync::Arc;

use backends::sqlite::{Options, SqliteStats, open_stats};
use compact_str::CompactString;
use domain::port::{Dimensions, LogId, LogPosition, Part, Rollup, RollupUnit, StatsStore, Tally, Want};
use domain::visitors::{VisitorUnion, Visitors};
use domain::{Counts, Dimension, LinkId, Owner, Slot, Subject};
use tempfile::TempDir;

fn open() -> (TempDir, Arc<SqliteStats>) {
    let folder = tempfile::tempdir().unwrap();
    let stats = open_stats(&folder.path().join("stats.db"), Options::default()).unwrap();
    (folder, stats)
}

macro_rules! contract {
    ($($test:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $test() {
            let (_folder, stats) = open();
            domain::port::contract::stats_store::$test(stats.clone()).await;
            stats.close().await;
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

fn part(link: u64, slot: u32, clicks: u64) -> Part {
    let mut visitors = Visitors::default();
    visitors.add(link);
    Part {
        subject: Subject::Link(LinkId::new(link)),
        slot: Slot::new(slot),
        chunk: 0,
        upto: 1,
        owner: Some(Owner::parse("ann").unwrap()),
        tally: Tally { counts: Counts { clicks, humans: 0 }, dimensions: Dimensions::new(), visitors: visitors.encode(), visitor_days: 0 },
    }
}

#[tokio::test]
async fn what_is_stored_is_there_after_a_restart() {
    let (folder, stats) = open();
    stats.apply(vec![part(5, 96 * 20_000, 3)].into(), position(70)).await.unwrap();
    stats.close().await;
    let stats = open_stats(&folder.path().join("stats.db"), Options::default()).unwrap();
    assert_eq!(stats.progress(position(0).log, 0).await.unwrap(), Some(70));
    let slots = stats.slots(&Subject::Link(LinkId::new(5)), Slot::new(0), Slot::new(u32::MAX), Want::Counts).await.unwrap();
    assert_eq!(slots.len(), 1);
    stats.close().await;
}

/// Beyond a thousand links a day the rest are forgotten by day, and counted by their roll-ups.
#[tokio::test]
async fn top_links_stay_exact_when_a_day_has_more_links_than_are_kept() {
    let (_folder, stats) = open();
    let ann = Subject::Owner(Owner::parse("ann").unwrap());
    let day = 20_000;
    // Link 1 is far from the first on the first day, and far ahead on the second.
    let first = (1..=1_500_u64).map(|link| part(link, day * 96, link));
    let second = (1..=3).map(|link| part(link, (day + 1) * 96, 10_000 - link));
    let of_owner = Part { subject: ann.clone(), owner: None, ..part(1, day * 96, 1) };
    stats.apply(first.chain(second).chain([of_owner]).collect(), position(9)).await.unwrap();
    let dirty = stats.dirty_days(day + 1, 10_000).await.unwrap();
    assert_eq!(dirty.len(), 1_501);
    let mut rollups = Vec::new();
    for dirty in dirty {
        let slots = stats.slots(&dirty.subject, Slot::new(day * 96), Slot::new((day + 1) * 96), Want::Everything).await.unwrap();
        let tally = slots.into_iter().next().unwrap().1;
        rollups.push(Rollup { subject: dirty.subject, unit: RollupUnit::Day, number: day, tally, seen: dirty.seen });
    }
    stats.put_rollups(rollups).await.unwrap();
    let top = stats.top_links(&ann, Slot::new(day * 96), Slot::new((day + 2) * 96), 4).await.unwrap();
    let top: Vec<_> = top.into_iter().map(|(link, counts)| (link.get(), counts.clicks)).collect();
    assert_eq!(top, [(1, 10_000), (2, 10_000), (3, 10_000), (1_500, 1_500)]);
    stats.close().await;
}

/// One visitor and country of its own for each chunk.
fn of_chunk(chunk: u64, upto: u32, clicks: u64) -> Part {
    let mut visitors = Visitors::default();
    visitors.add(chunk.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let country = CompactString::from(format!("c{}", chunk % 3));
    let tally = Tally {
        counts: Counts { clicks, humans: clicks - 1 },
        dimensions: [(Dimension::Country, [(country, clicks)].into())].into(),
        visitors: visitors.encode(),
        visitor_days: 0,
    };
    Part { chunk, upto, tally, ..part(5, 96 * 20_000, clicks) }
}

/// However many chunks speak of a quarter-hour, it is one row, and what was said before is not counted again.
#[tokio::test]
async fn chunks_of_a_quarter_hour_are_folded_into_one_row() {
    let (folder, stats) = open();
    let chunks: Vec<Part> = (0..50).flat_map(|chunk| [of_chunk(chunk, 5, 2), of_chunk(chunk, 9, 4)]).collect();
    for part in &chunks {
        stats.apply(vec![part.clone()].into(), position(0)).await.unwrap();
    }
    let subject = Subject::Link(LinkId::new(5));
    let slot = Slot::new(96 * 20_000);
    let read = async || stats.slots(&subject, slot, Slot::new(slot.get() + 1), Want::Everything).await.unwrap();
    let counted = read().await;
    let [(_, sum)] = &counted[..] else { panic!("{counted:?}") };
    assert_eq!(sum.counts, Counts { clicks: 200, humans: 150 });
    assert_eq!(sum.dimensions[&Dimension::Country], [("c0".into(), 68), ("c1".into(), 68), ("c2".into(), 64)].into());
    let mut union = VisitorUnion::default();
    union.add(&sum.visitors).unwrap();
    assert_eq!(union.estimate(), 50);

    stats.apply(chunks.into(), position(0)).await.unwrap();
    assert_eq!(read().await, counted, "counted again from the first record on");
    let top = stats.top_links(&Subject::Owner(Owner::parse("ann").unwrap()), slot, Slot::new(slot.get() + 1), 1).await.unwrap();
    assert_eq!(top, [(LinkId::new(5), Counts { clicks: 200, humans: 150 })]);
    stats.close().await;
    let file = rusqlite::Connection::open(folder.path().join("stats.db")).unwrap();
    let rows: u32 = file.query_row("SELECT count(*) FROM parts", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}
