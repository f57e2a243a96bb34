//! With a cache that replicas share: how old an answer may be, how few reads that takes, and what holds when it or the store fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::api::{Answer, Deadline, Resolver as _};
use domain::port::{LinkCache as _, LinkNews, Remembered};
use domain::{Code, CodeKind, DomainNo, Kind, Link, Result, Slug, State, Target};
use futures_util::future::join_all;
use redirect::{L2, Options, Service};
use tokio::time::{Instant, advance};

use crate::world::{World, ask, leads_to, link};

fn shared() -> Options {
    Options { l2: Some(L2::default()), jitter: 0.0, xfetch_beta: 0.0, ..Options::default() }
}

async fn put(world: &World, link: &Link, age: Duration) {
    world.l2.put(link, age, Duration::from_millis(2)).await.unwrap();
}

/// Lets the background write what was read into the shared cache.
async fn settled(world: &World, key: &str) -> Remembered {
    for _ in 0..1_000 {
        if let Some(what) = world.l2.holds(key) {
            return what;
        }
        tokio::task::yield_now().await;
    }
    panic!("{key} was not written into the shared cache");
}

/// A second replica on the same store and the same shared cache.
async fn twin(world: &Arc<World>) -> Arc<Service> {
    Service::new(shared(), world.deps(), &world.lifecycle).await.unwrap()
}

async fn follow(service: &Service, code: &str) -> Result<Answer> {
    let ask = ask(code);
    match service.try_resolve(&ask) {
        Some(answer) => Ok(answer),
        None => service.resolve(&ask, Deadline::after(Instant::now().into_std(), Duration::from_millis(250))).await,
    }
}

fn retargeted(version: u32, target: &str) -> Link {
    Link { version, target: Target::from_stored(target), ..link(1, "code") }
}

#[tokio::test(start_paused = true)]
async fn what_one_replica_read_the_other_need_not_read() {
    let world = World::with(shared()).await;
    let twin = twin(&world).await;
    world.write(&link(1, "code"));
    assert!(leads_to(&world.follow("code").await, "https://example.com/1"));
    settled(&world, "code").await;
    assert!(leads_to(&follow(&twin, "code").await, "https://example.com/1"));
    assert_eq!(world.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn memory_is_at_most_the_lag_behind_the_shared_cache() {
    let world = World::with(shared()).await;
    world.events_are_lost.store(true, Ordering::SeqCst);
    world.write(&link(1, "code"));
    world.follow("code").await.unwrap();
    put(&world, &retargeted(2, "https://example.com/new"), Duration::ZERO).await;
    advance(Duration::from_millis(4_999)).await;
    assert!(leads_to(&world.follow("code").await, "https://example.com/1"));
    advance(Duration::from_millis(1)).await;
    assert!(leads_to(&world.follow("code").await, "https://example.com/new"));
    assert_eq!(world.reads(), 1, "the store was not asked");
}

#[tokio::test(start_paused = true)]
async fn ages_add_up_to_no_more_than_n_with_every_message_and_every_write_through_lost() {
    let world = World::with(Options { l2: Some(L2::default()), ..Options::default() }).await;
    let twin = twin(&world).await;
    world.events_are_lost.store(true, Ordering::SeqCst);
    world.write(&link(1, "code"));
    for round in 0..10 {
        world.follow("code").await.unwrap();
        follow(&twin, "code").await.unwrap();
        advance(Duration::from_millis(1_700 * round)).await;
        let target = format!("https://example.com/{round}");
        world.change("code", |link| link.target = Target::from_stored(&target));
        let changed = Instant::now();
        while !leads_to(&world.follow("code").await, &target) || !leads_to(&follow(&twin, "code").await, &target) {
            assert!(changed.elapsed() < Duration::from_mins(1), "older than N");
            advance(Duration::from_millis(300)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_at_once_on_two_replicas_are_at_most_two_reads() {
    let world = World::with(shared()).await;
    let twin = twin(&world).await;
    world.write(&link(1, "code"));
    world.follow("code").await.unwrap();
    settled(&world, "code").await;
    // Expired everywhere, the rebuild lock too.
    advance(Duration::from_mins(2)).await;
    let reads = world.reads();
    let answers = join_all((0..1_000).map(|i| {
        let (world, twin) = (world.clone(), twin.clone());
        async move { if i % 2 == 0 { world.follow("code").await } else { follow(&twin, "code").await } }
    }));
    assert!(answers.await.iter().all(|answer| leads_to(answer, "https://example.com/1")));
    assert_eq!(world.reads() - reads, 1, "one replica reads, the other waits for it");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_replica_in_vain_reads_itself() {
    let world = World::with(shared()).await;
    world.write(&link(1, "code"));
    // Somebody took the right to read, and died.
    world.l2.rebuild(DomainNo::DEFAULT, Slug::parse("code").unwrap()).await.unwrap();
    let began = Instant::now();
    assert!(leads_to(&world.follow("code").await, "https://example.com/1"));
    assert!(began.elapsed() <= Duration::from_millis(40), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_the_shared_cache_all_goes_on() {
    for hang in [false, true] {
        let world = World::with(shared()).await;
        world.l2.switch.fail(!hang);
        world.l2.switch.hang(hang);
        world.write(&link(1, "code"));
        let began = Instant::now();
        assert!(leads_to(&world.follow("code").await, "https://example.com/1"));
        assert_eq!(world.follow("not-there").await.unwrap(), Answer::NotFound);
        assert!(began.elapsed() <= Duration::from_millis(2 * 16), "{:?}: one budget a read", began.elapsed());
        for _ in 0..10 {
            advance(Duration::from_secs(4)).await;
            assert!(leads_to(&world.follow("code").await, "https://example.com/1"));
        }
        world.l2.switch.fail(false);
        world.l2.switch.hang(false);
        advance(Duration::from_secs(5)).await;
        world.follow("code").await.unwrap();
        assert!(matches!(settled(&world, "code").await, Remembered::Link(_)), "filled again");
    }
}

#[tokio::test(start_paused = true)]
async fn without_store_and_shared_cache_what_memory_holds_stands_in() {
    let world = World::with(shared()).await;
    world.write(&link(1, "code"));
    world.follow("code").await.unwrap();
    world.l2.switch.fail(true);
    world.store.fail(true);
    for _ in 0..60 {
        advance(Duration::from_mins(1)).await;
        assert!(leads_to(&world.follow("code").await, "https://example.com/1"));
    }
    advance(Duration::from_secs(70)).await;
    assert_eq!(world.follow("code").await.unwrap_err().kind(), Kind::Unavailable, "older than N + S");
    assert_eq!(world.follow("other").await.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_what_the_shared_cache_holds_stands_in_and_ends_with_it() {
    for hang in [false, true] {
        let world = World::with(shared()).await;
        put(&world, &link(1, "code"), Duration::ZERO).await;
        world.store.fail(!hang);
        world.store.hang(hang);
        advance(Duration::from_mins(2)).await;
        for _ in 0..10 {
            assert!(leads_to(&world.follow("code").await, "https://example.com/1"), "never seen in this process");
            advance(Duration::from_mins(5)).await;
        }
        let reads = world.reads();
        world.follow("code").await.unwrap();
        for _ in 0..100 {
            assert!(world.service().try_resolve(&ask("code")).is_some(), "the pause after a failed read");
        }
        assert_eq!(world.reads(), reads + 1);
        advance(Duration::from_mins(10)).await;
        assert_eq!(world.follow("code").await.unwrap_err().kind(), Kind::Unavailable, "older than N + S");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_in_the_shared_cache_is_read_again_while_the_store_answers() {
    let world = World::with(shared()).await;
    world.write(&retargeted(2, "https://example.com/new"));
    put(&world, &link(1, "code"), Duration::from_mins(1)).await;
    assert!(leads_to(&world.follow("code").await, "https://example.com/new"));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_absence_is_404_without_a_read_and_an_old_one_is_none() {
    let world = World::with(shared()).await;
    assert_eq!(world.follow("nothing").await.unwrap(), Answer::NotFound);
    assert_eq!(settled(&world, "nothing").await, Remembered::Absent);
    world.store.fail(true);
    advance(Duration::from_secs(4)).await;
    assert_eq!(world.follow("nothing").await.unwrap(), Answer::NotFound, "a quorum said so within 5 s");
    assert_eq!(world.reads(), 1);
    advance(Duration::from_secs(1)).await;
    assert_eq!(world.follow("nothing").await.unwrap_err().kind(), Kind::Unavailable, "never a false 404");
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_is_no_absence() {
    let world = World::with(shared()).await;
    world.store.fail(true);
    assert!(world.follow("code").await.is_err());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.l2.holds("code"), None);
}

#[tokio::test(start_paused = true)]
async fn an_absence_yields_to_the_link_made_after_it() {
    let world = World::with(shared()).await;
    assert_eq!(world.follow("NEW").await.unwrap(), Answer::NotFound);
    settled(&world, "NEW").await;
    let made = link(1, "new");
    world.write(&made);
    put(&world, &made, Duration::ZERO).await;
    assert!(leads_to(&world.follow("NEW").await, "https://example.com/1"), "read your write");
    assert!(leads_to(&world.follow("new").await, "https://example.com/1"));
}

#[tokio::test(start_paused = true)]
async fn where_a_link_is_known_an_absence_in_the_shared_cache_is_a_mistake() {
    let world = World::with(shared()).await;
    world.write(&link(1, "code"));
    world.follow("code").await.unwrap();
    settled(&world, "code").await;
    world.l2.clear();
    world.l2.put_absent(DomainNo::DEFAULT, Slug::parse("code").unwrap(), Duration::ZERO).await.unwrap();
    advance(Duration::from_secs(5)).await;
    assert!(leads_to(&world.follow("code").await, "https://example.com/1"));
}

#[tokio::test(start_paused = true)]
async fn news_beats_an_older_value_in_the_shared_cache() {
    let world = World::with(shared()).await;
    world.write(&link(1, "code"));
    world.follow("code").await.unwrap();
    settled(&world, "code").await;
    // The write-through of this change is lost, its news is not.
    world.change("code", |link| link.target = Target::from_stored("https://example.com/new"));
    assert!(leads_to(&world.follow("code").await, "https://example.com/new"));
    assert_eq!(world.reads(), 2);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(world.l2.holds("code"), Some(Remembered::Link(link)) if link.version == 2), "and mends it");
}

#[tokio::test(start_paused = true)]
async fn after_a_gap_in_the_news_everything_is_asked_for_again_within_five_seconds() {
    // No shared cache: without the gap, all would stay for N.
    let world = World::with(Options { jitter: 0.0, xfetch_beta: 0.0, ..Options::default() }).await;
    world.events_are_lost.store(true, Ordering::SeqCst);
    for number in 0..50 {
        world.write(&link(number, &format!("code{number}")));
        world.follow(&format!("code{number}")).await.unwrap();
    }
    world.change("code7", |link| link.state = State::Deleted);
    world.take_down(domain::LinkId::new(8), "malware");
    world.tell(&LinkNews::Missed);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(world.follow("code8").await, Ok(Answer::Blocked { .. })), "the takedowns at once");
    let reads = world.reads();
    let mut again = Vec::new();
    for _ in 0..51 {
        for number in 0..50 {
            world.follow(&format!("code{number}")).await.unwrap();
        }
        again.push(world.reads() - reads);
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(world.follow("code7").await.unwrap(), Answer::NotFound);
    assert_eq!(again.last(), Some(&50), "each of them once");
    assert!(again[25] > 10 && again[25] < 40, "spread: {again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limited_link_from_the_shared_cache_is_limited() {
    let world = World::with(shared()).await;
    let once = Link { max_clicks: Some(1), ..link(1, "code") };
    put(&world, &once, Duration::ZERO).await;
    assert!(leads_to(&world.follow("code").await, "https://example.com/1"));
    assert_eq!(world.follow("code").await.unwrap(), Answer::Gone);
    assert_eq!(world.reads(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_alias_in_the_shared_cache_does_not_answer_for_a_code_made_elsewhere() {
    let world = World::with(shared()).await;
    put(&world, &link(1, "abc"), Duration::ZERO).await;
    world.write(&link(1, "abc"));
    let mut foreign = link(2, "ABC");
    foreign.code = Code::from_stored("ABC", CodeKind::Foreign);
    world.write(&foreign);
    assert!(leads_to(&world.follow("ABC").await, "https://example.com/2"));
    assert!(leads_to(&world.follow("Abc").await, "https://example.com/1"));
    let reads = world.reads();
    advance(Duration::from_secs(6)).await;
    assert!(leads_to(&world.follow("Abc").await, "https://example.com/1"));
    assert_eq!(world.reads(), reads, "where it leads is known, the shared cache says the rest");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_belong_to_the_code_is_a_miss() {
    let world = World::with(shared()).await;
    world.write(&link(1, "code"));
    let elsewhere = Link { domain: DomainNo::new(2), ..link(3, "code") };
    world.l2.plant("code", &elsewhere);
    assert!(leads_to(&world.follow("code").await, "https://example.com/1"));
}

#[tokio::test(start_paused = true)]
async fn a_begun_read_is_joined_or_finished_and_records_nothing() {
    let world = World::with(shared()).await;
    world.write(&link(1, "code"));
    world.service().begin(&ask("code"));
    world.service().begin(&ask("no such"));
    while world.service().try_resolve(&ask("code")).is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.reads(), 1);
    assert_eq!(world.clicks.lock().unwrap().len(), 1, "the one of the answer");
    let finds = world.l2.finds();
    world.service().begin(&ask("code"));
    tokio::task::yield_now().await;
    assert_eq!(world.l2.finds(), finds, "memory knows it");
}

#[tokio::test(start_paused = true)]
async fn one_of_all_reads_a_busy_code_again_before_it_expires_in_the_shared_cache() {
    let options = Options { xfetch_beta: 100.0, ..shared() };
    let world = World::with(options).await;
    world.write(&link(1, "code"));
    // δ·β is 10 s here, as after a read of 100 ms.
    world.l2.put(&link(1, "code"), Duration::ZERO, Duration::from_millis(100)).await.unwrap();
    for _ in 0..590 {
        assert!(leads_to(&world.follow("code").await, "https://example.com/1"));
        advance(Duration::from_millis(100)).await;
    }
    assert!(world.reads() >= 1, "read again before its end");
}
