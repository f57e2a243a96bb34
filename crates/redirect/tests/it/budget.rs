//! Links with a click budget: never more than the number.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Kind;
use domain::api::{Answer, Purpose, Resolver as _};
use futures_util::future::join_all;
use tokio::time::advance;

use crate::world::{World, ask, leads_to, link};

async fn limited(max: u64) -> Arc<World> {
    let world = World::new().await;
    let mut link = link(1, "limited");
    link.max_clicks = Some(max);
    world.write(&link);
    world
}

async fn count(world: &World, requests: usize) -> (usize, usize, usize) {
    let answers = join_all((0..requests).map(|_| world.follow("limited"))).await;
    let redirects = answers.iter().filter(|answer| leads_to(answer, "https://example.com/1")).count();
    let gone = answers.iter().filter(|answer| matches!(answer, Ok(Answer::Gone))).count();
    let unknown = answers.iter().filter(|answer| answer.as_ref().is_err_and(|error| error.kind() == Kind::Unavailable)).count();
    (redirects, gone, unknown)
}

#[tokio::test(start_paused = true)]
async fn a_hundred_at_once_on_ten_are_ten_in_few_writes() {
    let world = limited(10).await;
    assert_eq!(count(&world, 100).await, (10, 90, 0));
    assert!(world.takes.load(Ordering::SeqCst) <= 3, "those who wait share a write");
    assert_eq!(world.clicks.lock().unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exact_on_several_threads() {
    for _ in 0..20 {
        let world = limited(10).await;
        let follow = || {
            let world = world.clone();
            async move { count(&world, 25).await }
        };
        let tasks: Vec<_> = (0..4).map(|_| follow()).collect();
        let mut set = tokio::task::JoinSet::new();
        for task in tasks {
            set.spawn(task);
        }
        let counts = set.join_all().await;
        let redirects: usize = counts.iter().map(|(redirects, ..)| redirects).sum();
        let unknown: usize = counts.iter().map(|(.., unknown)| unknown).sum();
        assert_eq!((redirects, unknown), (10, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_counts_as_spent() {
    let world = limited(10).await;
    world.budget.fail(true);
    assert_eq!(count(&world, 4).await, (0, 0, 4));
    world.budget.fail(false);
    assert_eq!(count(&world, 100).await, (6, 94, 0));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_is_503_in_time() {
    let world = limited(10).await;
    world.budget.hang(true);
    assert_eq!(count(&world, 5).await, (0, 0, 5));
    world.budget.hang(false);
    // The till waits for its write before it begins another.
    advance(Duration::from_secs(3)).await;
    assert_eq!(count(&world, 100).await, (5, 95, 0));
}

#[tokio::test(start_paused = true)]
async fn used_up_is_remembered_until_the_limit_is_raised() {
    let world = limited(1).await;
    assert_eq!(count(&world, 2).await, (1, 1, 0));
    assert_eq!(world.service().try_resolve(&ask("limited")), Some(Answer::Gone));
    domain::port::ClickBudget::set_max(&*world, domain::LinkId::new(1), Some(3)).await.unwrap();
    world.change("limited", |link| link.max_clicks = Some(3));
    assert_eq!(count(&world, 5).await, (2, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_limited_link_is_never_followed_from_memory() {
    let world = limited(5).await;
    assert_eq!(count(&world, 1).await, (1, 0, 0));
    assert_eq!(world.service().try_resolve(&ask("limited")), None);
    let mut head = ask("limited");
    head.visit.purpose = Purpose::Head;
    assert!(matches!(world.service().try_resolve(&head), Some(Answer::Withheld(_))));
    assert_eq!(count(&world, 10).await, (4, 6, 0), "HEAD used none");
}

#[tokio::test(start_paused = true)]
async fn clicks_taken_for_those_who_left_go_to_those_who_stay() {
    let world = limited(2).await;
    world.follow("limited").await.unwrap();
    let mut left = Box::pin(world.follow("limited"));
    assert!(futures_util::poll!(&mut left).is_pending());
    let stays = world.follow("limited");
    drop(left);
    assert!(leads_to(&stays.await, "https://example.com/1"));
}
