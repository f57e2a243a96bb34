//! One more request to another replica for reads that are slower than most, within a budget: a store that is
//! slow as a whole must not get twice the load.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use ::metrics::Counter;
use scylla::errors::{RequestAttemptError, RequestError};
use scylla::observability::history::{AttemptId, HistoryListener, RequestId, SpeculativeId};
use scylla::policies::retry::RetryDecision;
use scylla::policies::speculative_execution::{Context, SpeculativeExecutionPolicy};

use crate::metrics::CQL_HEDGES;

const DELAY_MIN: Duration = Duration::from_millis(2);
const DELAY_MAX: Duration = Duration::from_millis(20);
/// A read earns a twentieth of a hedge: at most 5 % more requests.
const COST: i64 = 20;
/// Hedges saved up at most.
const SAVED_MAX: i64 = 100 * COST;
/// How far one answer moves the estimate of the 95th percentile, upwards and down.
const UP_US: u64 = 190;
const DOWN_US: u64 = 10;

#[derive(Debug)]
pub(super) struct Hedge {
    saved: AtomicI64,
    /// Estimate of the 95th percentile: in balance when 19 of 20 answers are faster.
    slow_us: AtomicU64,
    hedges: Counter,
}

impl std::fmt::Debug for Delay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Delay")
    }
}

/// What the driver asks; the same budget.
pub(super) struct Delay(pub(super) std::sync::Arc<Hedge>);

impl Hedge {
    pub(super) fn new() -> Self {
        Self { saved: AtomicI64::new(10 * COST), slow_us: AtomicU64::new(15_000), hedges: metrics::counter!(CQL_HEDGES) }
    }

    /// A read was answered after `time`.
    pub(super) fn answered(&self, time: Duration) {
        if self.saved.load(Ordering::Relaxed) < SAVED_MAX {
            self.saved.fetch_add(1, Ordering::Relaxed);
        }
        let slow = self.slow_us.load(Ordering::Relaxed);
        let is_slower = time > Duration::from_micros(slow);
        let next = if is_slower { slow + UP_US } else { slow.saturating_sub(DOWN_US) };
        let next = next.clamp(micros(DELAY_MIN), micros(DELAY_MAX));
        if next != slow {
            // Two at once lose one step, which the next answers make up for.
            self.slow_us.store(next, Ordering::Relaxed);
        }
    }

    fn delay(&self) -> Duration {
        Duration::from_micros(self.slow_us.load(Ordering::Relaxed))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl SpeculativeExecutionPolicy for Delay {
    fn max_retry_count(&self, _: &Context) -> usize {
        usize::from(self.0.saved.load(Ordering::Relaxed) >= COST)
    }

    fn retry_interval(&self, _: &Context) -> Duration {
        self.0.delay()
    }
}

/// The driver says here when a hedge is really sent.
impl HistoryListener for Hedge {
    fn log_request_start(&self) -> RequestId {
        RequestId(0)
    }

    fn log_request_success(&self, _: RequestId) {}

    fn log_request_error(&self, _: RequestId, _: &RequestError) {}

    fn log_new_speculative_fiber(&self, _: RequestId) -> SpeculativeId {
        self.saved.fetch_sub(COST, Ordering::Relaxed);
        self.hedges.increment(1);
        SpeculativeId(0)
    }

    fn log_attempt_start(&self, _: RequestId, _: Option<SpeculativeId>, _: SocketAddr) -> AttemptId {
        AttemptId(0)
    }

    fn log_attempt_success(&self, _: AttemptId) {}

    fn log_attempt_error(&self, _: AttemptId, _: &RequestAttemptError, _: &RetryDecision) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_finds_the_95th_percentile_within_its_bounds() {
        let hedge = Hedge::new();
        for number in 0..20_000_u64 {
            hedge.answered(Duration::from_millis(if number % 100 < 97 { 5 } else { 50 }));
        }
        let delay = hedge.delay();
        assert!(delay > Duration::from_micros(4_500) && delay < Duration::from_millis(8), "{delay:?}");
        for _ in 0..20_000 {
            hedge.answered(Duration::from_millis(200));
        }
        assert_eq!(hedge.delay(), DELAY_MAX);
        for _ in 0..20_000 {
            hedge.answered(Duration::ZERO);
        }
        assert_eq!(hedge.delay(), DELAY_MIN);
    }

    #[test]
    fn no_more_than_one_in_twenty() {
        let hedge = Hedge::new();
        let mut hedges = 0;
        for _ in 0..10_000 {
            if hedge.saved.load(Ordering::Relaxed) >= COST {
                hedge.log_new_speculative_fiber(RequestId(0));
                hedges += 1;
            }
            hedge.answered(Duration::from_millis(100));
        }
        assert!((500..=510).contains(&hedges), "{hedges}");
    }
}
