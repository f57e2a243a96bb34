//! What a service needs. Each port has its contract test next to it (feature `contract`), which every
//! backend passes. "Not found" and "taken" are `Ok`; an `Err` means that a dependency failed.

#[cfg(any(test, feature = "contract"))]
pub mod contract;

mod claim_store;
mod click_budget;
mod click_log;
mod clock;
mod domain_store;
mod entropy;
mod geo;
mod job_store;
mod key_store;
mod lease_store;
mod link_cache;
mod link_events;
mod link_store;
mod live_counts;
mod rate_limiter;
mod salt_store;
mod stats_store;
mod takedowns;
mod tally_sum;

pub use claim_store::*;
pub use click_budget::*;
pub use click_log::*;
pub use clock::*;
pub use domain_store::*;
pub use entropy::*;
pub use geo::*;
pub use job_store::*;
pub use key_store::*;
pub use lease_store::*;
pub use link_cache::*;
pub use link_events::*;
pub use link_store::*;
pub use live_counts::*;
pub use rate_limiter::*;
pub use salt_store::*;
pub use stats_store::*;
pub use takedowns::*;
pub use tally_sum::*;

use std::error::Error as StdError;
use std::time::Duration;

use crate::error::{Error, Reason};

/// What went wrong with a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortErrorKind {
    /// Does not answer, or not in time, or is shutting down.
    Unavailable,
    /// Refuses writes: the disk is full. Reads go on.
    Full,
    /// Answers with something it should never contain.
    Corrupt,
}

/// A dependency failed.
#[derive(Debug, thiserror::Error)]
#[error("{op}: {kind:?}")]
pub struct PortError {
    pub kind: PortErrorKind,
    /// What was tried, e.g. `sqlite: insert links`.
    pub op: &'static str,
    /// Whether a write may have been applied all the same.
    pub outcome: Outcome,
    #[source]
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    NotApplied,
    Unknown,
}

impl PortError {
    pub fn new(kind: PortErrorKind, op: &'static str, outcome: Outcome) -> Self {
        Self { kind, op, outcome, source: None }
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl From<PortError> for Error {
    fn from(error: PortError) -> Self {
        let reason = match error.kind {
            PortErrorKind::Unavailable | PortErrorKind::Full => Reason::Unavailable,
            PortErrorKind::Corrupt => Reason::Internal,
        };
        let detail = match error.kind {
            PortErrorKind::Unavailable => "the store does not answer; try again",
            PortErrorKind::Full => "the store's disk is full; reading goes on",
            PortErrorKind::Corrupt => "an internal error; the log has the cause under the request id",
        };
        Error::new(reason, detail).with_retry_after(Duration::from_secs(1)).with_source(error)
    }
}

pub type PortResult<T> = Result<T, PortError>;
