//! What the consumer of clicks costs beside a bare loop of the driver: records a second and core, on one topic, in
//! turns. FOLDER is where a broker on this machine keeps its log, whose bytes are then counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use analytics::consumer::Options;
use analytics::feed;
use async_trait::async_trait;
use backends::kafka::{self, ClickFeed, ClickFeedOptions, ClickLog, ClickLogOptions, Url};
use backends::memory::NoLiveCounts;
use backends::system::{SystemClock, SystemEntropy};
use chassis::Lifecycle;
use domain::port::{
    ClickLog as _, DirtyDay, Entropy as _, LogId, LogPosition, Part, PortResult, Rollup, RollupUnit, StatsStore, Tally, Want,
};
use domain::{Browser, Click, Country, Counts, Device, DomainNo, Language, LinkId, Slot, Subject, System, UnixMs};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::figures::{Watch, figure, per_s};

const ROUNDS: usize = 5;
const PARTITIONS: usize = 4;

/// A store that forgets: what remains is the consumer.
#[derive(Default)]
struct Sink(AtomicU64);

#[async_trait]
impl StatsStore for Sink {
    async fn apply(&self, parts: Arc<[Part]>, position: LogPosition) -> PortResult<()> {
        drop(parts);
        SEEN[usize::try_from(position.partition).unwrap_or(0) % PARTITIONS].store(position.offset, Ordering::Relaxed);
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn progress(&self, _log: LogId, _partition: u32) -> PortResult<Option<u64>> {
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

/// How far each partition was counted.
static SEEN: [AtomicU64; PARTITIONS] = [const { AtomicU64::new(0) }; PARTITIONS];

fn click(number: u64) -> Click<'static> {
    const REFERRERS: [&str; 4] = ["", "github.com", "news.example.com", "t.example"];
    let pick = |of: u64| usize::try_from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33).unwrap_or(0) % usize::try_from(of).unwrap_or(1);
    // A thousand links, a few of them often.
    let link = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44) % 1_000 * (number % 7 + 1) / 7;
    Click {
        link: LinkId::new((60_000_000_000 << 22) + link),
        domain: DomainNo::DEFAULT,
        code: "4fK9aQz",
        owner: "admin",
        at: UnixMs::new(1_795_000_000_000 + i64::try_from(number / 1_000).unwrap_or(0)),
        visitor: number.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        country: Country::parse(["DE", "US", "FR", "BR"][pick(4)]),
        language: Language::parse(["de", "en", "fr"][pick(3)]),
        referrer: REFERRERS[pick(4)],
        browser: Browser::Chrome,
        system: System::Windows,
        device: Device::Desktop,
        bot: "",
        utm_source: "",
        utm_medium: "",
        utm_campaign: "",
    }
}

/// Records a second of CPU, and of the clock.
#[derive(Clone, Copy)]
struct Rate {
    cpu: f64,
    wall: f64,
}

fn rate(records: u64, watch: &Watch) -> Rate {
    Rate { cpu: per_s(records, watch.cpu().expect("Linux")), wall: per_s(records, watch.wall()) }
}

/// From the first record to the last, so that joining the group is not in it.
async fn ours(url: &Url, records: u64) -> Rate {
    for seen in &SEEN {
        seen.store(0, Ordering::Relaxed);
    }
    let life = Lifecycle::new(Duration::from_secs(30));
    let feed = ClickFeed::start(url, ClickFeedOptions::default(), &life).expect("starts");
    let sink = Arc::new(Sink::default());
    let service = feed::Service::new(
        feed,
        sink.clone(),
        Arc::new(NoLiveCounts),
        Arc::new(SystemClock),
        Options { flush_interval: Duration::from_millis(20), ..Options::default() },
    );
    let handle = service.spawn(&life);
    while handle.partitions().len() < PARTITIONS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let watch = Watch::start().expect("Linux");
    while SEEN.iter().map(|seen| seen.load(Ordering::Relaxed)).sum::<u64>() < records {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let measured = rate(records, &watch);
    life.drain_in_order().await;
    measured
}

/// A loop around `poll`, with the same settings for fetching, that looks at nothing.
fn bare(url: &Url, brokers: &str, records: u64) -> Rate {
    let options = ClickFeedOptions::default();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "kafka-ratio-bare")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("check.crcs", "true")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.max.bytes", "16777216")
        .set("queued.min.messages", options.ahead_len.to_string())
        .set("queued.max.messages.kbytes", (options.ahead_bytes / 1024 * PARTITIONS).to_string())
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::try_from(PARTITIONS).unwrap_or(1) {
        list.add_partition_offset(url.topic(), partition, Offset::Beginning).expect("an offset");
    }
    let watch = Watch::start().expect("Linux");
    consumer.assign(&list).expect("assigned");
    let mut read = 0;
    while read < records {
        if let Some(message) = consumer.poll(Duration::from_secs(1)) {
            std::hint::black_box(message.expect("a record"));
            read += 1;
        }
    }
    rate(records, &watch)
}

fn median(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

async fn fill(url: &Url, records: u64) {
    let life = Lifecycle::new(Duration::from_mins(1));
    let options = ClickLogOptions { hot_from: u32::MAX, flush_timeout: Duration::from_mins(1), ..ClickLogOptions::default() };
    let log = ClickLog::start(url, options, &life).expect("starts");
    for number in 0..records {
        while log.record(&click(number)).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    log.flush().await.expect("delivered");
    life.drain_in_order().await;
}

/// Bytes of the topic's segments below `folder`, by the records in them; nothing where none are found.
#[expect(clippy::cast_precision_loss, reason = "a gigabyte at most")]
fn bytes_per_record(folder: &std::path::Path, topic: &str, records: u64) -> Option<f64> {
    let entries = |folder: &std::path::Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_partition =
        |path: &std::path::PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{topic}-")));
    // Either the log folder itself or the one above it.
    let folders = entries(folder).flat_map(|path| entries(&path).chain([path.clone()]).collect::<Vec<_>>());
    let segments = folders.filter(is_partition).flat_map(|path| entries(&path).collect::<Vec<_>>());
    let segments = segments.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    let bytes: u64 = segments.filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum();
    (bytes > 0).then(|| bytes as f64 / records as f64)
}

pub(crate) async fn run(brokers: &str, records: &str, folder: &str) -> anyhow::Result<()> {
    let records: u64 = records.parse()?;
    let name = format!("bench.{:016x}", SystemEntropy.u64());
    let url = Url::parse(&format!("kafka://{brokers}/{name}?link_events={name}.events&group={name}")).expect("a URL");
    let topics = kafka::TopicOptions { click_partitions: PARTITIONS, link_event_partitions: 1, ..kafka::TopicOptions::default() };
    kafka::migrate(&url, &topics).await.expect("topics");
    fill(&url, records).await;
    if let Some(bytes) = bytes_per_record(folder.as_ref(), url.topic(), records) {
        figure("kafka_bytes_per_click", bytes);
    }

    let mut rounds = Vec::new();
    println!(
        "{:>5} {:>16} {:>16} {:>8} {:>16} {:>16} {:>8}",
        "round", "ours, /s of CPU", "bare, /s of CPU", "ratio", "ours, /s", "bare, /s", "ratio"
    );
    for round in 1..=ROUNDS {
        let ours = ours(&url, records).await;
        let bare = tokio::task::block_in_place(|| bare(&url, brokers, records));
        let (cpu, wall) = (ours.cpu / bare.cpu, ours.wall / bare.wall);
        println!("{round:>5} {:>16.0} {:>16.0} {cpu:>8.2} {:>16.0} {:>16.0} {wall:>8.2}", ours.cpu, bare.cpu, ours.wall, bare.wall);
        rounds.push((ours, bare));
    }
    let (ratio, ratio_min, ratio_max) = median(rounds.iter().map(|(ours, bare)| ours.cpu / bare.cpu));
    let (per_core, ..) = median(rounds.iter().map(|(ours, _)| ours.cpu));
    let (wall, ..) = median(rounds.iter().map(|(ours, bare)| ours.wall / bare.wall));
    let figures = [
        ("kafka_events_per_core_s", per_core),
        ("kafka_ratio", ratio),
        ("kafka_ratio_min", ratio_min),
        ("kafka_ratio_max", ratio_max),
        ("kafka_ratio_wall", wall),
    ];
    for (name, value) in figures {
        figure(name, value);
    }
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a client");
    admin.delete_topics(&[url.topic(), url.link_events()], &AdminOptions::new()).await.expect("deleted");
    Ok(())
}
