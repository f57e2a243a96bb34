//! The link store, asked by no more than so many at one time, and for no longer than it may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::port::{LinkStore, PortError};
use domain::{DomainNo, Link, Slug};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::metrics::Metrics;

/// A read that told nothing. Counted and logged where it happened.
pub(crate) struct Unread;

enum Failure {
    Error(PortError),
    Timeout,
}

pub(crate) struct Store {
    links: Arc<dyn LinkStore>,
    permits: Semaphore,
    read_timeout: Duration,
    answers: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Store {
    pub(crate) fn new(links: Arc<dyn LinkStore>, reads_max: usize, read_timeout: Duration, metrics: Arc<Metrics>) -> Self {
        Self { links, permits: Semaphore::new(reads_max), read_timeout, answers: AtomicBool::new(true), metrics }
    }

    /// Whether it did when last asked.
    pub(crate) fn answers(&self) -> bool {
        self.answers.load(Ordering::Acquire)
    }

    pub(crate) async fn find(&self, domain: DomainNo, slug: Slug<'_>) -> Result<Option<Link>, Unread> {
        let began = Instant::now();
        let read = async {
            // Never closed.
            let _permit = self.permits.acquire().await;
            self.links.find(domain, slug).await.map_err(Failure::Error)
        };
        let found = timeout(self.read_timeout, read).await.unwrap_or(Err(Failure::Timeout));
        self.metrics.store_read.record(began.elapsed().as_secs_f64());
        self.note(found.as_ref().err());
        found.map_err(|_| Unread)
    }

    /// Logs when the store stops answering and when it answers again, not each read in between.
    fn note(&self, failure: Option<&Failure>) {
        let answers = failure.is_none();
        if !answers {
            self.metrics.store_error.increment(1);
        }
        if self.answers.swap(answers, Ordering::AcqRel) == answers {
            return;
        }
        match failure {
            None => tracing::info!("the link store answers again"),
            Some(Failure::Error(error)) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the link store fails; cached links are served, others are answered 503");
            }
            Some(Failure::Timeout) => {
                let timeout_ms = self.read_timeout.as_millis();
                tracing::warn!(timeout_ms, "the link store does not answer in time; cached links are served, others are answered 503");
            }
        }
    }
}
