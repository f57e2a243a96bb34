//! A cache of links shared by the replicas, between their memory and the store.

use std::time::Duration;

use async_trait::async_trait;

use super::PortResult;
use crate::model::{DomainNo, Link, Slug};

/// What the cache says of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    pub what: Remembered,
    /// For how long this may be answered without asking the store: what is left of the staleness bound when
    /// the cache answered, by the cache's own clock. Zero: it may only stand in for a store that fails.
    pub fresh_for: Duration,
    /// How long the read took that it came from: `XFetch`'s δ. Zero where no read was needed.
    pub delta: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// In whatever state: a deleted link is the tombstone of what was cached before.
    Link(Box<Link>),
    /// A quorum had no such code.
    Absent,
}

/// Who reads the store for a code that many miss at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuild {
    Ours,
    /// Another replica reads it now; what it finds will stand here soon.
    Theirs,
}

/// Losing all of it costs reads of the store, never an answer. An `Err` is a miss.
#[async_trait]
pub trait LinkCache: Send + Sync + 'static {
    /// By code as typed; failing that, an alias by its lower case.
    async fn find(&self, domain: DomainNo, code: Slug<'_>) -> PortResult<Option<Cached>>;

    /// Keeps the link under its key, unless a newer version stands there. `age`: since the read that it
    /// comes from *began*; zero for what was just written. Overrides an absence, under whatever spelling
    /// of its code it was noted.
    async fn put(&self, link: &Link, age: Duration, delta: Duration) -> PortResult<()>;

    /// Notes that the code, as typed, leads nowhere: for 5 s less `age` at most, and never over a link.
    async fn put_absent(&self, domain: DomainNo, code: Slug<'_>, age: Duration) -> PortResult<()>;

    /// Takes the right to read the store for this code, for the time one read may take.
    async fn rebuild(&self, domain: DomainNo, code: Slug<'_>) -> PortResult<Rebuild>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
