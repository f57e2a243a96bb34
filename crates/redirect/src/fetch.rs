//! One flight: the cache that replicas share, then the store, then both caches filled with what was read.

use std::sync::Arc;
use std::time::Duration;

use domain::port::{Rebuild, Remembered};
use domain::{CodeKind, Link, Slug};
use tokio::time::Instant;

use crate::entry::{Entry, Freshness};
use crate::flights::Flight;
use crate::l2::{Fill, Held, Tier};
use crate::reader::{Read, Reader};
use crate::store::Unread;

/// What the shared cache makes of a code.
enum Told {
    Answer(Read),
    /// The link, if there is one, may stand in for a store that fails.
    AskStore(Option<CachedLink>),
}

struct CachedLink {
    link: Box<Link>,
    asked_at: Instant,
    /// Zero: only to stand in for the store.
    fresh_for: Duration,
    delta: Duration,
    /// Something newer was heard of.
    is_outdated: bool,
}

impl CachedLink {
    fn may_answer(&self) -> bool {
        !self.fresh_for.is_zero() && !self.is_outdated
    }
}

enum Weighed {
    Absent,
    Link(CachedLink),
    Nothing,
}

impl Reader {
    pub(crate) async fn fetch(&self, flight: &Flight) -> Read {
        let Some(slug) = Slug::parse(&flight.typed) else { return Read::Absent };
        let substitute = match &self.l2 {
            None => None,
            Some(l2) => match self.ask_l2(l2, flight, slug).await {
                Told::Answer(read) => return read,
                Told::AskStore(substitute) => substitute,
            },
        };
        match self.ask_store(flight, slug).await {
            Ok((Some(link), began)) => Read::Found(self.keep_stored(flight, link, began)),
            Ok((None, began)) => {
                self.metrics.store_absent.increment(1);
                self.l1.forget(flight.domain, &flight.typed);
                if let Some(l2) = &self.l2 {
                    l2.fill(Fill::Absent { domain: flight.domain, typed: flight.typed.clone(), began });
                }
                Read::Absent
            }
            Err(Unread) => substitute.and_then(|cached| self.substitute(flight, cached)).map_or(Read::Failed, Read::Found),
        }
    }

    /// Asked twice when a newer version than the one found was heard of meanwhile.
    async fn ask_store(&self, flight: &Flight, slug: Slug<'_>) -> Result<(Option<Link>, Instant), Unread> {
        let mut began = Instant::now();
        let mut found = self.store.find(flight.domain, slug).await?;
        if found.as_ref().is_some_and(|link| flight.outdates(link)) {
            began = Instant::now();
            found = self.store.find(flight.domain, slug).await?;
        }
        Ok((found, began))
    }

    async fn ask_l2(&self, l2: &Tier, flight: &Flight, slug: Slug<'_>) -> Told {
        let Ok(held) = l2.find(flight.domain, slug).await else {
            self.metrics.l2_error.increment(1);
            return Told::AskStore(None);
        };
        let cached = match held.map_or(Weighed::Nothing, |held| self.weigh(flight, slug, held)) {
            Weighed::Absent => {
                self.metrics.l2_absent.increment(1);
                return Told::Answer(Read::Absent);
            }
            Weighed::Link(cached) if cached.may_answer() => {
                self.metrics.l2_hit.increment(1);
                // One of all replicas reads it again a little before it expires.
                let is_early = self.store.answers() && self.is_due(cached.asked_at + cached.fresh_for, cached.delta, cached.asked_at);
                if is_early && l2.rebuild(flight.domain, slug).await == Rebuild::Ours {
                    return Told::AskStore(Some(cached));
                }
                return Told::Answer(Read::Found(self.keep_cached(flight, cached)));
            }
            Weighed::Link(cached) => {
                self.metrics.l2_stale.increment(1);
                Some(cached)
            }
            Weighed::Nothing => {
                self.metrics.l2_miss.increment(1);
                None
            }
        };
        if l2.rebuild(flight.domain, slug).await == Rebuild::Ours {
            return Told::AskStore(cached);
        }
        let found = l2.await_other(flight.domain, slug, &self.dice, |held| match self.weigh(flight, slug, held) {
            Weighed::Absent => Some(Read::Absent),
            Weighed::Link(cached) if cached.may_answer() => Some(Read::Found(self.keep_cached(flight, cached))),
            Weighed::Link(_) | Weighed::Nothing => None,
        });
        found.await.map_or(Told::AskStore(cached), Told::Answer)
    }

    fn weigh(&self, flight: &Flight, slug: Slug<'_>, held: Held) -> Weighed {
        let Held { what, asked_at, fresh_for, delta } = held;
        match what {
            // Links are never removed: where one is known, an absence is a mistake.
            Remembered::Absent if fresh_for.is_zero() || self.l1.get(flight.domain, slug, asked_at).is_some() => Weighed::Nothing,
            Remembered::Absent => Weighed::Absent,
            Remembered::Link(link) if self.leads_to(flight, slug, &link) => {
                let is_outdated = self.is_outdated(flight, &link);
                // Another process may have been given another N, and another timeout.
                let (fresh_for, delta) = (fresh_for.min(self.options.staleness), delta.min(self.options.store_timeout));
                Weighed::Link(CachedLink { link, asked_at, fresh_for, delta, is_outdated })
            }
            Remembered::Link(_) => Weighed::Nothing,
        }
    }

    /// An alias in other letters counts only while the store is known to have led there: a code made
    /// elsewhere, which the cache happens not to hold, may be spelled as this one was typed.
    fn leads_to(&self, flight: &Flight, slug: Slug<'_>, link: &Link) -> bool {
        if link.domain != flight.domain {
            return false;
        }
        let key = link.code.key();
        if *key == *flight.typed {
            return true;
        }
        let spelled = || self.l1.get(flight.domain, slug, Instant::now());
        link.code.kind() == CodeKind::Alias && spelled().is_some_and(|(entry, leads_there)| leads_there && *entry.key == *key)
    }

    fn is_outdated(&self, flight: &Flight, link: &Link) -> bool {
        let newest = || self.l1.peek(link.domain, &link.code.key()).filter(|entry| entry.route.link == link.id).map(|entry| entry.newest());
        flight.outdates(link) || newest().is_some_and(|newest| newest > link.version)
    }

    fn keep_stored(&self, flight: &Flight, link: Link, began: Instant) -> Arc<Entry> {
        self.metrics.store_hit.increment(1);
        let delta = began.elapsed();
        if let Some(l2) = &self.l2
            && !flight.outdates(&link)
        {
            l2.fill(Fill::Link { link: Box::new(link.clone()), began, delta });
        }
        // Other spellings, and whatever lies before a shared cache, end in their time even where news is certain.
        let spelled_until = began + self.shortened(self.options.staleness);
        let until = self.l2.as_ref().map_or(spelled_until, |_| began + self.lag());
        let until = (!self.news_is_certain).then_some(until);
        self.keep(flight, link, Freshness { asked_at: began, age: Duration::ZERO, until, delta }, Some(spelled_until))
    }

    fn keep_cached(&self, flight: &Flight, cached: CachedLink) -> Arc<Entry> {
        let CachedLink { link, asked_at, fresh_for, .. } = cached;
        let freshness = Freshness {
            asked_at,
            age: self.options.staleness.saturating_sub(fresh_for),
            until: Some(asked_at + fresh_for.min(self.lag())),
            delta: asked_at.elapsed(),
        };
        self.keep(flight, *link, freshness, None)
    }

    /// The store fails: the best that is known instead.
    fn substitute(&self, flight: &Flight, cached: CachedLink) -> Option<Arc<Entry>> {
        if cached.may_answer() {
            return Some(self.keep_cached(flight, cached));
        }
        let CachedLink { link, asked_at, fresh_for, delta, .. } = cached;
        if let Some(known) = self.l1.peek(link.domain, &link.code.key())
            && known.route.link == link.id
            && known.route.version >= link.version
            && self.may_stand_in(&known, asked_at)
        {
            return self.stand_in(known);
        }
        let oldest = self.options.staleness + self.options.serve_stale;
        let age = if fresh_for.is_zero() {
            // Not older than N + S, for it is still there, but nobody can say how old: it stands in until
            // the cache is asked again.
            oldest.saturating_sub(self.options.stale_pause)
        } else {
            self.options.staleness.saturating_sub(fresh_for)
        };
        let entry = self.keep(flight, *link, Freshness { asked_at, age, until: Some(asked_at), delta }, None);
        self.stand_in(entry)
    }

    fn keep(&self, flight: &Flight, link: Link, freshness: Freshness, spelled_until: Option<Instant>) -> Arc<Entry> {
        let entry = self.l1.put(Arc::new(Entry::new(link, freshness)), &flight.typed, spelled_until);
        // News goes to flights first and to L1 second: whatever L1 could not be told yet is here.
        if let Some((version, blocked)) = flight.newer_than(entry.route.link, entry.route.version) {
            entry.heard_of(version, blocked, Instant::now());
        }
        if flight.has_missed_news() {
            self.l1.forget(flight.domain, &entry.key);
        }
        entry
    }

    fn lag(&self) -> Duration {
        let lag = self.options.l2.as_ref().map_or(self.options.staleness, |l2| l2.lag);
        self.shortened(lag.min(self.options.staleness))
    }

    /// So that what was read together does not expire together.
    fn shortened(&self, time: Duration) -> Duration {
        time.mul_f64(1.0 - self.options.jitter * self.dice.roll())
    }
}
