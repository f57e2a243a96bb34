//! Load shedding: statistics give way to creates, creates to redirects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics;

/// What a request is worth when not all can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    Redirect,
    /// Everything of the API that is not statistics.
    Create,
    /// Statistics, exports and pictures.
    Stats,
}

impl Class {
    pub(crate) const ALL: [Self; 3] = [Self::Redirect, Self::Create, Self::Stats];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Create => "create",
            Self::Stats => "stats",
        }
    }
}

/// How many requests may be at work at once. A class enters while its own number and the total of
/// all classes are below its bound; 0 means no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    pub redirect: usize,
    pub create: usize,
    pub stats: usize,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { redirect: 8_192, create: 2_048, stats: 128 }
    }
}

impl Concurrency {
    const fn of(self, class: Class) -> usize {
        match class {
            Class::Redirect => self.redirect,
            Class::Create => self.create,
            Class::Stats => self.stats,
        }
    }
}

/// Hands out permits. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: Concurrency,
    total: AtomicUsize,
    by_class: [AtomicUsize; 3],
}

/// One request at work, until dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    shed: Arc<Inner>,
    class: Class,
}

impl Shed {
    pub(crate) fn new(bounds: Concurrency) -> Self {
        Self(Arc::new(Inner { bounds, total: AtomicUsize::new(0), by_class: Default::default() }))
    }

    /// `None`: answer 503 `unavailable` with `Retry-After`.
    pub(crate) fn try_acquire(&self, class: Class) -> Option<Permit> {
        let bound = self.0.bounds.of(class);
        let own = self.0.by_class[class as usize].fetch_add(1, Ordering::Relaxed);
        let total = self.0.total.fetch_add(1, Ordering::Relaxed);
        let permit = Permit { shed: self.0.clone(), class };
        // Whatever is at work counts, so that the class with the lowest bound gives way first.
        if bound != 0 && (own >= bound || total >= bound) {
            metrics::shed(class);
            return None;
        }
        Some(permit)
    }

    /// Requests of a class at work.
    pub(crate) fn at_work(&self, class: Class) -> usize {
        self.0.by_class[class as usize].load(Ordering::Relaxed)
    }

    #[cfg(test)]
    fn in_flight(&self) -> usize {
        self.0.total.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shed.by_class[self.class as usize].fetch_sub(1, Ordering::Relaxed);
        self.shed.total.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheaper_class_gives_way_first() {
        let shed = Shed::new(Concurrency { redirect: 4, create: 3, stats: 2 });
        let first = [shed.try_acquire(Class::Redirect), shed.try_acquire(Class::Redirect)];
        assert!(first.iter().all(Option::is_some));
        assert!(shed.try_acquire(Class::Stats).is_none(), "two at work: no room for statistics");
        let create = shed.try_acquire(Class::Create);
        assert!(create.is_some() && shed.try_acquire(Class::Create).is_none());
        assert!(shed.try_acquire(Class::Redirect).is_some(), "the fourth");
        assert_eq!(shed.in_flight(), 3);
        drop((first, create));
        assert_eq!(shed.in_flight(), 0);
    }

    #[test]
    fn zero_is_no_bound() {
        let shed = Shed::new(Concurrency { redirect: 0, create: 0, stats: 0 });
        let permits: Vec<_> = (0..1_000).map_while(|_| shed.try_acquire(Class::Stats)).collect();
        assert_eq!(permits.len(), 1_000);
    }
}
