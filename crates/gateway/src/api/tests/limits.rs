//! How often, how long, how many at once; and what is answered when something is down.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Scope;
use serde_json::json;

use super::world::World;
use crate::options::{Deadlines, Limits, Options};
use crate::shedding::Concurrency;

fn limited(limits: Limits) -> World {
    World::with(Options { limits, ..Options::default() })
}

#[tokio::test]
async fn an_address_has_so_many_calls_a_minute() {
    let world = limited(Limits { api_requests_per_min: 3, ..Limits::default() });
    let key = world.key("me", &[Scope::LinksRead]);
    // Who fails to authenticate is counted like everybody else.
    let first = world.get("tk_nonsense", "/me").await;
    assert_eq!((first.short(), first.header("ratelimit")), ("401 unauthenticated".into(), "\"api\";r=2;t=18"));
    assert_eq!(world.get(&key, "/nowhere").await.short(), "404 not_found");
    let third = world.get(&key, "/tags").await;
    assert_eq!((third.short(), third.header("ratelimit-policy")), ("200".into(), "\"api\";q=3;w=60"));
    let fourth = world.get(&key, "/tags").await;
    assert_eq!(
        (fourth.short(), fourth.header("retry-after"), fourth.header("ratelimit")),
        ("429 rate_limited".into(), "18", "\"api\";r=0;t=18")
    );
    assert_eq!(world.get("tk_nonsense", "/me").await.short(), "429 rate_limited");
    let admin = world.key("root", &[Scope::Admin]);
    let free = world.get(&admin, "/tags").await;
    assert_eq!((free.short(), free.header("ratelimit")), ("200".into(), ""));
}

#[tokio::test]
async fn a_key_makes_so_many_links_an_hour() {
    let world = limited(Limits { creations_per_h: 3, ..Limits::default() });
    let key = world.key("me", &[Scope::LinksWrite]);
    let one = json!({"target": "https://example.com/"});
    let bulk = |n: usize| json!({"links": vec![json!({"target": "https://example.com/"}); n]});
    let got = world.post(&key, "/links", one.clone()).await;
    assert_eq!((got.short(), got.header("ratelimit")), ("201".into(), "\"api\";r=99;t=18, \"creations\";r=2;t=18"));
    // More than is left is refused whole, and costs nothing.
    let too_many = world.post(&key, "/links/bulk", bulk(3)).await;
    assert_eq!((too_many.short(), too_many.header("ratelimit")), ("429 rate_limited".into(), "\"api\";r=98;t=18, \"creations\";r=2;t=18"));
    assert!(too_many.json()["detail"].as_str().unwrap().contains("more than the 2 that are left"), "{}", too_many.text);
    let never = world.post(&key, "/links/bulk", bulk(4)).await;
    assert!(never.json()["detail"].as_str().unwrap().contains("never fit"), "{}", never.text);
    assert_eq!(world.backend.links.lock().unwrap().len(), 1);
    assert_eq!(world.post(&key, "/links/bulk", bulk(2)).await.short(), "200");
    let refused = world.post(&key, "/links", one.clone()).await;
    assert_eq!((refused.short(), refused.header("retry-after")), ("429 rate_limited".into(), "18"));
    let admin = world.key("root", &[Scope::Admin]);
    assert_eq!(world.post(&admin, "/links/bulk", bulk(100)).await.short(), "200");
}

#[tokio::test]
async fn me_says_what_is_left() {
    let world = limited(Limits { creations_per_h: 3, ..Limits::default() });
    let key = world.key("me", &[Scope::LinksWrite]);
    world.link(&key, "https://example.com/").await;
    let limits = world.get(&key, "/me").await.json()["limits"].clone();
    let expected = json!([
        {"name": "api", "max": 100, "window_s": 60, "remaining": 98, "reset_s": 18},
        {"name": "creations", "max": 3, "window_s": 3600, "remaining": 2, "reset_s": 18},
    ]);
    assert_eq!(limits, expected);
    assert_eq!(world.get(&world.key("root", &[Scope::Admin]), "/me").await.json()["limits"], json!([]));
}

#[tokio::test]
async fn zero_is_no_limit() {
    let world = limited(Limits { api_requests_per_min: 0, creations_per_h: 0, ..Limits::default() });
    let key = world.key("me", &[Scope::LinksWrite]);
    for _ in 0..150 {
        world.link(&key, "https://example.com/").await;
    }
}

#[tokio::test]
async fn a_late_answer_is_a_problem() {
    let deadlines = Deadlines { api: Duration::from_millis(20), ..Deadlines::default() };
    let world = World::with(Options { deadlines, ..Options::default() });
    let key = world.key("me", &[Scope::LinksRead]);
    world.backend.stalled.store(true, Ordering::Relaxed);
    assert_eq!(world.get(&key, "/links/1").await.short(), "504 deadline_exceeded");
}

#[tokio::test]
async fn a_store_that_is_down_is_not_a_lie() {
    let world = World::new();
    let key = world.key("me", &[Scope::LinksWrite, Scope::LinksRead]);
    assert_eq!(world.get(&key, "/me").await.short(), "200");
    world.backend.down.store(true, Ordering::Relaxed);
    // The key is still believed, the limiter lets everything through, the store is missed.
    let got = world.post(&key, "/links", json!({"target": "https://example.com/"})).await;
    assert_eq!((got.short(), got.header("retry-after")), ("503 unavailable".into(), "1"));
    assert!(!got.text.contains("secret"), "{}", got.text);
    assert_eq!(world.get(&world.key("me", &[Scope::LinksRead]), "/me").await.short(), "503 unavailable");
}

#[tokio::test]
async fn statistics_give_way() {
    let concurrency = Concurrency { create: 1, stats: 1, ..Concurrency::default() };
    let world = World::with(Options { concurrency, ..Options::default() });
    let key = world.key("me", &[Scope::LinksRead, Scope::StatsRead]);
    let _busy = world.occupy();
    let got = world.get(&key, "/stats").await;
    assert_eq!((got.short(), got.header("retry-after")), ("503 unavailable".into(), "1"));
}
