//! What is known of one link, since when, and for how long it may be relied on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use domain::api::Route;
use domain::{CodeKind, DomainNo, Link, State};
use tokio::time::Instant;

use crate::visit::Campaign;

/// When the store was asked, and how long what it said may be answered without asking again.
/// The age counts from the moment the read *began*: the value may have changed right after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    pub(crate) read_at: Instant,
    pub(crate) until: Instant,
    /// What the read took: `XFetch`'s δ.
    pub(crate) delta: Duration,
}

/// A link as last read from the store.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) route: Arc<Route>,
    /// What the code is matched by.
    pub(crate) key: Box<str>,
    pub(crate) is_alias: bool,
    pub(crate) state: State,
    pub(crate) blocked: Option<Arc<str>>,
    /// The target's own UTM values, for requests that bring none.
    pub(crate) campaign: Campaign,
    pub(crate) freshness: Freshness,
    /// The newest version heard of; above the route's own, the entry must be read again.
    newest: AtomicU32,
    /// News said that the newest version is a takedown.
    taken_down: AtomicBool,
    /// No click is left. Final for this version: raising the limit makes a new one.
    used_up: AtomicBool,
    refreshing: AtomicBool,
    /// Milliseconds of age up to which it is served stale without another read, after a failed one.
    excused_until_age_ms: AtomicU64,
}

impl Entry {
    pub(crate) fn new(link: Link, freshness: Freshness) -> Self {
        let key = link.code.key().as_str().into();
        let is_alias = link.code.kind() == CodeKind::Alias;
        let campaign = Campaign::of_target(link.target.as_str());
        let route = Route {
            link: link.id,
            domain: link.domain,
            code: link.code.as_str().into(),
            owner: link.owner,
            version: link.version,
            target: link.target,
            title: link.title,
            redirect_status: link.redirect_status,
            caching: link.caching,
            forward_query: link.forward_query,
            starts_at: link.starts_at,
            expires_at: link.expires_at,
            max_clicks: link.max_clicks,
            created_at: link.created_at,
        };
        Self {
            newest: AtomicU32::new(link.version),
            route: Arc::new(route),
            key,
            is_alias,
            state: link.state,
            blocked: link.blocked.map(|reason| reason.as_str().into()),
            campaign,
            freshness,
            taken_down: AtomicBool::new(false),
            used_up: AtomicBool::new(false),
            refreshing: AtomicBool::new(false),
            excused_until_age_ms: AtomicU64::new(0),
        }
    }

    pub(crate) fn is_for(&self, domain: DomainNo, key: &str) -> bool {
        self.route.domain == domain && *self.key == *key
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.freshness.read_at)
    }

    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        now < self.freshness.until && !self.is_superseded()
    }

    pub(crate) fn is_superseded(&self) -> bool {
        self.newest.load(Ordering::Acquire) > self.route.version
    }

    /// News of `version`. Older news than what is known changes nothing.
    pub(crate) fn heard_of(&self, version: u32, blocked: bool) {
        if version > self.newest.fetch_max(version, Ordering::AcqRel) {
            self.taken_down.store(blocked, Ordering::Release);
        }
    }

    /// Takes over what had been heard of the link before it was read again.
    pub(crate) fn inherit(&self, older: &Self) {
        self.heard_of(older.newest.load(Ordering::Acquire), older.taken_down.load(Ordering::Acquire));
    }

    pub(crate) fn is_taken_down(&self) -> bool {
        self.taken_down.load(Ordering::Acquire)
    }

    pub(crate) fn set_used_up(&self) {
        self.used_up.store(true, Ordering::Release);
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.used_up.load(Ordering::Acquire)
    }

    /// True for the one caller that is to refresh it.
    pub(crate) fn begin_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_refresh(&self) {
        self.refreshing.store(false, Ordering::Release);
    }

    /// The store did not answer: for `pause` nobody else has to wait to find that out.
    pub(crate) fn excuse(&self, now: Instant, pause: Duration) {
        let until = u64::try_from((self.age(now) + pause).as_millis()).unwrap_or(u64::MAX);
        self.excused_until_age_ms.store(until, Ordering::Release);
    }

    pub(crate) fn is_excused(&self, now: Instant) -> bool {
        let age = u64::try_from(self.age(now).as_millis()).unwrap_or(u64::MAX);
        age < self.excused_until_age_ms.load(Ordering::Acquire)
    }

    /// Bytes of memory it holds.
    pub(crate) fn size(&self) -> usize {
        let text = |text: Option<&str>| text.map_or(0, str::len);
        size_of::<Self>()
            + size_of::<Route>()
            + self.route.code.len()
            + self.route.owner.as_str().len()
            + self.route.target.as_str().len()
            + text(self.route.title.as_ref().map(domain::Title::as_str))
            + self.key.len()
            + text(self.blocked.as_deref())
            + self.campaign.size()
    }
}
