//! Redis or Valkey, a single one or a cluster: the cache of links shared by the replicas, news of changed
//! links, rate limits, the salts of visitors and live counts. Losing all of it costs reads of the store,
//! never an answer.
//!
//! The server's side (Redis 7 or Valkey 7.2 on; a single Redis 6.2 does without a cluster):
//! - `maxmemory` with `maxmemory-policy allkeys-lfu` (or `allkeys-lru`) for a cache: links are evicted by
//!   the bucket, the least used first. `save ""` and `appendonly no`: nothing here needs a disk, and salts
//!   must never reach one.
//! - `hash-max-listpack-value 512`: buckets stay packed (`link_cache.rs`). With the default of 64 all is as
//!   right, but most links take the memory of plain keys.
//! - Limits and salts on a Redis of their own: `maxmemory-policy noeviction`.
//! - `cluster-node-timeout 5000`, `cluster-require-full-coverage no`, `cluster-allow-reads-when-down yes`.
//! - The clocks of primaries and replicas agree (NTP): expiry is by theirs, never by ours.
//! - A user needs `~PREFIX* ~clicks:* ~terse:probe* &PREFIX*` and `+@all -@dangerous -@admin`.
//!
//! Read `handle.rs` first, then `link_cache.rs`.

mod breaker;
mod connection;
mod dice;
mod error;
mod handle;
mod link_cache;
mod link_codec;
mod link_events;
mod live_counts;
mod look;
mod meters;
mod rate_limiter;
mod salt_store;
mod script;
mod slot;
mod url;
mod url_codec;

use std::time::Duration;

pub use error::OpenError;
pub use handle::Redis;
pub use link_cache::{LinkCache, Options as LinkCacheOptions};
pub use link_events::{LinkEvents, Options as LinkEventsOptions};
pub use live_counts::LiveCounts;
pub use look::{Cluster, Facts, Look, Seen, look};
pub use rate_limiter::RateLimiter;
pub use salt_store::SaltStore;
pub use url::{RedisUrl, RedisUrlError};

/// What is asked of one Redis. [`Options::cache`] and [`Options::limits`] are the two usual sets.
#[derive(Clone, Debug)]
pub struct Options {
    /// What metrics call it.
    pub name: &'static str,
    /// What every key but those of live counts begins with; products that share a Redis differ in it.
    pub prefix: String,
    pub connect_timeout: Duration,
    /// What one request may take, whatever happens.
    pub timeout: Duration,
    /// Attempts after the first, in a cluster, within the same time: 1 follows a slot that has moved, 0 does
    /// nothing twice on doubt.
    pub retries: u32,
    /// Requests at one time; more are refused at once.
    pub requests_max: usize,
    /// After so many failures in a row nothing is asked but by the probe.
    pub failures_max: u32,
    /// How often it is probed while it does not answer.
    pub probe_interval: Duration,
    /// After so long without an answer all connections are made anew, from the first addresses.
    pub reconnect_after: Duration,
    pub reads: Reads,
}

/// Which nodes of a cluster answer reads of the link cache.
///
/// A replica may lag: what it says may be older than what the primary has, but each value carries until
/// when it is fresh, so that no answer is older than the bound for it. Only "no such link" is not believed
/// there, lest it hide a link that was just made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    #[default]
    Primary,
    /// The primary and its replicas in turn, so that a hot key has as many sources.
    AnyCopy,
}

impl Options {
    /// For the cache and its events: 15 ms, then the store is asked.
    pub fn cache() -> Self {
        Self {
            name: "cache",
            prefix: "terse:".to_owned(),
            connect_timeout: Duration::from_millis(200),
            timeout: Duration::from_millis(15),
            retries: 1,
            requests_max: 1_024,
            failures_max: 5,
            probe_interval: Duration::from_millis(100),
            reconnect_after: Duration::from_secs(2),
            reads: Reads::Primary,
        }
    }

    /// For limits, salts and live counts: nothing is counted twice.
    pub fn limits() -> Self {
        Self { name: "limits", timeout: Duration::from_millis(50), retries: 0, ..Self::cache() }
    }
}
