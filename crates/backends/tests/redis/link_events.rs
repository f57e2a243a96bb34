//! News between processes, and after a gap.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backends::redis::{LinkEvents, LinkEventsOptions, Options};
use domain::port::{LinkChanged, LinkEvents as _, LinkNews};
use domain::{DomainNo, LinkId};

use crate::world::{OwnServer, Server, World, cmd, eventually, patient, prefix};

type Heard = Arc<Mutex<Vec<LinkNews>>>;

fn listen(events: &LinkEvents) -> Heard {
    let heard = Heard::default();
    let ears = heard.clone();
    events.subscribe(Arc::new(move |news| ears.lock().unwrap().push(news.clone())));
    heard
}

fn event(number: u64) -> LinkChanged {
    LinkChanged {
        link: LinkId::new(number),
        domain: DomainNo::DEFAULT,
        key: format!("key-{number}").as_str().into(),
        version: 2,
        blocked: number == 2,
    }
}

fn start(world: &World) -> LinkEvents {
    let options = LinkEventsOptions { check_interval: Duration::from_millis(200), ..LinkEventsOptions::default() };
    LinkEvents::start(world.redis.clone(), options, &world.lifecycle)
}

async fn gaps(heard: &Heard, count: usize) {
    eventually("told of the gap", async || heard.lock().unwrap().iter().filter(|news| **news == LinkNews::Missed).count() >= count).await;
}

#[tokio::test]
async fn every_process_hears_every_event() {
    for server in Server::BOTH {
        let world = World::new(server).await;
        let other = world.twin().await;
        let (one, two) = (start(&world), start(&other));
        let heard = [listen(&one), listen(&two), listen(&two)];
        gaps(&heard[0], 1).await;
        gaps(&heard[1], 1).await;
        // More than there are channels, so that each is used.
        for number in 0..100 {
            let from = if number % 2 == 0 { &one } else { &two };
            from.publish(event(number)).await.unwrap();
        }
        for heard in &heard {
            eventually("heard", async || {
                let mut numbers: Vec<_> = heard
                    .lock()
                    .unwrap()
                    .iter()
                    .filter_map(|news| match news {
                        LinkNews::Changed(changed) => Some(changed.clone()),
                        LinkNews::Missed => None,
                    })
                    .collect();
                numbers.sort_by_key(|changed| changed.link);
                numbers.into_iter().eq((0..100).map(event))
            })
            .await;
        }
        assert!(!one.are_certain());
    }
}

#[tokio::test]
async fn malformed_messages_are_passed_over() {
    for (server, publish) in [(Server::Single, "PUBLISH"), (Server::Cluster, "SPUBLISH")] {
        let world = World::new(server).await;
        let events = start(&world);
        let heard = listen(&events);
        gaps(&heard, 1).await;
        let mut raw = world.raw().await;
        for number in 0..16 {
            let channel = format!("{}events:{number}", world.prefix);
            for message in [&b""[..], b"hello", &[1; 17], &[1; 300], &[0xFF; 40]] {
                raw.ask::<u64>(&cmd(&[publish.as_bytes(), channel.as_bytes(), message])).await;
            }
        }
        events.publish(event(1)).await.unwrap();
        eventually("heard", async || heard.lock().unwrap().last() == Some(&LinkNews::Changed(event(1)))).await;
        assert_eq!(*heard.lock().unwrap(), [LinkNews::Missed, LinkNews::Changed(event(1))]);
    }
}

#[tokio::test]
async fn a_server_that_was_away_is_a_gap() {
    let mut server = OwnServer::reserve(&[]);
    server.run();
    let options = Options { timeout: Duration::from_millis(200), failures_max: 5, ..patient(&prefix()) };
    let world = World::at(server.url(), options).await;
    let events = start(&world);
    let heard = listen(&events);
    gaps(&heard, 1).await;
    server.kill();
    eventually("an error", async || events.publish(event(1)).await.is_err()).await;
    server.run();
    gaps(&heard, 2).await;
    eventually("published", async || events.publish(event(2)).await.is_ok()).await;
    eventually("heard", async || heard.lock().unwrap().contains(&LinkNews::Changed(event(2)))).await;
    // Frozen, with its connections open: nothing tells but that it does not answer.
    server.signal("-STOP");
    eventually("an error", async || events.publish(event(3)).await.is_err()).await;
    server.signal("-CONT");
    eventually("published", async || events.publish(event(4)).await.is_ok()).await;
    eventually("heard", async || heard.lock().unwrap().contains(&LinkNews::Changed(event(4)))).await;
}
