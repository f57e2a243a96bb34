//! What became of each click that was handed to the driver: the books of the producer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::port::Dropped;
use metrics::{Counter, Gauge, counter, gauge};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use tokio::sync::watch;

use super::client::{Health, log_driver};
use crate::metrics::{CLICKS_DROPPED, CLICKS_IN_QUEUE, CLICKS_RECORDED};

/// Why a click that was taken did not reach the topic, as far as is known. Labels of the drop counter, besides
/// those of [`Dropped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Not acknowledged in time; it may be in the topic all the same, and is never sent again.
    TimedOut,
    /// Kafka refused it.
    Refused,
    /// Still unsent when the producer had to be replaced.
    Replaced,
    /// Still unsent when the process ended.
    Ended,
}

impl Lost {
    const ALL: [Self; 4] = [Self::TimedOut, Self::Refused, Self::Replaced, Self::Ended];

    const fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::Replaced => "replaced",
            Self::Ended => "ended",
        }
    }
}

/// What became of all clicks. `taken` is always `delivered + lost + in_queue`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Recorded and not refused at once.
    pub taken: u64,
    /// Refused at once: no room, or the log is closed.
    pub refused: u64,
    /// Acknowledged by all in-sync replicas.
    pub delivered: u64,
    /// Taken and given up: not sent in time, refused by Kafka, or unsent at the end.
    pub lost: u64,
    /// In the ring or in the driver.
    pub in_queue: u64,
    /// Drivers that failed for good and were replaced.
    pub replaced: u64,
}

/// Clicks handed over in one turn of the producer, and how many of them are still under way.
struct Batch {
    /// Everything before this place of the ring was handed over before the batch ended; unknown while it is open.
    end: Option<u64>,
    pending: u64,
}

#[derive(Default)]
struct Batches {
    /// The number of the first.
    first: usize,
    all: VecDeque<Batch>,
}

pub(super) struct Delivery {
    pub(super) health: Health,
    taken: AtomicU64,
    refused: AtomicU64,
    delivered: AtomicU64,
    lost: AtomicU64,
    replaced: AtomicU64,
    batches: Mutex<Batches>,
    /// Everything before this place of the ring is delivered or given up.
    settled: watch::Sender<u64>,
    /// What a purge of the driver's queue means just now.
    ending: AtomicBool,
    meters: Meters,
}

struct Meters {
    recorded: Counter,
    buffer_full: Counter,
    failed: Counter,
    lost: [Counter; Lost::ALL.len()],
    in_queue: Gauge,
}

impl Delivery {
    pub(super) fn new() -> Self {
        let dropped = |reason: &'static str| counter!(CLICKS_DROPPED, "reason" => reason);
        let meters = Meters {
            recorded: counter!(CLICKS_RECORDED),
            buffer_full: dropped(Dropped::BufferFull.as_str()),
            failed: dropped(Dropped::Failed.as_str()),
            lost: Lost::ALL.map(|lost| dropped(lost.as_str())),
            in_queue: gauge!(CLICKS_IN_QUEUE),
        };
        Self {
            health: Health::new("sending clicks to Kafka"),
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            batches: Mutex::default(),
            settled: watch::Sender::new(0),
            ending: AtomicBool::new(false),
            meters,
        }
    }

    /// On the redirect path: additions only.
    pub(super) fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn replaced(&self) {
        self.replaced.fetch_add(1, Ordering::SeqCst);
    }

    /// There was no room after all.
    pub(super) fn not_taken(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, reason: Dropped) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        match reason {
            Dropped::BufferFull => self.meters.buffer_full.increment(1),
            Dropped::DiskFull | Dropped::Failed => self.meters.failed.increment(1),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        // What ended first, what came last: a click on its way in between is in the queue.
        let (delivered, lost) = (self.delivered.load(Ordering::SeqCst), self.lost.load(Ordering::SeqCst));
        let (refused, taken) = (self.refused.load(Ordering::SeqCst), self.taken.load(Ordering::SeqCst));
        let replaced = self.replaced.load(Ordering::SeqCst);
        Counts { taken, refused, delivered, lost, in_queue: taken.saturating_sub(delivered + lost), replaced }
    }

    pub(super) fn settled(&self) -> watch::Receiver<u64> {
        self.settled.subscribe()
    }

    pub(super) fn lost_count(&self) -> u64 {
        self.lost.load(Ordering::SeqCst)
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and the queue is bounded")]
    pub(super) fn show_queue(&self) {
        self.meters.in_queue.set(self.counts().in_queue as f64);
    }

    /// What is purged from now on was unsent at the end of the process.
    pub(super) fn ends(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the open batch, for a click that is to be handed over.
    pub(super) fn hand_over(&self) -> usize {
        let mut batches = self.batches();
        if batches.all.back().is_none_or(|batch| batch.end.is_some()) {
            batches.all.push_back(Batch { end: None, pending: 0 });
        }
        if let Some(open) = batches.all.back_mut() {
            open.pending += 1;
        }
        batches.first + batches.all.len() - 1
    }

    /// It was not handed over after all, and will be tried again.
    pub(super) fn take_back(&self) {
        if let Some(open) = self.batches().all.back_mut() {
            open.pending = open.pending.saturating_sub(1);
        }
    }

    /// All before `end` in the ring was handed over.
    pub(super) fn close_batch(&self, end: u64) {
        let mut batches = self.batches();
        match batches.all.back_mut() {
            Some(open) if open.end.is_none() => open.end = Some(end),
            // Nothing is under way.
            None if *self.settled.borrow() != end => {
                self.settled.send_replace(end);
            }
            _ => {}
        }
        self.settle(&mut batches);
    }

    fn settle(&self, batches: &mut Batches) {
        let mut settled = None;
        while let Some(Batch { end: Some(end), pending: 0 }) = batches.all.front() {
            settled = Some(*end);
            batches.all.pop_front();
            batches.first = batches.first.wrapping_add(1);
        }
        if let Some(end) = settled {
            self.settled.send_replace(end);
        }
    }

    fn finish(&self, batch: usize) {
        let mut batches = self.batches();
        let index = batch.wrapping_sub(batches.first);
        if let Some(batch) = batches.all.get_mut(index) {
            batch.pending = batch.pending.saturating_sub(1);
        }
        if index == 0 {
            self.settle(&mut batches);
        }
    }

    pub(super) fn delivered(&self, batch: usize) {
        self.delivered.fetch_add(1, Ordering::SeqCst);
        self.meters.recorded.increment(1);
        self.health.works();
        self.finish(batch);
    }

    /// `batch` is `None` for a click that never came to one.
    pub(super) fn lost(&self, batch: Option<usize>, why: Lost) {
        self.lost.fetch_add(1, Ordering::SeqCst);
        if let Some(at) = Lost::ALL.iter().position(|lost| *lost == why) {
            self.meters.lost[at].increment(1);
        }
        if let Some(batch) = batch {
            self.finish(batch);
        }
    }

    fn why(&self, code: Option<RDKafkaErrorCode>) -> Lost {
        let is_ending = self.ending.load(Ordering::SeqCst);
        match code {
            Some(RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::RequestTimedOut | RDKafkaErrorCode::OperationTimedOut) => {
                Lost::TimedOut
            }
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) if is_ending => Lost::Ended,
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight | RDKafkaErrorCode::Fatal) => Lost::Replaced,
            _ => Lost::Refused,
        }
    }
}

/// What the driver calls back, on the producer's own thread.
pub(super) struct Context(pub(super) Arc<Delivery>);

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, fac: &str, message: &str) {
        log_driver(fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // One broker of several is no failure: only all of them are.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.0.health.fails(&"no broker answers");
        } else {
            log_driver(&error.to_string(), reason);
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: usize) {
        match result {
            Ok(_) => self.0.delivered(batch),
            Err((error, _)) => {
                let why = self.0.why(error.rdkafka_error_code());
                if !matches!(why, Lost::Ended) {
                    self.0.health.fails(error);
                }
                self.0.lost(Some(batch), why);
            }
        }
    }
}
