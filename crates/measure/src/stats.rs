//! How long a link's statistics take when there are many clicks: first from quarter-hours, then rolled up.
//! Rows are written through the store's own port, as the consumer and the roll-ups would have.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use analytics::Service;
use backends::sqlite::{self, SqliteStats};
use domain::api::{Deadline, SeriesQuery, Stats as _};
use domain::port::{Clock as _, Dimensions, LogId, LogPosition, Part, Rollup, RollupUnit, StatsStore as _, Tally};
use domain::visitors::Visitors;
use domain::{Counts, Dimension, Interval, LinkId, Owner, Slot, Subject};

use crate::figures::{Times, figure, float, per_s};
use crate::files::clock;
use crate::zipf::{Dice, Zipf};

const DAYS: u32 = 30;
const ROWS: usize = 4_096;
const QUERIES: u32 = 1_000;
const LOG: LogId = LogId(*b"measure stats 01");

const VALUES: [(Dimension, [&str; 4]); 6] = [
    (Dimension::Country, ["DE", "US", "FR", "BR"]),
    (Dimension::Referrer, ["github.com", "news.example.com", "t.example", "search.example"]),
    (Dimension::Browser, ["Chrome", "Firefox", "Safari", "Edge"]),
    (Dimension::System, ["Windows", "Android", "iOS", "macOS"]),
    (Dimension::Device, ["desktop", "phone", "tablet", "tv"]),
    (Dimension::Language, ["de", "en", "fr", "pt"]),
];

/// Days as the store numbers them.
type Day = u32;

struct World {
    store: Arc<SqliteStats>,
    dice: Dice,
    first_slot: u32,
    slots: u64,
    offset: u64,
}

pub(crate) async fn run(folder: &str, clicks: &str, links: &str) -> anyhow::Result<()> {
    let (clicks, links): (u64, u32) = (clicks.parse()?, links.parse()?);
    std::fs::create_dir_all(folder)?;
    let path = Path::new(folder).join("stats.db");
    let store = sqlite::open_stats(&path, sqlite::Options::default())?;
    let today = Slot::at(clock().now()).day();
    let first_slot = (today - (DAYS - 1)) * Slot::PER_DAY;
    let slots = u64::from(Slot::at(clock().now()).get() - first_slot);
    let mut world = World { store: store.clone(), dice: Dice::new(1), first_slot, slots, offset: 0 };
    let zipf = Zipf::new(links, 1.0);
    let (began, mut rows) = (Instant::now(), 0);
    let mut parts = Vec::new();
    for (link, expected) in (1..).map(LinkId::new).zip(zipf.counts(clicks)) {
        parts.extend(world.parts(link, expected));
        if parts.len() >= ROWS {
            rows += world.apply(std::mem::take(&mut parts)).await?;
        }
    }
    rows += world.apply(parts).await?;
    println!("{clicks} clicks of {links} links are {rows} rows, stored at {:.0}/s", per_s(rows, began.elapsed()));
    query(&store, &zipf, "slots").await?;

    let (began, mut days) = (Instant::now(), 0);
    world.dice = Dice::new(1);
    let mut rollups = Vec::new();
    for (link, expected) in (1..).map(LinkId::new).zip(zipf.counts(clicks)) {
        rollups.extend(world.rollups(link, expected, today));
        if rollups.len() >= ROWS {
            days += put(&store, std::mem::take(&mut rollups)).await?;
        }
    }
    days += put(&store, rollups).await?;
    println!("{days} days of links, stored at {:.0}/s", per_s(days, began.elapsed()));
    query(&store, &zipf, "rollup").await?;
    figure("bytes_on_disk_per_click", float(std::fs::metadata(&path)?.len()) / float(clicks));
    store.close().await;
    Ok(())
}

async fn put(store: &SqliteStats, rollups: Vec<Rollup>) -> anyhow::Result<u64> {
    let count = u64::try_from(rollups.len())?;
    store.put_rollups(rollups).await?;
    Ok(count)
}

impl World {
    /// How many clicks each quarter-hour saw. The dice are thrown in the same order each time.
    fn counts(&mut self, expected: f64) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        let whole = expected.floor();
        let more = u64::from(self.dice.unit() < expected - whole);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of clicks")]
        let clicks = whole as u64 + more;
        // Popular links see every quarter-hour; the rest of them, and the others, fall anywhere.
        let each = clicks / self.slots;
        if each > 0 {
            counts.extend((0..self.slots).map(|slot| (self.slot(slot), each)));
        }
        for _ in 0..clicks % self.slots {
            let at = self.dice.below(self.slots);
            *counts.entry(self.slot(at)).or_default() += 1;
        }
        counts
    }

    fn slot(&self, nth: u64) -> u32 {
        self.first_slot + u32::try_from(nth).unwrap_or(0)
    }

    fn parts(&mut self, link: LinkId, expected: f64) -> Vec<Part> {
        let owner = Owner::parse("admin").ok();
        let counts = self.counts(expected);
        let part = |(slot, clicks): (u32, u64)| Part {
            subject: Subject::Link(link),
            slot: Slot::new(slot),
            chunk: u64::from(slot),
            upto: u32::try_from(clicks).unwrap_or(u32::MAX),
            owner: owner.clone(),
            tally: tally(clicks, u64::from(slot), true),
        };
        counts.into_iter().map(part).collect()
    }

    fn rollups(&mut self, link: LinkId, expected: f64, today: Day) -> Vec<Rollup> {
        let mut days: BTreeMap<Day, u64> = BTreeMap::new();
        for (slot, clicks) in self.counts(expected) {
            *days.entry(Slot::new(slot).day()).or_default() += clicks;
        }
        let rollup = |(day, clicks): (Day, u64)| Rollup {
            subject: Subject::Link(link),
            unit: RollupUnit::Day,
            number: day,
            tally: tally(clicks, u64::from(day), false),
            seen: 0,
        };
        days.into_iter().filter(|(day, _)| *day < today).map(rollup).collect()
    }

    async fn apply(&mut self, parts: Vec<Part>) -> anyhow::Result<u64> {
        let count = u64::try_from(parts.len())?;
        self.offset += count;
        self.store.apply(parts.into(), LogPosition { log: LOG, partition: 0, offset: self.offset }).await?;
        Ok(count)
    }
}

/// As the consumer counts: visitors as a sketch in quarter-hours, as a number in days.
fn tally(clicks: u64, seed: u64, sketched: bool) -> Tally {
    let mut dimensions = Dimensions::new();
    for (dimension, values) in VALUES {
        let by_value = dimensions.entry(dimension).or_default();
        for click in 0..clicks.min(4) {
            let value = values[usize::try_from((seed + click) % 4).unwrap_or(0)];
            *by_value.entry(value.into()).or_default() += clicks / clicks.min(4);
        }
    }
    let mut visitors = Visitors::default();
    if sketched {
        (0..clicks.min(64)).for_each(|visitor| visitors.add((seed << 32) + visitor));
    }
    let visitor_days = if sketched { 0 } else { clicks };
    Tally { counts: Counts { clicks, humans: clicks - clicks / 10 }, dimensions, visitors: visitors.encode(), visitor_days }
}

/// What people look at: links by their popularity.
async fn query(store: &Arc<SqliteStats>, zipf: &Zipf, from: &str) -> anyhow::Result<()> {
    let service = Service::new(store.clone(), clock());
    let deadline = || Deadline::after(Instant::now(), Duration::from_secs(30));
    let mut dice = Dice::new(2);
    let (mut series, mut breakdowns) = (Vec::new(), Vec::new());
    for _ in 0..QUERIES {
        let link = Subject::Link(LinkId::new(u64::try_from(zipf.rank(&mut dice))? + 1));
        let query = SeriesQuery { period: None, interval: Interval::Day, time_zone: None };
        let began = Instant::now();
        let answer = service.series(&link, &query, deadline()).await?;
        series.push(began.elapsed());
        anyhow::ensure!(answer.buckets.len() >= 30, "{} days", answer.buckets.len());
        let began = Instant::now();
        let shares = service.breakdown(&link, Dimension::Country, None, 10, deadline()).await?;
        breakdowns.push(began.elapsed());
        anyhow::ensure!(answer.counts.clicks == 0 || !shares.is_empty(), "clicks from nowhere");
    }
    for (what, times) in [("series", series), ("breakdown", breakdowns)] {
        let times = Times::new(times);
        for (percentile, per_mille) in [("p50", 500), ("p99", 990), ("max", 1_000)] {
            figure(&format!("{what}_{from}_{percentile}_ms"), times.us(per_mille) / 1_000.0);
        }
    }
    Ok(())
}
