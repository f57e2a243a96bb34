//! The topics: made and widened by `migrate`, judged by `inspect`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::port::{Outcome, PortResult};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode;

use super::client::{Quiet, config};
use super::error::{cut_off, failed, unread, unsure};
use super::url::Url;

const OP: &str = "kafka: make topics";
pub(super) const LOOK: &str = "kafka: look at topics";
pub(super) const ANSWER: Duration = Duration::from_secs(15);
/// More replicas than this cost disks and save nothing more.
const REPLICAS_MAX: usize = 3;
const DAY_MS: i64 = 86_400_000;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of the clicks, when the topic is made; later it is only ever widened. At most so many consumers share the
    /// work, and each link that is clicked has a row a chunk in every partition its keys fall into: so some, not many.
    pub click_partitions: usize,
    pub link_event_partitions: usize,
    /// How long clicks can be counted again.
    pub click_retention: Duration,
    /// How long news of a link is kept at least. Nobody reads them later: caches live an hour.
    pub link_event_retention: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            click_partitions: 16,
            link_event_partitions: 4,
            click_retention: Duration::from_hours(7 * 24),
            link_event_retention: Duration::from_hours(7 * 24),
        }
    }
}

/// One thing that `migrate` looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub what: String,
    /// Whether something was changed.
    pub applied: bool,
}

/// What is wrong with a topic, and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub what: String,
    pub mend: String,
    /// Whether the product works all the same.
    pub is_warning: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.mend)
    }
}

/// A topic as it should be.
struct Wanted {
    name: String,
    partitions: usize,
    /// Promises rest on these; set again where they differ.
    fixed: Vec<(&'static str, String)>,
    /// Set when the topic is made, and the operator's from then on.
    initial: Vec<(&'static str, String)>,
}

fn wanted(url: &Url, options: &Options) -> [Wanted; 2] {
    let ms = |time: Duration| time.as_millis().to_string();
    let fixed = |policy: &str| vec![("cleanup.policy", policy.into()), ("unclean.leader.election.enable", "false".into())];
    let common =
        [("max.message.bytes", "1048588".into()), ("compression.type", "producer".into()), ("message.timestamp.type", "CreateTime".into())];
    let mut clicks = Vec::from(common.clone());
    clicks.extend([("retention.ms", ms(options.click_retention)), ("retention.bytes", "-1".into())]);
    let mut events = Vec::from(common);
    events.extend([
        ("retention.ms", ms(options.link_event_retention)),
        ("segment.ms", ms(Duration::from_hours(1))),
        ("min.cleanable.dirty.ratio", "0.5".into()),
        ("max.compaction.lag.ms", ms(Duration::from_hours(24))),
    ]);
    [
        Wanted { name: url.topic.clone(), partitions: options.click_partitions.max(1), fixed: fixed("delete"), initial: clicks },
        // Compacted, and what is old removed besides: else it would hold every link that ever changed.
        Wanted {
            name: url.link_events.clone(),
            partitions: options.link_event_partitions.max(1),
            fixed: fixed("compact,delete"),
            initial: events,
        },
    ]
}

/// Makes the topics that are missing, widens those that are too narrow, and sets what promises rest on. May be
/// called at any time and as often as wished.
pub async fn migrate(url: &Url, options: &Options) -> PortResult<Vec<Step>> {
    steps(url, options, Doing::Really).await
}

/// What [`migrate`] would do; changes nothing.
pub async fn plan(url: &Url, options: &Options) -> PortResult<Vec<Step>> {
    steps(url, options, Doing::OnPaper).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Really,
    /// As if it had been done.
    OnPaper,
}

async fn steps(url: &Url, options: &Options, doing: Doing) -> PortResult<Vec<Step>> {
    let admin = admin(url)?;
    let mut steps = Vec::new();
    for wanted in wanted(url, options) {
        let found = look(&admin, &wanted.name).await?;
        match found.partitions {
            0 => steps.push(make(&admin, &wanted, found.brokers, doing).await?),
            partitions => {
                steps.push(widen(&admin, &wanted, partitions, doing).await?);
                steps.extend(mend(&admin, &wanted, doing).await?);
            }
        }
    }
    Ok(steps)
}

/// What is wrong with the topics; changes nothing.
pub async fn inspect(url: &Url, options: &Options) -> PortResult<Vec<Fault>> {
    let admin = admin(url)?;
    let mut faults = Vec::new();
    for wanted in wanted(url, options) {
        let found = look(&admin, &wanted.name).await?;
        let mut fault = |what: String, mend: &str, is_warning| faults.push(Fault { what, mend: mend.into(), is_warning });
        if found.partitions == 0 {
            fault(format!("topic {} does not exist", wanted.name), "run `terse migrate`", false);
            continue;
        }
        if found.partitions < wanted.partitions {
            fault(
                format!("topic {} has {} partitions of {}", wanted.name, found.partitions, wanted.partitions),
                "run `terse migrate`",
                true,
            );
        }
        if found.replicas < found.brokers.min(REPLICAS_MAX) {
            let what = format!("topic {} has {} replicas on {} brokers", wanted.name, found.replicas, found.brokers);
            fault(what, "raise them with kafka-reassign-partitions", true);
        }
        let settings = settings(&admin, &wanted.name).await?;
        for (name, value) in &wanted.fixed {
            let set = settings.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
            if set != *value {
                fault(format!("topic {} has {name} = {set} and not {value}", wanted.name), "run `terse migrate`", false);
            }
        }
        let in_sync = settings.get("min.insync.replicas").and_then(|entry| entry.value.as_ref()?.parse::<usize>().ok()).unwrap_or(1);
        if found.replicas >= 3 && in_sync < 2 {
            let what = format!("topic {} acknowledges what one of its {} replicas has", wanted.name, found.replicas);
            let mend = format!(
                "kafka-configs.sh --bootstrap-server {} --alter --topic {} --add-config min.insync.replicas=2",
                url.brokers(),
                wanted.name
            );
            fault(what, &mend, true);
        } else if in_sync > found.replicas {
            let what = format!("topic {} has {} replicas and wants {in_sync} in sync: it takes no record", wanted.name, found.replicas);
            let mend = format!(
                "kafka-configs.sh --bootstrap-server {} --alter --topic {} --add-config min.insync.replicas={}",
                url.brokers(),
                wanted.name,
                found.replicas
            );
            fault(what, &mend, false);
        }
        let kept_ms = settings.get("retention.ms").and_then(|entry| entry.value.as_ref()?.parse::<i64>().ok()).unwrap_or(-1);
        if (0..DAY_MS).contains(&kept_ms) {
            let what = format!("topic {} keeps records for {kept_ms} ms only", wanted.name);
            fault(what, "set retention.ms to a day or more: clicks that analytics has not counted by then are lost", true);
        }
    }
    Ok(faults)
}

pub(super) type Admin = Arc<AdminClient<Quiet>>;

fn admin(url: &Url) -> PortResult<Admin> {
    config(url).create_with_context(Quiet).map(Arc::new).map_err(unread(OP))
}

pub(super) fn asking() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}

struct Found {
    brokers: usize,
    /// 0: there is no such topic.
    partitions: usize,
    /// Of the partition with the fewest.
    replicas: usize,
}

async fn look(admin: &Admin, topic: &str) -> PortResult<Found> {
    // All topics: asking for one by its name would make the driver wait for it.
    let asked = admin.clone();
    let metadata = tokio::task::spawn_blocking(move || asked.inner().fetch_metadata(None, ANSWER)).await;
    let metadata = metadata.map_err(cut_off(LOOK))?.map_err(unread(LOOK))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
    let partitions = found.map_or(&[][..], |found| found.partitions());
    Ok(Found {
        brokers: metadata.brokers().len(),
        partitions: partitions.len(),
        replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
    })
}

async fn make(admin: &Admin, wanted: &Wanted, brokers: usize, doing: Doing) -> PortResult<Step> {
    let replicas = brokers.clamp(1, REPLICAS_MAX);
    // With three replicas a write is on two before it is acknowledged, so that one may be lost.
    let in_sync = if replicas >= 3 { "2" } else { "1" };
    let (partitions, replication) = (count(wanted.partitions), TopicReplication::Fixed(count(replicas)));
    let mut topic = NewTopic::new(&wanted.name, partitions, replication).set("min.insync.replicas", in_sync);
    for (name, value) in wanted.fixed.iter().chain(&wanted.initial) {
        topic = topic.set(name, value);
    }
    let what = format!("topic {} with {} partitions, {replicas} replicas, {in_sync} in sync", wanted.name, wanted.partitions);
    if doing == Doing::OnPaper {
        return Ok(Step { what, applied: true });
    }
    let answer = admin.create_topics([&topic], &asking()).await.map_err(unsure(OP))?;
    match answer.into_iter().next() {
        Some(Ok(_)) => Ok(Step { what, applied: true }),
        // Made by somebody else at the same moment.
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(Step { what, applied: false }),
        Some(Err((name, code))) => Err(failed(OP, Outcome::NotApplied, format!("topic {name}: {code}"))),
        None => Err(failed(OP, Outcome::Unknown, "no answer for a topic")),
    }
}

async fn widen(admin: &Admin, wanted: &Wanted, found: usize, doing: Doing) -> PortResult<Step> {
    if found >= wanted.partitions {
        return Ok(Step { what: format!("topic {} with {found} partitions", wanted.name), applied: false });
    }
    let step = Step { what: format!("topic {} from {found} to {} partitions", wanted.name, wanted.partitions), applied: true };
    if doing == Doing::OnPaper {
        return Ok(step);
    }
    let wider = NewPartitions::new(&wanted.name, wanted.partitions);
    let answer = admin.create_partitions([&wider], &asking()).await.map_err(unsure(OP))?;
    match answer.into_iter().next() {
        Some(Err((name, code))) => Err(failed(OP, Outcome::NotApplied, format!("topic {name}: {code}"))),
        _ => Ok(step),
    }
}

/// Sets what promises rest on where it differs, and keeps all else that was set.
async fn mend(admin: &Admin, wanted: &Wanted, doing: Doing) -> PortResult<Option<Step>> {
    let settings = settings(admin, &wanted.name).await?;
    let differs = |(name, value): &&(&'static str, String)| settings.get(name).and_then(|entry| entry.value.as_ref()) != Some(value);
    let wrong: Vec<_> = wanted.fixed.iter().filter(differs).collect();
    if wrong.is_empty() {
        return Ok(None);
    }
    let names: Vec<_> = wrong.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let step = Step { what: format!("topic {}: {}", wanted.name, names.join(", ")), applied: true };
    if doing == Doing::OnPaper {
        return Ok(Some(step));
    }
    let mut all = AlterConfig::new(ResourceSpecifier::Topic(&wanted.name));
    // This call replaces everything that was ever set on the topic.
    for entry in settings.entries.iter().filter(|entry| entry.source == rdkafka::admin::ConfigSource::DynamicTopic) {
        if let Some(value) = entry.value.as_ref().filter(|_| wrong.iter().all(|(name, _)| *name != entry.name)) {
            all = all.set(&entry.name, value);
        }
    }
    for (name, value) in &wrong {
        all = all.set(name, value);
    }
    let answer = admin.alter_configs([&all], &asking()).await.map_err(unsure(OP))?;
    if let Some(Err((_, code))) = answer.into_iter().next() {
        return Err(failed(OP, Outcome::NotApplied, format!("topic {}: {code}", wanted.name)));
    }
    Ok(Some(step))
}

async fn settings(admin: &Admin, topic: &str) -> PortResult<ConfigResource> {
    let answer = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &asking()).await.map_err(unread(LOOK))?;
    match answer.into_iter().next() {
        Some(Ok(resource)) => Ok(resource),
        Some(Err(code)) => Err(failed(LOOK, Outcome::NotApplied, format!("topic {topic}: {code}"))),
        None => Err(failed(LOOK, Outcome::NotApplied, "no answer for a topic")),
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
