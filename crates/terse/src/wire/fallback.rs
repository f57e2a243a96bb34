//! Ids when the ID service does not answer: the same service in this process, on the same store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use domain::api::{CodeBlock, Deadline, Ids};
use domain::{Error, Kind, LinkId, Result};

/// Grants of both are disjoint, whoever makes them: the store sees to that.
pub(super) struct FallbackIds {
    remote: Arc<dyn Ids>,
    local: Arc<dyn Ids>,
    remote_answers: AtomicBool,
}

impl FallbackIds {
    pub(super) fn new(remote: Arc<dyn Ids>, local: Arc<dyn Ids>) -> Self {
        Self { remote, local, remote_answers: AtomicBool::new(true) }
    }

    /// Logs when the service stops answering and when it answers again; true for an error that the local one may mend.
    fn note<T>(&self, answer: &Result<T>) -> bool {
        let failure = answer.as_ref().err().filter(|error| error.kind() == Kind::Unavailable);
        let answers = failure.is_none();
        if self.remote_answers.swap(answers, Ordering::AcqRel) != answers {
            match failure {
                None => tracing::info!("the ID service answers again"),
                Some(error) => log_failure(error),
            }
        }
        !answers
    }
}

fn log_failure(error: &Error) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(%error, cause, "the ID service does not answer; ids and codes are taken from the store by this process");
}

/// The remote service gets a part of the time, so that the local one has the rest.
fn half(deadline: Deadline) -> Deadline {
    let now = std::time::Instant::now();
    Deadline::after(now, deadline.remaining(now) / 2)
}

#[async_trait]
impl Ids for FallbackIds {
    async fn next_ids(&self, count: u32, deadline: Deadline) -> Result<Vec<LinkId>> {
        let answer = self.remote.next_ids(count, half(deadline)).await;
        if self.note(&answer) { self.local.next_ids(count, deadline).await } else { answer }
    }

    async fn lease_codes(&self, count: u32, deadline: Deadline) -> Result<CodeBlock> {
        let answer = self.remote.lease_codes(count, half(deadline)).await;
        if self.note(&answer) { self.local.lease_codes(count, deadline).await } else { answer }
    }
}
