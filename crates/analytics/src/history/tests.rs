//! Imported days against what was imported, whatever the store has sealed or summed up since.

use std::time::{Duration, Instant};

use domain::Interval;
use domain::api::{Period, Series, SeriesQuery, Stats};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::rollup;
use crate::testing::{At, MemoryStats, owner};

/// 2026-11-23T21:07Z.
const NOW: UnixMs = UnixMs::new(1_795_468_020_000);
const TODAY: i64 = NOW.get() / DAY_MS;

struct World {
    store: Arc<MemoryStats>,
    history: Service,
    stats: crate::Service,
}

fn world() -> World {
    let store = Arc::new(MemoryStats::default());
    let clock = || Arc::new(At(NOW));
    World { history: Service::new(store.clone(), clock()), stats: crate::Service::new(store.clone(), clock()), store }
}

fn day(ago: i64, clicks: u64) -> HistoryDay {
    HistoryDay { start: UnixMs::new((TODAY - ago) * DAY_MS), counts: Counts { clicks, humans: clicks - clicks / 4 }, visitors: clicks / 2 }
}

fn soon() -> Deadline {
    Deadline::after(Instant::now(), Duration::from_mins(1))
}

impl World {
    async fn import(&self, link: u64, days: &[HistoryDay]) {
        self.history.import(LinkId::new(link), &owner("ann"), days, soon()).await.unwrap();
    }

    /// What a server does in the background.
    async fn roll_up_and_expire(&self) {
        let rollups = rollup::Service::new(self.store.clone(), Arc::new(At(NOW)), rollup::Options::default());
        rollups.roll_up(&CancellationToken::new()).await.unwrap();
        rollups.expire(&CancellationToken::new()).await.unwrap();
    }

    async fn series(&self, subject: &Subject, interval: Interval) -> Series {
        let period = Period { from: UnixMs::new((TODAY - 900) * DAY_MS), to: NOW };
        let query = SeriesQuery { period: Some(period), interval, time_zone: None };
        self.stats.series(subject, &query, soon()).await.unwrap()
    }

    /// The days of all links and everyone's hold what was imported, whichever way one asks.
    async fn assert_counted(&self, links: &[(u64, &[HistoryDay])]) {
        let all: Vec<_> = links.iter().flat_map(|(_, days)| days.iter().copied()).collect();
        let of_links = links.iter().map(|(link, days)| (Subject::Link(LinkId::new(*link)), days.to_vec()));
        for (subject, days) in of_links.chain([(Subject::Owner(owner("ann")), all.clone()), (Subject::Everyone, all.clone())]) {
            let clicks: u64 = days.iter().map(|day| day.counts.clicks).sum();
            let humans: u64 = days.iter().map(|day| day.counts.humans).sum();
            let visitors: u64 = days.iter().map(|day| day.visitors).sum();
            for interval in [Interval::Day, Interval::Month] {
                let series = self.series(&subject, interval).await;
                assert_eq!((series.counts, series.visitors), (Counts { clicks, humans }, visitors), "{subject:?} {interval:?}");
                for bucket in series.buckets.iter().filter(|_| interval == Interval::Day) {
                    let wanted: u64 = days.iter().filter(|day| day.start == bucket.start).map(|day| day.counts.clicks).sum();
                    assert_eq!(bucket.counts.clicks, wanted, "{subject:?} {bucket:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn imported_days_are_counted_once_and_larger_counts_replace() {
    let world = world();
    let (one, two) = ([day(0, 5), day(1, 8), day(300, 20)], [day(1, 30), day(40, 7)]);
    for _ in 0..2 {
        world.import(1, &one).await;
        world.import(2, &two).await;
        world.assert_counted(&[(1, &one), (2, &two)]).await;
        world.roll_up_and_expire().await;
        world.assert_counted(&[(1, &one), (2, &two)]).await;
    }
    let more = [day(0, 6), day(1, 8), day(300, 24)];
    world.import(1, &more).await;
    world.import(1, &one).await;
    world.assert_counted(&[(1, &more), (2, &two)]).await;
    let top = world.stats.top_links(&Subject::Owner(owner("ann")), None, 10, soon()).await.unwrap();
    assert_eq!(top.iter().map(|top| (top.link.get(), top.counts.clicks)).collect::<Vec<_>>(), [(2, 30), (1, 14)]);
}

#[tokio::test]
async fn days_older_than_the_retention_are_counted_too() {
    let world = world();
    // A server that never counted anything seals old days all the same.
    world.roll_up_and_expire().await;
    let (one, two) = ([day(850, 8), day(849, 4), day(600, 20), day(3, 9)], [day(849, 40)]);
    for _ in 0..2 {
        world.import(1, &one).await;
        world.import(2, &two).await;
        world.assert_counted(&[(1, &one), (2, &two)]).await;
        world.roll_up_and_expire().await;
        world.assert_counted(&[(1, &one), (2, &two)]).await;
    }
    let more = [day(850, 8), day(849, 12), day(600, 20), day(3, 9)];
    world.import(1, &more).await;
    world.import(1, &one).await;
    world.assert_counted(&[(1, &more), (2, &two)]).await;
}

#[tokio::test]
async fn a_day_imported_before_it_was_sealed_is_not_added_again() {
    let world = world();
    let (one, two) = ([day(850, 8), day(849, 4)], [day(849, 40)]);
    world.import(1, &one).await;
    world.roll_up_and_expire().await;
    assert!(world.store.data().parts.is_empty(), "expired");
    world.import(1, &one).await;
    world.import(2, &two).await;
    world.assert_counted(&[(1, &one), (2, &two)]).await;
}

#[tokio::test]
async fn a_sealed_day_that_is_not_summed_up_yet_is_refused_for_now() {
    let world = world();
    world.import(1, &[day(850, 8)]).await;
    // Sealed between the click and its roll-up.
    world.store.expire_slots(NOW, 10).await.unwrap();
    let error = world.history.import(LinkId::new(2), &owner("ann"), &[day(850, 3)], soon()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Unavailable);
    world.roll_up_and_expire().await;
    world.import(2, &[day(850, 3)]).await;
    world.assert_counted(&[(1, &[day(850, 8)]), (2, &[day(850, 3)])]).await;
}

#[tokio::test]
async fn every_wrong_field_is_named_and_nothing_is_counted() {
    let world = world();
    let wrong = |change: fn(&mut HistoryDay)| {
        let mut day = day(9, 8);
        change(&mut day);
        day
    };
    let days = [
        day(1, 4),
        wrong(|day| day.start = UnixMs::new(day.start.get() + 1)),
        wrong(|day| day.start = UnixMs::new(-DAY_MS)),
        wrong(|day| day.start = UnixMs::new((TODAY + 1) * DAY_MS)),
        day(1, 4),
        wrong(|day| day.counts.humans = 9),
        HistoryDay { visitors: 8, ..day(10, 8) },
        day(11, u64::from(HISTORY_CLICKS_MAX) + 1),
    ];
    let error = world.history.import(LinkId::new(1), &owner("ann"), &days, soon()).await.unwrap_err();
    let pointers: Vec<_> = error.field_errors().iter().map(|field| field.pointer.as_str()).collect();
    let expected =
        ["/days/1/start", "/days/2/start", "/days/3/start", "/days/4/start", "/days/5/humans", "/days/6/visitors", "/days/7/clicks"];
    assert_eq!(pointers, expected);
    let many: Vec<_> = (0..=i64::try_from(HISTORY_LEN_MAX).unwrap()).map(|ago| day(ago, 1)).collect();
    let error = world.history.import(LinkId::new(1), &owner("ann"), &many, soon()).await.unwrap_err();
    assert_eq!(error.field_errors()[0].pointer, "/days");
    assert!(world.store.data().parts.is_empty());
    world.import(1, &many[1..]).await;
    assert_eq!(world.store.data().parts.len(), 3 * HISTORY_LEN_MAX);
}
