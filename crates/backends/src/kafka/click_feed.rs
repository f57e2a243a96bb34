//! The clicks as a group of consumers shares them: one driver for the process, a source for each of its partitions.
//!
//! One thread polls the driver, which calls it back when partitions come and go. A partition that comes is paused
//! until its source says where to begin: at the start of the open chunk, which the statistics know and Kafka does not.
//! One that goes is waited for a moment, so that what is counted is stored before somebody else counts it again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chassis::lifecycle::{Lifecycle, OnError, Stage};
use domain::port::{Assignment, ClickFeed as Port, LogId, Outcome, PortError, PortErrorKind, PortResult};
use rdkafka::ClientContext;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{Notify, mpsc, oneshot};

use super::click_source::KafkaClickSource;
use super::client::{Health, config, log_driver};
use super::error::{failed, unread};
use super::native::topic_id;
use super::url::{GroupProtocol, Url};

const OP: &str = "kafka: click feed";
/// Between two looks at whether anybody still reads.
const POLL: Duration = Duration::from_millis(100);
/// Between two looks at whether the topic is still the same.
const ID_CHECK: Duration = Duration::from_secs(10);
const ID_TIMEOUT: Duration = Duration::from_secs(5);
/// Before a driver that failed for good is replaced.
const REPLACE_PAUSE: Duration = Duration::from_secs(1);
/// Changes that wait for the reader: more than partitions can come and go at once.
const CHANGES_MAX: usize = 4_096;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Records fetched ahead, of each partition.
    pub ahead_len: usize,
    pub ahead_bytes: usize,
    /// How long a partition that goes away is waited for.
    pub handover: Duration,
    /// A consumer that is not heard of for this time loses its partitions (classic protocol; else the brokers decide).
    pub session_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { ahead_len: 50_000, ahead_bytes: 8 * 1024 * 1024, handover: Duration::from_secs(3), session_timeout: Duration::from_secs(15) }
    }
}

/// The partitions of clicks that are this process's.
pub struct ClickFeed {
    changes: mpsc::Receiver<Assignment>,
    _alive: Arc<()>,
}

impl ClickFeed {
    /// Joins the group. Kafka need not be there yet. Must be called within a runtime.
    pub fn start(url: &Url, options: Options, lifecycle: &Lifecycle) -> PortResult<Self> {
        let (sender, changes) = mpsc::channel(CHANGES_MAX);
        let alive = Arc::new(());
        let group = Group {
            url: url.clone(),
            options,
            shared: Arc::new(Shared {
                changes: sender,
                held: Mutex::default(),
                gained: Mutex::default(),
                handover: options.handover,
                health: Health::new("reading clicks from Kafka"),
                commits: Health::new("committing offsets of clicks to Kafka"),
                recheck: AtomicBool::new(false),
            }),
            alive: alive.clone(),
        };
        // A mistake in the configuration is told now.
        drop(group.config(group.first_protocol()).create_native_config().map_err(unread(OP))?);
        let (done, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("terse-click-feed".into())
            .spawn(move || {
                group.run();
                done.send(()).ok();
            })
            .map_err(|source| PortError::new(PortErrorKind::Unavailable, OP, Outcome::NotApplied).with_source(source))?;
        // Sources end first, with the tasks that hold them; then the thread leaves the group.
        lifecycle.spawn("click feed", Stage::Background, OnError::Drain, async move {
            ended.await.map_err(|_| "the thread that reads clicks ended")
        });
        Ok(Self { changes, _alive: alive })
    }
}

#[async_trait]
impl Port for ClickFeed {
    async fn next(&mut self) -> PortResult<Assignment> {
        self.changes.recv().await.ok_or_else(|| failed(OP, Outcome::NotApplied, "the consumer has ended"))
    }
}

/// A partition while it is ours: shared with its source.
#[derive(Default)]
pub(super) struct Held {
    lost: AtomicBool,
    /// Wakes a source that waits for clicks.
    pub(super) changed: Notify,
}

impl Held {
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    fn lose(&self) {
        self.lost.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }
}

pub(super) struct Shared {
    changes: mpsc::Sender<Assignment>,
    held: Mutex<HashMap<i32, Arc<Held>>>,
    /// Assigned, and not handed out yet.
    gained: Mutex<Vec<i32>>,
    handover: Duration,
    health: Health,
    commits: Health,
    recheck: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Somebody saw that the topic may not be the same any more.
    pub(super) fn check_topic(&self) {
        self.recheck.store(true, Ordering::SeqCst);
    }

    fn tell(&self, change: Assignment) {
        // A reader that is gone needs no news.
        self.changes.blocking_send(change).ok();
    }

    fn lose(&self, partition: i32) -> Option<Arc<Held>> {
        locked(&self.gained).retain(|gained| *gained != partition);
        let held = locked(&self.held).remove(&partition)?;
        held.lose();
        self.tell(Assignment::Lost { partition: number(partition) });
        Some(held)
    }

    /// Gives the sources of partitions that go away time to store what is counted.
    fn hand_over(&self, partitions: &[i32], wait: Duration) {
        let leaving: Vec<_> = partitions.iter().filter_map(|partition| self.lose(*partition)).collect();
        let deadline = Instant::now() + wait;
        while Instant::now() < deadline && leaving.iter().any(|held| Arc::strong_count(held) > 1) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Partitions are never negative.
fn number(partition: i32) -> u32 {
    u32::try_from(partition).unwrap_or(0)
}

pub(super) struct Context(Arc<Shared>);

impl Context {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, fac: &str, message: &str) {
        log_driver(fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.0.health.fails(&"no broker answers");
        } else {
            log_driver(&error.to_string(), reason);
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: Code, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect();
        let is_cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = if code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            tracing::info!(?partitions, "partitions of the click log are ours");
            self.0.health.works();
            // Nothing is read before the source says from where.
            let begun = list
                .set_all_offsets(Offset::Offset(0))
                .and_then(|()| if is_cooperative { consumer.incremental_assign(list) } else { consumer.assign(list) });
            let paused = begun.and_then(|()| consumer.pause(list));
            locked(&self.0.gained).extend(&partitions);
            paused
        } else {
            tracing::info!(?partitions, "partitions of the click log go to another process");
            // Ours no longer: nobody waits for us.
            let wait = if consumer.assignment_lost() { Duration::ZERO } else { self.0.handover };
            self.0.hand_over(&partitions, wait);
            if is_cooperative { consumer.incremental_unassign(list) } else { consumer.unassign() }
        };
        if let Err(error) = done {
            self.0.health.fails(&error);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        match result {
            Ok(()) => self.0.commits.works(),
            Err(error) => {
                match error.rdkafka_error_code() {
                    // The group is being shared out anew, or nothing was to be committed.
                    Some(
                        RDKafkaErrorCode::RebalanceInProgress
                        | RDKafkaErrorCode::IllegalGeneration
                        | RDKafkaErrorCode::UnknownMemberId
                        | RDKafkaErrorCode::StaleMemberEpoch
                        | RDKafkaErrorCode::NoOffset,
                    ) => log_driver("commit", &error.to_string()),
                    _ => self.0.commits.fails(&error),
                }
            }
        }
    }
}

pub(super) type Driver = BaseConsumer<Context>;

/// What the thread owns.
struct Group {
    url: Url,
    options: Options,
    shared: Arc<Shared>,
    alive: Arc<()>,
}

/// Why a driver is not polled any more.
enum End {
    /// Nobody reads.
    Unused,
    /// The brokers do not know the group protocol.
    OldBrokers,
    Failed,
}

impl Group {
    fn first_protocol(&self) -> GroupProtocol {
        match self.url.protocol {
            GroupProtocol::Auto | GroupProtocol::Consumer => GroupProtocol::Consumer,
            GroupProtocol::Classic => GroupProtocol::Classic,
        }
    }

    fn config(&self, protocol: GroupProtocol) -> ClientConfig {
        let options = &self.options;
        let mut config = config(&self.url);
        config
            .set("group.id", &self.url.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "false")
            .set("check.crcs", "true")
            .set("max.poll.interval.ms", "60000")
            .set("fetch.min.bytes", "1")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "200")
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.max.bytes", "16777216")
            .set("max.partition.fetch.bytes", "1048576")
            .set("queued.min.messages", options.ahead_len.max(1).to_string())
            .set("queued.max.messages.kbytes", (options.ahead_bytes / 1024).max(1).to_string());
        match protocol {
            GroupProtocol::Auto | GroupProtocol::Consumer => config.set("group.protocol", "consumer"),
            GroupProtocol::Classic => config
                .set("group.protocol", "classic")
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", options.session_timeout.as_millis().to_string())
                .set("heartbeat.interval.ms", (options.session_timeout.as_millis() / 5).to_string()),
        };
        config
    }

    fn is_used(&self) -> bool {
        Arc::strong_count(&self.alive) > 1
    }

    fn run(&self) {
        let mut protocol = self.first_protocol();
        while self.is_used() {
            match self.session(protocol) {
                End::Unused => return,
                End::OldBrokers => {
                    tracing::info!("the brokers do not offer the group protocol `consumer`, so it is `classic`");
                    protocol = GroupProtocol::Classic;
                }
                End::Failed => std::thread::sleep(REPLACE_PAUSE),
            }
        }
    }

    /// Polls one driver as long as it works.
    fn session(&self, protocol: GroupProtocol) -> End {
        let driver: Driver = match self.config(protocol).create_with_context(Context(self.shared.clone())) {
            Ok(driver) => driver,
            Err(error) => {
                self.shared.health.fails(&error);
                return End::Failed;
            }
        };
        let driver = Arc::new(driver);
        if let Err(error) = driver.subscribe(&[&self.url.topic]) {
            self.shared.health.fails(&error);
            return End::Failed;
        }
        let end = self.poll(&driver, protocol);
        let all: Vec<i32> = locked(&self.shared.held).keys().copied().collect();
        self.shared.hand_over(&all, self.options.handover);
        end
    }

    fn poll(&self, driver: &Arc<Driver>, protocol: GroupProtocol) -> End {
        let mut known: Option<LogId> = None;
        let mut next_check = Instant::now();
        while self.is_used() {
            match driver.poll(POLL) {
                // Fetched before its partition's queue was apart: its source reads it again.
                None | Some(Ok(_)) => {}
                Some(Err(error)) => self.shared.health.fails(&error),
            }
            if let Some((code, why)) = driver.client().fatal_error() {
                let is_old = matches!(code, RDKafkaErrorCode::UnsupportedVersion | RDKafkaErrorCode::UnsupportedFeature);
                if is_old && self.url.protocol == GroupProtocol::Auto && protocol == GroupProtocol::Consumer {
                    return End::OldBrokers;
                }
                tracing::error!(%code, why, "the consumer of clicks cannot go on and is replaced");
                return End::Failed;
            }
            let has_gained = !locked(&self.shared.gained).is_empty();
            let is_due = Instant::now() >= next_check && (has_gained || !locked(&self.shared.held).is_empty());
            if is_due || self.shared.recheck.swap(false, Ordering::SeqCst) {
                match topic_id(driver.client(), &self.url.topic, ID_TIMEOUT) {
                    Ok(id) => {
                        self.follow(known.replace(id), id);
                        next_check = Instant::now() + ID_CHECK;
                    }
                    Err(error) => {
                        self.shared.health.fails(&error);
                        next_check = Instant::now() + REPLACE_PAUSE;
                    }
                }
            }
            if let Some(id) = known {
                self.give_out(driver, id);
            }
        }
        End::Unused
    }

    /// Another id is another log: what is read of it begins anew.
    fn follow(&self, known: Option<LogId>, id: LogId) {
        if known.is_none_or(|known| known == id) {
            return;
        }
        tracing::warn!(topic = self.url.topic, "the topic of clicks was made again: it is counted as another log, from its start");
        let all: Vec<i32> = locked(&self.shared.held).keys().copied().collect();
        self.shared.hand_over(&all, Duration::ZERO);
        locked(&self.shared.gained).extend(all);
    }

    fn give_out(&self, driver: &Arc<Driver>, log: LogId) {
        let gained = std::mem::take(&mut *locked(&self.shared.gained));
        for partition in gained {
            let held = Arc::new(Held::default());
            let Some(source) = KafkaClickSource::new(driver, (&self.url.topic, partition, log), held.clone(), self.alive.clone()) else {
                self.shared.health.fails(&"a partition has no queue");
                locked(&self.shared.gained).push(partition);
                continue;
            };
            locked(&self.shared.held).insert(partition, held);
            self.shared.tell(Assignment::Gained(Box::new(source)));
        }
    }
}
