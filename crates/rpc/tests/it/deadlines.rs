//! Deadlines cross, and are kept on both sides.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::Reason;
use domain::api::{Ids as _, Resolver as _};
use rpc::{IdsClient, Replicas, ResolverOptions, Services};
use tokio::net::TcpListener;

use crate::fakes::{Codes, CountedIds, ask};
use crate::port::{Port, connector, options, soon, within};

/// How late an answer may come.
const LATE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_given_what_is_left() {
    let ids = CountedIds::new(9);
    let port = Port::open(Services::default().ids(ids.clone())).await;
    IdsClient::new(port.replicas()).next_ids(1, within(Duration::from_secs(9))).await.unwrap();
    assert!((6_000..=9_000).contains(&ids.left_ms.load(Ordering::SeqCst)));
    let server = rpc::server::Options { timeout_max: Duration::from_secs(2), ..options() };
    let port = Port::with(Services::default().ids(ids.clone()), server).await;
    IdsClient::new(port.replicas()).next_ids(1, within(Duration::from_secs(9))).await.unwrap();
    assert!(ids.left_ms.load(Ordering::SeqCst) <= 2_000, "the server's own bound");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_hangs_is_given_up_on_in_time() {
    let ids = CountedIds::new(0);
    let port = Port::open(Services::default().ids(ids.clone())).await;
    let begun = Instant::now();
    let error = IdsClient::new(port.replicas()).next_ids(1, within(Duration::from_millis(100))).await.unwrap_err();
    assert_eq!((error.reason(), error.was_never_sent()), (Reason::DeadlineExceeded, false));
    assert!(begun.elapsed() < Duration::from_millis(100) + LATE);
    assert_eq!(ids.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_accepts_and_says_nothing_is_given_up_on_in_time() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = IdsClient::new(Replicas::one(silent.local_addr().unwrap(), connector()));
    let begun = Instant::now();
    let error = client.next_ids(1, within(Duration::from_millis(100))).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_millis(100) + LATE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_has_passed_sends_nothing() {
    let (ids, codes) = (CountedIds::new(9), Codes::new(9));
    let port = Port::open(Services::default().ids(ids.clone()).resolver(codes.clone())).await;
    let client = IdsClient::new(port.replicas());
    client.next_ids(1, soon()).await.unwrap();
    let error = client.next_ids(1, within(Duration::ZERO)).await.unwrap_err();
    assert_eq!((error.reason(), error.was_never_sent()), (Reason::DeadlineExceeded, true));
    let error = port.resolver(ResolverOptions::default()).resolve(&ask("hot"), within(Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DeadlineExceeded);
    client.next_ids(1, soon()).await.unwrap();
    assert_eq!((ids.calls(), codes.tried.load(Ordering::SeqCst)), (2, 0));
}
