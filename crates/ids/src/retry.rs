//! When an attempt at compare-and-set is made again, and when a call gives up.

use std::time::Duration;

use domain::port::{Entropy, Outcome, PortError};
use domain::{Error, Reason, Result};

use crate::metrics::{Swap, Swaps};

/// Lost races after which a call gives up: each means that somebody else got on.
const RACES_MAX: u32 = 32;
/// Failures of the store after which a call gives up. Every attempt reads the row afresh.
const FAILURES_MAX: u32 = 3;
const BACKOFF_FIRST: Duration = Duration::from_millis(1);
const BACKOFF_MAX: Duration = Duration::from_millis(64);

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Somebody else changed the row.
    Race,
    Store(PortError),
    /// No attempt can change this.
    Final(Error),
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::Store(error)
    }
}

#[derive(Default)]
pub(crate) struct Retries {
    races: u32,
    failures: u32,
}

impl Retries {
    /// Waits before the next attempt, or says why there is none. Waits are exponential with jitter over
    /// the whole of it, so that two who raced do not race again.
    pub(crate) async fn after(&mut self, failure: Failure, entropy: &dyn Entropy) -> Result<()> {
        match failure {
            Failure::Race if self.races < RACES_MAX => self.races += 1,
            Failure::Race => return Err(unavailable("too many processes change the same row; try again")),
            Failure::Store(_) if self.failures + 1 < FAILURES_MAX => self.failures += 1,
            Failure::Store(error) => return Err(error.into()),
            Failure::Final(error) => return Err(error),
        }
        let exponent = (self.races + self.failures - 1).min(10);
        let ceiling = BACKOFF_FIRST.saturating_mul(1 << exponent).min(BACKOFF_MAX);
        let ceiling_us = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
        tokio::time::sleep(Duration::from_micros(entropy.u64() % ceiling_us)).await;
        Ok(())
    }
}

/// Only an applied swap grants. An unknown outcome is a failure like any other to the caller, who reads
/// the row again and goes on from there: what it may have granted is lost, never used.
pub(crate) fn granted(outcome: std::result::Result<bool, PortError>, swaps: &Swaps) -> Result<(), Failure> {
    let (swap, granted) = match outcome {
        Ok(true) => (Swap::Granted, Ok(())),
        Ok(false) => (Swap::Lost, Err(Failure::Race)),
        Err(error) if error.outcome == Outcome::Unknown => (Swap::Unknown, Err(error.into())),
        Err(error) => (Swap::Failed, Err(error.into())),
    };
    swaps.count(swap);
    granted
}

pub(crate) fn unavailable(detail: &str) -> Error {
    Error::new(Reason::Unavailable, detail).with_retry_after(Duration::from_secs(1))
}
