//! The consumers of a group: who reads what, and of which log.

use std::collections::BTreeMap;
use std::time::Duration;

use backends::kafka::{self, ClickFeed, ClickFeedOptions, ClickLog, ClickLogOptions};
use domain::port::{Assignment, ClickFeed as _, ClickLog as _, ClickSource, LogId};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::world::{PATIENCE, Topics, brokers, life, record_all};

/// The sources that a feed gave out and did not take back.
#[derive(Default)]
struct Ours(BTreeMap<u32, Box<dyn ClickSource>>);

impl Ours {
    /// Follows the feed until as many partitions are ours as there should be.
    async fn follow(&mut self, feed: &mut ClickFeed, count: usize) {
        let followed = tokio::time::timeout(PATIENCE, async {
            while self.0.len() != count {
                self.take(feed.next().await.unwrap()).await;
            }
        });
        assert!(followed.await.is_ok(), "{} partitions, not {count}", self.0.len());
    }

    async fn take(&mut self, change: Assignment) {
        match change {
            Assignment::Gained(source) => {
                assert!(self.0.insert(source.partition(), source).is_none(), "given out twice");
            }
            Assignment::Lost { partition } => {
                let mut source = self.0.remove(&partition).expect("it was ours");
                assert!(source.next_batch(1).await.is_err() && source.seek(0).await.is_err(), "a lost source only fails");
            }
        }
    }
}

async fn partitions_are_shared_and_handed_over(protocol: &str) {
    let life = life();
    let topics = Topics::make(6).await;
    let options = ClickFeedOptions { session_timeout: Duration::from_secs(6), ..ClickFeedOptions::default() };
    let start = || ClickFeed::start(&topics.url(protocol), options, &life).unwrap();
    let (mut first, mut second) = (start(), start());
    let (mut ours, mut theirs) = (Ours::default(), Ours::default());
    let shared = tokio::time::timeout(PATIENCE, async {
        while ours.0.len() + theirs.0.len() != 6 || ours.0.is_empty() || theirs.0.is_empty() {
            tokio::select! {
                change = first.next() => ours.take(change.unwrap()).await,
                change = second.next() => theirs.take(change.unwrap()).await,
            }
        }
    });
    assert!(shared.await.is_ok(), "{} and {}", ours.0.len(), theirs.0.len());
    assert!(ours.0.keys().all(|partition| !theirs.0.contains_key(partition)));
    // One ends, and the other has it all.
    drop((ours, first));
    theirs.follow(&mut second, 6).await;

    let log = ClickLog::start(&topics.url(""), ClickLogOptions::default(), &life).unwrap();
    record_all(&*log, 0..600).await;
    log.flush().await.unwrap();
    let ends = topics.ends().await;
    for (source, end) in theirs.0.values_mut().zip(&ends).filter(|(_, end)| **end > 0) {
        let mut read = 0;
        while read < *end {
            let batch = tokio::time::timeout(PATIENCE, source.next_batch(64)).await.unwrap().unwrap();
            assert_eq!(batch.start.offset, read);
            read = batch.next_offset;
        }
        source.commit(read).await.unwrap();
    }
    assert_eq!(ends.iter().sum::<u64>(), 600);
    topics.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_a_group_share_the_partitions() {
    partitions_are_shared_and_handed_over("protocol=consumer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_by_the_classic_protocol() {
    partitions_are_shared_and_handed_over("protocol=classic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_again_is_another_log() {
    let life = life();
    let topics = Topics::make(1).await;
    let mut feed = ClickFeed::start(&topics.url(""), ClickFeedOptions::default(), &life).unwrap();
    let mut ours = Ours::default();
    ours.follow(&mut feed, 1).await;
    let before = ours.0[&0].log();
    assert_ne!(before, LogId([0; 16]));
    topics.delete().await;
    kafka::migrate(&topics.url(""), &topics.options()).await.unwrap();
    let renewed = tokio::time::timeout(PATIENCE, async {
        while ours.0.get(&0).is_none_or(|source| source.log() == before) {
            ours.take(feed.next().await.unwrap()).await;
        }
    });
    assert!(renewed.await.is_ok());
    let log = ClickLog::start(&topics.url(""), ClickLogOptions::default(), &life).unwrap();
    record_all(&*log, 0..10).await;
    log.flush().await.unwrap();
    let source = ours.0.get_mut(&0).unwrap();
    assert_eq!(source.seek(0).await.unwrap(), 0);
    let batch = tokio::time::timeout(PATIENCE, source.next_batch(64)).await.unwrap().unwrap();
    assert_eq!((batch.start.offset, batch.start.log), (0, source.log()));
    topics.delete().await;
}

/// The log may be without its start, or end before what was counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_seek_goes_as_near_as_the_log_allows_and_records_that_are_no_clicks_are_passed_over() {
    let life = life();
    let topics = Topics::make(1).await;
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
    let clicks = topics.clicks();
    let log = ClickLog::start(&topics.url(""), ClickLogOptions::default(), &life).unwrap();
    for round in 0..3 {
        for junk in [&b""[..], b"\xff\xff\xff", &[0; 5_000]] {
            // An empty record is a click with nothing in it; the others are none.
            producer.send(BaseRecord::<[u8], [u8]>::to(&clicks).payload(junk)).map_err(|(error, _)| error).unwrap();
        }
        tokio::task::block_in_place(|| producer.flush(PATIENCE)).unwrap();
        record_all(&*log, std::iter::once(round + 1)).await;
        log.flush().await.unwrap();
    }
    let mut feed = ClickFeed::start(&topics.url(""), ClickFeedOptions::default(), &life).unwrap();
    let mut ours = Ours::default();
    ours.follow(&mut feed, 1).await;
    let source = ours.0.get_mut(&0).unwrap();
    assert_eq!(source.seek(1_000_000).await.unwrap(), 12, "the end");
    assert_eq!(source.seek(1).await.unwrap(), 1);
    let (mut offsets, mut links) = (Vec::new(), Vec::new());
    while links.len() < 5 {
        let batch = tokio::time::timeout(PATIENCE, source.next_batch(64)).await.unwrap().unwrap();
        offsets.extend(batch.offsets);
        links.extend(batch.clicks.iter().map(|click| click.link.get()));
    }
    assert_eq!((offsets, links), (vec![3, 4, 7, 8, 11], vec![1, 0, 2, 0, 3]));
    topics.delete().await;
}
