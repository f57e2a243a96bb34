//! Who waits for one replica, and the calls that carry them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use domain::api::Deadline;
use domain::{Error, Reason, Result};
use prost::Message as _;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::answers::{Step, steps};
use super::asks::{self, BATCH_LEN_MAX};
use crate::call::Frame;
use crate::channel::Channel;
use crate::method::{self, resolver::RESOLVE};
use crate::{metrics, proto, status};

/// How batches are formed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Batches under way at once. Fewer make larger batches; one would add a round trip to every wait.
    pub batches_in_flight: usize,
    /// Requests of one batch, 256 at most.
    pub batch_len_max: usize,
    /// Requests that wait to be sent; more are refused at once.
    pub queue_len_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { batches_in_flight: 2, batch_len_max: BATCH_LEN_MAX, queue_len_max: 8_192 }
    }
}

/// Bytes of the requests of one batch, well below what a server reads.
const BATCH_BYTES_MAX: usize = 512 << 10;

/// One request on its way, and who waits for it.
pub(super) struct Waiting {
    pub(super) ask: proto::ResolveAsk,
    pub(super) deadline: Deadline,
    pub(super) answer: oneshot::Sender<Outcome>,
}

/// What a batch came to for one request; a deferred one gets its request back.
pub(super) type Outcome = Result<(Step, proto::ResolveAsk)>;

pub(super) struct Queue {
    pub(super) channel: Channel,
    options: Options,
    waiting: Mutex<VecDeque<Waiting>>,
    arrival: Notify,
    /// Nobody sends any more.
    pub(super) closed: CancellationToken,
}

impl Queue {
    pub(super) fn new(channel: Channel, options: Options) -> Arc<Self> {
        Arc::new(Self { channel, options, waiting: Mutex::default(), arrival: Notify::new(), closed: CancellationToken::new() })
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// `Unavailable`, never sent, when too many wait already.
    pub(super) fn join(&self, item: Waiting) -> Result<()> {
        let mut waiting = self.waiting();
        if waiting.len() >= self.options.queue_len_max || self.closed.is_cancelled() {
            return Err(Error::new(Reason::Unavailable, "too many requests wait for a service; try again").with_never_sent());
        }
        waiting.push_back(item);
        drop(waiting);
        self.arrival.notify_one();
        Ok(())
    }

    /// Sends batch after batch until the queue is closed. Several run at once.
    pub(super) async fn send_batches(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.arrival.notified() => {}
                () = self.closed.cancelled() => return,
            }
            loop {
                let batch = self.take();
                if batch.is_empty() {
                    break;
                }
                self.send(batch).await;
            }
        }
    }

    /// Whatever waits and is still wanted, as far as it fits one batch.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let len_max = self.options.batch_len_max.clamp(1, BATCH_LEN_MAX);
        let mut batch = Vec::with_capacity(waiting.len().min(len_max));
        let (mut bytes, now) = (0, Instant::now());
        while batch.len() < len_max && bytes < BATCH_BYTES_MAX {
            let Some(item) = waiting.pop_front() else { break };
            // Nobody waits for it any more: it must not be counted as a click.
            if item.answer.is_closed() || item.deadline.remaining(now).is_zero() {
                continue;
            }
            bytes += item.ask.encoded_len();
            batch.push(item);
        }
        let more = !waiting.is_empty();
        drop(waiting);
        if more {
            self.arrival.notify_one();
        }
        batch
    }

    async fn send(&self, batch: Vec<Waiting>) {
        metrics::batched(batch.len());
        let begun = Instant::now();
        let (mut asks, mut answers) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let mut latest = None;
        for item in batch {
            latest = latest.max(Some(item.deadline));
            asks.push(proto::ResolveAsk { timeout_us: asks::timeout_us(item.deadline), ..item.ask });
            answers.push(item.answer);
        }
        let request = proto::ResolveRequest { asks };
        let outcome = match latest {
            Some(deadline) => self.call(&request, deadline).await,
            None => return,
        };
        metrics::called(&RESOLVE, outcome.as_ref().map_or_else(status::code, |_| tonic::Code::Ok), begun.elapsed());
        let each = answers.into_iter().zip(request.asks);
        match outcome {
            Ok(steps) => {
                for ((answer, ask), step) in each.zip(steps) {
                    // Who has left does not want to know.
                    let _ = answer.send(step.map(|step| (step, ask)));
                }
            }
            Err(error) => {
                for (answer, _) in each {
                    let _ = answer.send(Err(again(&error)));
                }
            }
        }
    }

    async fn call(&self, request: &proto::ResolveRequest, deadline: Deadline) -> Result<Vec<Result<Step>>> {
        let frame = Frame::encode(request, method::RESOLVER)?;
        let answer = self.channel.call(&RESOLVE, method::RESOLVER, &frame, deadline).await?;
        steps(answer, request.asks.len())
    }
}

/// The same failure for one more request of the batch.
fn again(error: &Error) -> Error {
    let mut copy = Error::new(error.reason(), error.detail());
    if let Some(source) = std::error::Error::source(error) {
        copy = copy.with_source(source.to_string());
    }
    if let Some(after) = error.retry_after() {
        copy = copy.with_retry_after(after);
    }
    if error.was_never_sent() { copy.with_never_sent() } else { copy }
}
