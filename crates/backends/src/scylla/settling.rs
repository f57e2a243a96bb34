//! Attempts at one conditional write until it is clear what became of it, or its time is over.

use std::time::Duration;

use domain::port::{Outcome, PortError, PortErrorKind, PortResult};
use domain::{Link, port::Inserted};
use tokio::time::{Instant, timeout_at};

use super::Scylla;
use crate::metrics::CQL_CONTENDED;

/// Less time than this is not worth another attempt.
const ATTEMPT_MIN: Duration = Duration::from_millis(50);

pub(super) struct Settling {
    op: &'static str,
    until: Instant,
    attempts: usize,
    /// Whether an attempt may have been applied without our knowing.
    pub(super) is_unclear: bool,
    last: Option<PortError>,
}

impl Settling {
    pub(super) fn new(scylla: &Scylla, op: &'static str) -> Self {
        Self { op, until: Instant::now() + scylla.options().settle_timeout, attempts: 0, is_unclear: false, last: None }
    }

    /// `None`: nobody knows whether it was applied; [`Self::look`].
    pub(super) async fn attempt<T>(&mut self, sent: impl Future<Output = PortResult<T>>) -> PortResult<Option<T>> {
        if self.attempts > 0 {
            metrics::counter!(CQL_CONTENDED, "op" => self.op).increment(1);
            if Instant::now() + ATTEMPT_MIN >= self.until {
                return Err(self.unknown());
            }
        }
        self.attempts += 1;
        match timeout_at(self.until, sent).await {
            Ok(Ok(answer)) => return Ok(Some(answer)),
            Ok(Err(error)) if error.outcome == Outcome::NotApplied => {
                return Err(if self.is_unclear { PortError { outcome: Outcome::Unknown, ..error } } else { error });
            }
            Ok(Err(error)) => self.last = Some(error),
            Err(_) => {}
        }
        self.is_unclear = true;
        Ok(None)
    }

    /// Runs a SERIAL read, which sees and finishes what was begun. `None`: it failed.
    pub(super) async fn look<T>(&mut self, read: impl Future<Output = PortResult<T>>) -> PortResult<Option<T>> {
        if Instant::now() + ATTEMPT_MIN >= self.until {
            return Err(self.unknown());
        }
        match timeout_at(self.until, read).await {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(error)) if error.kind == PortErrorKind::Corrupt => Err(error),
            Ok(Err(error)) => {
                self.last.get_or_insert(error);
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    /// The time is over.
    pub(super) fn unknown(&mut self) -> PortError {
        let outcome = if self.is_unclear { Outcome::Unknown } else { Outcome::NotApplied };
        match self.last.take() {
            Some(error) => PortError { outcome, ..error },
            None => PortError::new(PortErrorKind::Unavailable, self.op, outcome),
        }
    }

    /// The code has a row; if it is ours after an unclear attempt, that attempt stored it.
    pub(super) fn taken(&self, link: &Link, row: Link) -> Inserted {
        if self.is_unclear && row.id == link.id { Inserted::Stored } else { Inserted::Taken(row) }
    }
}

/// What failed came before the write that counts.
pub(super) fn not_applied(error: PortError) -> PortError {
    PortError { outcome: Outcome::NotApplied, ..error }
}
