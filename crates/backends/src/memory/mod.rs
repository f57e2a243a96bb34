//! What needs no store: the one process itself.

mod link_cache;
mod link_events;
mod live_counts;
mod rate_limiter;

pub use link_cache::NoLinkCache;
pub use link_events::LinkEvents;
pub use live_counts::NoLiveCounts;
pub use rate_limiter::{Options as RateLimiterOptions, RateLimiter};
