//! One process, where no change goes unheard: what was read need not be read again because it has grown old.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Target;
use domain::api::{Answer, Resolver as _};
use domain::port::{LinkChanged, LinkNews};
use domain::{BlockReason, DomainNo, LinkId};
use redirect::Options;
use tokio::time::advance;

use crate::world::{World, ask, leads_to, link};

const DAY: Duration = Duration::from_hours(24);

#[tokio::test(start_paused = true)]
async fn nothing_is_read_again_because_it_grew_old() {
    let world = World::alone(Options::default()).await;
    world.write(&link(1, "hot"));
    assert!(leads_to(&world.follow("hot").await, "https://example.com/1"));
    for _ in 0..100 {
        advance(DAY).await;
        assert!(world.service().try_resolve(&ask("hot")).is_some());
        tokio::task::yield_now().await;
    }
    assert_eq!(world.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_at_once_however_old_the_entry() {
    let world = World::alone(Options::default()).await;
    world.write(&link(1, "hot"));
    world.follow("hot").await.unwrap();
    for round in 0..5 {
        advance(DAY).await;
        let target = format!("https://example.com/new/{round}");
        world.change("hot", |link| link.target = Target::from_stored(&target));
        assert!(leads_to(&world.follow("hot").await, &target));
        assert!(leads_to(&world.follow("hot").await, &target));
    }
    assert_eq!(world.reads(), 6, "one read a change");
}

#[tokio::test(start_paused = true)]
async fn a_change_during_the_read_is_not_lost() {
    let world = World::alone(Options::default()).await;
    world.write(&link(1, "raced"));
    let permits = world.gate.forget_permits(usize::MAX);
    let change = async {
        world.looked.notified().await;
        world.change("raced", |link| link.target = Target::from_stored("https://example.com/new"));
        world.gate.add_permits(permits);
    };
    let (answer, ()) = tokio::join!(world.follow("raced"), change);
    assert!(leads_to(&answer, "https://example.com/new"));
    advance(DAY).await;
    assert!(leads_to(&world.follow("raced").await, "https://example.com/new"));
    assert_eq!(world.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn more_news_during_a_read_than_it_can_keep_makes_it_forget_what_it_read() {
    let world = World::alone(Options::default()).await;
    world.write(&link(99, "raced"));
    let permits = world.gate.forget_permits(usize::MAX);
    let change = async {
        world.looked.notified().await;
        for number in 0..16 {
            let news =
                LinkChanged { link: LinkId::new(number), domain: DomainNo::DEFAULT, key: "raced".into(), version: 2, blocked: false };
            world.tell(&LinkNews::Changed(news));
        }
        world.change("raced", |link| link.target = Target::from_stored("https://example.com/new"));
        world.gate.add_permits(permits);
    };
    tokio::join!(world.follow("raced"), change).0.unwrap();
    assert!(leads_to(&world.follow("raced").await, "https://example.com/new"));
}

#[tokio::test(start_paused = true)]
async fn news_of_a_change_that_never_was_costs_one_read() {
    let world = World::alone(Options::default()).await;
    world.write(&link(1, "hot"));
    world.follow("hot").await.unwrap();
    let mut failed = link(1, "hot");
    failed.version = 2;
    world.publish_change(&failed);
    advance(Duration::from_millis(5)).await;
    for _ in 0..5 {
        assert!(leads_to(&world.follow("hot").await, "https://example.com/1"));
    }
    assert_eq!(world.reads(), 2);
    world.change("hot", |link| link.target = Target::from_stored("https://example.com/new"));
    assert!(leads_to(&world.follow("hot").await, "https://example.com/new"), "version 2 came after all");
}

#[tokio::test(start_paused = true)]
async fn an_old_entry_stands_in_for_a_failing_store_for_s_after_its_change() {
    let world = World::alone(Options::default()).await;
    world.write(&link(1, "old"));
    world.follow("old").await.unwrap();
    advance(DAY).await;
    world.store.fail(true);
    assert!(leads_to(&world.follow("old").await, "https://example.com/1"), "not asked at all");
    world.change("old", |link| link.target = Target::from_stored("https://example.com/new"));
    assert!(leads_to(&world.follow("old").await, "https://example.com/1"));
    advance(Duration::from_secs(3_662)).await;
    assert!(world.follow("old").await.is_err(), "N + S since it was known to be outdated");
}

#[tokio::test(start_paused = true)]
async fn another_spelling_of_an_alias_is_looked_up_again_after_n() {
    let world = World::alone(Options { jitter: 0.0, ..Options::default() }).await;
    world.write(&link(1, "spelled"));
    world.follow("SPELLED").await.unwrap();
    advance(Duration::from_secs(59)).await;
    assert!(world.service().try_resolve(&ask("SPELLED")).is_some());
    advance(Duration::from_secs(1)).await;
    assert!(world.service().try_resolve(&ask("SPELLED")).is_none(), "nobody announces a code made elsewhere");
    assert!(world.service().try_resolve(&ask("spelled")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_takedown_needs_no_news() {
    let world = World::alone(Options::default()).await;
    world.events_are_lost.store(true, Ordering::SeqCst);
    world.write(&link(1, "evil"));
    world.follow("evil").await.unwrap();
    world.take_down(LinkId::new(1), "malware");
    let mut waited = Duration::ZERO;
    while world.follow("evil").await.unwrap() != (Answer::Blocked { reason: BlockReason::from_stored("malware").as_str().into() }) {
        assert!(waited < Duration::from_secs(10));
        advance(Duration::from_millis(250)).await;
        waited += Duration::from_millis(250);
    }
}
