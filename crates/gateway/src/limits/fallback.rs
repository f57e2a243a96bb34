//! Limits while the limiter that all gateways share does not answer: this process counts alone, so a
//! client gets at most as many times its limit as there are gateways, and nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use ::metrics::Counter;
use async_trait::async_trait;
use domain::port::{Decision, Limit, PortResult, RateLimiter};
use tokio::time::{Instant, timeout};

use crate::metrics;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FallbackOptions {
    /// How long the shared limiter may take for one decision.
    pub budget: Duration,
    /// After so many failures in a row it is not asked for `pause`; then one request tries it.
    pub failures_max: u32,
    pub pause: Duration,
}

impl Default for FallbackOptions {
    fn default() -> Self {
        Self { budget: Duration::from_millis(20), failures_max: 5, pause: Duration::from_secs(1) }
    }
}

/// Asks `shared`, and `local` when that fails or is late.
pub struct FallbackLimiter {
    shared: Arc<dyn RateLimiter>,
    local: Arc<dyn RateLimiter>,
    options: FallbackOptions,
    breaker: Breaker,
    fallbacks: Counter,
}

impl FallbackLimiter {
    pub fn new(shared: Arc<dyn RateLimiter>, local: Arc<dyn RateLimiter>, options: FallbackOptions) -> Self {
        Self { shared, local, options, breaker: Breaker::new(), fallbacks: metrics::limiter_fallback() }
    }

    async fn ask_shared(&self, limit: &Limit, subject: u64, cost: u32) -> Option<Decision> {
        if !self.breaker.admits(self.options.pause) {
            return None;
        }
        match timeout(self.options.budget, self.shared.take(limit, subject, cost)).await {
            Ok(Ok(decision)) => {
                if self.breaker.succeeded() {
                    tracing::info!("the shared limiter answers again");
                }
                Some(decision)
            }
            Ok(Err(error)) => {
                self.failed(&error);
                None
            }
            Err(late) => {
                self.failed(&late);
                None
            }
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) {
        if self.breaker.failed(&self.options) {
            tracing::warn!(%error, "the shared limiter does not answer; this process counts alone");
        }
    }
}

#[async_trait]
impl RateLimiter for FallbackLimiter {
    async fn take(&self, limit: &Limit, subject: u64, cost: u32) -> PortResult<Decision> {
        if let Some(decision) = self.ask_shared(limit, subject, cost).await {
            return Ok(decision);
        }
        self.fallbacks.increment(1);
        self.local.take(limit, subject, cost).await
    }
}

/// Open while the shared limiter is not worth asking.
struct Breaker {
    began: Instant,
    failures: AtomicU32,
    open: AtomicBool,
    /// Milliseconds since `began`: when the next request tries.
    try_at_ms: AtomicU64,
}

impl Breaker {
    fn new() -> Self {
        Self { began: Instant::now(), failures: AtomicU32::new(0), open: AtomicBool::new(false), try_at_ms: AtomicU64::new(0) }
    }

    fn after_ms(&self, pause: Duration) -> u64 {
        let at = self.began.elapsed() + pause;
        at.as_secs() * 1_000 + u64::from(at.subsec_millis())
    }

    /// Whether this request asks. While open, whoever moves the next try ahead is the one that tries: a
    /// try that is dropped half-way holds nobody up.
    fn admits(&self, pause: Duration) -> bool {
        if !self.open.load(Ordering::Acquire) {
            return true;
        }
        let try_at = self.try_at_ms.load(Ordering::Acquire);
        let now = self.after_ms(Duration::ZERO);
        now >= try_at && self.try_at_ms.compare_exchange(try_at, self.after_ms(pause), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether this closed it.
    fn succeeded(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        self.open.load(Ordering::Relaxed) && self.open.swap(false, Ordering::AcqRel)
    }

    /// Whether this opened it.
    fn failed(&self, options: &FallbackOptions) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < options.failures_max || self.open.load(Ordering::Relaxed) {
            return false;
        }
        self.try_at_ms.store(self.after_ms(options.pause), Ordering::Release);
        !self.open.swap(true, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests;
