//! L2: the cache that replicas share. Whatever it says or fails to say, it is only ever a shortcut: an error is a miss.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::port::{LinkCache, PortResult, Rebuild, Remembered};
use domain::{DomainNo, Link, Slug};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::dice::Dice;
use crate::errands;
use crate::metrics::Metrics;
use crate::options::L2;
use crate::reader::waiting;

/// While another replica reads the store: how often, and after how long each time, to look for what it found.
const PEEKS_MAX: u32 = 3;
const PEEK_PAUSE: Duration = Duration::from_millis(8);
/// Writes that wait for their turn; more are left out, and cost a read of the store later.
const FILL_QUEUE_LEN: usize = 1_024;
const FILLS_MAX: usize = 64;

/// What it held when it was asked.
pub(crate) struct Held {
    pub(crate) what: Remembered,
    /// When the question was sent, so that `fresh_for` is never counted from too late.
    pub(crate) asked_at: Instant,
    pub(crate) fresh_for: Duration,
    pub(crate) delta: Duration,
}

/// It failed, or was too slow.
pub(crate) struct Mute;

/// What a read of the store is worth to the others.
pub(crate) enum Fill {
    Link { link: Box<Link>, began: Instant, delta: Duration },
    Absent { domain: DomainNo, typed: Box<str>, began: Instant },
}

pub(crate) struct Tier {
    cache: Arc<dyn LinkCache>,
    options: L2,
    fills: mpsc::Sender<Fill>,
    answers: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Tier {
    pub(crate) fn new(cache: Arc<dyn LinkCache>, options: L2, metrics: Arc<Metrics>) -> (Arc<Self>, mpsc::Receiver<Fill>) {
        let (fills, queue) = mpsc::channel(FILL_QUEUE_LEN);
        (Arc::new(Self { cache, options, fills, answers: AtomicBool::new(true), metrics }), queue)
    }

    pub(crate) async fn find(&self, domain: DomainNo, slug: Slug<'_>) -> Result<Option<Held>, Mute> {
        let asked_at = Instant::now();
        let cached = self.ask(self.cache.find(domain, slug)).await?;
        Ok(cached.map(|cached| Held { what: cached.what, asked_at, fresh_for: cached.fresh_for, delta: cached.delta }))
    }

    /// Who is to read the store; we, when it cannot say.
    pub(crate) async fn rebuild(&self, domain: DomainNo, slug: Slug<'_>) -> Rebuild {
        self.ask(self.cache.rebuild(domain, slug)).await.unwrap_or(Rebuild::Ours)
    }

    /// Looks a few times, a few milliseconds apart, for something that `is_answer`.
    pub(crate) async fn await_other<T>(
        &self,
        domain: DomainNo,
        slug: Slug<'_>,
        dice: &Dice,
        is_answer: impl Fn(Held) -> Option<T>,
    ) -> Option<T> {
        for _ in 0..PEEKS_MAX {
            tokio::time::sleep(PEEK_PAUSE.mul_f64(0.75 + dice.roll() / 2.0)).await;
            if let Some(answer) = self.find(domain, slug).await.ok()?.and_then(&is_answer) {
                return Some(answer);
            }
        }
        None
    }

    /// Without waiting: the answer to the request comes first.
    pub(crate) fn fill(&self, fill: Fill) {
        if self.fills.try_send(fill).is_err() {
            self.metrics.fill_dropped.increment(1);
        }
    }

    /// Writes that wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        waiting(&self.fills)
    }

    pub(crate) async fn run_fills(self: Arc<Self>, queue: mpsc::Receiver<Fill>, draining: CancellationToken) {
        errands::run(queue, FILLS_MAX, draining, |fill| self.write(fill)).await;
    }

    async fn write(&self, fill: Fill) {
        let written = match &fill {
            Fill::Link { link, began, delta } => self.ask(self.cache.put(link, began.elapsed(), *delta)).await,
            Fill::Absent { domain, typed, began } => match Slug::parse(typed) {
                Some(slug) => self.ask(self.cache.put_absent(*domain, slug, began.elapsed())).await,
                None => return,
            },
        };
        if written.is_ok() { &self.metrics.fill_ok } else { &self.metrics.fill_error }.increment(1);
    }

    async fn ask<T>(&self, answer: impl Future<Output = PortResult<T>>) -> Result<T, Mute> {
        let answer = timeout(self.options.timeout, answer).await;
        let is_mute = !matches!(answer, Ok(Ok(_)));
        // The change of state is logged, not each failure.
        if self.answers.swap(!is_mute, Ordering::AcqRel) == is_mute {
            let timeout_ms = self.options.timeout.as_millis();
            match &answer {
                Ok(Ok(_)) => tracing::info!("the shared cache answers again"),
                Ok(Err(error)) => {
                    let cause = std::error::Error::source(error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "the shared cache fails; what memory does not hold is read from the store");
                }
                Err(_) => tracing::warn!(timeout_ms, "the shared cache does not answer in time; the store is read instead"),
            }
        }
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(Mute),
        }
    }
}
