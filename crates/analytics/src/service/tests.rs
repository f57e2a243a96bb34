//! Answers against a plain count of the same clicks, with and without roll-ups.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use domain::limits::CLICK_CHUNK_LEN;
use domain::port::{LogId, LogPosition};
use domain::{Browser, Country, Device, Interval, LinkId, LoggedClick, System, UnixMs};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fold::Fold;
use crate::rollup;
use crate::testing::{At, Dice, MemoryStats, owner};

/// 2026-11-23T21:07Z.
const NOW: UnixMs = UnixMs::new(1_795_468_020_000);
const DAY_MS: i64 = 86_400_000;

struct World {
    store: Arc<MemoryStats>,
    clicks: Vec<LoggedClick>,
    service: Service,
}

/// Clicks of one link over the hundred days before `NOW`.
async fn world() -> World {
    let mut dice = Dice(5);
    let mut clicks = Vec::new();
    for _ in 0..3_000 {
        let ago = i64::try_from(dice.below(100 * DAY_MS.unsigned_abs())).unwrap();
        clicks.push(LoggedClick {
            link: LinkId::new(9),
            domain: None,
            code: "".into(),
            owner: owner("ann"),
            at: UnixMs::new(NOW.get() - ago),
            visitor: dice.below(12),
            country: Country::parse(["DE", "FR", "XX"][usize::try_from(dice.below(3)).unwrap()]),
            language: None,
            referrer: "".into(),
            browser: Browser::Chrome,
            system: System::Linux,
            device: Device::Desktop,
            bot: if dice.below(5) == 0 { "HEAD".into() } else { "".into() },
            utm_source: "".into(),
            utm_medium: "".into(),
            utm_campaign: "".into(),
        });
    }
    clicks.sort_by_key(|click| click.at);
    let store = Arc::new(MemoryStats::default());
    // Each half in a chunk of its own.
    for (chunk, half) in clicks.chunks(1_500).enumerate() {
        let start = u64::try_from(chunk).unwrap() * CLICK_CHUNK_LEN;
        let mut fold = Fold::new(start, None);
        for (offset, click) in (start..).zip(half) {
            fold.count(offset, click);
        }
        let rows = fold.sort_dirty();
        let position = LogPosition { log: LogId([1; 16]), partition: 0, offset: start + 1_500 };
        store.apply((fold.parts(0, rows)).into(), position).await.unwrap();
    }
    let service = Service::new(store.clone(), Arc::new(At(NOW)));
    World { store, clicks, service }
}

impl World {
    async fn roll_up(&self) {
        let rollups =
            rollup::Service::new(self.store.clone(), Arc::new(At(NOW)), rollup::Options { batch_len_max: 7, ..rollup::Options::default() });
        assert!(rollups.roll_up(&CancellationToken::new()).await.unwrap() > 100);
    }

    async fn series(&self, subject: &Subject, query: &SeriesQuery) -> Series {
        self.service.series(subject, query, soon()).await.unwrap()
    }

    /// Clicks, humans and visitors of a time, counted one by one.
    fn truth(&self, from: UnixMs, to: UnixMs) -> (Counts, u64) {
        let (mut counts, mut visitors) = (Counts::default(), BTreeSet::new());
        for click in self.clicks.iter().filter(|click| click.at >= from && click.at < to) {
            counts.clicks += 1;
            if !click.is_bot() {
                counts.humans += 1;
                visitors.insert((Slot::at(click.at).day(), click.visitor));
            }
        }
        (counts, visitors.len() as u64)
    }

    fn assert_right(&self, series: &Series) {
        let ends = series.buckets.iter().skip(1).map(|bucket| bucket.start).chain([series.period.to]);
        for (bucket, end) in series.buckets.iter().zip(ends) {
            assert_eq!((bucket.counts, bucket.visitors), self.truth(bucket.start, end), "{bucket:?}");
        }
        assert_eq!((series.counts, series.visitors), self.truth(series.period.from, series.period.to));
        assert!(series.counts.clicks > 0);
    }
}

fn soon() -> Deadline {
    Deadline::after(Instant::now(), Duration::from_mins(1))
}

fn link() -> Subject {
    Subject::Link(LinkId::new(9))
}

fn queries() -> Vec<SeriesQuery> {
    let period = |days: i64, cut: i64| Some(Period { from: UnixMs::new(NOW.get() - days * DAY_MS + cut), to: NOW });
    let zones = [None, Some("Asia/Kathmandu"), Some("Australia/Lord_Howe"), Some("America/New_York")];
    let mut queries = Vec::new();
    for zone in zones {
        for (days, interval) in [(30, Interval::Hour), (99, Interval::Day), (100, Interval::Month)] {
            queries.push(SeriesQuery { period: period(days, 12_345), interval, time_zone: zone.map(Into::into) });
        }
        queries.push(SeriesQuery { period: None, interval: Interval::Day, time_zone: zone.map(Into::into) });
    }
    queries
}

#[tokio::test]
async fn series_are_exact_in_every_zone_with_and_without_rollups() {
    let world = world().await;
    for subject in [link(), Subject::Owner(owner("ann")), Subject::Everyone] {
        for query in queries() {
            world.assert_right(&world.series(&subject, &query).await);
        }
    }
    world.roll_up().await;
    for query in queries() {
        world.assert_right(&world.series(&link(), &query).await);
    }
    let nobody = world.series(&Subject::Link(LinkId::new(8)), &queries()[1]).await;
    assert_eq!((nobody.counts, nobody.visitors, nobody.buckets.len()), (Counts::default(), 0, 100));
}

#[tokio::test]
async fn whole_days_and_months_are_read_from_rollups() {
    let world = world().await;
    let query = SeriesQuery {
        period: Some(Period { from: UnixMs::new(NOW.get() - 99 * DAY_MS), to: NOW }),
        interval: Interval::Month,
        time_zone: None,
    };
    let reads = async || {
        world.store.data().read = 0;
        world.series(&link(), &query).await;
        world.store.data().read
    };
    let before = reads().await;
    world.roll_up().await;
    let after = reads().await;
    assert!(before > 1_000 && after < 150, "{before} rows read, then {after}");
}

#[tokio::test]
async fn a_late_click_is_rolled_up_again() {
    let world = world().await;
    world.roll_up().await;
    let mut late = world.clicks[10].clone();
    late.visitor = 77;
    late.bot = "".into();
    let mut fold = Fold::new(5 * CLICK_CHUNK_LEN, None);
    fold.count(5 * CLICK_CHUNK_LEN, &late);
    fold.sort_dirty();
    let position = LogPosition { log: LogId([1; 16]), partition: 0, offset: 5 * CLICK_CHUNK_LEN + 1 };
    world.store.apply((fold.parts(0, 10)).into(), position).await.unwrap();
    let mut clicks = world.clicks.clone();
    clicks.push(late);
    let world = World { clicks, ..world };
    world.assert_right(&world.series(&link(), &queries()[1]).await);
    let rollups = rollup::Service::new(world.store.clone(), Arc::new(At(NOW)), rollup::Options::default());
    assert_eq!(rollups.roll_up(&CancellationToken::new()).await.unwrap(), 3);
    for query in queries() {
        world.assert_right(&world.series(&link(), &query).await);
    }
}

#[tokio::test]
async fn days_and_months_outlive_their_quarter_hours() {
    let world = world().await;
    world.roll_up().await;
    let options = rollup::Options { keep_slots: Duration::from_hours(24 * 10), expire_len_max: 100, ..rollup::Options::default() };
    let rollups = rollup::Service::new(world.store.clone(), Arc::new(At(NOW)), options);
    assert!(rollups.expire(&CancellationToken::new()).await.unwrap() > 1_000);
    // From a midnight on, so that no day is cut.
    let from = UnixMs::new((NOW.get() / DAY_MS - 90) * DAY_MS);
    for interval in [Interval::Day, Interval::Month] {
        let query = SeriesQuery { period: Some(Period { from, to: NOW }), interval, time_zone: None };
        world.assert_right(&world.series(&link(), &query).await);
    }
}

#[tokio::test]
async fn breakdowns_are_shares_of_all_clicks_by_frequency() {
    let world = world().await;
    for rolled_up in [false, true] {
        if rolled_up {
            world.roll_up().await;
        }
        let whole = Period { from: UnixMs::new(NOW.get() - 90 * DAY_MS), to: NOW };
        let period = Some(whole);
        let countries = world.service.breakdown(&link(), Dimension::Country, period, 10, soon()).await.unwrap();
        let from = Slot::at(whole.from).start();
        let clicks: Vec<_> = world.clicks.iter().filter(|click| click.at >= from).collect();
        assert_eq!(countries.len(), 3);
        for share in &countries {
            let name = |click: &LoggedClick| click.country.map_or_else(|| "unknown".to_owned(), |country| country.as_str().to_owned());
            let count = clicks.iter().filter(|click| name(click) == share.value).count();
            assert_eq!(share.clicks, count as u64);
            assert!((share.share - super::share(count as u64, clicks.len() as u64)).abs() < 1e-12);
        }
        assert!(countries.is_sorted_by(|a, b| a.clicks >= b.clicks));
        assert_eq!(world.service.breakdown(&link(), Dimension::Country, period, 1, soon()).await.unwrap(), countries[..1]);
        assert!(world.service.breakdown(&link(), Dimension::UtmSource, period, 9, soon()).await.unwrap().is_empty());
        let bots = world.service.breakdown(&link(), Dimension::Bot, period, 9, soon()).await.unwrap();
        assert_eq!(bots[0].value, "HEAD");
    }
}

#[tokio::test]
async fn top_links_are_those_of_the_store() {
    let world = world().await;
    let period = Some(Period { from: UnixMs::new(0), to: NOW });
    let top = world.service.top_links(&Subject::Owner(owner("ann")), period, 5, soon()).await.unwrap();
    assert_eq!(top.iter().map(|top| (top.link, top.counts.clicks)).collect::<Vec<_>>(), [(LinkId::new(9), 3_000)]);
    let empty = world.service.top_links(&link(), Some(Period { from: NOW, to: NOW }), 5, soon()).await.unwrap_err();
    assert_eq!(empty.field_errors()[0].pointer, "/to");
}

#[tokio::test]
async fn the_service_passes_its_contract() {
    use domain::api::contract::stats as contract;
    let service = || Arc::new(Service::new(Arc::new(MemoryStats::default()), Arc::new(At(NOW))));
    contract::a_series_is_filled_with_zeros(service()).await;
    contract::a_period_is_moved_to_quarter_hours(service()).await;
    contract::thirty_days_when_no_period_is_said(service()).await;
    contract::wrong_questions_name_the_field(service()).await;
    contract::without_clicks_there_is_nothing_to_rank(service()).await;
}
