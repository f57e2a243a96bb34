//! What every rate limiter must do. Each test takes an empty one.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;
use std::time::Duration;

use super::{Allowed, Limit, RateLimiter};
use crate::port::contract::join_all;

const LIMIT: Limit = Limit { name: "contract", max: 10, window: Duration::from_hours(1) };

pub async fn counts_what_it_allows_only(limiter: Arc<dyn RateLimiter>) {
    for (cost, allowed, remaining) in
        [(0, Allowed::Yes, 10), (4, Allowed::Yes, 6), (7, Allowed::No, 6), (6, Allowed::Yes, 0), (1, Allowed::No, 0), (0, Allowed::Yes, 0)]
    {
        let decision = limiter.take(&LIMIT, 1, cost).await.expect("answers");
        assert_eq!((decision.allowed, decision.remaining), (allowed, remaining), "cost {cost}");
        assert!(decision.reset <= LIMIT.window);
    }
    let refused = limiter.take(&LIMIT, 1, 1).await.expect("answers");
    assert!(refused.reset > Duration::ZERO, "it says when to come again");
}

pub async fn subjects_and_limits_are_apart(limiter: Arc<dyn RateLimiter>) {
    let other = Limit { name: "contract-other", ..LIMIT };
    for (limit, subject) in [(&LIMIT, 1), (&LIMIT, 2), (&other, 1), (&LIMIT, u64::MAX)] {
        let decision = limiter.take(limit, subject, 10).await.expect("answers");
        assert_eq!((decision.allowed, decision.remaining), (Allowed::Yes, 0), "{} {subject}", limit.name);
    }
}

pub async fn more_than_ever_fits_is_refused(limiter: Arc<dyn RateLimiter>) {
    for cost in [11, u32::MAX] {
        let decision = limiter.take(&LIMIT, 1, cost).await.expect("answers");
        assert_eq!((decision.allowed, decision.remaining), (Allowed::No, 10));
    }
    let never = Limit { max: 0, ..LIMIT };
    assert_eq!(limiter.take(&never, 2, 1).await.expect("answers").allowed, Allowed::No);
}

pub async fn exact_when_many_take(limiter: Arc<dyn RateLimiter>) {
    let limit = Limit { max: 100, ..LIMIT };
    let decisions = join_all((0..300).map(|_| limiter.take(&limit, 1, 1))).await;
    let mut remaining: Vec<u32> = decisions
        .into_iter()
        .map(|decision| decision.expect("answers"))
        .filter(|decision| decision.allowed == Allowed::Yes)
        .map(|decision| decision.remaining)
        .collect();
    remaining.sort_unstable();
    assert!(remaining.into_iter().eq(0..100));
}
