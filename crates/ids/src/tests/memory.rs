//! A lease store that can fail in every way, and remembers what it granted.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::UnixMs;
use domain::port::{Clock, CodeRange, Entropy, LeaseStore, Outcome, PortError, PortErrorKind, PortResult};
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The write is applied, and the answer lost.
    UnknownApplied,
    /// The write is lost, and nobody knows.
    UnknownNotApplied,
    Refused,
    /// Never answers.
    Hangs,
}

/// What the store is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swapping {
    Compares,
    /// The sabotage: whoever asks is granted.
    Blindly,
}

/// A window of ids that was granted, or may have been.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) worker: u16,
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) told: bool,
}

#[derive(Default)]
struct Rows {
    ranges: Vec<CodeRange>,
    workers: HashMap<u16, i64>,
    windows: Vec<Window>,
    /// When each `lim` was stored, by epoch.
    lims: Vec<(u32, u64, Instant)>,
    faults: VecDeque<Fault>,
    writes: usize,
}

pub(super) struct Memory {
    rows: Mutex<Rows>,
    clock: Arc<TestClock>,
    immediate: bool,
    swapping: Swapping,
}

impl Memory {
    /// One process: bounds are known at once.
    pub(super) fn local(clock: &Arc<TestClock>) -> Arc<Self> {
        Self::new(clock, true, Swapping::Compares)
    }

    /// A fleet: bounds travel.
    pub(super) fn shared(clock: &Arc<TestClock>) -> Arc<Self> {
        Self::new(clock, false, Swapping::Compares)
    }

    pub(super) fn new(clock: &Arc<TestClock>, immediate: bool, swapping: Swapping) -> Arc<Self> {
        Arc::new(Self { rows: Mutex::default(), clock: clock.clone(), immediate, swapping })
    }

    pub(super) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.rows.lock().unwrap().faults.extend(faults);
    }

    pub(super) fn windows(&self) -> Vec<Window> {
        self.rows.lock().unwrap().windows.clone()
    }

    pub(super) fn writes(&self) -> usize {
        self.rows.lock().unwrap().writes
    }

    pub(super) fn put_worker(&self, worker: u16, until: i64) {
        self.rows.lock().unwrap().workers.insert(worker, until);
    }

    pub(super) fn put_range(&self, range: CodeRange) {
        self.rows.lock().unwrap().ranges.push(range);
    }

    /// What a backup would hold.
    pub(super) fn copy(&self) -> (Vec<CodeRange>, HashMap<u16, i64>) {
        let rows = self.rows.lock().unwrap();
        (rows.ranges.clone(), rows.workers.clone())
    }

    pub(super) fn put_back(&self, (ranges, workers): (Vec<CodeRange>, HashMap<u16, i64>)) {
        let mut rows = self.rows.lock().unwrap();
        (rows.ranges, rows.workers) = (ranges, workers);
    }

    pub(super) fn last_range(&self) -> CodeRange {
        *self.rows.lock().unwrap().ranges.last().unwrap()
    }

    /// The largest `lim` of the epoch that every replica has had `rest` to learn; none for its first.
    pub(super) fn lim_known_for(&self, epoch: u32, rest: Duration) -> u64 {
        let rows = self.rows.lock().unwrap();
        let known = rows.lims.iter().filter(|(of, _, at)| *of == epoch && at.elapsed() >= rest);
        known.map(|(_, lim, _)| *lim).max().unwrap_or(0)
    }

    /// Applies a write, or what a fault makes of it.
    async fn write(&self, apply: impl FnOnce(&mut Rows, bool) -> bool) -> PortResult<bool> {
        tokio::task::yield_now().await;
        let fault = self.rows.lock().unwrap().faults.pop_front();
        if fault == Some(Fault::Hangs) {
            std::future::pending::<()>().await;
        }
        let mut rows = self.rows.lock().unwrap();
        rows.writes += 1;
        let error = |outcome| Err(PortError::new(PortErrorKind::Unavailable, "memory: write", outcome));
        match fault {
            None | Some(Fault::Hangs) => Ok(apply(&mut rows, true)),
            Some(Fault::UnknownApplied) => {
                apply(&mut rows, false);
                error(Outcome::Unknown)
            }
            Some(Fault::UnknownNotApplied) => error(Outcome::Unknown),
            Some(Fault::Refused) => error(Outcome::NotApplied),
        }
    }
}

#[async_trait]
impl LeaseStore for Memory {
    async fn ranges(&self) -> PortResult<Vec<CodeRange>> {
        tokio::task::yield_now().await;
        Ok(self.rows.lock().unwrap().ranges.clone())
    }

    async fn add_range(&self, range: CodeRange) -> PortResult<bool> {
        self.write(|rows, _| {
            if rows.ranges.iter().any(|row| row.epoch == range.epoch) {
                return false;
            }
            rows.ranges.push(range);
            rows.lims.push((range.epoch, range.lim, Instant::now()));
            true
        })
        .await
    }

    async fn swap_range(&self, old: &CodeRange, new: &CodeRange) -> PortResult<bool> {
        assert!(new.next <= new.open && new.open <= new.lim, "{new:?}");
        assert!(new.next >= old.next && new.open >= old.open && new.lim >= old.lim, "{old:?} to {new:?}");
        self.write(|rows, _| {
            let blindly = self.swapping == Swapping::Blindly;
            let row = rows.ranges.iter_mut().find(|row| *row == old || blindly && row.epoch == old.epoch);
            let Some(row) = row else { return false };
            *row = *new;
            rows.lims.push((new.epoch, new.lim, Instant::now()));
            true
        })
        .await
    }

    async fn worker_until(&self, worker: u16) -> PortResult<i64> {
        tokio::task::yield_now().await;
        Ok(self.rows.lock().unwrap().workers.get(&worker).copied().unwrap_or(0))
    }

    async fn swap_worker(&self, worker: u16, old: i64, new: i64) -> PortResult<bool> {
        let from = old.max(self.clock.now().get());
        self.write(|rows, told| {
            let row = rows.workers.entry(worker).or_default();
            if *row != old && self.swapping == Swapping::Compares {
                return false;
            }
            *row = new;
            rows.windows.push(Window { worker, from, until: new, told });
            true
        })
        .await
    }

    fn bounds_are_immediate(&self) -> bool {
        self.immediate
    }
}

/// Stands still until it is set.
pub(super) struct TestClock(AtomicI64);

impl TestClock {
    /// In November 2026.
    pub(super) const START: i64 = 1_795_000_000_000;

    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(Self::START)))
    }

    pub(super) fn step(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixMs {
        UnixMs::new(self.0.load(Ordering::Relaxed))
    }
}

/// Not random at all, but never twice the same.
#[derive(Default)]
pub(super) struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let number = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            *byte = number.to_be_bytes()[0];
        }
    }
}
