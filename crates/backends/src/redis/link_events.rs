//! News of changed links by pub/sub: sharded in a cluster, plain on a single Redis. A message is heard at most
//! once, and nobody knows which were lost; so a listener is told of every gap, and staleness is bounded
//! without any of this.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use chassis::Lifecycle;
use chassis::lifecycle::{OnError, Stage};
use compact_str::{CompactString, format_compact};
use domain::port::{LinkChanged, LinkEvents as Port, LinkNews, Listener, PortResult};
use domain::{DomainNo, LinkId, Slug};
use metrics::counter;
use redis::{PushInfo, PushKind, RedisResult, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::Redis;
use super::connection::Connection;
use super::meters::Op;
use crate::metrics::{LINK_EVENTS_GAPS, REDIS_MALFORMED};

/// The first byte of a message.
const VERSION: u8 = 1;
const HEAD_LEN: usize = 1 + 8 + 4 + 4 + 1;
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

#[derive(Clone, Debug)]
pub struct Options {
    /// Channels that events are spread over, so that a cluster's nodes share them. All processes agree.
    pub channels: u32,
    /// How often a subscription is checked by subscribing again: an answer shows that the connection lives
    /// and that the node still has the channel.
    pub check_interval: Duration,
    /// What one answer to that may take.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { channels: 16, check_interval: Duration::from_secs(1), patience: Duration::from_secs(1) }
    }
}

pub struct LinkEvents {
    redis: Redis,
    options: Options,
    ears: Arc<Ears>,
}

#[derive(Default)]
struct Ears {
    listeners: ArcSwap<Vec<Listener>>,
    first: Notify,
    malformed_seen: AtomicBool,
}

impl LinkEvents {
    /// Subscribes as soon as somebody listens, and again whenever the connection is lost.
    pub fn start(redis: Redis, options: Options, lifecycle: &Lifecycle) -> Self {
        let ears = Arc::new(Ears::default());
        let subscriber = Subscriber { redis: redis.clone(), options: options.clone(), ears: ears.clone() };
        let draining = lifecycle.draining(Stage::Background);
        lifecycle.spawn("redis link events", Stage::Background, OnError::Log, async move {
            draining.run_until_cancelled(subscriber.run()).await;
            Ok::<_, Infallible>(())
        });
        Self { redis, options, ears }
    }
}

#[async_trait]
impl Port for LinkEvents {
    async fn publish(&self, event: LinkChanged) -> PortResult<()> {
        let name = channel(self.redis.prefix(), crc32fast::hash(event.key.as_bytes()) % self.options.channels.max(1));
        let mut connection = self.redis.connection();
        let mut cmd = redis::cmd(if connection.is_cluster() { "SPUBLISH" } else { "PUBLISH" });
        cmd.arg(name.as_str()).arg(encode(&event));
        self.redis.run(Op::Publish, name.as_bytes(), cmd.query_async::<u64>(&mut connection)).await.map(|_| ())
    }

    fn subscribe(&self, listener: Listener) {
        self.ears.listeners.rcu(|listeners| {
            let mut listeners = Vec::clone(listeners);
            listeners.push(Arc::clone(&listener));
            listeners
        });
        self.ears.first.notify_one();
    }

    fn are_certain(&self) -> bool {
        false
    }
}

fn channel(prefix: &str, number: u32) -> CompactString {
    format_compact!("{prefix}events:{number}")
}

struct Subscriber {
    redis: Redis,
    options: Options,
    ears: Arc<Ears>,
}

/// A connection that was subscribed once. When it is dropped, nothing of it is listened to any more.
struct Subscription {
    connection: Connection,
    broken: Arc<Notify>,
    is_current: Arc<AtomicBool>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.is_current.store(false, Ordering::Release);
    }
}

impl Subscriber {
    async fn run(self) {
        // A listener that came before leaves its permit.
        self.ears.first.notified().await;
        let mut backoff = BACKOFF.0;
        let mut failing = false;
        loop {
            match self.subscribe().await {
                Ok(subscription) => {
                    if failing {
                        tracing::info!(redis = %self.redis.url(), "link events are heard again");
                    }
                    backoff = BACKOFF.0;
                    // Whatever was published until now may not have been heard.
                    counter!(LINK_EVENTS_GAPS).increment(1);
                    self.ears.tell(&LinkNews::Missed);
                    let error = self.listen(subscription).await;
                    tracing::warn!(redis = %self.redis.url(), %error, "link events may be missed: subscribing anew");
                    failing = true;
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(redis = %self.redis.url(), %error, "link events cannot be heard: changes are seen when what is cached grows old");
                    }
                    failing = true;
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    async fn subscribe(&self) -> RedisResult<Subscription> {
        let (broken, is_current) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(true)));
        let push = {
            let (ears, broken, is_current) = (self.ears.clone(), broken.clone(), is_current.clone());
            move |info: PushInfo| {
                if is_current.load(Ordering::Acquire) {
                    ears.hear(&info, &broken);
                }
                Ok::<_, Infallible>(())
            }
        };
        let connection = self.redis.open_for_messages(self.options.patience, push)?;
        let mut subscription = Subscription { connection, broken, is_current };
        self.check(&mut subscription).await?;
        Ok(subscription)
    }

    /// Subscribes to every channel, whether that is news to the server or not.
    async fn check(&self, subscription: &mut Subscription) -> RedisResult<()> {
        let all = async {
            for number in 0..self.options.channels.max(1) {
                subscription.connection.subscribe(&channel(self.redis.prefix(), number)).await?;
            }
            Ok(())
        };
        let patience = self.options.patience + self.redis.options().connect_timeout;
        tokio::time::timeout(patience, all).await.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }

    /// Until the subscription is lost; answers why.
    async fn listen(&self, mut subscription: Subscription) -> redis::RedisError {
        let mut check_at = Instant::now() + self.options.check_interval;
        loop {
            let broken = subscription.broken.clone();
            tokio::select! {
                () = broken.notified() => return std::io::Error::from(std::io::ErrorKind::ConnectionReset).into(),
                () = tokio::time::sleep_until(check_at) => {
                    if let Err(error) = self.check(&mut subscription).await {
                        return error;
                    }
                    check_at = Instant::now() + self.options.check_interval;
                }
            }
        }
    }
}

impl Ears {
    fn tell(&self, news: &LinkNews) {
        for listener in self.listeners.load().iter() {
            listener(news);
        }
    }

    fn hear(&self, info: &PushInfo, broken: &Notify) {
        if matches!(info.kind, PushKind::Message | PushKind::SMessage) {
            match info.data.get(1).and_then(|message| decode(bytes(message)?)) {
                Some(event) => self.tell(&LinkNews::Changed(event)),
                None => self.malformed(),
            }
        } else if matches!(info.kind, PushKind::Disconnection | PushKind::SUnsubscribe | PushKind::Unsubscribe) {
            // Without a word of ours it is unsubscribed when a slot has moved to another node.
            broken.notify_one();
        }
    }

    fn malformed(&self) {
        counter!(REDIS_MALFORMED, "kind" => "event").increment(1);
        if !self.malformed_seen.swap(true, Ordering::Relaxed) {
            tracing::warn!("a link event is not ours or of an unknown version: such are passed over");
        }
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}

fn encode(event: &LinkChanged) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEAD_LEN + event.key.len());
    message.push(VERSION);
    message.extend_from_slice(&event.link.get().to_be_bytes());
    message.extend_from_slice(&event.domain.get().to_be_bytes());
    message.extend_from_slice(&event.version.to_be_bytes());
    message.push(u8::from(event.blocked));
    message.extend_from_slice(event.key.as_bytes());
    message
}

fn decode(message: &[u8]) -> Option<LinkChanged> {
    let (head, key) = message.split_first_chunk::<HEAD_LEN>()?;
    let (version, head) = head.split_first()?;
    let (link, head) = head.split_first_chunk()?;
    let (domain, head) = head.split_first_chunk()?;
    let (link_version, blocked) = head.split_first_chunk()?;
    let domain = u32::from_be_bytes(*domain);
    let blocked = match blocked {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    let key = std::str::from_utf8(key).ok().filter(|key| Slug::parse(key).is_some())?;
    (*version == VERSION && (1..=DomainNo::MAX).contains(&domain)).then(|| LinkChanged {
        link: LinkId::new(u64::from_be_bytes(*link)),
        domain: DomainNo::new(domain),
        key: key.into(),
        version: u32::from_be_bytes(*link_version),
        blocked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_and_others_are_passed_over() {
        let event = LinkChanged { link: LinkId::new(7), domain: DomainNo::DEFAULT, key: "some-key".into(), version: 2, blocked: true };
        let message = encode(&event);
        assert_eq!(decode(&message), Some(event));
        for len in 0..=HEAD_LEN {
            assert_eq!(decode(&message[..len]), None);
        }
        for (at, byte) in [(0, 2), (9, 0xFF), (12, 0), (17, 2), (18, b' '), (18, 0xFF)] {
            let mut broken = message.clone();
            broken[at] = byte;
            assert_eq!(decode(&broken), None, "{at} {byte}");
        }
        assert_eq!(decode(&[message.as_slice(), &[b'a'; 200]].concat()), None);
    }
}
