//! What needs no store: the one process itself.

mod link_events;
mod rate_limiter;

pub use link_events::LinkEvents;
pub use rate_limiter::{Options as RateLimiterOptions, RateLimiter};
