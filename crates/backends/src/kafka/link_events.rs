//! News of changed links on a compacted topic: durable, so that a replica that was cut off hears later what it missed.
//!
//! Every process reads all partitions from the end, without a group and without offsets kept anywhere. A lost
//! connection loses nothing; what may have been missed is told where it may: before the first look at the topic, and
//! where records were removed before they were read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use chassis::lifecycle::{Lifecycle, OnError, Stage};
use domain::limits::FOREIGN_CODE_LEN_MAX;
use domain::port::{LinkChanged, LinkEvents as Port, LinkNews, Listener, Outcome, PortError, PortErrorKind, PortResult};
use domain::{DomainNo, LinkId, Slug};
use metrics::{Counter, counter};
use prost::Message as _;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientContext, Message as _};
use tokio::sync::oneshot;

use super::client::{Health, config, log_driver};
use super::error::{failed, unread};
use super::url::Url;
use crate::metrics::{LINK_EVENTS_GAPS, LINK_EVENTS_MALFORMED};
use crate::proto;

const PUBLISH: &str = "kafka: publish link event";
const START: &str = "kafka: start link events";
const POLL: Duration = Duration::from_millis(100);
/// Between two looks for new partitions, and after one that failed.
const LOOK: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes of the longest record that is one of ours.
const RECORD_LEN_MAX: usize = 64 + 4 * FOREIGN_CODE_LEN_MAX;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long `publish` waits for an acknowledgement. The event is on its way all the same.
    pub patience: Duration,
    /// How long an event is kept while Kafka cannot take it.
    pub delivery_timeout: Duration,
    pub queue_len_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { patience: Duration::from_secs(1), delivery_timeout: Duration::from_mins(5), queue_len_max: 20_000 }
    }
}

pub struct LinkEvents {
    topic: String,
    patience: Duration,
    producer: ThreadedProducer<Sender>,
    health: Arc<Health>,
    ears: Arc<Ears>,
}

impl Drop for LinkEvents {
    fn drop(&mut self) {
        self.ears.closed.store(true, Ordering::SeqCst);
    }
}

/// Who listens.
struct Ears {
    listeners: ArcSwap<Vec<Listener>>,
    closed: AtomicBool,
    /// Someone wants to know when the topic is being read.
    ready: tokio::sync::watch::Sender<bool>,
}

impl Ears {
    fn tell(&self, news: &LinkNews) {
        for listener in self.listeners.load().iter() {
            listener(news);
        }
    }
}

impl LinkEvents {
    /// Kafka need not be there yet. Must be called within a runtime.
    pub fn start(url: &Url, options: Options, lifecycle: &Lifecycle) -> PortResult<Arc<Self>> {
        let health = Arc::new(Health::new("publishing link events to Kafka"));
        let producer = producer_config(url, &options).create_with_context(Sender(health.clone())).map_err(unread(START))?;
        let (ready, _) = tokio::sync::watch::channel(false);
        let ears = Arc::new(Ears { listeners: ArcSwap::default(), closed: AtomicBool::new(false), ready });
        let hearing = Hearing::new(url, ears.clone())?;
        let (done, mut ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("terse-link-events".into())
            .spawn(move || {
                hearing.run();
                done.send(()).ok();
            })
            .map_err(|source| PortError::new(PortErrorKind::Unavailable, START, Outcome::NotApplied).with_source(source))?;
        let (draining, kept) = (lifecycle.draining(Stage::Background), ears.clone());
        lifecycle.spawn("kafka link events", Stage::Background, OnError::Log, async move {
            let early = tokio::select! {
                () = draining.cancelled() => None,
                said = &mut ended => Some(said),
            };
            kept.closed.store(true, Ordering::SeqCst);
            let said = match early {
                Some(said) => said,
                None => ended.await,
            };
            said.map_err(|_| "the thread that hears link events ended")
        });
        Ok(Arc::new(Self { topic: url.link_events.clone(), patience: options.patience, producer, health, ears }))
    }

    /// Returns when the topic is being read: events published from now on are heard.
    pub async fn hears(&self) {
        self.ears.ready.subscribe().wait_for(|ready| *ready).await.ok();
    }
}

#[async_trait]
impl Port for LinkEvents {
    async fn publish(&self, event: LinkChanged) -> PortResult<()> {
        let (key, payload) = encode(&event);
        let (sender, receiver) = oneshot::channel();
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(sender)).key(&key).payload(&payload);
        if let Err((error, _)) = self.producer.send(record) {
            self.health.fails(&error);
            return Err(unread(PUBLISH)(error));
        }
        // While Kafka is away nobody waits for it: the event is sent when it is back.
        if self.health.is_down() {
            return Err(failed(PUBLISH, Outcome::Unknown, "Kafka does not answer; the event waits for it"));
        }
        match tokio::time::timeout(self.patience, receiver).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(PortError::new(PortErrorKind::Unavailable, PUBLISH, Outcome::Unknown).with_source(error)),
            Ok(Err(_)) | Err(_) => {
                self.health.fails(&"no acknowledgement in time");
                Err(failed(PUBLISH, Outcome::Unknown, "no acknowledgement in time"))
            }
        }
    }

    fn subscribe(&self, listener: Listener) {
        self.ears.listeners.rcu(|listeners| {
            let mut listeners = Vec::clone(listeners);
            listeners.push(Arc::clone(&listener));
            listeners
        });
    }

    fn are_certain(&self) -> bool {
        false
    }
}

fn producer_config(url: &Url, options: &Options) -> ClientConfig {
    let mut config = config(url);
    config
        .set("acks", "all")
        // In order without idempotence, whose failures are final: an event that comes twice does no harm.
        .set("enable.idempotence", "false")
        .set("max.in.flight.requests.per.connection", "1")
        .set("linger.ms", "1")
        .set("compression.codec", "lz4")
        .set("message.timeout.ms", options.delivery_timeout.as_millis().to_string())
        .set("request.timeout.ms", "10000")
        .set("queue.buffering.max.messages", options.queue_len_max.max(1).to_string())
        .set("queue.buffering.max.kbytes", "16384")
        .set("partitioner", "murmur2_random");
    config
}

/// What the driver calls back on its own thread.
struct Sender(Arc<Health>);

impl ClientContext for Sender {
    fn log(&self, _level: RDKafkaLogLevel, fac: &str, message: &str) {
        log_driver(fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.0.fails(&"no broker answers");
        } else {
            log_driver(&error.to_string(), reason);
        }
    }
}

impl ProducerContext for Sender {
    type DeliveryOpaque = Box<oneshot::Sender<KafkaResult<()>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let result = match result {
            Ok(_) => {
                self.0.works();
                Ok(())
            }
            Err((error, _)) => {
                self.0.fails(error);
                Err(error.clone())
            }
        };
        // Whoever published may not wait any more.
        (*opaque).send(result).ok();
    }
}

/// The thread that reads the topic.
struct Hearing {
    topic: String,
    consumer: BaseConsumer<Listening>,
    ears: Arc<Ears>,
    known: BTreeSet<i32>,
    records: Health,
    malformed: Counter,
    gaps: Counter,
}

struct Listening(Health);

impl ClientContext for Listening {
    fn log(&self, _level: RDKafkaLogLevel, fac: &str, message: &str) {
        log_driver(fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.0.fails(&"no broker answers");
        } else {
            log_driver(&error.to_string(), reason);
        }
    }
}

impl ConsumerContext for Listening {}

impl Hearing {
    fn new(url: &Url, ears: Arc<Ears>) -> PortResult<Self> {
        let mut config = config(url);
        config
            // The driver wants a name to assign partitions by hand. No group is joined under it, and nothing committed.
            .set("group.id", "terse.link-events.unused")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "false")
            .set("check.crcs", "true")
            .set("fetch.min.bytes", "1")
            .set("fetch.wait.max.ms", "500")
            .set("fetch.error.backoff.ms", "200")
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "4096");
        let consumer = config.create_with_context(Listening(Health::new("hearing link events from Kafka"))).map_err(unread(START))?;
        Ok(Self {
            topic: url.link_events.clone(),
            consumer,
            ears,
            known: BTreeSet::new(),
            records: Health::new("reading link events that are some"),
            malformed: counter!(LINK_EVENTS_MALFORMED),
            gaps: counter!(LINK_EVENTS_GAPS),
        })
    }

    fn health(&self) -> &Health {
        &self.consumer.context().0
    }

    fn run(mut self) {
        let mut next_look = Instant::now();
        while !self.ears.closed.load(Ordering::SeqCst) {
            if Instant::now() >= next_look {
                next_look = Instant::now() + if self.look() { LOOK } else { LOOK_AGAIN };
            }
            let heard = match self.consumer.poll(POLL) {
                None => continue,
                Some(Ok(message)) => Ok((message.offset(), message.partition(), decode(message.payload().unwrap_or_default()))),
                Some(Err(error)) => Err(error),
            };
            match heard {
                Ok((.., Some(event))) => {
                    self.health().works();
                    self.records.works();
                    self.ears.tell(&LinkNews::Changed(event));
                }
                Ok((offset, partition, None)) => {
                    self.malformed.increment(1);
                    self.records.fails(&format_args!("offset {offset} of partition {partition} is none; it is passed over and counted"));
                }
                Err(error) => self.stumbled(&error),
            }
        }
    }

    /// Begins to read partitions that are new. Answers whether Kafka said which there are.
    fn look(&mut self) -> bool {
        let found = self.consumer.fetch_metadata(Some(&self.topic), ANSWER).map(|metadata| {
            let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic && topic.error().is_none());
            topic.map_or_else(BTreeSet::new, |topic| topic.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
        });
        match found {
            Ok(found) if found.is_empty() => {
                self.health().fails(&"there is no such topic; `terse migrate` makes it");
                false
            }
            Ok(found) if found == self.known => true,
            Ok(found) => match self.assign(&found) {
                Ok(()) => true,
                Err(error) => {
                    self.health().fails(&error);
                    false
                }
            },
            Err(error) => {
                self.health().fails(&error);
                false
            }
        }
    }

    fn assign(&mut self, found: &BTreeSet<i32>) -> KafkaResult<()> {
        let is_first = self.known.is_empty();
        let mut list = TopicPartitionList::new();
        for partition in found.difference(&self.known) {
            // One that was added since has nothing before its beginning.
            let from = if is_first { self.consumer.fetch_watermarks(&self.topic, *partition, ANSWER)?.1 } else { 0 };
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(from))?;
        }
        self.consumer.incremental_assign(&list)?;
        self.known.extend(found);
        if is_first {
            self.health().works();
            self.ears.ready.send_replace(true);
            self.missed();
        }
        Ok(())
    }

    fn missed(&self) {
        self.gaps.increment(1);
        self.ears.tell(&LinkNews::Missed);
    }

    fn stumbled(&mut self, error: &KafkaError) {
        self.health().fails(error);
        let is_gone = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::AutoOffsetReset
                    | RDKafkaErrorCode::OffsetOutOfRange
                    | RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownTopicId
            )
        );
        // Where it read there is nothing any more: records were removed, or the topic was made again.
        if is_gone {
            self.consumer.unassign().ok();
            self.known.clear();
        }
    }
}

fn encode(event: &LinkChanged) -> (String, Vec<u8>) {
    let payload = proto::LinkChanged {
        link: event.link.get(),
        domain: event.domain.get(),
        key: event.key.to_string(),
        version: event.version,
        blocked: event.blocked,
    };
    (format!("{}:{}", event.domain.get(), event.key), payload.encode_to_vec())
}

/// `None` for what is no event.
fn decode(bytes: &[u8]) -> Option<LinkChanged> {
    if bytes.len() > RECORD_LEN_MAX {
        return None;
    }
    let event = proto::LinkChanged::decode(bytes).ok()?;
    let domain = Some(event.domain).filter(|number| (1..=DomainNo::MAX).contains(number))?;
    Slug::parse(&event.key)?;
    let (link, domain, key) = (LinkId::new(event.link), DomainNo::new(domain), event.key.into());
    Some(LinkChanged { link, domain, key, version: event.version, blocked: event.blocked })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_event_comes_back(link: u64, domain in 1..=DomainNo::MAX, key in "[a-zA-Z0-9]{1,128}", version: u32, blocked: bool) {
            let event = LinkChanged { link: LinkId::new(link), domain: DomainNo::new(domain), key: key.into(), version, blocked };
            prop_assert_eq!(decode(&encode(&event).1), Some(event));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..900)) {
            let event = decode(&bytes);
            prop_assert!(event.is_none_or(|event| bytes.len() <= RECORD_LEN_MAX && event.key.len() <= FOREIGN_CODE_LEN_MAX));
        }
    }
}
