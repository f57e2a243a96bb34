//! Whether the servers answer: said once when it changes, not at each failure.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use domain::port::{PortError, PortErrorKind};

/// Failures in a row that are taken for the servers being away rather than for one slow answer.
const AWAY: u32 = 5;

pub(super) struct Health {
    place: String,
    failures: AtomicU32,
    is_away: AtomicBool,
}

impl Health {
    pub(super) fn new(place: String) -> Self {
        Self { place, failures: AtomicU32::new(0), is_away: AtomicBool::new(false) }
    }

    pub(super) fn answered(&self) {
        // Read first: a store on each answer would be shared by all cores.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.is_away.load(Ordering::Relaxed) && self.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!(store = self.place, "the store answers again");
        }
    }

    pub(super) fn failed(&self, error: &PortError) {
        if error.kind == PortErrorKind::Corrupt {
            let cause = cause(error);
            tracing::error!(store = self.place, op = error.op, cause, "the store answered with something it should not contain");
            return;
        }
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= AWAY && !self.is_away.swap(true, Ordering::Relaxed) {
            tracing::warn!(store = self.place, op = error.op, cause = cause(error), "the store does not answer; trying on");
        }
    }
}

fn cause(error: &PortError) -> String {
    error.source.as_deref().map_or_else(|| error.to_string(), ToString::to_string)
}
