//! How old an answer may be, and how few reads that takes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Target;
use domain::api::{Answer, Resolver as _};
use futures_util::future::join_all;
use redirect::Options;
use tokio::time::{Instant, advance};

use crate::world::{World, ask, leads_to, link};

/// No jitter, no early refresh: entries expire to the millisecond.
fn exact() -> Options {
    Options { jitter: 0.0, xfetch_beta: 0.0, ..Options::default() }
}

fn retarget(world: &World, code: &str, target: &str) {
    world.change(code, |link| link.target = Target::from_stored(target));
}

/// The permits of the gate, taken away: reads wait after they have looked.
fn close_gate(world: &World) -> usize {
    world.gate.forget_permits(usize::MAX)
}

#[tokio::test(start_paused = true)]
async fn with_every_event_lost_a_change_is_seen_within_n() {
    let world = World::new().await;
    world.events_are_lost.store(true, Ordering::SeqCst);
    world.write(&link(1, "stale"));
    assert!(leads_to(&world.follow("stale").await, "https://example.com/1"));
    for round in 0..20 {
        let target = format!("https://example.com/new/{round}");
        retarget(&world, "stale", &target);
        let changed = Instant::now();
        while !leads_to(&world.follow("stale").await, &target) {
            assert!(changed.elapsed() < Duration::from_mins(1), "older than N");
            advance(Duration::from_millis(500)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_holds_for_an_alias_in_other_letters() {
    let world = World::with(exact()).await;
    world.events_are_lost.store(true, Ordering::SeqCst);
    world.write(&link(1, "stale"));
    assert!(leads_to(&world.follow("STALE").await, "https://example.com/1"));
    advance(Duration::from_secs(59)).await;
    assert!(leads_to(&world.follow("STALE").await, "https://example.com/1"));
    retarget(&world, "stale", "https://example.com/new");
    advance(Duration::from_secs(1)).await;
    assert!(leads_to(&world.follow("STALE").await, "https://example.com/new"));
}

#[tokio::test(start_paused = true)]
async fn the_age_counts_from_when_the_read_began() {
    let world = World::with(Options { store_timeout: Duration::from_secs(1), ..exact() }).await;
    world.write(&link(1, "slow"));
    let permits = close_gate(&world);
    let began = Instant::now();
    let slow = async {
        world.looked.notified().await;
        advance(Duration::from_millis(200)).await;
        world.gate.add_permits(permits);
    };
    let (answer, ()) = tokio::join!(world.follow("slow"), slow);
    assert!(leads_to(&answer, "https://example.com/1"));
    advance(Duration::from_millis(59_999).saturating_sub(began.elapsed())).await;
    assert!(world.service().try_resolve(&ask("slow")).is_some(), "N is not over");
    advance(Duration::from_millis(1)).await;
    assert!(world.service().try_resolve(&ask("slow")).is_none(), "N after the read began");
}

#[tokio::test(start_paused = true)]
async fn news_is_obeyed_at_once_and_old_news_is_not_news() {
    let world = World::with(exact()).await;
    world.write(&link(1, "told"));
    assert!(leads_to(&world.follow("told").await, "https://example.com/1"));
    retarget(&world, "told", "https://example.com/new");
    assert!(leads_to(&world.follow("told").await, "https://example.com/new"));
    let reads = world.reads();
    world.publish_change(&link(1, "told"));
    assert!(world.service().try_resolve(&ask("told")).is_some(), "version 1 is not newer than 2");
    assert_eq!(world.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn news_during_a_read_is_not_overwritten_by_what_was_read_before_it() {
    for code in ["raced", "RACED"] {
        let world = World::with(exact()).await;
        world.write(&link(1, "raced"));
        let permits = close_gate(&world);
        let change = async {
            world.looked.notified().await;
            retarget(&world, "raced", "https://example.com/new");
            world.gate.add_permits(permits);
        };
        let (answer, ()) = tokio::join!(world.follow(code), change);
        assert!(leads_to(&answer, "https://example.com/new"), "{code} reads again when it hears of a newer version");
        assert_eq!(world.reads(), 2);
        assert!(leads_to(&world.follow("raced").await, "https://example.com/new"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_at_once_are_one_read() {
    let world = World::new().await;
    world.write(&link(1, "hot"));
    let answers = join_all((0..1_000).map(|_| world.follow("hot"))).await;
    assert!(answers.iter().all(|answer| leads_to(answer, "https://example.com/1")));
    assert_eq!(world.reads(), 1);
    assert_eq!(world.clicks.lock().unwrap().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_accept_an_absence_seen_before_it_came() {
    let world = World::new().await;
    let permits = close_gate(&world);
    let create_and_follow = async {
        world.looked.notified().await;
        world.write(&link(1, "just-made"));
        let later = async {
            tokio::task::yield_now().await;
            world.gate.add_permits(permits);
        };
        tokio::join!(world.follow("just-made"), later).0
    };
    let (early, late) = tokio::join!(world.follow("just-made"), create_and_follow);
    assert_eq!(early.unwrap(), Answer::NotFound);
    assert!(leads_to(&late, "https://example.com/1"), "read your write");
    assert_eq!(world.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_everybody_gave_up_does_not_linger() {
    let world = World::new().await;
    world.write(&link(1, "given-up"));
    let permits = close_gate(&world);
    let mut first = Box::pin(world.follow("given-up"));
    assert!(futures_util::poll!(&mut first).is_pending());
    drop(first);
    world.gate.add_permits(permits);
    assert!(leads_to(&world.follow("given-up").await, "https://example.com/1"));
    assert_eq!(world.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_busy_code_is_read_again_before_it_expires_and_never_waits() {
    // δ·β is one second: a hundred requests a second make an early refresh certain, but none before the
    // last 16 seconds.
    let world = World::with(Options { xfetch_beta: 10.0, jitter: 0.0, store_timeout: Duration::from_secs(1), ..Options::default() }).await;
    world.write(&link(1, "busy"));
    let permits = close_gate(&world);
    let slow = async {
        world.looked.notified().await;
        advance(Duration::from_millis(100)).await;
        world.gate.add_permits(permits);
    };
    tokio::join!(world.follow("busy"), slow).0.unwrap();
    advance(Duration::from_secs(40)).await;
    for _ in 0..2_500 {
        assert!(world.service().try_resolve(&ask("busy")).is_some(), "somebody had to wait");
        advance(Duration::from_millis(10)).await;
    }
    assert_eq!(world.reads(), 2, "one early refresh, in the background");
}

#[tokio::test(start_paused = true)]
async fn start_and_end_are_looked_at_when_asked() {
    let world = World::with(exact()).await;
    let now = domain::port::Clock::now(&*world);
    let mut link = link(1, "window");
    link.starts_at = Some(now.saturating_add(Duration::from_secs(10)));
    link.expires_at = Some(now.saturating_add(Duration::from_secs(20)));
    world.write(&link);
    assert_eq!(world.follow("window").await.unwrap(), Answer::NotFound);
    let reads = world.reads();
    advance(Duration::from_secs(10)).await;
    assert!(leads_to(&world.follow("window").await, "https://example.com/1"));
    advance(Duration::from_secs(10)).await;
    assert_eq!(world.follow("window").await.unwrap(), Answer::Gone);
    assert_eq!(world.reads(), reads, "all from memory");
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_in_bytes() {
    let world = World::with(Options { l1_bytes: 1 << 20, ..Options::default() }).await;
    for number in 0..200 {
        let mut link = link(number, &format!("long/{number}"));
        link.target = Target::from_stored(&format!("https://example.com/{}", "x".repeat(8_000)));
        world.write(&link);
        world.follow(&format!("long/{number}")).await.unwrap();
    }
    let kept = (0..200).filter(|number| world.service().try_resolve(&ask(&format!("long/{number}"))).is_some()).count();
    assert!((1..=(1 << 20) / 8_000).contains(&kept), "{kept} kept");
}

#[tokio::test]
async fn wrong_options_are_refused() {
    let world: Arc<World> = World::new().await;
    let options = Options { staleness: Duration::from_secs(301), ..Options::default() };
    let error = redirect::Service::new(options, world.deps(), &world.lifecycle).await.err().unwrap();
    assert_eq!(error.option, "staleness");
}
