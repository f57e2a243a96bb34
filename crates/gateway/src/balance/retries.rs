//! The budget of retries: a share of the requests, and a few each second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::RetryBudget;

/// Parts of one retry: a request earns `percent` of them.
const PARTS: u64 = 100;

/// A token bucket. Earning is one atomic addition; only spending takes the lock.
pub(super) struct Retries {
    budget: RetryBudget,
    saved: AtomicU64,
    refilled: Mutex<Instant>,
}

impl Retries {
    /// Begins full: a replica may be gone when the first request comes.
    pub(super) fn new(budget: RetryBudget) -> Self {
        Self { budget, saved: AtomicU64::new(u64::from(budget.burst) * PARTS), refilled: Mutex::new(Instant::now()) }
    }

    fn max(&self) -> u64 {
        u64::from(self.budget.burst) * PARTS
    }

    /// A request came.
    pub(super) fn earn(&self) {
        if self.saved.load(Ordering::Relaxed) < self.max() {
            // A few requests at once may save a little beyond the burst; spending cuts it off.
            self.saved.fetch_add(u64::from(self.budget.percent), Ordering::Relaxed);
        }
    }

    /// Whether a retry may be made.
    pub(super) fn spend(&self, now: Instant) -> bool {
        let mut refilled = self.refilled.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(*refilled);
        let since_ms = since.as_secs() * 1_000 + u64::from(since.subsec_millis());
        let refill = since_ms * u64::from(self.budget.per_s) * PARTS / 1_000;
        if refill > 0 {
            *refilled = now;
        }
        let spend = |saved: u64| saved.saturating_add(refill).min(self.max()).checked_sub(PARTS);
        if self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok() {
            return true;
        }
        self.saved.fetch_add(refill, Ordering::Relaxed);
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tenth_of_the_requests_and_five_a_second() {
        let retries = Retries::new(RetryBudget { percent: 10, per_s: 5, burst: 20 });
        let spent = || (0..1_000).filter(|_| retries.spend(Instant::now())).count();
        assert_eq!(spent(), 20, "what it begins with");
        for _ in 0..100 {
            retries.earn();
        }
        assert_eq!(spent(), 10, "a tenth of the requests");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(spent(), 10, "five a second");
        for _ in 0..10_000 {
            retries.earn();
        }
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(spent(), 20, "no more than the burst is saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn asking_often_does_not_lose_the_refill() {
        let retries = Retries::new(RetryBudget { percent: 0, per_s: 5, burst: 20 });
        while retries.spend(Instant::now()) {}
        let mut spent = 0;
        for _ in 0..10_000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            spent += usize::from(retries.spend(Instant::now()));
        }
        assert_eq!(spent, 50);
    }
}
