//! Sliding-window limits.

use std::time::Duration;

use async_trait::async_trait;

use super::PortResult;

/// A limit by its public name: at most `max` in any `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    pub name: &'static str,
    pub max: u32,
    pub window: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allowed: Allowed,
    /// What is left in the window after this call.
    pub remaining: u32,
    /// Until the oldest of what is counted leaves the window; for a refusal, until `cost` would fit.
    pub reset: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    Yes,
    No,
}

#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// Counts `cost` against `subject` (a key id, or the keyed hash of an IP) if it fits whole;
    /// a refusal counts nothing. `cost` 0 only asks.
    async fn take(&self, limit: &Limit, subject: u64, cost: u32) -> PortResult<Decision>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
