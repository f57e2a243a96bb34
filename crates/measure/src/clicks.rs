//! What a click costs from the redirect to the row: appending to the spool, consuming it into stores that differ.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use analytics::consumer;
use async_trait::async_trait;
use backends::file::click_log::{FileClickLog, FileClickSource, Options};
use backends::scylla::{self, PartStamps, Scylla};
use backends::sqlite;
use backends::system::SystemEntropy;
use chassis::Lifecycle;
use domain::port::{ClickLog as _, Clock as _, Entropy as _};
use domain::port::{DirtyDay, LogId, LogPosition, Part, PortResult, Rollup, RollupUnit, StatsStore, Tally, Want};
use domain::{Browser, Click, Country, Counts, Device, DomainNo, Language, LinkId, Slot, Subject, System, UnixMs};

use crate::figures::{Watch, figure, float, per_s};
use crate::files::clock;
use crate::zipf::{Dice, Zipf};

const LINKS: u32 = 10_000;

pub(crate) async fn run(folder: &str, clicks: &str, cql: Option<&str>) -> anyhow::Result<()> {
    let (folder, clicks): (_, u64) = (Path::new(folder), clicks.parse()?);
    std::fs::create_dir_all(folder)?;
    let log = folder.join("clicks");
    append(&log, clicks).await?;
    let bytes: u64 = std::fs::read_dir(&log)?.map(|entry| Ok(entry?.metadata()?.len())).sum::<anyhow::Result<u64>>()?;
    figure("bytes_per_click", float(bytes) / float(clicks));
    consume(&log, clicks, Arc::new(Sink), "events_per_core_s").await?;
    let stats = sqlite::open_stats(&folder.join("stats.db"), sqlite::Options::default())?;
    consume(&log, clicks, stats.clone(), "sqlite_events_per_core_s").await?;
    stats.close().await;
    if let Some(url) = cql {
        let (url, options) =
            (scylla::Url::parse(url)?, scylla::Options { write_timeout: Duration::from_secs(10), ..scylla::Options::default() });
        scylla::migrate(&url, options).await?;
        let cql = Scylla::connect(&url, options).await?;
        let stats = scylla::open_stats(&cql, clock(), &SystemEntropy, PartStamps::Counted).await?;
        consume(&log, clicks, stats, "cql_events_per_core_s").await?;
    }
    Ok(())
}

fn click(number: u64, link: usize, at: UnixMs, visitor: u64) -> Click<'static> {
    const REFERRERS: [&str; 4] = ["", "github.com", "news.example.com", "t.example"];
    let pick = usize::try_from(visitor >> 60).unwrap_or(0) % 4;
    Click {
        link: LinkId::new((60_000_000_000 << 22) + u64::try_from(link).unwrap_or(0)),
        domain: DomainNo::DEFAULT,
        code: "4fK9aQz",
        owner: "admin",
        at: at.saturating_add(Duration::from_millis(number / 50)),
        visitor,
        country: Country::parse(["DE", "US", "FR", "BR"][pick]),
        language: Language::parse(["de", "en", "fr", "pt"][pick]),
        referrer: REFERRERS[pick],
        browser: Browser::Chrome,
        system: System::Windows,
        device: Device::Desktop,
        bot: "",
        utm_source: "",
        utm_medium: "",
        utm_campaign: "",
    }
}

fn open(folder: &Path, life: &Lifecycle) -> anyhow::Result<(Arc<FileClickLog>, FileClickSource)> {
    Ok(FileClickLog::open(folder, Options::default(), clock(), &SystemEntropy, life)?)
}

async fn append(folder: &Path, clicks: u64) -> anyhow::Result<()> {
    let life = Lifecycle::new(Duration::from_mins(1));
    let (log, source) = open(folder, &life)?;
    let (zipf, mut dice) = (Zipf::new(LINKS, 1.0), Dice::new(1));
    // 50,000 a second until now: quarter-hours as they would be.
    let at = clock().now().saturating_sub(Duration::from_millis(clicks / 50));
    let mut took = Duration::ZERO;
    // Made beforehand, a thousand at a time: appending is what is timed.
    for first in (0..clicks).step_by(1_000) {
        let some: Vec<_> = (first..clicks.min(first + 1_000)).map(|number| click(number, zipf.rank(&mut dice), at, dice.roll())).collect();
        let began = Instant::now();
        for click in &some {
            while log.record(click).is_err() {
                std::thread::yield_now();
            }
        }
        took += began.elapsed();
    }
    figure("append_ns", took.as_secs_f64() * 1e9 / float(clicks));
    log.flush().await?;
    life.drain_in_order().await;
    drop((log, source));
    Ok(())
}

/// Events a second of processor time, reading and counting and storing together.
async fn consume(folder: &Path, clicks: u64, store: Arc<dyn StatsStore>, name: &str) -> anyhow::Result<()> {
    let life = Lifecycle::new(Duration::from_mins(1));
    let (log, source) = open(folder, &life)?;
    let watch = Watch::start()?;
    let service = consumer::Service::new(source, store, clock(), consumer::Options::default());
    let mut handle = service.spawn(&life);
    anyhow::ensure!(handle.reached(clicks).await, "the consumer ended early");
    figure(name, per_s(clicks, watch.cpu()?));
    println!("{name}: {:.0}/s of wall time", per_s(clicks, watch.wall()));
    life.drain_in_order().await;
    drop(log);
    Ok(())
}

/// A store that forgets: what remains is the consumer.
struct Sink;

#[async_trait]
impl StatsStore for Sink {
    async fn apply(&self, parts: Arc<[Part]>, _: LogPosition) -> PortResult<()> {
        drop(parts);
        Ok(())
    }

    async fn progress(&self, _: LogId, _: u32) -> PortResult<Option<u64>> {
        Ok(None)
    }

    async fn slots(&self, _: &Subject, _: Slot, _: Slot, _: Want) -> PortResult<Vec<(Slot, Tally)>> {
        Ok(Vec::new())
    }

    async fn rollups(&self, _: &Subject, _: RollupUnit, _: u32, _: u32, _: Want) -> PortResult<Vec<(u32, Tally)>> {
        Ok(Vec::new())
    }

    async fn dirty_days(&self, _: u32, _: usize) -> PortResult<Vec<DirtyDay>> {
        Ok(Vec::new())
    }

    async fn put_rollups(&self, _: Vec<Rollup>) -> PortResult<()> {
        Ok(())
    }

    async fn top_links(&self, _: &Subject, _: Slot, _: Slot, _: usize) -> PortResult<Vec<(LinkId, Counts)>> {
        Ok(Vec::new())
    }

    async fn expire_slots(&self, _: UnixMs, _: usize) -> PortResult<usize> {
        Ok(0)
    }
}

/// Clicks that nobody has counted, of so many bytes.
pub(crate) async fn leave_uncounted(folder: &Path, bytes: u64) -> anyhow::Result<u64> {
    let life = Lifecycle::new(Duration::from_mins(1));
    let (log, source) = open(folder, &life)?;
    let (mut dice, at) = (Dice::new(SystemEntropy.u64()), clock().now());
    let (zipf, mut clicks) = (Zipf::new(LINKS, 1.0), 0);
    // 35 bytes each and more.
    while clicks * 35 < bytes {
        while log.record(&click(0, zipf.rank(&mut dice), at, dice.roll())).is_err() {
            std::thread::yield_now();
        }
        clicks += 1;
    }
    log.flush().await?;
    life.drain_in_order().await;
    drop((log, source));
    Ok(clicks)
}
