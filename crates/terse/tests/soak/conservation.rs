//! Every click of the topic is counted exactly once, whoever counts it, is killed, or wakes after others took its place; and
//! counted again from the first record on it is the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use analytics::{consumer, feed, rollup};
use async_trait::async_trait;
use backends::kafka::{ClickFeed, ClickFeedOptions, ClickLog, ClickLogOptions, Url};
use backends::memory::NoLiveCounts;
use backends::scylla;
use backends::system::{SystemClock, SystemEntropy};
use chassis::{Lifecycle, Stage};
use domain::port::{
    ClickLog as _, Clock as _, DirtyDay, LogId, LogPosition, Part, PortResult, Rollup, RollupUnit, StatsStore, Tally, Want,
};
use domain::{Browser, Click, Counts, Device, DomainNo, LinkId, Slot, Subject, System, UnixMs};

use crate::cluster::{Cluster, Role};
use crate::ledger::miscounted;
use crate::plan::{Dice, Plan};
use crate::until;

const CONSUMERS: usize = 3;
const FAULT_EVERY: Duration = Duration::from_secs(3);
/// Quarter-hours of yesterday that the clicks lie in, so that their day can be rolled up.
const SLOTS: u32 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn every_click_is_counted_once_by_consumers_that_die_and_freeze() {
    let mut plan = Plan::of("conservation", 20);
    let (clicks, links) = if plan.is_long { (1_000_000, 1_000) } else { (50_000, 200) };
    let mut cluster = Cluster::services().redirects(1).analytics(CONSUMERS).start();
    let life = Lifecycle::new(Duration::from_secs(30));
    let stats = open(&cluster).await;
    plan.begin();

    let log = ClickLog::start(&clicks_url(&cluster, ""), ClickLogOptions::default(), &life).expect("a log");
    let noon = Slot::new((Slot::at(SystemClock.now()).day() - 1) * Slot::PER_DAY + 48);
    let slots = (noon, Slot::new(noon.get() + SLOTS));
    let production = Production { log: log.clone(), clicks, links, noon, length: plan.length };
    let producer = tokio::task::spawn_blocking({
        let dice = plan.dice.clone();
        move || production.run(dice)
    });
    let faults = break_consumers(&mut cluster, &mut plan);
    let truth = producer.await.expect("all is produced");
    log.flush().await.expect("all is in the topic");

    until("all is counted", async || {
        let counted = total(&*stats, &Subject::Everyone, slots).await;
        assert!(counted <= clicks, "{counted} counted of {clicks} clicks");
        counted == clicks
    })
    .await;
    // The rows of one flush are written in any order, and that of everyone may be among the first of them.
    until("every link's clicks are counted", async || miscounted(&truth, &by_link(&*stats, links, slots).await).is_empty()).await;
    for index in 0..CONSUMERS {
        assert_eq!(tokio::task::block_in_place(|| cluster.service(Role::Analytics, index).stop()), Some(0));
    }

    assert_eq!(miscounted(&truth, &by_link(&*stats, links, slots).await), [""; 0]);
    count_again(&cluster, &stats, clicks).await;
    assert_eq!(miscounted(&truth, &by_link(&*stats, links, slots).await), [""; 0], "counted again from the first record on");
    let rollups = rollup::Service::new(stats.clone(), Arc::new(SystemClock), rollup::Options::default());
    rollups.roll_up(&life.draining(Stage::Background)).await.expect("rolled up");
    assert_eq!(miscounted(&truth, &by_day(&*stats, links, noon.day()).await), [""; 0], "rolled up");
    println!("soak conservation: {clicks} clicks of {links} links, {faults} faults, exact; unchanged when counted again and rolled up");
    life.drain_in_order().await;
}

/// The statistics that the cluster's processes write to.
async fn open(cluster: &Cluster) -> Arc<scylla::StatsStore> {
    let url = scylla::Url::parse(cluster.setting("TERSE__STORE")).expect("a URL");
    let patient = scylla::Options {
        list_timeout: Duration::from_secs(20),
        read_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(15),
        settle_timeout: Duration::from_mins(1),
        ..scylla::Options::default()
    };
    let keyspace = Box::pin(scylla::Scylla::connect(&url, patient)).await.expect("the keyspace");
    let opened = scylla::open_stats(&keyspace, Arc::new(SystemClock), &SystemEntropy, scylla::PartStamps::Counted).await;
    opened.expect("statistics")
}

/// The cluster's topics, read by a group of the cluster's name and `more`.
fn clicks_url(cluster: &Cluster, more: &str) -> Url {
    Url::parse(&format!("{}{more}", cluster.setting("TERSE__CLICKS__URL"))).expect("a URL")
}

struct Production {
    log: Arc<ClickLog>,
    clicks: u64,
    links: u64,
    noon: Slot,
    length: Duration,
}

impl Production {
    /// Spread over the whole soak; answers how many clicks each link has.
    fn run(self, mut dice: Dice) -> BTreeMap<u64, u64> {
        let (began, mut truth) = (Instant::now(), BTreeMap::new());
        for number in 0..self.clicks {
            // A third of all clicks are of one link.
            let link = if dice.once_in(3) { 1 } else { 1 + dice.below(self.links) };
            let slot = Slot::new(self.noon.get() + u32::try_from(dice.below(u64::from(SLOTS))).expect("small"));
            while self.log.record(&click(link, slot.start())).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
            *truth.entry(link).or_default() += 1;
            let due = self.length.mul_f64(fraction(number, self.clicks));
            if number.is_multiple_of(100) {
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
        }
        truth
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of time")]
fn fraction(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn click(link: u64, at: UnixMs) -> Click<'static> {
    Click {
        link: LinkId::new(link),
        domain: DomainNo::DEFAULT,
        code: "4fK9aQz",
        owner: "ann",
        at,
        visitor: link,
        country: None,
        language: None,
        referrer: "",
        browser: Browser::Firefox,
        system: System::Linux,
        device: Device::Desktop,
        bot: "",
        utm_source: "",
        utm_medium: "",
        utm_campaign: "",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Down(Instant),
    Frozen(Instant),
}

/// Each 3 s one of the consumers that run is killed or frozen: longer than the group waits for it, so that it wakes as one
/// whose partitions others count. All run again at the end. Answers how many faults there were.
fn break_consumers(cluster: &mut Cluster, plan: &mut Plan) -> usize {
    tokio::task::block_in_place(|| {
        let (mut states, mut faults) = ([State::Up; CONSUMERS], 0);
        while plan.goes_on() {
            mend(cluster, &mut states, |until| Instant::now() >= until);
            let up: Vec<usize> = (0..CONSUMERS).filter(|index| states[*index] == State::Up).collect();
            if !up.is_empty() {
                let index = up[plan.dice.index(up.len())];
                faults += 1;
                states[index] = if plan.dice.once_in(2) {
                    cluster.service(Role::Analytics, index).kill();
                    State::Down(Instant::now() + plan.dice.ms(0, 6_000))
                } else {
                    cluster.service(Role::Analytics, index).pause();
                    State::Frozen(Instant::now() + plan.dice.ms(1_000, if plan.is_long { 40_000 } else { 12_000 }))
                };
            }
            std::thread::sleep(FAULT_EVERY);
        }
        mend(cluster, &mut states, |_| true);
        faults
    })
}

fn mend(cluster: &mut Cluster, states: &mut [State], is_due: impl Fn(Instant) -> bool) {
    for (index, state) in states.iter_mut().enumerate() {
        match *state {
            State::Down(until) if is_due(until) => cluster.service(Role::Analytics, index).start(),
            State::Frozen(until) if is_due(until) => cluster.service(Role::Analytics, index).resume(),
            State::Up | State::Down(_) | State::Frozen(_) => continue,
        }
        *state = State::Up;
    }
}

async fn total(stats: &dyn StatsStore, subject: &Subject, slots: (Slot, Slot)) -> u64 {
    let slots = stats.slots(subject, slots.0, slots.1, Want::Counts).await.expect("statistics");
    slots.iter().map(|(_, tally)| tally.counts.clicks).sum()
}

async fn by_link(stats: &dyn StatsStore, links: u64, slots: (Slot, Slot)) -> BTreeMap<u64, u64> {
    let mut counted = BTreeMap::new();
    for link in 1..=links {
        counted.insert(link, total(stats, &Subject::Link(LinkId::new(link)), slots).await);
    }
    counted
}

async fn by_day(stats: &dyn StatsStore, links: u64, day: u32) -> BTreeMap<u64, u64> {
    let mut counted = BTreeMap::new();
    for link in 1..=links {
        let subject = Subject::Link(LinkId::new(link));
        let days = stats.rollups(&subject, RollupUnit::Day, day, day + 1, Want::Counts).await.expect("roll-ups");
        counted.insert(link, days.iter().map(|(_, tally)| tally.counts.clicks).sum());
    }
    counted
}

/// Another group reads the topic from its first record on, and writes the same rows.
async fn count_again(cluster: &Cluster, stats: &Arc<scylla::StatsStore>, clicks: u64) {
    let life = Lifecycle::new(Duration::from_secs(30));
    let store = Arc::new(Forgetful { stats: stats.clone(), reached: Mutex::default() });
    let feed = ClickFeed::start(&clicks_url(cluster, ".again"), ClickFeedOptions::default(), &life).expect("a feed");
    let _consumers =
        feed::Service::new(feed, store.clone(), Arc::new(NoLiveCounts), Arc::new(SystemClock), consumer::Options::default()).spawn(&life);
    until("all is counted again", async || store.reached.lock().expect("offsets").values().sum::<u64>() == clicks).await;
    life.drain_in_order().await;
}

/// Knows nothing of how far anybody has counted.
struct Forgetful {
    stats: Arc<scylla::StatsStore>,
    reached: Mutex<BTreeMap<u32, u64>>,
}

#[async_trait]
impl StatsStore for Forgetful {
    async fn apply(&self, parts: Arc<[Part]>, position: LogPosition) -> PortResult<()> {
        self.stats.apply(parts, position).await?;
        self.reached.lock().expect("offsets").insert(position.partition, position.offset);
        Ok(())
    }

    async fn progress(&self, _: LogId, _: u32) -> PortResult<Option<u64>> {
        Ok(None)
    }

    async fn slots(&self, subject: &Subject, from: Slot, to: Slot, want: Want) -> PortResult<Vec<(Slot, Tally)>> {
        self.stats.slots(subject, from, to, want).await
    }

    async fn rollups(&self, subject: &Subject, unit: RollupUnit, from: u32, to: u32, want: Want) -> PortResult<Vec<(u32, Tally)>> {
        self.stats.rollups(subject, unit, from, to, want).await
    }

    async fn dirty_days(&self, before_day: u32, limit: usize) -> PortResult<Vec<DirtyDay>> {
        self.stats.dirty_days(before_day, limit).await
    }

    async fn put_rollups(&self, rollups: Vec<Rollup>) -> PortResult<()> {
        self.stats.put_rollups(rollups).await
    }

    async fn top_links(&self, subject: &Subject, from: Slot, to: Slot, limit: usize) -> PortResult<Vec<(LinkId, Counts)>> {
        self.stats.top_links(subject, from, to, limit).await
    }

    async fn expire_slots(&self, before: UnixMs, limit: usize) -> PortResult<usize> {
        self.stats.expire_slots(before, limit).await
    }
}
