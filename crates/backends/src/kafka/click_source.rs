//! One partition of the topic of clicks, as its consumer reads it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::port::{ClickBatch, ClickSource, LogId, LogPosition, Outcome, PortResult};
use metrics::{Counter, counter};
use rdkafka::Message as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::click_feed::{Context, Driver, Held};
use super::client::Health;
use super::error::{cut_off, failed, unread, unsure};
use super::native::{known_end, topic_id};
use crate::click_codec;
use crate::metrics::CLICKS_UNREADABLE;

const READ: &str = "kafka: read clicks";
const SEEK: &str = "kafka: seek clicks";
/// Clicks of one batch, whatever is asked for: they are decoded without a pause.
const BATCH_LEN_MAX: usize = 1_024;
/// A wake-up that was missed costs this much.
const LOOK: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);
/// How long a partition may take from being ours to being readable.
const SEEK_WAIT: Duration = Duration::from_secs(10);

/// One partition that is ours. After it is lost it only fails.
pub struct KafkaClickSource {
    queue: PartitionQueue<Context>,
    driver: Arc<Driver>,
    topic: Arc<str>,
    partition: i32,
    log: LogId,
    held: Arc<Held>,
    /// The offset of the next record; unknown before the first seek.
    position: Option<u64>,
    /// Told after the clicks that came before it.
    failure: Option<KafkaError>,
    readable: Health,
    unreadable: Counter,
    /// Keeps the group's thread.
    _alive: Arc<()>,
}

impl KafkaClickSource {
    pub(super) fn new(driver: &Arc<Driver>, (topic, partition, log): (&str, i32, LogId), held: Arc<Held>, alive: Arc<()>) -> Option<Self> {
        let mut queue = driver.split_partition_queue(topic, partition)?;
        let waked = held.clone();
        queue.set_nonempty_callback(move || waked.changed.notify_one());
        Some(Self {
            queue,
            driver: driver.clone(),
            topic: topic.into(),
            partition,
            log,
            held,
            position: None,
            failure: None,
            readable: Health::new("reading records of the click log that are clicks"),
            unreadable: counter!(CLICKS_UNREADABLE),
            _alive: alive,
        })
    }

    fn check_held(&self) -> PortResult<()> {
        if self.held.is_lost() { Err(failed(READ, Outcome::NotApplied, "the partition is another process's")) } else { Ok(()) }
    }

    /// What lies in memory, up to `max` clicks.
    fn take(&mut self, max: usize) -> ClickBatch {
        let (mut clicks, mut offsets) = (Vec::with_capacity(max), Vec::with_capacity(max));
        let (mut traces, mut unreadable) = (Vec::new(), 0);
        while clicks.len() < max {
            match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(Err(error)) => {
                    self.failure = Some(error);
                    break;
                }
                Some(Ok(message)) => {
                    let offset = u64::try_from(message.offset()).unwrap_or(0);
                    if self.position.is_some_and(|position| offset < position) {
                        // Fetched before a seek.
                        continue;
                    }
                    self.position = Some(offset + 1);
                    match click_codec::decode(message.payload().unwrap_or_default()) {
                        Ok((click, trace)) => {
                            offsets.push(offset);
                            clicks.push(click);
                            traces.extend(trace.map(|trace| (offset, trace)));
                        }
                        Err(error) => {
                            unreadable += 1;
                            self.readable.fails(&format_args!(
                                "offset {offset} of partition {}: {error}; it is passed over and counted",
                                self.partition
                            ));
                        }
                    }
                }
            }
        }
        self.unreadable.increment(unreadable);
        let next_offset = self.position.unwrap_or(0);
        let offset = offsets.first().copied().unwrap_or(next_offset);
        let start = LogPosition { log: self.log, partition: self.partition(), offset };
        ClickBatch { start, clicks, next_offset, offsets, traces }
    }

    async fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&Driver, &str, i32) -> PortResult<T> + Send + 'static) -> PortResult<T> {
        let (driver, topic, partition) = (self.driver.clone(), self.topic.clone(), self.partition);
        tokio::task::spawn_blocking(move || ask(&driver, &topic, partition)).await.map_err(cut_off(SEEK))?
    }
}

#[async_trait]
impl ClickSource for KafkaClickSource {
    fn log(&self) -> LogId {
        self.log
    }

    fn partition(&self) -> u32 {
        u32::try_from(self.partition).unwrap_or(0)
    }

    async fn start(&self) -> PortResult<u64> {
        self.check_held()?;
        self.ask(|driver, topic, partition| {
            let (low, _) = driver.fetch_watermarks(topic, partition, ANSWER).map_err(unread(SEEK))?;
            Ok(u64::try_from(low).unwrap_or(0))
        })
        .await
    }

    async fn seek(&mut self, offset: u64) -> PortResult<u64> {
        self.check_held()?;
        self.position = None;
        self.failure = None;
        let log = self.log;
        let went = self.ask(move |driver, topic, partition| seek(driver, (topic, partition, log), offset)).await?;
        self.position = Some(went);
        Ok(went)
    }

    async fn next_batch(&mut self, max: usize) -> PortResult<ClickBatch> {
        let max = max.clamp(1, BATCH_LEN_MAX);
        // Whoever else has this thread to run on comes first: what lies in memory is taken without a pause.
        tokio::task::yield_now().await;
        loop {
            self.check_held()?;
            if let Some(error) = self.failure.take() {
                return Err(unread(READ)(error));
            }
            if self.position.is_none() {
                self.seek(0).await?;
            }
            let batch = self.take(max);
            if !batch.clicks.is_empty() {
                self.readable.works();
                return Ok(batch);
            }
            if self.failure.is_none() {
                tokio::time::timeout(LOOK, self.held.changed.notified()).await.ok();
            }
        }
    }

    async fn commit(&mut self, offset: u64) -> PortResult<()> {
        const OP: &str = "kafka: commit clicks";
        let mut list = TopicPartitionList::new();
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        list.add_partition_offset(&self.topic, self.partition, Offset::Offset(offset)).map_err(unread(OP))?;
        // The answer comes to the group's thread. Nothing rests on it: where to go on is known to the statistics.
        self.driver.commit(&list, CommitMode::Async).map_err(unsure(OP))
    }

    fn lag(&self) -> u64 {
        let end = known_end(self.driver.client(), &self.topic, self.partition);
        end.unwrap_or(0).saturating_sub(self.position.unwrap_or(u64::MAX))
    }
}

/// Goes as near to `offset` as the partition allows, and begins to fetch. Blocks.
fn seek(driver: &Driver, (topic, partition, log): (&str, i32, LogId), offset: u64) -> PortResult<u64> {
    let id = topic_id(driver.client(), topic, ANSWER).map_err(|error| failed(SEEK, Outcome::NotApplied, error.to_string()))?;
    if id != log {
        driver.context().shared().check_topic();
        return Err(failed(SEEK, Outcome::NotApplied, "the topic was made again"));
    }
    let (low, high) = driver.fetch_watermarks(topic, partition, ANSWER).map_err(unread(SEEK))?;
    let (low, high) = (u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0));
    if offset > high {
        tracing::warn!(offset, high, partition, "the click log ends before what was counted of it: records were lost in Kafka");
    }
    let went = offset.min(high).max(low);
    let to = Offset::Offset(i64::try_from(went).unwrap_or(i64::MAX));
    let deadline = Instant::now() + SEEK_WAIT;
    // A partition that has just become ours is not ready for it at once.
    while let Err(error) = driver.seek(topic, partition, to, ANSWER) {
        if Instant::now() > deadline {
            return Err(unread(SEEK)(error));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    driver.resume(&list).map_err(unread(SEEK)).map(|()| went)
}

impl std::fmt::Debug for KafkaClickSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaClickSource").field("partition", &self.partition).field("position", &self.position).finish_non_exhaustive()
    }
}
