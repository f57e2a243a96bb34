//! The producer: its bounds, its books, and what it does without Kafka.

use std::sync::Arc;
use std::time::Duration;

use backends::kafka::{ClickCounts, ClickLog, ClickLogOptions, Url};
use domain::port::{ClickLog as _, Dropped};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::world::{Topics, click, life, record_all, until};

/// A broker in this process that can be told to fail.
struct Mock(MockCluster<'static, DefaultProducerContext>);

impl Mock {
    fn start(partitions: i32) -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("clicks", partitions, 1).unwrap();
        Self(mock)
    }

    fn url(&self) -> Url {
        Url::parse(&format!("kafka://{}/clicks", self.0.bootstrap_servers())).unwrap()
    }
}

fn is_balanced(counts: &ClickCounts) -> bool {
    counts.taken == counts.delivered + counts.lost + counts.in_queue
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_clicks_wait_up_to_the_bounds_and_are_counted_when_they_are_dropped() {
    let life = life();
    // Nobody listens there.
    let url = Url::parse("kafka://127.0.0.1:1/clicks").unwrap();
    let options = ClickLogOptions {
        ring_bytes: 16 * 1024,
        queue_len_max: 100,
        flush_timeout: Duration::from_millis(200),
        ..ClickLogOptions::default()
    };
    let log = ClickLog::start(&url, options, &life).unwrap();
    let recorded: Vec<_> = (0..5_000).map(|link| log.record(&click(link))).collect();
    let kept = recorded.iter().filter(|recorded| recorded.is_ok()).count() as u64;
    assert!(recorded.iter().all(|recorded| matches!(recorded, Ok(()) | Err(Dropped::BufferFull))));
    assert!((100..2_000).contains(&kept), "{kept}");
    let counts = log.counts();
    assert_eq!((counts.taken, counts.refused, counts.in_queue), (kept, 5_000 - kept, kept));
    assert!(log.flush().await.is_err());
    until("it is said that no broker answers", || log.is_down()).await;

    life.drain_in_order().await;
    let counts = log.counts();
    assert_eq!((counts.lost, counts.in_queue, counts.delivered), (kept, 0, 0));
    assert_eq!(log.record(&click(1)), Err(Dropped::Failed), "a log that ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn clicks_recorded_before_kafka_is_there_arrive_when_it_is() {
    let life = life();
    let mock = Mock::start(4);
    mock.0.broker_down(-1).unwrap();
    let log = ClickLog::start(&mock.url(), ClickLogOptions::default(), &life).unwrap();
    record_all(&*log, 0..1_000).await;
    until("it is said that no broker answers", || log.is_down()).await;
    assert_eq!(log.counts().in_queue, 1_000);
    mock.0.broker_up(-1).unwrap();
    log.flush().await.unwrap();
    assert!(!log.is_down());
    assert_eq!(log.counts(), ClickCounts { taken: 1_000, delivered: 1_000, ..ClickCounts::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_balance_at_every_moment_while_the_broker_comes_and_goes() {
    let life = life();
    let mock = Mock::start(4);
    let options = ClickLogOptions {
        delivery_timeout: Duration::from_millis(400),
        ring_bytes: 32 * 1024,
        queue_len_max: 500,
        ..ClickLogOptions::default()
    };
    let log = ClickLog::start(&mock.url(), options, &life).unwrap();
    let (mut recorded, mut refused) = (0, 0);
    for round in 0..40_u64 {
        match round % 8 {
            3 => mock.0.broker_down(-1).unwrap(),
            7 => mock.0.broker_up(-1).unwrap(),
            _ => {}
        }
        for link in 0..200 {
            recorded += 1;
            refused += u64::from(log.record(&click(link)).is_err());
        }
        let counts = log.counts();
        assert!(is_balanced(&counts), "{counts:?}");
        assert_eq!((counts.taken, counts.refused), (recorded - refused, refused));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    mock.0.broker_up(-1).unwrap();
    until("all is settled", || log.counts().in_queue == 0).await;
    let counts = log.counts();
    assert!(is_balanced(&counts) && counts.delivered > 0 && counts.lost > 0, "{counts:?}");
}

/// What idempotence cannot go on from ends the driver for good: another takes its place, nothing is sent again, and
/// the books balance.
#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_failed_for_good_is_replaced() {
    let life = life();
    let mock = Mock::start(1);
    let log = ClickLog::start(&mock.url(), ClickLogOptions::default(), &life).unwrap();
    record_all(&*log, 0..100).await;
    log.flush().await.unwrap();
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER; 1];
    mock.0.request_errors(RDKafkaApiKey::Produce, &errors);
    record_all(&*log, 100..200).await;
    let outcome = log.flush().await;
    until("another driver takes its place", || log.counts().replaced == 1).await;
    let after = log.counts();
    assert!(is_balanced(&after), "{after:?}");
    assert!(outcome.is_err() && after.lost > 0, "{outcome:?} {after:?}");
    mock.0.clear_request_errors(RDKafkaApiKey::Produce);
    record_all(&*log, 200..300).await;
    log.flush().await.unwrap();
    assert!(!log.is_down());
    assert_eq!(
        log.counts(),
        ClickCounts { taken: 300, delivered: after.delivered + 100, lost: after.lost, replaced: 1, ..ClickCounts::default() }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_link_is_spread_over_partitions_and_others_are_not() {
    let life = life();
    let topics = Topics::make(8).await;
    let options = ClickLogOptions { hot_from: 200, ..ClickLogOptions::default() };
    let log: Arc<ClickLog> = ClickLog::start(&topics.url(""), options, &life).unwrap();
    record_all(&*log, std::iter::repeat_n(7, 150)).await;
    log.flush().await.unwrap();
    assert_eq!(topics.ends().await.iter().filter(|end| **end > 0).count(), 1);
    record_all(&*log, std::iter::repeat_n(7, 5_000)).await;
    log.flush().await.unwrap();
    let ends = topics.ends().await;
    assert_eq!(ends.iter().sum::<u64>(), 5_150);
    assert!(ends.iter().filter(|end| **end > 300).count() >= 4, "{ends:?}");
    topics.delete().await;
}
