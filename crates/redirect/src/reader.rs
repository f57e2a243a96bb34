//! From L1 to the store: what is fresh, what must be read, and what may stand in when the store fails.
//!
//! A tier between the two (a cache shared by the replicas) belongs into [`Reader::fetch`], inside the flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::port::{LinkChanged, LinkStore, PortError};
use domain::{DomainNo, Link, Slug};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::dice::Dice;
use crate::entry::{Entry, Freshness};
use crate::flights::{Flight, Flights};
use crate::l1::L1;
use crate::metrics::Metrics;
use crate::options::Options;

/// `XFetch`: below this probability (`e^-16`) the dice are left alone, so that they cost ordinary hits nothing.
const XFETCH_REACH: f64 = 16.0;
/// A read that takes no measurable time still deserves a refresh a little ahead.
const DELTA_MIN: Duration = Duration::from_micros(100);

/// What memory says of a code.
pub(crate) enum Memory {
    /// May be answered now.
    Answer(Arc<Entry>),
    /// Must be read again; may stand in if that fails.
    Expired(Arc<Entry>),
    Unknown,
}

/// What a read of the store says of a code.
#[derive(Clone)]
pub(crate) enum Read {
    Found(Arc<Entry>),
    Absent,
    /// Nothing is known. Counted and logged where it happened.
    Failed,
}

pub(crate) struct Reader {
    store: Arc<dyn LinkStore>,
    l1: L1,
    flights: Arc<Flights<Read>>,
    permits: Semaphore,
    dice: Dice,
    refreshes: mpsc::Sender<Arc<Entry>>,
    store_answers: AtomicBool,
    pub(crate) options: Options,
    pub(crate) metrics: Arc<Metrics>,
}

impl Reader {
    pub(crate) fn new(store: Arc<dyn LinkStore>, options: Options, metrics: Arc<Metrics>) -> (Arc<Self>, mpsc::Receiver<Arc<Entry>>) {
        let (refreshes, queue) = mpsc::channel(options.refresh_queue_len);
        let reader = Self {
            store,
            l1: L1::new(options.l1_bytes),
            flights: Flights::new(),
            permits: Semaphore::new(options.store_reads_max),
            dice: Dice::new(),
            refreshes,
            store_answers: AtomicBool::new(true),
            options,
            metrics,
        };
        (Arc::new(reader), queue)
    }

    /// Without waiting and without allocating.
    pub(crate) fn recall(&self, domain: DomainNo, slug: Slug<'_>) -> Memory {
        let now = Instant::now();
        let Some((entry, leads_there)) = self.l1.get(domain, slug, now) else { return Memory::Unknown };
        if leads_there && entry.is_fresh(now) {
            self.refresh_early(&entry, now);
            return Memory::Answer(entry);
        }
        if entry.is_excused(now) && self.may_stand_in(&entry, now) {
            self.served_stale(&entry, now);
            return Memory::Answer(entry);
        }
        Memory::Expired(entry)
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

    fn may_stand_in(&self, entry: &Entry, now: Instant) -> bool {
        entry.age(now) <= self.options.staleness + self.options.serve_stale
    }

    fn served_stale(&self, entry: &Entry, now: Instant) {
        self.metrics.l1_stale.increment(1);
        self.metrics.stale_age.record(entry.age(now).as_secs_f64());
    }

    /// `XFetch` (Vattani, Chierichetti, Lowenstein, PVLDB 8(8), 2015): refresh when `now − δ·β·ln(u) ≥ expiry`,
    /// so that a busy code is read again by one request shortly before it expires, while all others are answered.
    fn refresh_early(&self, entry: &Arc<Entry>, now: Instant) {
        let remaining = entry.freshness.until.saturating_duration_since(now).as_secs_f64();
        let scale = entry.freshness.delta.max(DELTA_MIN).as_secs_f64() * self.options.xfetch_beta;
        if remaining > scale * XFETCH_REACH || remaining > -scale * self.dice.roll().ln() || !entry.begin_refresh() {
            return;
        }
        if self.refreshes.try_send(entry.clone()).is_ok() {
            self.metrics.refresh_queued.increment(1);
        } else {
            entry.end_refresh();
            self.metrics.refresh_dropped.increment(1);
        }
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

    async fn fetch(&self, flight: &Flight) -> Read {
        let Some(slug) = Slug::parse(&flight.typed) else { return Read::Absent };
        let mut began = Instant::now();
        let mut found = self.ask_store(flight.domain, slug).await;
        if let Ok(Some(link)) = &found
            && flight.outdates(link)
        {
            began = Instant::now();
            found = self.ask_store(flight.domain, slug).await;
        }
        match found {
            Ok(Some(link)) => Read::Found(self.keep(flight, link, began)),
            Ok(None) => {
                self.metrics.store_absent.increment(1);
                self.l1.forget(flight.domain, &flight.typed);
                Read::Absent
            }
            Err(_) => Read::Failed,
        }
    }

    fn keep(&self, flight: &Flight, link: Link, began: Instant) -> Arc<Entry> {
        self.metrics.store_hit.increment(1);
        let delta = began.elapsed();
        let fresh_for = self.options.staleness.mul_f64(1.0 - self.options.jitter * self.dice.roll());
        let freshness = Freshness { read_at: began, until: began + fresh_for, delta };
        let entry = self.l1.put(Arc::new(Entry::new(link, freshness)), &flight.typed);
        // News goes to flights first and to L1 second: whatever L1 could not be told yet is here.
        if let Some((version, blocked)) = flight.newer_than(entry.route.link, entry.route.version) {
            entry.heard_of(version, blocked);
        }
        entry
    }

    async fn ask_store(&self, domain: DomainNo, slug: Slug<'_>) -> Result<Option<Link>, Unread> {
        let began = Instant::now();
        let read = async {
            // Never closed.
            let _permit = self.permits.acquire().await;
            self.store.find(domain, slug).await.map_err(Unread::Error)
        };
        let found = timeout(self.options.store_timeout, read).await.unwrap_or(Err(Unread::Timeout));
        self.metrics.store_read.record(began.elapsed().as_secs_f64());
        self.note(found.as_ref().err());
        found
    }

    /// Logs when the store stops answering and when it answers again, not each read in between.
    fn note(&self, failure: Option<&Unread>) {
        let answers = failure.is_none();
        if !answers {
            self.metrics.store_error.increment(1);
        }
        if self.store_answers.swap(answers, Ordering::AcqRel) == answers {
            return;
        }
        match failure {
            None => tracing::info!("the link store answers again"),
            Some(Unread::Error(error)) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the link store fails; cached links are served, others are answered 503");
            }
            Some(Unread::Timeout) => {
                let timeout_ms = self.options.store_timeout.as_millis();
                tracing::warn!(timeout_ms, "the link store does not answer in time; cached links are served, others are answered 503");
            }
        }
    }

    pub(crate) fn heard_of(&self, news: &LinkChanged) {
        self.metrics.invalidations.increment(1);
        self.flights.heard_of(news);
        self.l1.heard_of(news);
    }

    pub(crate) fn report_size(&self) {
        let gauge = |number: u64| f64::from(u32::try_from(number >> 10).unwrap_or(u32::MAX)) * 1_024.0;
        self.metrics.l1_bytes.set(gauge(self.l1.bytes()));
        self.metrics.l1_entries.set(f64::from(u32::try_from(self.l1.len()).unwrap_or(u32::MAX)));
    }

    /// Reads again what is about to expire, until `draining`.
    pub(crate) async fn run_refreshes(self: Arc<Self>, mut queue: mpsc::Receiver<Arc<Entry>>, draining: CancellationToken) {
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = draining.cancelled() => return,
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                entry = queue.recv(), if under_way.len() < self.options.refreshes_max => {
                    let Some(entry) = entry else { return };
                    let reader = self.clone();
                    under_way.push(async move { reader.refresh(&entry).await });
                }
            }
        }
    }

    async fn refresh(self: &Arc<Self>, entry: &Entry) {
        if let Some(slug) = Slug::parse(&entry.key) {
            self.read(entry.route.domain, slug).await;
        }
        // A failed one may be tried again; otherwise the entry has been replaced.
        entry.end_refresh();
    }
}

/// A read that told nothing.
enum Unread {
    Error(PortError),
    Timeout,
}
