//! While a dependency is away: no false 404, stale links up to S, and takedowns all the same.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::api::{Answer, Resolver as _};
use domain::{BlockReason, Kind, LinkId, Target};
use redirect::Options;
use tokio::time::{Instant, advance};

use crate::world::{World, ask, leads_to, link};

fn malware() -> Answer {
    Answer::Blocked { reason: "malware".into() }
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_is_503_and_never_404() {
    let world = World::new().await;
    world.write(&link(1, "exists"));
    for hang in [false, true] {
        world.store.fail(!hang);
        world.store.hang(hang);
        for code in ["exists", "EXISTS", "4fK9aQz", "not-there"] {
            let began = Instant::now();
            let error = world.follow(code).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable);
            assert!(error.retry_after().is_some());
            assert!(began.elapsed() <= Duration::from_millis(250));
        }
    }
    world.store.hang(false);
    assert!(leads_to(&world.follow("exists").await, "https://example.com/1"));
    assert_eq!(world.follow("not-there").await.unwrap(), Answer::NotFound);
}

#[tokio::test(start_paused = true)]
async fn cached_links_redirect_for_n_and_s_while_the_store_is_away_and_not_longer() {
    for hang in [false, true] {
        let world = World::with(Options { jitter: 0.0, ..Options::default() }).await;
        world.write(&link(1, "cached"));
        world.follow("cached").await.unwrap();
        let read = Instant::now();
        world.store.fail(!hang);
        world.store.hang(hang);
        for _ in 0..60 {
            advance(Duration::from_secs(59)).await;
            assert!(leads_to(&world.follow("cached").await, "https://example.com/1"));
            assert_eq!(world.follow("CACHED").await.unwrap_err().kind(), Kind::Unavailable, "a code of its own may be spelled so");
        }
        advance(Duration::from_secs(3_661).saturating_sub(read.elapsed())).await;
        assert_eq!(world.follow("cached").await.unwrap_err().kind(), Kind::Unavailable, "older than N + S");
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_few_wait_to_find_that_out() {
    let world = World::new().await;
    world.write(&link(1, "cached"));
    world.follow("cached").await.unwrap();
    world.store.hang(true);
    advance(Duration::from_mins(2)).await;
    let reads = world.reads();
    world.follow("cached").await.unwrap();
    for _ in 0..1_000 {
        assert!(world.service().try_resolve(&ask("cached")).is_some(), "the pause after a failed read");
    }
    assert_eq!(world.reads(), reads + 1);
    world.store.hang(false);
    world.change("cached", |link| link.target = Target::from_stored("https://example.com/new"));
    advance(Duration::from_secs(1)).await;
    assert!(leads_to(&world.follow("cached").await, "https://example.com/new"), "seen when the pause is over");
}

#[tokio::test(start_paused = true)]
async fn a_takedown_overrides_what_is_cached_even_while_the_store_is_away() {
    let world = World::new().await;
    world.events_are_lost.store(true, Ordering::SeqCst);
    world.write(&link(1, "evil"));
    world.follow("evil").await.unwrap();
    world.take_down(LinkId::new(1), "malware");
    world.store.fail(true);
    let recorded = Instant::now();
    while world.follow("evil").await.unwrap() != malware() {
        assert!(recorded.elapsed() < Duration::from_secs(10), "every event lost, the store away");
        advance(Duration::from_millis(250)).await;
    }
    world.takedowns.fail(true);
    advance(Duration::from_mins(5)).await;
    assert_eq!(world.follow("evil").await.unwrap(), malware(), "what is known stays known");
}

#[tokio::test(start_paused = true)]
async fn news_of_a_takedown_is_obeyed_at_once_and_so_is_its_end() {
    let world = World::new().await;
    world.write(&link(1, "evil"));
    world.follow("evil").await.unwrap();
    world.store.fail(true);
    world.change("evil", |link| link.blocked = Some(BlockReason::from_stored("malware")));
    assert!(matches!(world.follow("evil").await.unwrap(), Answer::Blocked { .. }), "although neither list nor store has said so");
    world.store.fail(false);
    advance(Duration::from_secs(1)).await;
    assert_eq!(world.follow("evil").await.unwrap(), malware());
    world.change("evil", |link| link.blocked = None);
    assert!(leads_to(&world.follow("evil").await, "https://example.com/1"));
}

#[tokio::test(start_paused = true)]
async fn a_full_click_log_does_not_stop_redirects() {
    let world = World::new().await;
    world.write(&link(1, "full"));
    world.log_is_full.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert!(leads_to(&world.follow("full").await, "https://example.com/1"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_service_starts_and_ends_without_its_dependencies() {
    let world = World::new().await;
    world.store.hang(true);
    world.takedowns.hang(true);
    let service = redirect::Service::new(Options::default(), world.deps(), &world.lifecycle).await;
    assert!(service.is_ok());
    world.lifecycle.drain_in_order().await;
}
