//! Every click of the topic is counted once, whoever reads it, is killed, and reads it again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use analytics::{consumer, feed};
use async_trait::async_trait;
use backends::kafka::{ClickFeed, ClickFeedOptions, ClickLog, ClickLogOptions};
use backends::memory::NoLiveCounts;
use backends::sqlite::{self, SqliteStats};
use backends::system::SystemClock;
use chassis::Lifecycle;
use domain::port::{
    Assignment, ClickBatch, ClickFeed as FeedPort, ClickLog as _, ClickSource, DirtyDay, LiveClicks, LiveCounts, LogId, LogPosition, Part,
    PortResult, Rollup, RollupUnit, StatsStore, Tally, Want,
};
use domain::{Counts, LinkId, Slot, Subject, UnixMs};

use crate::world::{NOW, Topics, life, record_all, until};

const CLICKS: u64 = 20_000;
const LINKS: u64 = 30;
const PARTITIONS: usize = 4;

/// Link 1 has most clicks, and every click's link is known by its number.
fn link(number: u64) -> u64 {
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    if spread.is_multiple_of(3) { 1 } else { 2 + spread % (LINKS - 1) }
}

fn truth() -> BTreeMap<u64, u64> {
    let mut truth = BTreeMap::new();
    for number in 0..CLICKS {
        *truth.entry(link(number)).or_default() += 1;
    }
    truth
}

async fn counted(store: &SqliteStats) -> BTreeMap<u64, u64> {
    let slot = Slot::at(NOW);
    let (from, to) = (Slot::new(slot.get() - 4), Slot::new(slot.get() + 4));
    let mut counted = BTreeMap::new();
    for link in 1..=LINKS {
        let slots = store.slots(&Subject::Link(LinkId::new(link)), from, to, Want::Counts).await.unwrap();
        let clicks: u64 = slots.iter().map(|(_, tally)| tally.counts.clicks).sum();
        if clicks > 0 {
            counted.insert(link, clicks);
        }
    }
    counted
}

#[derive(Default)]
struct Live(Mutex<u64>);

#[async_trait]
impl LiveCounts for Live {
    async fn add(&self, counts: &[LiveClicks]) -> PortResult<()> {
        *self.0.lock().unwrap() += counts.iter().map(|counts| counts.clicks).sum::<u64>();
        Ok(())
    }
}

/// Says what is stored where, and nothing of how far others came if it is to read from the start.
struct Watched {
    store: Arc<SqliteStats>,
    from_zero: bool,
    reached: Mutex<BTreeMap<u32, u64>>,
}

impl Watched {
    fn new(store: &Arc<SqliteStats>, from_zero: bool) -> Arc<Self> {
        Arc::new(Self { store: store.clone(), from_zero, reached: Mutex::default() })
    }

    fn has_reached(&self, ends: &[u64]) -> bool {
        let reached = self.reached.lock().unwrap();
        (0..).zip(ends).all(|(partition, end)| *end == 0 || reached.get(&partition).is_some_and(|reached| reached >= end))
    }
}

#[async_trait]
impl StatsStore for Watched {
    async fn apply(&self, parts: Arc<[Part]>, position: LogPosition) -> PortResult<()> {
        self.store.apply(parts, position).await?;
        let mut reached = self.reached.lock().unwrap();
        let reached = reached.entry(position.partition).or_default();
        *reached = position.offset.max(*reached);
        Ok(())
    }

    async fn progress(&self, log: LogId, partition: u32) -> PortResult<Option<u64>> {
        if self.from_zero { Ok(None) } else { self.store.progress(log, partition).await }
    }

    async fn slots(&self, subject: &Subject, from: Slot, to: Slot, want: Want) -> PortResult<Vec<(Slot, Tally)>> {
        self.store.slots(subject, from, to, want).await
    }

    async fn rollups(&self, subject: &Subject, unit: RollupUnit, from: u32, to: u32, want: Want) -> PortResult<Vec<(u32, Tally)>> {
        self.store.rollups(subject, unit, from, to, want).await
    }

    async fn dirty_days(&self, before_day: u32, limit: usize) -> PortResult<Vec<DirtyDay>> {
        self.store.dirty_days(before_day, limit).await
    }

    async fn put_rollups(&self, rollups: Vec<Rollup>) -> PortResult<()> {
        self.store.put_rollups(rollups).await
    }

    async fn top_links(&self, subject: &Subject, from: Slot, to: Slot, limit: usize) -> PortResult<Vec<(LinkId, Counts)>> {
        self.store.top_links(subject, from, to, limit).await
    }

    async fn expire_slots(&self, before: UnixMs, limit: usize) -> PortResult<usize> {
        self.store.expire_slots(before, limit).await
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sabotage {
    None,
    /// Offsets are committed when records are read, and reading goes on there instead of at the chunk's start.
    CommitFirst,
}

type Committed = Arc<Mutex<BTreeMap<u32, u64>>>;

struct Feed {
    kafka: ClickFeed,
    sabotage: Sabotage,
    committed: Committed,
}

#[async_trait]
impl FeedPort for Feed {
    async fn next(&mut self) -> PortResult<Assignment> {
        Ok(match self.kafka.next().await? {
            Assignment::Gained(source) if self.sabotage == Sabotage::CommitFirst => {
                Assignment::Gained(Box::new(CommitFirst { source, committed: self.committed.clone() }))
            }
            change @ (Assignment::Gained(_) | Assignment::Lost { .. }) => change,
        })
    }
}

struct CommitFirst {
    source: Box<dyn ClickSource>,
    committed: Committed,
}

#[async_trait]
impl ClickSource for CommitFirst {
    fn log(&self) -> LogId {
        self.source.log()
    }

    fn partition(&self) -> u32 {
        self.source.partition()
    }

    async fn start(&self) -> PortResult<u64> {
        self.source.start().await
    }

    async fn seek(&mut self, offset: u64) -> PortResult<u64> {
        let committed = self.committed.lock().unwrap().get(&self.partition()).copied().unwrap_or(0);
        self.source.seek(offset.max(committed)).await?;
        Ok(offset)
    }

    async fn next_batch(&mut self, max: usize) -> PortResult<ClickBatch> {
        let batch = self.source.next_batch(max).await?;
        self.committed.lock().unwrap().insert(self.partition(), batch.next_offset);
        Ok(batch)
    }

    async fn commit(&mut self, offset: u64) -> PortResult<()> {
        self.source.commit(offset).await
    }

    fn lag(&self) -> u64 {
        self.source.lag()
    }
}

/// One process that counts.
struct Process {
    running: tokio::task::JoinHandle<()>,
    life: Lifecycle,
}

struct Fleet {
    topics: Topics,
    store: Arc<Watched>,
    live: Arc<Live>,
    sabotage: Sabotage,
    committed: Committed,
}

impl Fleet {
    fn start(&self, group: &str) -> Process {
        let life = life();
        let options = ClickFeedOptions { handover: Duration::from_millis(500), ..ClickFeedOptions::default() };
        let feed = ClickFeed::start(&self.topics.url(group), options, &life).unwrap();
        let feed = Feed { kafka: feed, sabotage: self.sabotage, committed: self.committed.clone() };
        let options = consumer::Options { batch_len_max: 100, flush_interval: Duration::from_millis(300), ..consumer::Options::default() };
        let service = feed::Service::new(feed, self.store.clone(), self.live.clone(), Arc::new(SystemClock), options);
        let (live, draining) = (analytics::live::Live::start(self.live.clone(), &life), life.draining(chassis::Stage::Background));
        #[expect(clippy::disallowed_methods, reason = "a process that is to be killed")]
        let running = tokio::spawn(async move { service.run(live, draining).await.unwrap() });
        Process { running, life }
    }
}

impl Process {
    /// What is in its memory is gone.
    async fn kill(self) {
        self.running.abort();
        self.running.await.ok();
    }

    async fn end(self) {
        self.life.drain_in_order().await;
        self.running.await.unwrap();
    }
}

/// Two processes count while clicks are made; each is killed or ended again and again.
async fn count(sabotage: Sabotage) -> (BTreeMap<u64, u64>, Fleet, Arc<SqliteStats>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite::open_stats(&folder.path().join("stats.db"), sqlite::Options::default()).unwrap();
    let fleet = Fleet {
        topics: Topics::make(PARTITIONS).await,
        store: Watched::new(&store, false),
        live: Arc::default(),
        sabotage,
        committed: Arc::default(),
    };
    let life = life();
    let log = ClickLog::start(&fleet.topics.url(""), ClickLogOptions::default(), &life).unwrap();
    let (mut one, mut two) = (fleet.start(""), fleet.start(""));
    for round in 0..8 {
        let clicks = (0..CLICKS).skip(round * 2_500).take(2_500);
        record_all(&*log, clicks.map(link)).await;
        log.flush().await.unwrap();
        // Some is read and not stored yet when it happens.
        let before: u64 = fleet.store.reached.lock().unwrap().values().sum();
        until("something is counted", || fleet.store.reached.lock().unwrap().values().sum::<u64>() > before).await;
        match round {
            1 | 4 => one = replace(one, fleet.start(""), true).await,
            2 | 6 => two = replace(two, fleet.start(""), true).await,
            3 => one = replace(one, fleet.start(""), false).await,
            5 => two = replace(two, fleet.start(""), false).await,
            _ => {}
        }
    }
    let ends = fleet.topics.ends().await;
    assert_eq!(ends.iter().sum::<u64>(), CLICKS);
    let store_sees = fleet.store.clone();
    until("all is counted", || store_sees.has_reached(&ends)).await;
    one.end().await;
    two.end().await;
    life.drain_in_order().await;
    (counted(&store).await, fleet, store, folder)
}

async fn replace(old: Process, new: Process, kill: bool) -> Process {
    if kill {
        old.kill().await;
    } else {
        old.end().await;
    }
    new
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_exact_through_kills_rebalances_and_a_replay() {
    let (totals, mut fleet, store, _folder) = count(Sabotage::None).await;
    assert_eq!(totals, truth());
    // Live counts may be off by what a killed process had added and not stored, never by what was read again.
    let live = *fleet.live.0.lock().unwrap();
    assert!(live > CLICKS / 2 && live <= CLICKS * 3 / 2, "{live}");

    // Another group reads all of it again.
    fleet.store = Watched::new(&store, true);
    fleet.live = Arc::default();
    let again = fleet.start("group=test.again");
    let ends = fleet.topics.ends().await;
    let sees = fleet.store.clone();
    until("all is read again", || sees.has_reached(&ends)).await;
    again.end().await;
    assert_eq!(counted(&store).await, truth());
    fleet.topics.delete().await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_totals_are_wrong_when_offsets_are_committed_before_rows() {
    let (totals, fleet, store, _folder) = count(Sabotage::CommitFirst).await;
    assert_ne!(totals, truth());
    fleet.topics.delete().await;
    store.close().await;
}

/// One process without live counts, as `serve` on Kafka has it.
#[tokio::test(flavor = "multi_thread")]
async fn one_process_leads_and_tells_its_partitions() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite::open_stats(&folder.path().join("stats.db"), sqlite::Options::default()).unwrap();
    let topics = Topics::make(2).await;
    let life = life();
    let feed = ClickFeed::start(&topics.url(""), ClickFeedOptions::default(), &life).unwrap();
    let service = feed::Service::new(feed, store.clone(), Arc::new(NoLiveCounts), Arc::new(SystemClock), consumer::Options::default());
    let mut handle = service.spawn(&life);
    assert!(!handle.leads());
    handle.until(true).await;
    until("both partitions are ours", || handle.partitions() == [0, 1]).await;
    life.drain_in_order().await;
    assert!(!handle.leads());
    topics.delete().await;
    store.close().await;
}
