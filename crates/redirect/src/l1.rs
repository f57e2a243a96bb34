//! L1: links in this process's memory, bounded in bytes. Versions never go backwards in it.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::port::LinkChanged;
use domain::{DomainNo, Slug};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::entry::Entry;

/// What an entry costs beside its own bytes: two reference counts, the rounding of seven allocations,
/// and the cache's slot and index.
const OVERHEAD_BYTES: usize = 2 * 16 + 7 * 8 + 64;
/// A typical entry; the cache sizes its index by it.
const TYPICAL_BYTES: u64 = 640;
/// Locks over fills and news. Reads take none of them.
const STRIPES: usize = 64;

/// That a code, as typed, is an alias in other letters. Needed because a code made elsewhere may differ
/// from an alias by case only: an alias in memory does not prove that the typed spelling leads there.
#[derive(Debug)]
pub(crate) struct Spelling {
    pub(crate) domain: DomainNo,
    pub(crate) typed: Box<str>,
    pub(crate) key: Box<str>,
    pub(crate) fresh_until: Instant,
}

#[derive(Clone, Debug)]
pub(crate) enum Cached {
    Link(Arc<Entry>),
    Spelling(Arc<Spelling>),
}

#[derive(Clone)]
struct BySize;

impl Weighter<u64, Cached> for BySize {
    fn weight(&self, _: &u64, value: &Cached) -> u64 {
        let bytes = match value {
            Cached::Link(entry) => entry.size(),
            Cached::Spelling(spelling) => size_of::<Spelling>() + spelling.typed.len() + spelling.key.len(),
        };
        u64::try_from(bytes + OVERHEAD_BYTES).unwrap_or(u64::MAX)
    }
}

pub(crate) struct L1 {
    /// By the keyed hash of domain and code: outsiders cannot aim at a slot, and two codes with one
    /// hash only evict each other, since the value says whose it is.
    cache: Cache<u64, Cached, BySize>,
    hasher: RandomState,
    stripes: [Mutex<()>; STRIPES],
}

impl L1 {
    pub(crate) fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / TYPICAL_BYTES).unwrap_or(usize::MAX);
        Self {
            cache: Cache::with_weighter(items, bytes, BySize),
            hasher: RandomState::new(),
            stripes: std::array::from_fn(|_| Mutex::new(())),
        }
    }

    fn hash(&self, domain: DomainNo, text: &str) -> u64 {
        self.hasher.hash_one((domain.get(), text))
    }

    fn stripe(&self, hash: u64) -> MutexGuard<'_, ()> {
        let index = usize::try_from(hash % STRIPES as u64).unwrap_or(0);
        self.stripes[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry for a code as typed, and whether that it leads there is still fresh.
    pub(crate) fn get(&self, domain: DomainNo, slug: Slug<'_>, now: Instant) -> Option<(Arc<Entry>, bool)> {
        match self.cache.get(&self.hash(domain, slug.as_str()))? {
            Cached::Link(entry) => entry.is_for(domain, slug.as_str()).then_some((entry, true)),
            Cached::Spelling(spelling) => {
                if spelling.domain != domain || *spelling.typed != *slug.as_str() {
                    return None;
                }
                let Cached::Link(entry) = self.cache.get(&self.hash(domain, &spelling.key))? else { return None };
                let leads_there = entry.is_alias && entry.is_for(domain, &spelling.key);
                leads_there.then_some((entry, now < spelling.fresh_until))
            }
        }
    }

    /// Keeps `entry`, found for the code `typed`, unless a newer version or a later read of the link is there already.
    /// Answers with the one that stays. That another spelling of its code leads to it is
    /// known until `spelled_until`; `None` says nothing new of that.
    pub(crate) fn put(&self, entry: Arc<Entry>, typed: &str, spelled_until: Option<Instant>) -> Arc<Entry> {
        let domain = entry.route.domain;
        if *entry.key != *typed
            && let Some(fresh_until) = spelled_until
        {
            let spelling = Spelling { domain, typed: typed.into(), key: entry.key.clone(), fresh_until };
            self.cache.insert(self.hash(domain, typed), Cached::Spelling(Arc::new(spelling)));
        }
        let hash = self.hash(domain, &entry.key);
        let _stripe = self.stripe(hash);
        if let Some(Cached::Link(old)) = self.cache.peek(&hash)
            && old.is_for(domain, &entry.key)
        {
            if (old.route.version, old.freshness.asked_at) > (entry.route.version, entry.freshness.asked_at) {
                return old;
            }
            entry.inherit(&old, Instant::now());
        }
        self.cache.insert(hash, Cached::Link(entry.clone()));
        entry
    }

    /// The entry of the link itself, whatever its freshness.
    pub(crate) fn peek(&self, domain: DomainNo, key: &str) -> Option<Arc<Entry>> {
        match self.cache.peek(&self.hash(domain, key))? {
            Cached::Link(entry) => entry.is_for(domain, key).then_some(entry),
            Cached::Spelling(_) => None,
        }
    }

    /// The store says that no link has this code.
    pub(crate) fn forget(&self, domain: DomainNo, typed: &str) {
        self.cache.remove(&self.hash(domain, typed));
    }

    /// The entry stays, to be served should the store not answer, but it is fresh no more.
    pub(crate) fn heard_of(&self, news: &LinkChanged) {
        let hash = self.hash(news.domain, &news.key);
        let _stripe = self.stripe(hash);
        match self.cache.peek(&hash) {
            Some(Cached::Link(entry)) if entry.is_for(news.domain, &news.key) => {
                entry.heard_of(news.version, news.blocked, Instant::now());
            }
            // A code made elsewhere now stands where an alias in other letters was found.
            Some(Cached::Spelling(_)) => {
                self.cache.remove(&hash);
            }
            Some(Cached::Link(_)) | None => {}
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::{Code, Link, LinkId, Owner, State, Target, UnixMs};

    use super::*;
    use crate::entry::Freshness;

    fn entry(version: u32, code: Code, read_at: Instant) -> Arc<Entry> {
        let at = UnixMs::new(0);
        let link = Link {
            id: LinkId::new(1),
            domain: DomainNo::DEFAULT,
            code,
            owner: Owner::from_stored("ann"),
            target: Target::from_stored("https://example.com/"),
            title: None,
            tags: Vec::new(),
            state: State::Active,
            blocked: None,
            redirect_status: None,
            caching: None,
            forward_query: false,
            starts_at: None,
            expires_at: None,
            max_clicks: None,
            created_at: at,
            updated_at: at,
            version,
            change_id: 0,
        };
        let until = Some(read_at + Duration::from_mins(1));
        Arc::new(Entry::new(link, Freshness { asked_at: read_at, age: Duration::ZERO, until, delta: Duration::ZERO }))
    }

    fn alias() -> Code {
        Code::parse_alias("My-Alias").unwrap()
    }

    fn put(l1: &L1, entry: Arc<Entry>, typed: &str) -> Arc<Entry> {
        let until = entry.freshness.until;
        l1.put(entry, typed, until)
    }

    fn get(l1: &L1, code: &str) -> Option<u32> {
        l1.get(DomainNo::DEFAULT, Slug::parse(code)?, Instant::now()).map(|(entry, _)| entry.route.version)
    }

    #[test]
    fn neither_an_older_version_nor_an_older_read_replaces_what_is_there() {
        let l1 = L1::new(1 << 20);
        let now = Instant::now();
        let newer = put(&l1, entry(2, alias(), now), "my-alias");
        let late = put(&l1, entry(1, alias(), now + Duration::from_secs(1)), "MY-ALIAS");
        assert!(Arc::ptr_eq(&newer, &late), "who reads late is answered with the newer one");
        assert_eq!((get(&l1, "my-alias"), get(&l1, "MY-ALIAS")), (Some(2), Some(2)));
        let again = put(&l1, entry(2, alias(), now + Duration::from_secs(1)), "my-alias");
        let late = put(&l1, entry(2, alias(), now), "my-alias");
        assert!(Arc::ptr_eq(&again, &late), "an older read would only expire sooner");
    }

    #[test]
    fn a_late_read_inherits_the_news_of_what_it_replaces() {
        let l1 = L1::new(1 << 20);
        let now = Instant::now();
        put(&l1, entry(1, alias(), now), "my-alias");
        let news = LinkChanged { link: LinkId::new(1), domain: DomainNo::DEFAULT, key: "my-alias".into(), version: 2, blocked: true };
        l1.heard_of(&news);
        let late = put(&l1, entry(1, alias(), now + Duration::from_secs(1)), "my-alias");
        assert!(late.is_superseded() && late.is_taken_down());
        let read_again = put(&l1, entry(2, alias(), now + Duration::from_secs(1)), "my-alias");
        assert!(!read_again.is_superseded() && !read_again.is_taken_down());
    }

    #[test]
    fn a_code_made_elsewhere_is_not_found_in_other_letters_nor_behind_an_alias() {
        let l1 = L1::new(1 << 20);
        let now = Instant::now();
        put(&l1, entry(1, Code::parse_foreign("as.Typed").unwrap(), now), "as.Typed");
        assert_eq!((get(&l1, "as.Typed"), get(&l1, "as.typed")), (Some(1), None));
        put(&l1, entry(1, alias(), now), "MY-ALIAS");
        assert_eq!((get(&l1, "MY-ALIAS"), get(&l1, "my-ALIAS")), (Some(1), None), "a spelling must have been looked up itself");
        let news = LinkChanged { link: LinkId::new(2), domain: DomainNo::DEFAULT, key: "MY-ALIAS".into(), version: 1, blocked: false };
        l1.heard_of(&news);
        assert_eq!((get(&l1, "MY-ALIAS"), get(&l1, "my-alias")), (None, Some(1)));
    }

    #[test]
    fn two_codes_of_one_hash_are_not_taken_for_each_other() {
        let l1 = L1::new(1 << 20);
        let other = entry(1, alias(), Instant::now());
        l1.cache.insert(l1.hash(DomainNo::DEFAULT, "another"), Cached::Link(other));
        assert_eq!(get(&l1, "another"), None);
    }
}
