//! Links taken down, known by heart: this list overrides what is cached, also while the store is away.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::LinkId;
use domain::port::{LinkChanged, Takedowns};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// What one read of the list may take.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct TakenDown {
    store: Arc<dyn Takedowns>,
    listed: ArcSwap<HashMap<LinkId, Arc<str>>>,
    news: Notify,
    /// How much was heard: a read that began before the last of it is out of date.
    heard: AtomicU64,
    metrics: Arc<Metrics>,
}

impl TakenDown {
    pub(crate) fn new(store: Arc<dyn Takedowns>, metrics: Arc<Metrics>) -> Self {
        Self { store, listed: ArcSwap::default(), news: Notify::new(), heard: AtomicU64::new(0), metrics }
    }

    /// Why the link was taken down, if it was.
    pub(crate) fn reason(&self, link: LinkId) -> Option<Arc<str>> {
        let listed = self.listed.load();
        if listed.is_empty() { None } else { listed.get(&link).cloned() }
    }

    /// A takedown, or the end of one, is not left to the next poll.
    pub(crate) fn heard_of(&self, news: &LinkChanged) {
        if news.blocked == self.listed.load().contains_key(&news.link) {
            return;
        }
        self.heard.fetch_add(1, Ordering::AcqRel);
        if !news.blocked {
            self.listed.rcu(|listed| {
                let mut listed = HashMap::clone(listed);
                listed.remove(&news.link);
                listed
            });
        }
        self.news.notify_one();
    }

    /// News may have been missed: the next poll is now.
    pub(crate) fn poll_soon(&self) {
        self.news.notify_one();
    }

    /// Reads the list. When that fails, what is known stays.
    pub(crate) async fn poll(&self) {
        let heard = self.heard.load(Ordering::Acquire);
        match timeout(READ_TIMEOUT, self.store.all()).await {
            Ok(Ok(_)) if self.heard.load(Ordering::Acquire) != heard => self.news.notify_one(),
            Ok(Ok(all)) => {
                let listed: HashMap<_, Arc<str>> = all.iter().map(|(link, reason)| (*link, reason.as_str().into())).collect();
                self.metrics.takedowns.set(f64::from(u32::try_from(listed.len()).unwrap_or(u32::MAX)));
                self.listed.store(Arc::new(listed));
                self.metrics.takedown_poll_ok.increment(1);
            }
            Ok(Err(error)) => {
                self.metrics.takedown_poll_failed.increment(1);
                tracing::debug!(%error, "the list of takedowns cannot be read; the last one stays");
            }
            Err(_) => {
                self.metrics.takedown_poll_failed.increment(1);
                tracing::debug!("the list of takedowns was not read in time; the last one stays");
            }
        }
    }

    /// Polls `each`, and at once on news, until `draining`.
    pub(crate) async fn run(&self, each: Duration, draining: CancellationToken, after_poll: impl Fn() + Send) {
        loop {
            tokio::select! {
                () = draining.cancelled() => return,
                () = tokio::time::sleep(each) => {}
                () = self.news.notified() => {}
            }
            self.poll().await;
            after_poll();
        }
    }
}
