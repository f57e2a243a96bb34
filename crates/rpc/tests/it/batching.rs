//! Requests of a code travel together, and nobody waits for somebody slower.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Reason;
use domain::api::{Answer, Resolver as _};
use rpc::{ResolverOptions, Services};
use tokio::task::JoinSet;

use crate::fakes::{Codes, ask, route};
use crate::port::{Port, soon, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_crosses_whole() {
    let port = Port::open(Services::default().resolver(Codes::new(0))).await;
    let client = port.resolver(ResolverOptions::default());
    assert_eq!(client.try_resolve(&ask("hot")), None);
    for code in ["hot", "cold"] {
        assert_eq!(client.resolve(&ask(code), soon()).await.unwrap(), Answer::Redirect(Arc::new(route())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_request_holds_up_nobody_and_is_not_counted_twice() {
    let codes = Codes::new(0);
    let port = Port::open(Services::default().resolver(codes.clone())).await;
    let client = port.resolver(ResolverOptions { batches_in_flight: 1, ..ResolverOptions::default() });
    let mut slow = JoinSet::new();
    for _ in 0..10 {
        let client = client.clone();
        slow.spawn(async move { client.resolve(&ask("slow"), soon()).await });
    }
    until("the slow ones wait", async || codes.resolved.load(Ordering::SeqCst) == 10).await;
    for _ in 0..100 {
        client.resolve(&ask("hot"), soon()).await.unwrap();
    }
    assert!(slow.try_join_next().is_none(), "the slow ones still wait");
    assert_eq!(codes.begun.load(Ordering::SeqCst), 10);
    codes.gate.add_permits(10);
    for outcome in slow.join_all().await {
        assert!(matches!(outcome, Ok(Answer::Redirect(_))));
    }
    assert_eq!(codes.resolved.load(Ordering::SeqCst), 10, "each deferred request was resolved once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_request_has_a_deadline_of_its_own() {
    let port = Port::open(Services::default().resolver(Codes::new(0))).await;
    let client = port.resolver(ResolverOptions::default());
    let error = client.resolve(&ask("slow"), within(Duration::from_millis(60))).await.unwrap_err();
    assert_eq!((error.reason(), error.was_never_sent()), (Reason::DeadlineExceeded, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_takes_nobody_along() {
    let port = Port::open(Services::default().resolver(Codes::new(0))).await;
    let client = port.resolver(ResolverOptions::default());
    let mut stay = JoinSet::new();
    for i in 0..200 {
        let client = client.clone();
        stay.spawn(async move {
            if i % 2 == 0 {
                // Polled once, then dropped.
                let mut leaving = Box::pin(async move { client.resolve(&ask("hot"), soon()).await });
                assert!(futures_util::poll!(&mut leaving).is_pending());
                None
            } else {
                Some(client.resolve(&ask("hot"), soon()).await)
            }
        });
    }
    let outcomes = stay.join_all().await;
    assert_eq!(outcomes.iter().flatten().count(), 100);
    assert!(outcomes.into_iter().flatten().all(|outcome| outcome.is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_visitors_send_without_bound_still_crosses() {
    let port = Port::open(Services::default().resolver(Codes::new(0))).await;
    let client = port.resolver(ResolverOptions::default());
    let long = "ü".repeat(40_000);
    let mut asks = JoinSet::new();
    for _ in 0..300 {
        let (client, long) = (client.clone(), long.clone());
        asks.spawn(async move {
            let mut ask = ask("hot");
            (ask.visit.user_agent, ask.visit.referrer, ask.visit.language, ask.visit.query) = (&long, &long, &long, &long);
            client.resolve(&ask, soon()).await
        });
    }
    assert!(asks.join_all().await.into_iter().all(|outcome| outcome.is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_that_wait_are_refused_unsent() {
    let port = Port::open(Services::default().resolver(Codes::new(0))).await;
    let client = port.resolver(ResolverOptions { queue_len_max: 0, ..ResolverOptions::default() });
    let error = client.resolve(&ask("hot"), soon()).await.unwrap_err();
    assert_eq!((error.reason(), error.was_never_sent()), (Reason::Unavailable, true));
}
