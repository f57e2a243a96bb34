//! Single flight: however many ask for one code at once, the store is asked once.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::port::LinkChanged;
use domain::{DomainNo, Link, LinkId, Slug};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};

/// Links whose news one flight keeps: its code in other letters can stand for no more than a few.
const NEWS_MAX: usize = 16;

/// One read of the store under way for a code as typed.
pub(crate) struct Flight {
    pub(crate) domain: DomainNo,
    pub(crate) typed: Box<str>,
    began: u64,
    folded: u64,
    /// What changed since it began: a value older than this must not be kept.
    news: Mutex<Vec<(LinkId, u32, bool)>>,
    /// There was more news than it keeps.
    missed_news: AtomicBool,
}

impl Flight {
    /// The newest version of the link heard of since the flight began, when it is newer than `link`.
    pub(crate) fn newer_than(&self, link: LinkId, version: u32) -> Option<(u32, bool)> {
        let news = lock(&self.news);
        news.iter().filter(|(id, newer, _)| *id == link && *newer > version).map(|(_, newer, blocked)| (*newer, *blocked)).max()
    }

    pub(crate) fn has_missed_news(&self) -> bool {
        self.missed_news.load(Ordering::Acquire)
    }

    pub(crate) fn outdates(&self, link: &Link) -> bool {
        self.newer_than(link.id, link.version).is_some()
    }
}

pub(crate) struct Seat<R: Clone> {
    pub(crate) landing: Shared<BoxFuture<'static, R>>,
    pub(crate) began: u64,
    pub(crate) joined: bool,
}

struct Row<R: Clone> {
    flight: Arc<Flight>,
    /// Weak: when all who wait have gone, so does the read.
    landing: WeakShared<BoxFuture<'static, R>>,
}

struct Table<R: Clone> {
    /// By the hash of the code in lower case, so that news of an alias finds every spelling under way.
    rows: HashMap<u64, Vec<Row<R>>>,
    /// Orders the beginnings of flights and of requests.
    clock: u64,
}

pub(crate) struct Flights<R: Clone> {
    table: Mutex<Table<R>>,
    hasher: RandomState,
}

/// Takes the flight off the table when it lands, and when it is given up.
pub(crate) struct Landed<R: Clone> {
    flights: Arc<Flights<R>>,
    flight: Arc<Flight>,
}

impl<R: Clone> Drop for Landed<R> {
    fn drop(&mut self) {
        let mut table = lock(&self.flights.table);
        if let Some(rows) = table.rows.get_mut(&self.flight.folded) {
            rows.retain(|row| row.flight.began != self.flight.began);
            if rows.is_empty() {
                table.rows.remove(&self.flight.folded);
            }
        }
    }
}

impl<R: Clone + Send + Sync + 'static> Flights<R> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { table: Mutex::new(Table { rows: HashMap::new(), clock: 0 }), hasher: RandomState::new() })
    }

    fn fold(&self, domain: DomainNo, text: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(domain.get());
        for byte in text.bytes() {
            hasher.write_u8(byte.to_ascii_lowercase());
        }
        hasher.finish()
    }

    /// A moment in the order of beginnings.
    pub(crate) fn now(&self) -> u64 {
        let mut table = lock(&self.table);
        table.clock += 1;
        table.clock
    }

    /// A seat in the flight for this code; `read` begins one when there is none.
    pub(crate) fn board<F>(self: &Arc<Self>, domain: DomainNo, slug: Slug<'_>, read: impl FnOnce(Arc<Flight>) -> F) -> Seat<R>
    where
        F: Future<Output = R> + Send + 'static,
    {
        let folded = self.fold(domain, slug.as_str());
        let mut table = lock(&self.table);
        table.clock += 1;
        let began = table.clock;
        let rows = table.rows.entry(folded).or_default();
        let same = |row: &&Row<R>| row.flight.domain == domain && *row.flight.typed == *slug.as_str();
        if let Some(row) = rows.iter().find(same)
            && let Some(landing) = row.landing.upgrade()
        {
            return Seat { landing, began: row.flight.began, joined: true };
        }
        let flight = Arc::new(Flight {
            domain,
            typed: slug.as_str().into(),
            began,
            folded,
            news: Mutex::default(),
            missed_news: AtomicBool::new(false),
        });
        let landed = Landed { flights: self.clone(), flight: flight.clone() };
        let read = read(flight.clone());
        let landing = async move {
            let _landed = landed;
            read.await
        };
        let landing = landing.boxed().shared();
        // Nothing was polled yet, so it cannot have landed.
        if let Some(weak) = landing.downgrade() {
            rows.push(Row { flight, landing: weak });
        }
        Seat { landing, began, joined: false }
    }

    /// Must be told before L1 is: a flight that lands in between then sees the news itself.
    pub(crate) fn heard_of(&self, news: &LinkChanged) {
        let folded = self.fold(news.domain, &news.key);
        let table = lock(&self.table);
        for row in table.rows.get(&folded).into_iter().flatten() {
            let mut known = lock(&row.flight.news);
            if let Some(same) = known.iter_mut().find(|(link, ..)| *link == news.link) {
                *same = (*same).max((news.link, news.version, news.blocked));
            } else if known.len() < NEWS_MAX {
                known.push((news.link, news.version, news.blocked));
            } else {
                row.flight.missed_news.store(true, Ordering::Release);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
