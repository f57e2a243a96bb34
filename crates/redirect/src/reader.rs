//! From memory to whatever must be asked: what is fresh, what is read again, and what may stand in when the store fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chassis::trace::{self, Scope, TraceContext};
use domain::port::{LinkCache, LinkChanged, LinkEvents, LinkStore};
use domain::{DomainNo, Slug};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dice::Dice;
use crate::entry::Entry;
use crate::errands;
use crate::flights::Flights;
use crate::l1::L1;
use crate::l2::{Fill, Tier};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::store::Store;

/// `XFetch`: below this probability (`e^-16`) the dice are left alone, so that they cost ordinary hits nothing.
const XFETCH_REACH: f64 = 16.0;
/// A read that takes no measurable time still deserves a refresh a little ahead.
const DELTA_MIN: Duration = Duration::from_micros(100);
/// Over how long the reading again of everything is spread, after news may have been missed.
const DOUBT_SPREAD_MS: u64 = 5_000;
/// Reads begun ahead of those who will ask, waiting for their turn and under way.
const BEGUN_QUEUE_LEN: usize = 4_096;
const BEGUN_MAX: usize = 1_024;

/// What memory says of a code.
pub(crate) enum Memory {
    /// May be answered now.
    Answer(Arc<Entry>),
    /// Must be read again; may stand in if that fails.
    Expired(Arc<Entry>),
    Unknown,
}

/// What a read says of a code.
#[derive(Clone)]
pub(crate) enum Read {
    Found(Arc<Entry>),
    Absent,
    /// Nothing is known. Counted and logged where it happened.
    Failed,
}

/// A read ahead, and the trace of who is about to ask, if it is kept.
type Begun = (DomainNo, Box<str>, Option<TraceContext>);

/// Where a read comes from.
pub(crate) struct Sources {
    pub(crate) store: Arc<dyn LinkStore>,
    pub(crate) cache: Arc<dyn LinkCache>,
    pub(crate) events: Arc<dyn LinkEvents>,
}

/// What lies in a queue.
pub(crate) fn waiting<T>(queue: &mpsc::Sender<T>) -> usize {
    queue.max_capacity() - queue.capacity()
}

/// What the background tasks work off.
pub(crate) struct Queues {
    refreshes: mpsc::Receiver<Arc<Entry>>,
    begun: mpsc::Receiver<Begun>,
    fills: Option<(Arc<Tier>, mpsc::Receiver<Fill>)>,
}

pub(crate) struct Reader {
    pub(crate) store: Store,
    pub(crate) l1: L1,
    pub(crate) l2: Option<Arc<Tier>>,
    flights: Arc<Flights<Read>>,
    pub(crate) dice: Dice,
    refreshes: mpsc::Sender<Arc<Entry>>,
    begun: mpsc::Sender<Begun>,
    pub(crate) news_is_certain: bool,
    started: Instant,
    /// When news may have been missed the last time: milliseconds after `started`, rounded up; zero for never.
    doubt_ms: AtomicU64,
    pub(crate) options: Options,
    pub(crate) metrics: Arc<Metrics>,
}

impl Reader {
    pub(crate) fn new(sources: Sources, options: Options, metrics: Arc<Metrics>) -> (Arc<Self>, Queues) {
        let (refreshes, refresh_queue) = mpsc::channel(options.refresh_queue_len);
        let (begun, begun_queue) = mpsc::channel(BEGUN_QUEUE_LEN);
        let tier = options.l2.clone().map(|l2| Tier::new(sources.cache, l2, metrics.clone()));
        let reader = Self {
            store: Store::new(sources.store, options.store_reads_max, options.store_timeout, metrics.clone()),
            l1: L1::new(options.l1_bytes),
            l2: tier.as_ref().map(|(tier, _)| tier.clone()),
            flights: Flights::new(),
            dice: Dice::new(),
            refreshes,
            begun,
            news_is_certain: sources.events.are_certain(),
            started: Instant::now(),
            doubt_ms: AtomicU64::new(0),
            options,
            metrics,
        };
        (Arc::new(reader), Queues { refreshes: refresh_queue, begun: begun_queue, fills: tier })
    }

    /// Without waiting and without allocating.
    pub(crate) fn recall(&self, domain: DomainNo, slug: Slug<'_>) -> Memory {
        let now = Instant::now();
        let Some((entry, leads_there)) = self.l1.get(domain, slug, now) else { return Memory::Unknown };
        if leads_there && entry.is_fresh(now) && !self.is_doubtful(&entry, now) {
            self.refresh_early(&entry, now);
            return Memory::Answer(entry);
        }
        if entry.is_excused(now) && self.may_stand_in(&entry, now) {
            self.served_stale(&entry, now);
            return Memory::Answer(entry);
        }
        Memory::Expired(entry)
    }

    /// Read before news may have been missed, and not read again in its share of the time since.
    fn is_doubtful(&self, entry: &Entry, now: Instant) -> bool {
        let doubt_ms = self.doubt_ms.load(Ordering::Acquire);
        if doubt_ms == 0 || self.ms(entry.freshness.asked_at) > doubt_ms {
            return false;
        }
        // The same for a link each time, any for different ones.
        let share_ms = entry.route.link.get().wrapping_mul(0x9E37_79B9_7F4A_7C15) % DOUBT_SPREAD_MS;
        self.ms(now) >= doubt_ms + share_ms
    }

    fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// News may have been missed: everything in memory is read again soon, without a walk over it.
    pub(crate) fn doubt(&self) {
        self.metrics.news_gaps.increment(1);
        self.doubt_ms.store(self.ms(Instant::now()) + 1, Ordering::Release);
    }

    /// The store did not answer: `entry`, if it is not older than N + S.
    pub(crate) fn stand_in(&self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let now = Instant::now();
        if !self.may_stand_in(&entry, now) {
            return None;
        }
        entry.excuse(now, self.options.stale_pause);
        self.served_stale(&entry, now);
        Some(entry)
    }

    pub(crate) fn may_stand_in(&self, entry: &Entry, now: Instant) -> bool {
        entry.age(now) <= self.options.staleness + self.options.serve_stale
    }

    fn served_stale(&self, entry: &Entry, now: Instant) {
        self.metrics.l1_stale.increment(1);
        self.metrics.stale_age.record(entry.age(now).as_secs_f64());
    }

    /// A busy code is read again by one request shortly before it expires, while all others are answered.
    fn refresh_early(&self, entry: &Arc<Entry>, now: Instant) {
        let Some(until) = entry.freshness.until else { return };
        if !self.is_due(until, entry.freshness.delta, now) || !entry.begin_refresh() {
            return;
        }
        if self.refreshes.try_send(entry.clone()).is_ok() {
            self.metrics.refresh_queued.increment(1);
        } else {
            entry.end_refresh();
            self.metrics.refresh_dropped.increment(1);
        }
    }

    /// `XFetch` (Vattani, Chierichetti, Lowenstein, PVLDB 8(8), 2015): refresh when `now − δ·β·ln(u) ≥ expiry`.
    pub(crate) fn is_due(&self, until: Instant, delta: Duration, now: Instant) -> bool {
        let remaining = until.saturating_duration_since(now).as_secs_f64();
        let scale = delta.max(DELTA_MIN).as_secs_f64() * self.options.xfetch_beta;
        remaining <= scale * XFETCH_REACH && remaining <= -scale * self.dice.roll().ln()
    }

    /// Reads the code, together with everybody else who asks for it now.
    pub(crate) async fn read(self: &Arc<Self>, domain: DomainNo, slug: Slug<'_>) -> Read {
        let asked = self.flights.now();
        loop {
            let reader = self.clone();
            let seat = self.flights.board(domain, slug, |flight| async move { reader.fetch(&flight).await });
            if seat.joined {
                self.metrics.flights_joined.increment(1);
            }
            let read = seat.landing.await;
            // A link made after that flight had looked, but before we were asked, would be missed.
            if matches!(read, Read::Absent) && seat.began < asked {
                continue;
            }
            return read;
        }
    }

    /// Begins to read the code for somebody who is about to ask; not at all when too many are waiting.
    pub(crate) fn begin(&self, domain: DomainNo, slug: Slug<'_>) {
        let begun = self.begun.try_send((domain, slug.as_str().into(), trace::sampled()));
        if begun.is_ok() { &self.metrics.begun } else { &self.metrics.begun_dropped }.increment(1);
    }

    pub(crate) fn heard_of(&self, news: &LinkChanged) {
        self.metrics.invalidations.increment(1);
        self.flights.heard_of(news);
        self.l1.heard_of(news);
    }

    pub(crate) fn report_size(&self) {
        let gauge = |number: u64| f64::from(u32::try_from(number >> 10).unwrap_or(u32::MAX)) * 1_024.0;
        self.metrics.l1_bytes.set(gauge(self.l1.bytes()));
        let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        self.metrics.l1_entries.set(count(self.l1.len()));
        self.metrics.queued_refreshes.set(count(waiting(&self.refreshes)));
        self.metrics.queued_begun.set(count(waiting(&self.begun)));
        self.metrics.queued_fills.set(count(self.l2.as_ref().map_or(0, |tier| tier.waiting())));
    }

    /// What is to run, each in a task of its own, until `draining`: all that nobody waits for.
    pub(crate) fn errands(self: &Arc<Self>, queues: Queues, draining: &CancellationToken) -> Vec<(&'static str, BoxFuture<'static, ()>)> {
        let Queues { refreshes, begun, fills } = queues;
        let (reader, token) = (self.clone(), draining.clone());
        let refreshes = async move {
            errands::run(refreshes, reader.options.refreshes_max, token, |entry| reader.refresh(entry)).await;
        };
        let (reader, token) = (self.clone(), draining.clone());
        let begun = async move {
            errands::run(begun, BEGUN_MAX, token, |(domain, code, trace)| {
                let scope = Scope { trace, request: None };
                trace::in_scope(scope, reader.read_ahead(domain, code))
            })
            .await;
        };
        let mut tasks = vec![("redirect-refresh", refreshes.boxed()), ("redirect-begin", begun.boxed())];
        if let Some((tier, queue)) = fills {
            tasks.push(("redirect-fill", tier.run_fills(queue, draining.clone()).boxed()));
        }
        tasks
    }

    async fn refresh(self: &Arc<Self>, entry: Arc<Entry>) {
        if let Some(slug) = Slug::parse(&entry.key) {
            self.read(entry.route.domain, slug).await;
        }
        // A failed one may be tried again; otherwise the entry has been replaced.
        entry.end_refresh();
    }

    async fn read_ahead(self: &Arc<Self>, domain: DomainNo, code: Box<str>) {
        if let Some(slug) = Slug::parse(&code) {
            self.read(domain, slug).await;
        }
    }
}
