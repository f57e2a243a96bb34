//! What other processes hold of a link, told of its change: the shared cache first, then the news, so that
//! whoever hears it finds the new value there.
//!
//! None of it can fail a change that is stored: what is cached grows old and ends by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::Link;
use domain::port::{LinkCache, LinkChanged, LinkEvents, PortError};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::time::timeout;

use crate::metrics;

/// What telling the cache of one link may take, while somebody waits for the answer.
const PUT_TIMEOUT: Duration = Duration::from_millis(20);
/// What publishing the news of one change may take.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(1);
/// The same for all links of a bulk.
const PUTS_TIMEOUT: Duration = Duration::from_millis(250);
/// Links of a bulk under way at once.
const AT_ONCE: usize = 64;

/// What became of a change, and so what must follow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Follow {
    Changed,
    Nothing,
    /// It may be stored. News of it that is not true costs caches in memory a read; a false row must not
    /// be put anywhere.
    Doubtful,
}

pub(crate) struct Caches {
    cache: Arc<dyn LinkCache>,
    events: Arc<dyn LinkEvents>,
    cache_answers: AtomicBool,
    news_goes_out: AtomicBool,
}

impl Caches {
    pub(crate) fn new(cache: Arc<dyn LinkCache>, events: Arc<dyn LinkEvents>) -> Self {
        Self { cache, events, cache_answers: AtomicBool::new(true), news_goes_out: AtomicBool::new(true) }
    }

    /// Rows as they are in the store.
    pub(crate) async fn put_all(&self, rows: Vec<&Link>) {
        let puts: Vec<_> = rows.into_iter().map(|row| self.put(row).boxed()).collect();
        if timeout(PUTS_TIMEOUT, some_at_once(puts)).await.is_err() {
            ::metrics::counter!(metrics::CACHE_WRITES, "outcome" => "left_out").increment(1);
        }
    }

    /// A row as it is in the store: a deleted one is the tombstone of what is cached.
    pub(crate) async fn put(&self, row: &Link) {
        let outcome = flat(timeout(PUT_TIMEOUT, self.cache.put(row, Duration::ZERO, Duration::ZERO)).await);
        ::metrics::counter!(metrics::CACHE_WRITES, "outcome" => if outcome.is_ok() { "ok" } else { "error" }).increment(1);
        match (self.cache_answers.swap(outcome.is_ok(), Ordering::AcqRel), outcome) {
            (false, Ok(())) => tracing::info!("the shared cache takes links again"),
            (true, Err(error)) => {
                tracing::warn!(error, "the shared cache takes no links; what it holds of changed ones ends by itself");
            }
            (true, Ok(())) | (false, Err(_)) => {}
        }
    }

    pub(crate) async fn follow(&self, what: Follow, row: &Link) {
        match what {
            Follow::Changed => self.changed(row).await,
            Follow::Nothing => {}
            Follow::Doubtful => self.announce(row).await,
        }
    }

    pub(crate) async fn follow_all(&self, what: Follow, rows: &[Link]) {
        some_at_once(rows.iter().map(|row| self.follow(what, row).boxed()).collect()).await;
    }

    /// First the value, then the news that makes others look for it.
    async fn changed(&self, row: &Link) {
        self.put(row).await;
        self.announce(row).await;
    }

    /// Says that `link` is at this version, which makes caches in memory read it again.
    pub(crate) async fn announce(&self, link: &Link) {
        let event = LinkChanged {
            link: link.id,
            domain: link.domain,
            key: link.code.key(),
            version: link.version,
            blocked: link.blocked.is_some(),
        };
        let outcome = flat(timeout(PUBLISH_TIMEOUT, self.events.publish(event)).await);
        ::metrics::counter!(metrics::ANNOUNCED, "outcome" => if outcome.is_ok() { "ok" } else { "error" }).increment(1);
        match (self.news_goes_out.swap(outcome.is_ok(), Ordering::AcqRel), outcome) {
            (false, Ok(())) => tracing::info!("changes of links are announced again"),
            (true, Err(error)) => {
                tracing::warn!(error, "changes of links are not announced; caches learn of them when their entries end");
            }
            (true, Ok(())) | (false, Err(_)) => {}
        }
    }
}

async fn some_at_once(calls: Vec<BoxFuture<'_, ()>>) {
    stream::iter(calls).buffer_unordered(AT_ONCE).collect::<()>().await;
}

fn flat<E>(outcome: Result<Result<(), PortError>, E>) -> Result<(), String> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.source.as_deref().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
