//! Clicks to Kafka: a bounded ring, one thread, and an idempotent producer. Nothing is ever sent twice on doubt.
//!
//! A click waits in the ring or in the driver; both are bounded, and when the ring is full, clicks are dropped and
//! counted. What the driver gave up is not sent again: it may be in the topic.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chassis::lifecycle::{Lifecycle, OnError, Stage};
use domain::Click;
use domain::port::{ClickLog as Port, Dropped, Outcome, PortError, PortErrorKind, PortResult};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::sync::oneshot;

use super::client::{Health, config};
use super::delivery::{Context, Counts, Delivery, Lost};
use super::error::{failed, unread};
use super::hot::HotLinks;
use super::ring::Ring;
use super::url::Url;
use crate::click_codec::{self, CLICK_LEN_MAX, Keep};
use crate::traced::{ClickCreation, click_trace};

/// Clicks handed over before acknowledgements are looked at.
const TURN_LEN_MAX: usize = 1_024;
/// How long the thread listens for acknowledgements between two looks at the ring.
const TICK: Duration = Duration::from_millis(5);
const TICK_IDLE: Duration = Duration::from_millis(20);
/// Between two tries to make a producer anew.
const REPLACE_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of the ring: 128 a click are room for 65,536 of usual length.
    pub ring_bytes: usize,
    /// How long the driver gathers clicks for one request.
    pub linger: Duration,
    /// After this time without an acknowledgement a click is given up.
    pub delivery_timeout: Duration,
    /// Bounds of the driver's queue.
    pub queue_len_max: usize,
    pub queue_bytes_max: usize,
    /// How long `flush`, and the end of the process, wait for acknowledgements.
    pub flush_timeout: Duration,
    /// Clicks a second from which a link's are spread over `hot_keys` keys.
    pub hot_from: u32,
    pub hot_keys: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring_bytes: 8 * 1024 * 1024,
            linger: Duration::from_millis(10),
            delivery_timeout: Duration::from_secs(30),
            queue_len_max: 200_000,
            queue_bytes_max: 64 * 1024 * 1024,
            flush_timeout: Duration::from_secs(10),
            hot_from: 1_000,
            hot_keys: 8,
        }
    }
}

/// The click log of a process whose consumer is another.
pub struct ClickLog {
    shared: Arc<Shared>,
    flush_timeout: Duration,
}

struct Shared {
    ring: Ring,
    delivery: Arc<Delivery>,
    creation: ClickCreation,
    /// No click is taken any more, and the thread ends when it has sent what it can.
    closed: AtomicBool,
}

impl Drop for ClickLog {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
    }
}

thread_local! {
    static RECORD: RefCell<[u8; CLICK_LEN_MAX]> = const { RefCell::new([0; CLICK_LEN_MAX]) };
}

impl ClickLog {
    /// Starts the producer. Kafka need not be there yet: clicks wait for it up to the bounds. Must be called within
    /// a runtime.
    pub fn start(url: &Url, options: Options, lifecycle: &Lifecycle) -> PortResult<Arc<Self>> {
        let delivery = Arc::new(Delivery::new());
        let creation = ClickCreation { system: "kafka", topic: url.topic().into() };
        let shared = Arc::new(Shared { ring: Ring::new(options.ring_bytes), delivery, creation, closed: AtomicBool::new(false) });
        let mut producer = Producer::new(url, options, shared.clone())?;
        let (done, mut ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("terse-clicks".into())
            .spawn(move || {
                producer.run();
                done.send(()).ok();
            })
            .map_err(|source| {
                PortError::new(PortErrorKind::Unavailable, "kafka: start producer", Outcome::NotApplied).with_source(source)
            })?;
        let (draining, kept) = (lifecycle.draining(Stage::Background), shared.clone());
        lifecycle.spawn("click producer", Stage::Background, OnError::Drain, async move {
            let early = tokio::select! {
                () = draining.cancelled() => None,
                said = &mut ended => Some(said),
            };
            kept.closed.store(true, Ordering::SeqCst);
            let said = match early {
                Some(said) => said,
                None => ended.await,
            };
            // A thread that says nothing has panicked.
            said.map_err(|_| "the thread that sends clicks ended")
        });
        Ok(Arc::new(Self { shared, flush_timeout: options.flush_timeout }))
    }

    /// What became of all clicks so far.
    pub fn counts(&self) -> Counts {
        self.shared.delivery.counts()
    }

    /// Whether the last clicks could not be sent.
    pub fn is_down(&self) -> bool {
        self.shared.delivery.health.is_down()
    }
}

#[async_trait]
impl Port for ClickLog {
    fn record(&self, click: &Click<'_>) -> Result<(), Dropped> {
        let shared = &self.shared;
        if shared.closed.load(Ordering::Relaxed) {
            shared.delivery.refused(Dropped::Failed);
            return Err(Dropped::Failed);
        }
        // Counted before it can be delivered, so that the books never show more delivered than taken.
        shared.delivery.taken();
        let creation = shared.creation.begin();
        let has_room = RECORD.with_borrow_mut(|record| {
            let len = click_codec::encode(click, Keep::Everything, click_trace(creation.as_ref()), record);
            shared.ring.put(&record[..len])
        });
        if let Some(creation) = creation {
            creation.end((!has_room).then_some(Dropped::BufferFull.as_str()));
        }
        if has_room {
            return Ok(());
        }
        shared.delivery.not_taken();
        shared.delivery.refused(Dropped::BufferFull);
        Err(Dropped::BufferFull)
    }

    async fn flush(&self) -> PortResult<()> {
        const OP: &str = "kafka: flush clicks";
        let place = self.shared.ring.tail();
        let lost = self.shared.delivery.lost_count();
        let mut settled = self.shared.delivery.settled();
        let waited = tokio::time::timeout(self.flush_timeout, settled.wait_for(|settled| *settled >= place)).await;
        match waited {
            Ok(Ok(_)) if self.shared.delivery.lost_count() == lost => Ok(()),
            Ok(Ok(_)) => Err(failed(OP, Outcome::Unknown, "some clicks were given up meanwhile")),
            Ok(Err(_)) | Err(_) => Err(failed(OP, Outcome::Unknown, "clicks are not acknowledged in time")),
        }
    }
}

/// What the thread owns.
struct Producer {
    config: ClientConfig,
    topic: String,
    options: Options,
    shared: Arc<Shared>,
    /// `None` only while a new one cannot be made.
    driver: Option<BaseProducer<Context>>,
    hot: HotLinks,
    record: Box<[u8; CLICK_LEN_MAX]>,
    /// The length of `record`, which the driver had no room for.
    held: Option<usize>,
    /// All before this place in the ring was handed over.
    handed: u64,
    refused_seen: u64,
    room: Health,
}

impl Producer {
    fn new(url: &Url, options: Options, shared: Arc<Shared>) -> PortResult<Self> {
        let config = producer_config(url, &options);
        let driver = config.create_with_context(Context(shared.delivery.clone())).map_err(unread("kafka: make producer"))?;
        Ok(Self {
            config,
            topic: url.topic().into(),
            options,
            shared,
            driver: Some(driver),
            hot: HotLinks::new(options.hot_from, options.hot_keys, Instant::now()),
            record: Box::new([0; CLICK_LEN_MAX]),
            held: None,
            handed: 0,
            refused_seen: 0,
            room: Health::new("buffering clicks for Kafka"),
        })
    }

    fn run(&mut self) {
        while !self.shared.closed.load(Ordering::SeqCst) {
            self.turn();
        }
        let deadline = Instant::now() + self.options.flush_timeout;
        while Instant::now() < deadline && self.shared.delivery.counts().in_queue > 0 {
            self.turn();
        }
        self.end();
    }

    /// Hands over what is in the ring, and listens for acknowledgements.
    fn turn(&mut self) {
        let Some(driver) = self.driver.take() else { return self.replace() };
        let moved = self.hand_over(&driver);
        self.shared.delivery.close_batch(self.handed);
        let is_idle = moved == 0 && self.shared.delivery.counts().in_queue == 0;
        driver.poll(match (moved, is_idle) {
            (TURN_LEN_MAX, _) => Duration::ZERO,
            (_, false) => TICK,
            (_, true) => TICK_IDLE,
        });
        if let Some((code, why)) = driver.client().fatal_error() {
            tracing::error!(%code, why, "the click producer cannot go on and is replaced; what it had not sent is dropped and counted");
            // Dropping it gives up what it holds, each click counted by its callback.
            drop(driver);
            self.shared.delivery.replaced();
            self.replace();
        } else {
            self.driver = Some(driver);
        }
        self.report();
    }

    fn replace(&mut self) {
        match self.config.create_with_context(Context(self.shared.delivery.clone())) {
            Ok(driver) => self.driver = Some(driver),
            Err(error) => {
                self.shared.delivery.health.fails(&error);
                std::thread::sleep(REPLACE_PAUSE.min(TICK_IDLE * 5));
            }
        }
    }

    /// Answers how many clicks left the ring.
    fn hand_over(&mut self, driver: &BaseProducer<Context>) -> usize {
        let now = Instant::now();
        for moved in 0..TURN_LEN_MAX {
            let Some(len) = self.held.take().or_else(|| self.shared.ring.take(&mut self.record[..])) else { return moved };
            if self.send(driver, len, now) {
                self.handed = self.shared.ring.head();
            } else {
                self.held = Some(len);
                return moved;
            }
        }
        TURN_LEN_MAX
    }

    /// Whether the click is the driver's now, or lost.
    fn send(&mut self, driver: &BaseProducer<Context>, len: usize, now: Instant) -> bool {
        let payload = &self.record[..len];
        let link = click_codec::link_of(payload);
        let mut key = [0; 9];
        key[..8].copy_from_slice(&link.to_be_bytes());
        let key = match self.hot.salt(link, now) {
            None => &key[..8],
            Some(salt) => {
                key[8] = salt;
                &key[..]
            }
        };
        let delivery = &self.shared.delivery;
        let batch = delivery.hand_over();
        let record = BaseRecord::with_opaque_to(&self.topic, batch).key(key).payload(payload);
        match driver.send(record) {
            Ok(()) => true,
            // There is no room yet; or the driver is broken for good and is replaced in this turn.
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull | RDKafkaErrorCode::Fatal), _)) => {
                delivery.take_back();
                false
            }
            Err((error, _)) => {
                delivery.health.fails(&error);
                delivery.lost(Some(batch), Lost::Refused);
                true
            }
        }
    }

    fn report(&mut self) {
        let delivery = &self.shared.delivery;
        delivery.show_queue();
        let refused = delivery.counts().refused;
        if refused > self.refused_seen {
            self.refused_seen = refused;
            self.room.fails(&"there is no room, clicks are dropped and counted");
        } else if self.held.is_none() {
            self.room.works();
        }
    }

    /// Gives up what is left, each click counted.
    fn end(&mut self) {
        let delivery = self.shared.delivery.clone();
        delivery.ends();
        drop(self.driver.take());
        let held = usize::from(self.held.take().is_some());
        let left = std::iter::from_fn(|| self.shared.ring.take(&mut self.record[..])).count() + held;
        for _ in 0..left {
            delivery.lost(None, Lost::Ended);
        }
        let counts = delivery.counts();
        delivery.show_queue();
        if counts.lost > 0 {
            tracing::warn!(lost = counts.lost, delivered = counts.delivered, "not all clicks of this process reached Kafka");
        }
    }
}

fn producer_config(url: &Url, options: &Options) -> ClientConfig {
    let mut config = config(url);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.codec", "lz4")
        .set("linger.ms", options.linger.as_millis().to_string())
        .set("batch.size", "262144")
        .set("message.timeout.ms", options.delivery_timeout.as_millis().to_string())
        .set("request.timeout.ms", "10000")
        .set("queue.buffering.max.messages", options.queue_len_max.to_string())
        .set("queue.buffering.max.kbytes", (options.queue_bytes_max / 1024).max(1).to_string())
        .set("partitioner", "murmur2_random")
        .set("delivery.report.only.error", "false");
    config
}
