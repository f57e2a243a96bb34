//! Servers that end, are killed, or were never there.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::Reason;
use domain::api::{Ids as _, Resolver as _};
use rpc::{Endpoints, IdsClient, Replicas, ResolverOptions, Services};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::fakes::{Codes, CountedIds, ask};
use crate::port::{Port, connector, soon, until, within};

/// An address where nobody listens.
async fn nowhere() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
}

fn replicas(addresses: &[SocketAddr]) -> (watch::Sender<Arc<[SocketAddr]>>, Replicas) {
    let (sender, receiver) = watch::channel(Arc::from(addresses));
    (sender, Replicas::new(receiver, connector()))
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_unavailable_and_never_sent() {
    let nowhere = nowhere().await;
    let error = IdsClient::new(Replicas::one(nowhere, connector())).next_ids(1, soon()).await.unwrap_err();
    assert_eq!((error.reason(), error.was_never_sent()), (Reason::Unavailable, true));
    let (_sender, none) = replicas(&[]);
    let error = IdsClient::new(none).next_ids(1, soon()).await.unwrap_err();
    assert_eq!((error.reason(), error.was_never_sent()), (Reason::Unavailable, true));
    let life = chassis::Lifecycle::new(Duration::from_secs(5));
    let resolver = rpc::ResolverClient::new(connector().channel(nowhere), ResolverOptions::default(), &life);
    let error = resolver.resolve(&ask("hot"), soon()).await.unwrap_err();
    assert_eq!((error.reason(), error.was_never_sent()), (Reason::Unavailable, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_not_there_costs_no_call() {
    let ids = CountedIds::new(99);
    let port = Port::open(Services::default().ids(ids.clone())).await;
    let (_sender, both) = replicas(&[nowhere().await, port.address]);
    let client = IdsClient::new(both);
    for _ in 0..20 {
        client.next_ids(1, soon()).await.unwrap();
    }
    assert_eq!(ids.calls(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_spread_and_follow_the_addresses() {
    let (a, b) = (CountedIds::new(99), CountedIds::new(99));
    let ports = [Port::open(Services::default().ids(a.clone())).await, Port::open(Services::default().ids(b.clone())).await];
    let (sender, both) = replicas(&[ports[0].address, ports[1].address]);
    let client = IdsClient::new(both);
    for _ in 0..40 {
        client.next_ids(1, soon()).await.unwrap();
    }
    assert_eq!((a.calls(), b.calls()), (20, 20));
    sender.send_replace(Arc::from([ports[1].address]));
    for _ in 0..10 {
        client.next_ids(1, soon()).await.unwrap();
    }
    assert_eq!((a.calls(), b.calls()), (20, 30));
}

/// Whether a frame of headers has begun, after the preface: however the bytes were cut on their way.
fn has_request(bytes: &[u8]) -> bool {
    const PREFACE_LEN: usize = 24;
    const FRAME_HEAD_LEN: usize = 9;
    const HEADERS: u8 = 1;
    let mut rest = bytes.get(PREFACE_LEN..).unwrap_or_default();
    while let Some(&[high, middle, low, kind, ..]) = rest.first_chunk::<FRAME_HEAD_LEN>() {
        if kind == HEADERS {
            return true;
        }
        let len = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap();
        rest = rest.get(FRAME_HEAD_LEN + len..).unwrap_or_default();
    }
    false
}

/// Reads a little of each connection, then closes it.
async fn reads_and_closes() -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            while !has_request(&bytes) && stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {}
        }
    });
    (address, tasks)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_may_have_arrived_is_not_sent_again() {
    let (broken, _tasks) = reads_and_closes().await;
    let ids = CountedIds::new(99);
    let port = Port::open(Services::default().ids(ids.clone())).await;
    // The broken one first: equals take turns from the first on.
    let (_sender, both) = replicas(&[broken, port.address]);
    let error = IdsClient::new(both).next_ids(1, within(Duration::from_secs(5))).await.unwrap_err();
    assert_eq!((error.reason(), error.was_never_sent()), (Reason::Unavailable, false));
    assert_eq!(ids.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_fails_no_call() {
    let (a, b) = (CountedIds::new(99), CountedIds::new(99));
    let going = Port::open(Services::default().ids(a.clone())).await;
    let staying = Port::open(Services::default().ids(b.clone())).await;
    let (_sender, both) = replicas(&[going.address, staying.address]);
    let client = Arc::new(IdsClient::new(both));
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let (client, stop) = (client.clone(), stop.clone());
        callers.spawn(async move {
            let mut calls = 0_usize;
            while !stop.load(Ordering::SeqCst) {
                client.next_ids(1, soon()).await.unwrap();
                calls += 1;
            }
            calls
        });
    }
    until("calls on both", async || a.calls() > 200 && b.calls() > 200).await;
    going.life.drain_in_order().await;
    let (at_drain, others) = (a.calls(), b.calls());
    until("calls on the one that stays", async || b.calls() > others + 200).await;
    stop.store(true, Ordering::SeqCst);
    let made: usize = callers.join_all().await.into_iter().sum();
    assert_eq!(a.calls(), at_drain, "nothing comes after the drain");
    assert_eq!(made, a.calls() + b.calls(), "each call was made once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_is_finished_by_the_drain() {
    let ids = CountedIds::new(0);
    let port = Port::open(Services::default().ids(ids.clone())).await;
    let client = Arc::new(IdsClient::new(port.replicas()));
    let mut call = JoinSet::new();
    call.spawn(async move { client.next_ids(1, soon()).await });
    until("the call arrives", async || ids.calls() == 1).await;
    port.life.drain();
    ids.gate.add_permits(1);
    port.life.drain_in_order().await;
    assert_eq!(call.join_next().await.unwrap().unwrap().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_back_is_found_again() {
    let ids = CountedIds::new(99);
    let port = Port::open(Services::default().ids(ids.clone())).await;
    let client = IdsClient::new(port.replicas());
    client.next_ids(1, soon()).await.unwrap();
    port.life.drain_in_order().await;
    assert!(client.next_ids(1, soon()).await.unwrap_err().was_never_sent());
    let options = rpc::server::Options::new(port.address);
    let _back = Port::with(Services::default().ids(ids.clone()), options).await;
    client.next_ids(1, soon()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_fails_each_of_its_requests() {
    let (broken, _tasks) = reads_and_closes().await;
    let life = chassis::Lifecycle::new(Duration::from_secs(5));
    let client = Arc::new(rpc::ResolverClient::new(connector().channel(broken), ResolverOptions::default(), &life));
    let mut asks = JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        asks.spawn(async move { client.resolve(&ask("hot"), within(Duration::from_secs(5))).await });
    }
    for outcome in asks.join_all().await {
        assert_eq!(outcome.unwrap_err().reason(), Reason::Unavailable);
    }
}

#[tokio::test]
async fn addresses_are_taken_as_they_are_and_names_are_looked_up() {
    let life = chassis::Lifecycle::new(Duration::from_secs(5));
    let list = Endpoints::parse("10.0.0.2:7001, 10.0.0.1:7001,10.0.0.2:7001,[::1]:7001").unwrap();
    let addresses = list.watch("test", &life).await.borrow().clone();
    assert_eq!(*addresses, ["10.0.0.1:7001", "10.0.0.2:7001", "[::1]:7001"].map(|address| address.parse().unwrap()));
    let named = Endpoints::parse("localhost:7001").unwrap().watch("test", &life).await;
    assert!(named.borrow().iter().all(|address| address.ip().is_loopback()));
    assert!(!named.borrow().is_empty());
    for wrong in ["", "host", ":1", "host:", "host:99999", "1.2.3.4", "1.2.3:1", "a b:1", "a:1,,b:1", "http://a:1"] {
        assert!(Endpoints::parse(wrong).is_err(), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_batches() {
    let codes = Codes::new(0);
    let port = Port::open(Services::default().resolver(codes)).await;
    let life = chassis::Lifecycle::new(Duration::from_secs(5));
    let client = rpc::ResolverClient::new(connector().channel(port.address), ResolverOptions::default(), &life);
    client.resolve(&ask("hot"), soon()).await.unwrap();
    drop(client);
    // Would wait for ever for tasks that do not end.
    tokio::time::timeout(Duration::from_secs(5), async {
        life.drain_in_order().await;
    })
    .await
    .unwrap();
}
