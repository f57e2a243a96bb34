//! Random crashes, restarts, replays and lost log starts, against the truth.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::limits::CLICK_CHUNK_LEN;
use domain::port::{
    ClickBatch, ClickSource, Dimensions, DirtyDay, LogId, LogPosition, Outcome, Part, PortError, PortErrorKind, PortResult, Rollup,
    RollupUnit, StatsStore, Tally, TallySum, Want,
};
use domain::{Browser, Country, Counts, Device, Dimension, LinkId, LoggedClick, Slot, Subject, System, UnixMs};
use proptest::prelude::*;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Options, Service};
use crate::testing::{At, Dice, MemoryStats, owner};

const LOG: LogId = LogId([3; 16]);
const EPOCH_MS: i64 = 1_795_000_000_000;

/// What a world may do that is forbidden, to see that the checker notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sabotage {
    None,
    /// A restart goes on at the committed offset instead of reading the open chunk again.
    NoReread,
    /// Rows are added up instead of replaced.
    Counters,
}

/// How the store may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    /// Rows and progress together, as on `SQLite`.
    Atomic,
    /// Rows one by one, then the progress; old calls may come again later, as on a cluster.
    Loose,
}

/// The log, the store, and the moment of the next crash.
struct World {
    clicks: Mutex<Vec<(u64, LoggedClick)>>,
    state: Mutex<State>,
    store: MemoryStats,
    crashed: Notify,
    sabotage: Sabotage,
    writes: Writes,
}

struct State {
    start: u64,
    end: u64,
    committed: u64,
    dice: Dice,
    /// Calls until the crash.
    fuel: u64,
    earlier: Vec<(Arc<[Part]>, LogPosition)>,
}

impl World {
    /// Every call of a port comes by here; the one that meets the crash never returns.
    async fn step(&self) {
        let dead = {
            let mut state = self.state.lock().unwrap();
            state.fuel = state.fuel.saturating_sub(1);
            state.fuel == 0
        };
        if dead {
            self.crashed.notify_one();
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
    }

    fn roll(&self, end: u64) -> u64 {
        self.state.lock().unwrap().dice.below(end)
    }
}

struct Source {
    world: Arc<World>,
    at: u64,
}

#[async_trait]
impl ClickSource for Source {
    fn log(&self) -> LogId {
        LOG
    }

    fn partition(&self) -> u32 {
        0
    }

    async fn start(&self) -> PortResult<u64> {
        Ok(self.world.state.lock().unwrap().start)
    }

    async fn seek(&mut self, offset: u64) -> PortResult<u64> {
        self.world.step().await;
        let state = self.world.state.lock().unwrap();
        let went = offset.max(state.start);
        self.at = if self.world.sabotage == Sabotage::NoReread { went.max(state.committed) } else { went };
        Ok(went)
    }

    async fn next_batch(&mut self, max: usize) -> PortResult<ClickBatch> {
        self.world.step().await;
        if self.world.roll(20) == 0 {
            return Err(PortError::new(PortErrorKind::Unavailable, "read", Outcome::NotApplied));
        }
        let end = self.world.state.lock().unwrap().end;
        if self.at >= end {
            std::future::pending::<()>().await;
        }
        let max = usize::try_from(self.world.roll(40)).unwrap().min(max) + 1;
        let clicks = self.world.clicks.lock().unwrap();
        let from = clicks.partition_point(|(offset, _)| *offset < self.at);
        let taken: Vec<_> = clicks[from..].iter().take_while(|(offset, _)| *offset < end).take(max).cloned().collect();
        // Offsets between clicks are records that could not be read.
        let next_offset = if taken.len() < max { end } else { taken[max - 1].0 + 1 };
        let start = LogPosition { log: LOG, partition: 0, offset: self.at };
        self.at = next_offset;
        let (offsets, clicks) = taken.into_iter().unzip();
        Ok(ClickBatch { start, clicks, next_offset, offsets, traces: Vec::new() })
    }

    async fn commit(&mut self, offset: u64) -> PortResult<()> {
        self.world.step().await;
        let mut state = self.world.state.lock().unwrap();
        state.committed = state.committed.max(offset);
        Ok(())
    }

    fn lag(&self) -> u64 {
        self.world.state.lock().unwrap().end.saturating_sub(self.at)
    }
}

struct Store(Arc<World>);

impl Store {
    fn write(&self, parts: &[Part], position: LogPosition) {
        for part in parts {
            let mut data = self.0.store.data();
            if self.0.sabotage == Sabotage::Counters {
                let key = (part.subject.clone(), part.slot, position.log, position.partition, part.chunk);
                let old = data.parts.get(&key).map(|old| old.tally.clone()).unwrap_or_default();
                let mut sum = TallySum::default();
                sum.add(&old).unwrap();
                sum.add(&part.tally).unwrap();
                data.parts.insert(key, Part { tally: sum.finish(), ..part.clone() });
            } else {
                data.put(part.clone(), position);
            }
        }
    }
}

#[async_trait]
impl StatsStore for Store {
    async fn apply(&self, parts: Arc<[Part]>, position: LogPosition) -> PortResult<()> {
        let world = &self.0;
        world.step().await;
        let failed = |outcome| Err(PortError::new(PortErrorKind::Unavailable, "apply", outcome));
        if world.roll(8) == 0 {
            return failed(Outcome::NotApplied);
        }
        if world.writes == Writes::Loose {
            let applied = usize::try_from(world.roll(4) * 10).unwrap();
            world.state.lock().unwrap().earlier.push((parts.clone(), position));
            if applied < 30 {
                self.write(&parts[..applied.min(parts.len())], position);
                return failed(Outcome::Unknown);
            }
            self.write(&parts, position);
            world.step().await;
            let stale = {
                let mut state = world.state.lock().unwrap();
                let any = state.earlier.len() as u64;
                let index = usize::try_from(state.dice.below(any)).unwrap();
                state.earlier[index].clone()
            };
            self.write(&stale.0, stale.1);
        } else {
            self.write(&parts, position);
        }
        world.store.apply((Vec::new()).into(), position).await?;
        world.step().await;
        if world.roll(8) == 0 { failed(Outcome::Unknown) } else { Ok(()) }
    }

    async fn progress(&self, log: LogId, partition: u32) -> PortResult<Option<u64>> {
        self.0.step().await;
        self.0.store.progress(log, partition).await
    }

    async fn slots(&self, subject: &Subject, from: Slot, to: Slot, want: Want) -> PortResult<Vec<(Slot, Tally)>> {
        self.0.store.slots(subject, from, to, want).await
    }

    async fn rollups(&self, subject: &Subject, unit: RollupUnit, from: u32, to: u32, want: Want) -> PortResult<Vec<(u32, Tally)>> {
        self.0.store.rollups(subject, unit, from, to, want).await
    }

    async fn dirty_days(&self, before_day: u32, limit: usize) -> PortResult<Vec<DirtyDay>> {
        self.0.store.dirty_days(before_day, limit).await
    }

    async fn put_rollups(&self, rollups: Vec<Rollup>) -> PortResult<()> {
        self.0.store.put_rollups(rollups).await
    }

    async fn top_links(&self, subject: &Subject, from: Slot, to: Slot, limit: usize) -> PortResult<Vec<(LinkId, Counts)>> {
        self.0.store.top_links(subject, from, to, limit).await
    }

    async fn expire_slots(&self, before: UnixMs, limit: usize) -> PortResult<usize> {
        self.0.store.expire_slots(before, limit).await
    }
}

fn click(dice: &mut Dice, at: i64) -> LoggedClick {
    let pick = |dice: &mut Dice, of: &[&'static str]| of[usize::try_from(dice.below(of.len() as u64)).unwrap()];
    LoggedClick {
        link: LinkId::new(1 + dice.below(4)),
        domain: None,
        code: "".into(),
        owner: owner(pick(dice, &["ann", "bob"])),
        at: UnixMs::new(at),
        visitor: dice.below(30),
        country: Country::parse(pick(dice, &["DE", "FR", "XX"])),
        language: None,
        referrer: pick(dice, &["", "a.example", "b.example"]).into(),
        browser: Browser::Firefox,
        system: System::Linux,
        device: Device::Desktop,
        bot: pick(dice, &["", "", "HEAD"]).into(),
        utm_source: pick(dice, &["", "mail"]).into(),
        utm_medium: "".into(),
        utm_campaign: "".into(),
    }
}

/// A log of some hundred clicks over three chunks, some of them late.
fn world(seed: u64, sabotage: Sabotage, writes: Writes) -> Arc<World> {
    let mut dice = Dice(seed);
    let (mut clicks, mut offset, mut now) = (Vec::new(), CLICK_CHUNK_LEN - 150, EPOCH_MS);
    for number in 0..600_i64 {
        let late = if dice.below(10) == 0 { 2_000_000 } else { 0 };
        clicks.push((offset, click(&mut dice, now - late)));
        now += 20_000;
        offset += if number == 400 { CLICK_CHUNK_LEN - 200 } else { 1 + dice.below(2) };
    }
    let state = State { start: 0, end: 0, committed: 0, dice, fuel: u64::MAX, earlier: Vec::new() };
    let (clicks, state) = (Mutex::new(clicks), Mutex::new(state));
    Arc::new(World { clicks, state, store: MemoryStats::default(), crashed: Notify::new(), sabotage, writes })
}

fn service(world: &Arc<World>) -> Service<Source> {
    let options = Options {
        flush_interval: Duration::ZERO,
        flush_interval_busy: Duration::ZERO,
        apply_len_max: 7,
        retry_min: Duration::ZERO,
        retry_max: Duration::ZERO,
        ..Options::default()
    };
    let options = if world.writes == Writes::Atomic { Options { apply_len_max: 10_000, ..options } } else { options };
    let clock = Arc::new(At(UnixMs::new(EPOCH_MS)));
    Service::new(Source { world: world.clone(), at: 0 }, Arc::new(Store(world.clone())), clock, options)
}

/// Lets the log grow and crashes the consumer, again and again; at last all is counted in peace.
async fn run(world: &Arc<World>, loses_starts: bool) {
    let all = world.clicks.lock().unwrap().last().map_or(0, |(offset, _)| offset + 1);
    for round in 0..40 {
        let is_last = round == 39;
        {
            let mut state = world.state.lock().unwrap();
            let more = state.dice.below(60);
            let known = world.clicks.lock().unwrap();
            let next = known.partition_point(|(offset, _)| *offset < state.end) + usize::try_from(more).unwrap();
            state.end = known.get(next).map_or(all, |(offset, _)| *offset);
            state.fuel = if is_last { u64::MAX } else { 1 + state.dice.below(80) };
            if is_last {
                state.end = all;
            }
            if loses_starts && state.dice.below(3) == 0 && state.committed > state.start {
                state.start += 1 + (state.dice.next() % (state.committed - state.start));
            }
        }
        let service = service(world);
        let mut handle = service.handle();
        let end = world.state.lock().unwrap().end;
        let draining = CancellationToken::new();
        let drains = world.roll(4) == 0 || is_last;
        let running = service.run(draining.clone());
        let until_counted = async {
            handle.reached(end).await;
            if drains {
                draining.cancel();
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = running => {}
            () = until_counted => {}
            () = world.crashed.notified() => {}
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Truth {
    counts: Counts,
    dimensions: Dimensions,
    visitors: std::collections::BTreeSet<u64>,
}

fn truth(world: &World) -> BTreeMap<(Subject, Slot), Truth> {
    let mut truth: BTreeMap<(Subject, Slot), Truth> = BTreeMap::new();
    for (_, click) in world.clicks.lock().unwrap().iter() {
        for subject in [Subject::Link(click.link), Subject::Owner(click.owner.clone()), Subject::Everyone] {
            let truth = truth.entry((subject, Slot::at(click.at))).or_default();
            truth.counts.clicks += 1;
            if click.bot.is_empty() {
                truth.counts.humans += 1;
                truth.visitors.insert(click.visitor);
            }
            let or = |value: &str, absent: &str| if value.is_empty() { absent.into() } else { value.into() };
            let country = click.country.as_ref().map_or("", |country| country.as_str());
            let mut add = |dimension, value| *truth.dimensions.entry(dimension).or_default().entry(value).or_default() += 1;
            add(Dimension::Country, or(country, "unknown"));
            add(Dimension::Referrer, or(&click.referrer, "direct"));
            add(Dimension::Browser, "Firefox".into());
            add(Dimension::System, "Linux".into());
            add(Dimension::Device, "Desktop".into());
            add(Dimension::Language, "unknown".into());
            for (dimension, value) in [(Dimension::UtmSource, &click.utm_source), (Dimension::Bot, &click.bot)] {
                if !value.is_empty() {
                    add(dimension, value.clone());
                }
            }
        }
    }
    truth
}

/// Every subject, slot, dimension and visitor as it should be, and nothing else.
fn is_right(world: &World) -> bool {
    let mut sums: BTreeMap<(Subject, Slot), TallySum> = BTreeMap::new();
    for part in world.store.data().parts.values() {
        sums.entry((part.subject.clone(), part.slot)).or_default().add(&part.tally).unwrap();
    }
    let truth = truth(world);
    truth.len() == sums.len()
        && truth.iter().all(|(key, truth)| {
            sums.get(key).is_some_and(|sum| {
                let distinct = sum.distinct().unwrap();
                let sum = sum.clone().finish();
                sum.counts == truth.counts && sum.dimensions == truth.dimensions && distinct == truth.visitors.len() as u64
            })
        })
}

fn counted(seed: u64, sabotage: Sabotage, writes: Writes, loses_starts: bool) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let world = world(seed, sabotage, writes);
    runtime.block_on(run(&world, loses_starts));
    is_right(&world)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_click_is_counted_once_whatever_crashes(seed: u64) {
        prop_assert!(counted(seed, Sabotage::None, Writes::Atomic, false));
    }

    #[test]
    fn and_whatever_the_store_writes_half_twice_or_late(seed: u64) {
        prop_assert!(counted(seed, Sabotage::None, Writes::Loose, false));
    }

    #[test]
    fn and_wherever_retention_cuts_the_log(seed: u64) {
        prop_assert!(counted(seed, Sabotage::None, Writes::Atomic, true));
    }
}

#[test]
fn the_checker_sees_a_consumer_that_does_not_read_the_chunk_again() {
    let right = (0..10).filter(|seed| counted(*seed, Sabotage::NoReread, Writes::Atomic, false)).count();
    assert!(right <= 1, "{right} of 10 were right");
}

#[test]
fn the_checker_sees_additive_counters() {
    let right = (0..10).filter(|seed| counted(*seed, Sabotage::Counters, Writes::Atomic, false)).count();
    assert!(right <= 1, "{right} of 10 were right");
}
