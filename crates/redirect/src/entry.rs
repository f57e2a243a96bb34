//! What is known of one link, since when, and for how long it may be relied on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use domain::api::Route;
use domain::{CodeKind, DomainNo, Link, State};
use tokio::time::Instant;

use crate::visit::Campaign;

/// When somebody was asked, and how long what they said may be answered without asking again.
/// The age counts from the moment the read *began*: the value may have changed right after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    pub(crate) asked_at: Instant,
    /// How old, at most, it was then: zero when the store was asked, not when a cache was.
    pub(crate) age: Duration,
    /// `None`: until news of the link comes, which then cannot fail to come.
    pub(crate) until: Option<Instant>,
    /// What the read took: `XFetch`'s δ.
    pub(crate) delta: Duration,
}

/// A link as last read.
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
    /// When that was heard of: milliseconds after `asked_at`, rounded up.
    heard_after_ms: AtomicU64,
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
            heard_after_ms: AtomicU64::new(0),
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

    /// How long ago, at most, it was what the store holds.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        if self.freshness.until.is_some() {
            return now.saturating_duration_since(self.freshness.asked_at) + self.freshness.age;
        }
        if self.is_superseded() { now.saturating_duration_since(self.heard_at()) } else { Duration::ZERO }
    }

    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        self.freshness.until.is_none_or(|until| now < until) && !self.is_superseded()
    }

    pub(crate) fn is_superseded(&self) -> bool {
        self.newest() > self.route.version
    }

    pub(crate) fn newest(&self) -> u32 {
        self.newest.load(Ordering::Acquire)
    }

    /// When the last news came, or at most a millisecond later.
    fn heard_at(&self) -> Instant {
        self.freshness.asked_at + Duration::from_millis(self.heard_after_ms.load(Ordering::Acquire))
    }

    /// News of `version`. Older news than what is known changes nothing.
    pub(crate) fn heard_of(&self, version: u32, blocked: bool, now: Instant) {
        // First the moment: whoever sees the version sees it too.
        if version > self.newest() {
            let after = now.saturating_duration_since(self.freshness.asked_at).as_millis().saturating_add(1);
            self.heard_after_ms.store(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Release);
        }
        if version > self.newest.fetch_max(version, Ordering::AcqRel) {
            self.taken_down.store(blocked, Ordering::Release);
        }
    }

    /// Takes over what had been heard of the link before it was read again.
    pub(crate) fn inherit(&self, older: &Self, now: Instant) {
        // Where news cannot fail to come, all changes are made here, and the store was asked after this
        // one was announced: it failed, and the announcement stands for a change that is none.
        let is_refuted = self.freshness.until.is_none() && older.heard_at() < self.freshness.asked_at;
        if !is_refuted {
            self.heard_of(older.newest(), older.taken_down.load(Ordering::Acquire), now);
        }
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
