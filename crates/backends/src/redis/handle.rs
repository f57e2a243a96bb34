//! One Redis, shared by the ports built on it: its connection, its breaker, its bounds.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chassis::Lifecycle;
use chassis::lifecycle::{OnError, Stage};
use chassis::trace::{Span, Value};
use domain::port::PortResult;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::RedisResult;
use redis::aio::AsyncPushSender;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use super::Options;
use super::breaker::{Breaker, Change};
use super::connection::{Connection, Opener};
use super::error::{Failure, OpenError};
use super::meters::{Meters, Op};
use super::url::RedisUrl;
use crate::traced::Query;

/// A handle; clones share everything.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    url: RedisUrl,
    options: Options,
    opener: Opener,
    connection: ArcSwap<Connection>,
    breaker: Breaker,
    permits: Semaphore,
    meters: Meters,
    connected: watch::Sender<bool>,
}

impl Redis {
    /// Connects in the background, now and whenever the connection is lost: Redis need not be there.
    ///
    /// # Errors
    /// When the address or its certificates can never work.
    pub fn start(url: &RedisUrl, options: Options, lifecycle: &Lifecycle) -> Result<Self, OpenError> {
        let opener = Opener::new(url, &options)?;
        let redis = Self(Arc::new(Inner {
            connection: ArcSwap::from_pointee(opener.open()?),
            breaker: Breaker::new(url.is_cluster(), options.failures_max),
            permits: Semaphore::new(options.requests_max),
            meters: Meters::new(options.name),
            connected: watch::Sender::new(false),
            url: url.clone(),
            opener,
            options,
        }));
        let (probe, draining) = (redis.clone(), lifecycle.draining(Stage::Background));
        lifecycle.spawn("redis probe", Stage::Background, OnError::Log, async move {
            draining.run_until_cancelled(probe.probe()).await;
            Ok::<_, std::convert::Infallible>(())
        });
        Ok(redis)
    }

    /// Returns when Redis has answered for the first time; at once if it has.
    pub async fn connected(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.connected.subscribe().wait_for(|connected| *connected).await;
    }

    pub(super) fn prefix(&self) -> &str {
        &self.0.options.prefix
    }

    pub(super) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(super) fn connection(&self) -> Connection {
        Connection::clone(&self.0.connection.load())
    }

    pub(super) fn open_for_messages(&self, patience: Duration, push: impl AsyncPushSender) -> RedisResult<Connection> {
        self.0.opener.open_for_messages(patience, push)
    }

    pub(super) fn url(&self) -> &RedisUrl {
        &self.0.url
    }

    /// Does `request`, which concerns `key`, within the bounds of this handle.
    pub(super) async fn run<T>(&self, op: Op, key: &[u8], request: impl Future<Output = RedisResult<T>>) -> PortResult<T> {
        let inner = &*self.0;
        let query = Query { system: "redis", operation: op.command(), collection: None, op: op.name() };
        let span = Span::begin(&query);
        let group = inner.breaker.group(key);
        let answer = if inner.breaker.is_open(group) {
            Err(Failure::Skipped)
        } else if let Ok(_permit) = inner.permits.try_acquire() {
            self.ask(op, group, request).await
        } else {
            Err(Failure::Busy)
        };
        match &answer {
            Err(Failure::Skipped) => span.end_with(None, &[("terse.skipped", Value::Bool(true))]),
            answer => span.end(answer.as_ref().err().map(Failure::as_str)),
        }
        answer.map_err(|failure| {
            inner.meters.failed(op, failure.as_str());
            failure.into_port_error(op)
        })
    }

    async fn ask<T>(&self, op: Op, group: usize, request: impl Future<Output = RedisResult<T>>) -> Result<T, Failure> {
        let inner = &*self.0;
        let began = Instant::now();
        let answer = match timeout(inner.options.timeout, request).await {
            Ok(answer) => answer.map_err(Failure::Redis),
            Err(_) => Err(Failure::Timeout),
        };
        match &answer {
            Ok(_) => {
                inner.meters.answered(op, began.elapsed());
                self.note(inner.breaker.answered(group), None);
                if inner.meters.is_news(op, false) {
                    tracing::info!(redis = %inner.url, op = op.name(), "Redis takes such requests again");
                }
            }
            Err(failure) if failure.is_refusal() => {
                self.note(inner.breaker.answered(group), None);
                if inner.meters.is_news(op, true) {
                    tracing::warn!(redis = %inner.url, op = op.name(), error = %failure, "Redis refuses a request: see its memory and the rights of its user");
                }
            }
            Err(failure) => self.note(inner.breaker.failed(group), Some(failure)),
        }
        answer
    }

    /// Logs when Redis, or the first part of it, stops answering, and when all of it answers again.
    fn note(&self, change: Option<Change>, failure: Option<&Failure>) {
        let Some(change) = change else { return };
        let inner = &*self.0;
        match change {
            Change::Broken => {
                let error = failure.map(ToString::to_string);
                tracing::warn!(redis = %inner.url, error, "Redis, or a node of it, does not answer: it is done without until it does");
            }
            Change::Whole => tracing::info!(redis = %inner.url, "Redis answers again"),
        }
        inner.meters.broken(inner.breaker.open_share());
    }

    /// Asks what does not answer, at its own cost, until it does.
    async fn probe(&self) {
        let inner = &*self.0;
        self.probe_first().await;
        let mut silent_since = None;
        loop {
            sleep(inner.options.probe_interval).await;
            let open = inner.breaker.open();
            if open.is_empty() {
                silent_since = None;
                continue;
            }
            let mut asked: FuturesUnordered<_> = open.iter().map(|(group, key)| self.probe_group(*group, key)).collect();
            while asked.next().await.is_some() {}
            inner.meters.broken(inner.breaker.open_share());
            let since = *silent_since.get_or_insert_with(Instant::now);
            if !inner.breaker.open().is_empty() && since.elapsed() >= inner.options.reconnect_after {
                // Whatever the driver believes about its connections and slots is begun anew.
                self.reconnect();
                silent_since = None;
            }
        }
    }

    /// The first connection may take longer than any request may: here it has the time.
    async fn probe_first(&self) {
        while !*self.0.connected.borrow() {
            let mut connection = self.connection();
            let mut cmd = redis::cmd("EXISTS");
            cmd.arg("terse:probe");
            let answer = timeout(self.0.options.connect_timeout * 2, cmd.query_async::<u32>(&mut connection)).await;
            if matches!(answer, Ok(Ok(_))) {
                self.0.connected.send_replace(true);
                tracing::info!(redis = %self.0.url, "connected to Redis");
                return;
            }
            for key in self.0.breaker.keys() {
                let failure = Failure::Timeout;
                self.note(self.0.breaker.failed(self.0.breaker.group(key.as_bytes())), Some(&failure));
            }
            sleep(self.0.options.probe_interval).await;
        }
    }

    async fn probe_group(&self, group: usize, key: &str) {
        let mut connection = self.connection();
        let request = async move { redis::cmd("EXISTS").arg(key).query_async::<u32>(&mut connection).await };
        if let Err(failure) = self.ask(Op::Probe, group, request).await {
            self.0.meters.failed(Op::Probe, failure.as_str());
        }
    }

    fn reconnect(&self) {
        match self.0.opener.open() {
            Ok(connection) => self.0.connection.store(Arc::new(connection)),
            Err(error) => tracing::debug!(redis = %self.0.url, %error, "no new connection"),
        }
    }
}
