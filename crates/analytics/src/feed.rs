//! The consumers of a log whose partitions are shared: one for each partition that is ours, as long as it is.
//!
//! A partition that goes to another process is not counted to its end: what is counted is stored, and the other
//! process begins at the start of the open chunk. Should both count it for a while, they write the same rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use chassis::{Lifecycle, OnError, Stage};
use domain::port::{Assignment, ClickFeed, ClickSource, Clock, LiveCounts, StatsStore};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::consumer::{self, AtEnd, Options};
use crate::live::Live;
use crate::metrics as names;

/// Whoever has it does what only one process should.
const LEADING: u32 = 0;

pub struct Service {
    feed: Box<dyn ClickFeed>,
    store: Arc<dyn StatsStore>,
    live: Arc<dyn LiveCounts>,
    clock: Arc<dyn Clock>,
    options: Options,
    partitions: watch::Sender<Vec<u32>>,
}

/// What others may know of the running consumers.
#[derive(Clone, Debug)]
pub struct Handle(watch::Receiver<Vec<u32>>);

impl Handle {
    /// The partitions that are ours, in order.
    pub fn partitions(&self) -> Vec<u32> {
        self.0.borrow().clone()
    }

    /// Whether this process does what only one should: it has the first partition. For a moment two may think so.
    pub fn leads(&self) -> bool {
        self.0.borrow().first() == Some(&LEADING)
    }

    /// Waits until [`Self::leads`] changes to `leads`; for ever, when the consumers have ended.
    pub async fn until(&mut self, leads: bool) {
        if self.0.wait_for(|partitions| (partitions.first() == Some(&LEADING)) == leads).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Service {
    #[expect(clippy::needless_pass_by_value, reason = "the options are the service's from now on")]
    pub fn new(
        feed: impl ClickFeed,
        store: Arc<dyn StatsStore>,
        live: Arc<dyn LiveCounts>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Self {
        let options = Options { at_end: AtEnd::StoreWhatIsCounted, ..options };
        Self { feed: Box::new(feed), store, live, clock, options, partitions: watch::Sender::new(Vec::new()) }
    }

    pub fn handle(&self) -> Handle {
        Handle(self.partitions.subscribe())
    }

    /// Runs until background tasks drain; then stores what is counted, gives the partitions back, and ends.
    pub fn spawn(self, lifecycle: &Lifecycle) -> Handle {
        let handle = self.handle();
        let draining = lifecycle.draining(Stage::Background);
        let live = Live::start(self.live.clone(), lifecycle);
        lifecycle.spawn("click consumers", Stage::Background, OnError::Drain, self.run(live, draining));
        handle
    }

    /// Counts until `draining`. Fails when a consumer panics: its partition would be left alone.
    pub async fn run(mut self, live: Live, draining: CancellationToken) -> Result<(), JoinError> {
        let mut consumers = Consumers::default();
        let mut pause = self.options.retry_min;
        let outcome = loop {
            let change = tokio::select! {
                biased;
                () = draining.cancelled() => break Ok(()),
                Some(ended) = consumers.tasks.join_next() => match ended {
                    Ok(()) => continue,
                    Err(error) => break Err(error),
                },
                change = self.feed.next() => change,
            };
            match change {
                Ok(Assignment::Gained(source)) => {
                    pause = self.options.retry_min;
                    let consumer = consumer::Service::new(source, self.store.clone(), self.clock.clone(), self.options.clone());
                    consumers.start(consumer.with_live(live.clone()));
                }
                Ok(Assignment::Lost { partition }) => consumers.stop(partition),
                Err(error) => {
                    ::metrics::counter!(names::ERRORS, "what" => "feed").increment(1);
                    tracing::warn!(%error, source = error.source.as_deref().map(tracing::field::display), "no partitions of clicks are given out, trying again");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = draining.cancelled() => break Ok(()),
                    }
                    pause = (pause * 2).min(self.options.retry_max);
                }
            }
            self.show(&consumers);
        };
        // They end together, and before the feed: it gives the partitions back when nobody reads them.
        consumers.stop_all();
        while let Some(ended) = consumers.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a consumer of clicks did not end well");
            }
        }
        self.show(&consumers);
        outcome
    }

    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53 partitions")]
    fn show(&self, consumers: &Consumers) {
        let partitions: Vec<u32> = consumers.running.keys().copied().collect();
        ::metrics::gauge!(names::PARTITIONS).set(partitions.len() as f64);
        self.partitions.send_if_modified(|shown| {
            let is_new = *shown != partitions;
            *shown = partitions;
            is_new
        });
    }
}

#[derive(Default)]
struct Consumers {
    running: BTreeMap<u32, CancellationToken>,
    /// Those that are ending too.
    tasks: JoinSet<()>,
}

impl Consumers {
    fn start(&mut self, consumer: consumer::Service<Box<dyn ClickSource>>) {
        let ends = CancellationToken::new();
        if let Some(earlier) = self.running.insert(consumer.partition(), ends.clone()) {
            earlier.cancel();
        }
        self.tasks.spawn(consumer.run(ends));
    }

    fn stop(&mut self, partition: u32) {
        if let Some(ends) = self.running.remove(&partition) {
            ends.cancel();
        }
    }

    fn stop_all(&mut self) {
        for ends in std::mem::take(&mut self.running).into_values() {
            ends.cancel();
        }
    }
}

#[cfg(test)]
mod tests;
