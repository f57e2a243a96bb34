//! The end: nobody who has asked goes without an answer.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use crate::client::Client;
use crate::world::World;

const REQUEST: &str = "GET /known HTTP/1.1\r\nHost: s.example\r\n\r\n";

fn patient() -> World {
    World::with(|options| {
        options.timeouts.linger = Duration::from_mins(10);
        options.deadlines.redirect = Duration::from_mins(10);
    })
}

#[tokio::test]
async fn a_request_at_work_is_answered_and_is_the_connections_last() {
    let world = patient();
    let mut client = Client::connect(world.address).await;
    client.send("GET /slow HTTP/1.1\r\nHost: s.example\r\n\r\n").await;
    world.script.waiting.notified().await;
    world.life.drain();
    world.script.release.notify_one();
    let reply = client.reply().await.unwrap();
    assert_eq!((reply.status, reply.header("connection")), (302, Some("close")));
    assert!(client.is_closed().await);
    world.life.drain_in_order().await;
}

#[tokio::test]
async fn a_kept_connection_gets_one_more_answer() {
    let world = patient();
    let mut client = Client::connect(world.address).await;
    client.send(REQUEST).await;
    assert_eq!(client.reply().await.unwrap().header("connection"), None);
    world.life.drain();
    client.send(REQUEST).await;
    let reply = client.reply().await.unwrap();
    assert_eq!((reply.status, reply.header("connection")), (302, Some("close")));
    assert!(client.is_closed().await);
    world.life.drain_in_order().await;
}

/// On one thread the server runs only when this test waits: all of these are in the backlog, their
/// requests unread, when the drain begins.
#[tokio::test(flavor = "current_thread")]
async fn who_waits_to_be_accepted_is_served() {
    let world = patient();
    let mut waiting: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(world.address).unwrap()).collect();
    for stream in &mut waiting {
        stream.write_all(REQUEST.as_bytes()).unwrap();
    }
    world.life.drain();
    world.life.drain_in_order().await;
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 302 ") && answer.contains("connection: close\r\n"), "{answer}");
    }
    assert!(std::net::TcpStream::connect(world.address).is_err(), "the port is closed");
}

#[tokio::test]
async fn idle_and_silent_connections_end_after_the_linger() {
    let world = World::with(|options| options.timeouts.linger = Duration::from_millis(20));
    let mut silent = Client::connect(world.address).await;
    let mut idle = Client::connect(world.address).await;
    idle.send(REQUEST).await;
    assert_eq!(idle.reply().await.unwrap().status, 302);
    world.life.drain_in_order().await;
    assert!(silent.is_closed().await && idle.is_closed().await);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let world = World::start();
    let error = World::listen(world.address, gateway::Options::default(), &world.life).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&world.address.to_string()), "{error}");
}
