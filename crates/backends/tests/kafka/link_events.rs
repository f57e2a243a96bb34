//! Changed links, from one process to others.

use std::sync::{Arc, Mutex};

use backends::kafka::{self, LinkEvents, LinkEventsOptions, TopicOptions};
use domain::port::{LinkChanged, LinkEvents as _, LinkNews};
use domain::{DomainNo, LinkId};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::world::{PATIENCE, Topics, brokers, life, until};

fn event(number: u32) -> LinkChanged {
    LinkChanged {
        link: LinkId::new(9),
        domain: DomainNo::DEFAULT,
        key: format!("key-{number}").into(),
        version: number,
        blocked: number == 3,
    }
}

type Heard = Arc<Mutex<Vec<LinkNews>>>;

fn listen(events: &LinkEvents) -> Heard {
    let heard = Heard::default();
    let kept = heard.clone();
    events.subscribe(Arc::new(move |news: &LinkNews| kept.lock().unwrap().push(news.clone())));
    heard
}

fn changes(heard: &Heard) -> Vec<u32> {
    let heard = heard.lock().unwrap();
    let mut versions: Vec<_> =
        heard.iter().filter_map(|news| if let LinkNews::Changed(event) = news { Some(event.version) } else { None }).collect();
    versions.sort_unstable();
    versions
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_hears_each_event_once_and_partitions_that_are_added_too() {
    let life = life();
    let topics = Topics::make(1).await;
    let url = topics.url("");
    let start = || LinkEvents::start(&url, LinkEventsOptions::default(), &life).unwrap();
    let before = start();
    before.publish(event(0)).await.unwrap();
    let (one, two) = (start(), start());
    let heard = [listen(&one), listen(&two)];
    one.hears().await;
    two.hears().await;
    assert!(!one.are_certain());
    for number in 1..=20 {
        before.publish(event(number)).await.unwrap();
    }
    // What is no event is passed over.
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
    producer.send(BaseRecord::<[u8], [u8]>::to(url.link_events()).payload(b"\xff\xff")).map_err(|(error, _)| error).unwrap();
    tokio::task::block_in_place(|| producer.flush(PATIENCE)).unwrap();

    let wider = TopicOptions { link_event_partitions: 8, ..topics.options() };
    kafka::migrate(&url, &wider).await.unwrap();
    for number in 21..=60 {
        one.publish(event(number)).await.unwrap();
    }
    for heard in &heard {
        until("all events are heard", || changes(heard).len() >= 60).await;
        assert_eq!(changes(heard), (1..=60).collect::<Vec<_>>());
        let heard = heard.lock().unwrap();
        assert!(heard.iter().filter(|news| **news == LinkNews::Missed).count() <= 1, "only what came before");
        assert!(heard.contains(&LinkNews::Changed(event(3))));
    }
    topics.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_publishing_fails_soon_and_later_at_once() {
    let life = life();
    let url = kafka::Url::parse("kafka://127.0.0.1:1/clicks").unwrap();
    let events = LinkEvents::start(&url, LinkEventsOptions::default(), &life).unwrap();
    assert!(events.publish(event(1)).await.is_err());
    let begun = std::time::Instant::now();
    for number in 2..20 {
        assert!(events.publish(event(number)).await.is_err());
    }
    assert!(begun.elapsed() < LinkEventsOptions::default().patience, "nobody waits for what is known to be away");
    life.drain_in_order().await;
}
