//! Limits over several gateways: exact, sliding, bounded.

use std::time::Duration;

use backends::redis::RateLimiter;
use domain::port::contract::join_all;
use domain::port::{Allowed, Limit, RateLimiter as _};

use crate::world::{Server, World, cmd, eventually};

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn two_gateways_allow_exactly_the_limit_together() {
    for server in Server::BOTH {
        let (one, limit) = (World::new(server).await, Limit { name: "shared", max: 100, window: HOUR });
        let two = one.twin().await;
        let gateways = [RateLimiter::new(one.redis.clone()), RateLimiter::new(two.redis.clone())];
        let takes = (0..400).map(|n| gateways[n % 2].take(&limit, 7, 1));
        let decisions = join_all(takes).await;
        let mut remaining: Vec<_> =
            decisions.iter().map(|d| d.as_ref().unwrap()).filter(|d| d.allowed == Allowed::Yes).map(|d| d.remaining).collect();
        remaining.sort_unstable();
        assert!(remaining.into_iter().eq(0..100));
    }
}

#[tokio::test]
async fn the_window_slides_entry_by_entry() {
    let world = World::new(Server::Cluster).await;
    let limiter = RateLimiter::new(world.redis.clone());
    let limit = Limit { name: "slides", max: 3, window: Duration::from_secs(2) };
    let began = std::time::Instant::now();
    assert_eq!(limiter.take(&limit, 1, 1).await.unwrap().remaining, 2);
    eventually("half a window later", async || began.elapsed() > limit.window / 2).await;
    let second = limiter.take(&limit, 1, 2).await.unwrap();
    assert_eq!((second.allowed, second.remaining), (Allowed::Yes, 0));
    let refused = limiter.take(&limit, 1, 1).await.unwrap();
    assert!(refused.allowed == Allowed::No && refused.reset <= limit.window / 2, "{refused:?}");
    let refused = limiter.take(&limit, 1, 2).await.unwrap();
    assert!(refused.allowed == Allowed::No && refused.reset > limit.window / 2, "both must leave: {refused:?}");
    eventually("the first has left", async || limiter.take(&limit, 1, 0).await.unwrap().remaining == 1).await;
    assert!(began.elapsed() >= limit.window && began.elapsed() < limit.window * 2);
    assert_eq!(limiter.take(&limit, 1, 1).await.unwrap().allowed, Allowed::Yes);
    // The key ends by itself.
    let mut raw = world.raw().await;
    eventually("gone", async || raw.keys(&format!("{}q:", world.prefix)).await.is_empty()).await;
}

#[tokio::test]
async fn large_limits_are_exact_in_bounded_memory() {
    let world = World::new(Server::Single).await;
    let limiter = RateLimiter::new(world.redis.clone());
    let limit = Limit { name: "large", max: 50_000, window: Duration::from_secs(2) };
    for batch in 0..40 {
        let answers = join_all((0..100).map(|n| limiter.take(&limit, 1, if n == 0 { 1_151 } else { 1 }))).await;
        let allowed = answers.iter().filter(|answer| answer.as_ref().unwrap().allowed == Allowed::Yes).count();
        assert_eq!(allowed, 100, "batch {batch}");
    }
    assert_eq!(limiter.take(&limit, 1, 0).await.unwrap().remaining, 0);
    assert_eq!(limiter.take(&limit, 1, 1).await.unwrap().allowed, Allowed::No);
    let mut raw = world.raw().await;
    let key = raw.keys(&format!("{}q:", world.prefix)).await.pop().unwrap();
    let entries: usize = raw.ask(&cmd(&[b"ZCARD", &key])).await;
    assert!(entries <= 1_002, "{entries}");
    let refused = limiter.take(&limit, 1, 1).await.unwrap();
    assert!(refused.reset <= limit.window);
    eventually("empty again", async || limiter.take(&limit, 1, 0).await.unwrap().remaining == 50_000).await;
}

#[tokio::test]
async fn entries_of_a_clock_far_ahead_do_not_refuse_for_ever() {
    let world = World::new(Server::Single).await;
    let limiter = RateLimiter::new(world.redis.clone());
    let limit = Limit { name: "ahead", max: 1, window: Duration::from_mins(1) };
    let mut raw = world.raw().await;
    let key = format!("{}q:ahead:1", world.prefix);
    raw.ask::<u32>(&cmd(&[b"ZADD", key.as_bytes(), b"4000000000000000", b"4000000000000000:1", b"1", b"sum"])).await;
    assert_eq!(limiter.take(&limit, 1, 1).await.unwrap().allowed, Allowed::Yes);
    assert_eq!(limiter.take(&limit, 1, 1).await.unwrap().allowed, Allowed::No);
}
