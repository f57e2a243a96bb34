//! What a service offers. Callers hold `Arc<dyn Trait>`; the service implements it, and so does its
//! client in another process.

#[cfg(any(test, feature = "contract"))]
pub mod contract;

mod ids;
mod links;
mod resolver;
mod stats;

pub use ids::*;
pub use links::*;
pub use resolver::*;
pub use stats::*;

use std::time::{Duration, Instant};

/// When an answer is of no more use. Monotonic, so only within one process; what crosses is the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(from: Instant, budget: Duration) -> Self {
        Self(from + budget)
    }

    pub fn at(self) -> Instant {
        self.0
    }

    pub fn remaining(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }
}
