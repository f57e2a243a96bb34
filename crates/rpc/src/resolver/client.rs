//! One replica of the redirect service. Who chooses among replicas, and whether a request is sent again,
//! is decided by whoever holds several of these.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use chassis::lifecycle::{Lifecycle, OnError, Stage};
use chassis::trace::{self, Span};
use domain::api::{Answer, Ask, Deadline, Resolver};
use domain::{Error, Reason, Result};
use tokio::sync::oneshot;
use tonic::Code;

use super::answers::{Step, one};
use super::asks::{timeout_us, to_ask};
use super::batch::{Options, Queue, Waiting};
use crate::answer::too_late;
use crate::call::Frame;
use crate::channel::Channel;
use crate::method;
use crate::method::resolver::{RESOLVE, RESOLVE_ONE};
use crate::traced::{self, Calling};
use crate::{metrics, proto, status};

/// The redirect service at one address.
pub struct Client {
    queue: Arc<Queue>,
}

impl Client {
    /// Its tasks end with it, or when `life` has drained all intake.
    pub fn new(channel: Channel, options: Options, life: &Lifecycle) -> Self {
        let queue = Queue::new(channel, options);
        for _ in 0..options.batches_in_flight.max(1) {
            let (queue, draining) = (queue.clone(), life.draining(Stage::Background));
            life.spawn("resolve batches", Stage::Background, OnError::Drain, async move {
                tokio::select! {
                    () = queue.send_batches() => {}
                    () = draining.cancelled() => queue.closed.cancel(),
                }
                Ok::<_, Infallible>(())
            });
        }
        Self { queue }
    }

    pub fn channel(&self) -> &Channel {
        &self.queue.channel
    }

    async fn resolve_one(&self, mut ask: proto::ResolveAsk, deadline: Deadline) -> Result<Answer> {
        let begun = Instant::now();
        ask.timeout_us = timeout_us(deadline);
        let frame = Frame::encode(&proto::ResolveOneRequest { ask: Some(ask) }, method::RESOLVER)?;
        let answer = self.queue.channel.call(&RESOLVE_ONE, method::RESOLVER, &frame, deadline).await;
        let outcome = answer.and_then(one);
        metrics::called(&RESOLVE_ONE, outcome.as_ref().map_or_else(status::code, |_| tonic::Code::Ok), begun.elapsed());
        outcome
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.queue.closed.cancel();
    }
}

#[async_trait]
impl Resolver for Client {
    /// Nothing is remembered here.
    fn try_resolve(&self, _ask: &Ask<'_>) -> Option<Answer> {
        None
    }

    async fn resolve(&self, ask: &Ask<'_>, deadline: Deadline) -> Result<Answer> {
        let (answer, outcome) = oneshot::channel();
        let calling = Calling { method: &RESOLVE, address: self.queue.channel.address() };
        let span = Span::begin(&calling);
        let ask = trace::within(span.scope(), || to_ask(ask, deadline));
        self.queue.join(Waiting { ask, deadline, answer })?;
        let outcome = tokio::time::timeout_at(deadline.at().into(), outcome).await;
        let code = match &outcome {
            Ok(Ok(Ok(_))) => Code::Ok,
            Ok(Ok(Err(error))) => status::code(error),
            Ok(Err(_)) | Err(_) => Code::DeadlineExceeded,
        };
        span.end_with(traced::error_type(code), &[traced::status(code)]);
        match outcome {
            Ok(Ok(Ok((Step::Answered(answer), _)))) => Ok(answer),
            Ok(Ok(Ok((Step::Deferred, ask)))) => self.resolve_one(ask, deadline).await,
            Ok(Ok(Err(error))) => Err(error),
            // Its time was over before it was sent, or nobody sends any more.
            Ok(Err(_)) if deadline.remaining(Instant::now()).is_zero() => Err(too_late()),
            Ok(Err(_)) => Err(Error::new(Reason::Unavailable, "the process is ending")),
            Err(_) => Err(too_late()),
        }
    }
}
