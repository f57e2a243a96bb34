//! Clicks of limited links: taken in one conditional write for all who wait, and never given out twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::{Lifecycle, OnError, Stage};
use domain::LinkId;
use domain::port::ClickBudget;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::metrics::Metrics;

/// Requests for one link waiting at one time; more are answered 503.
const WAITERS_MAX: usize = 8_192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// One click is spent, on this request.
    One,
    /// No click is left.
    UsedUp,
    /// It could not be decided; a click may be spent.
    Unknown,
}

struct Waiter {
    max: u64,
    answer: oneshot::Sender<Taken>,
}

/// Where the clicks of each limited link are handed out, one write at a time.
pub(crate) struct Till {
    budgets: Arc<dyn ClickBudget>,
    queues: Mutex<HashMap<LinkId, Vec<Waiter>>>,
    write_timeout: Duration,
    lifecycle: Lifecycle,
    metrics: Arc<Metrics>,
}

impl Till {
    pub(crate) fn new(budgets: Arc<dyn ClickBudget>, write_timeout: Duration, lifecycle: Lifecycle, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { budgets, queues: Mutex::default(), write_timeout, lifecycle, metrics })
    }

    /// One click of `link`, whose limit is `max`. Giving up waiting may cost the click.
    pub(crate) async fn take(self: &Arc<Self>, link: LinkId, max: u64) -> Taken {
        let Some(answer) = self.queue(link, max) else { return Taken::Unknown };
        answer.await.unwrap_or(Taken::Unknown)
    }

    /// The first who waits opens the till, in a task of its own: a write must not be lost half-way when
    /// the request that began it is given up.
    fn queue(self: &Arc<Self>, link: LinkId, max: u64) -> Option<oneshot::Receiver<Taken>> {
        let (answer, receiver) = oneshot::channel();
        let mut queues = self.queues();
        let is_first = !queues.contains_key(&link);
        let queue = queues.entry(link).or_default();
        if queue.len() >= WAITERS_MAX {
            return None;
        }
        queue.push(Waiter { max, answer });
        drop(queues);
        if is_first {
            let serving = Serving { till: self.clone(), link, is_open: true };
            self.lifecycle.spawn("redirect-budget", Stage::Background, OnError::Log, async move {
                serving.run().await;
                Ok::<_, std::convert::Infallible>(())
            });
        }
        Some(receiver)
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<LinkId, Vec<Waiter>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The till of one link, open. However it ends, nobody is left waiting at a closed one.
struct Serving {
    till: Arc<Till>,
    link: LinkId,
    is_open: bool,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Once closed, the queue under this link belongs to whoever opened it after us.
        if self.is_open {
            self.till.queues().remove(&self.link);
        }
    }
}

impl Serving {
    async fn run(mut self) {
        // Clicks taken for requests that were given up meanwhile: the next ones get them.
        let mut spare = 0;
        while let Some(waiting) = self.next() {
            spare = self.serve(waiting, spare).await;
        }
    }

    /// All who wait now. `None` closes the till, under the lock, so that the next to come opens it again.
    fn next(&mut self) -> Option<Vec<Waiter>> {
        let mut queues = self.till.queues();
        let waiting = queues.get_mut(&self.link).map(std::mem::take).unwrap_or_default();
        if waiting.is_empty() {
            queues.remove(&self.link);
            self.is_open = false;
            return None;
        }
        Some(waiting)
    }

    async fn serve(&self, mut waiting: Vec<Waiter>, spare: u32) -> u32 {
        waiting.retain(|waiter| !waiter.answer.is_closed());
        let wanted = u32::try_from(waiting.len()).unwrap_or(u32::MAX).saturating_sub(spare);
        let max = waiting.iter().map(|waiter| waiter.max).next_back().unwrap_or(0);
        let (granted, otherwise) = if wanted == 0 { (0, Taken::Unknown) } else { self.write(max, wanted).await };
        let mut left = spare.saturating_add(granted);
        for waiter in waiting {
            let taken = if left > 0 { Taken::One } else { otherwise };
            if waiter.answer.send(taken).is_ok() {
                left -= u32::from(taken == Taken::One);
                self.count(taken);
            }
        }
        left
    }

    async fn write(&self, max: u64, wanted: u32) -> (u32, Taken) {
        match timeout(self.till.write_timeout, self.till.budgets.take(self.link, max, wanted)).await {
            Ok(Ok(granted)) => (granted.min(wanted), Taken::UsedUp),
            Ok(Err(error)) => {
                tracing::warn!(link = %self.link, %error, "clicks could not be taken; they count as spent");
                (0, Taken::Unknown)
            }
            Err(_) => {
                tracing::warn!(link = %self.link, "clicks were not taken in time; they count as spent");
                (0, Taken::Unknown)
            }
        }
    }

    fn count(&self, taken: Taken) {
        let counter = match taken {
            Taken::One => &self.till.metrics.budget_granted,
            Taken::UsedUp => &self.till.metrics.budget_refused,
            Taken::Unknown => &self.till.metrics.budget_unknown,
        };
        counter.increment(1);
    }
}
