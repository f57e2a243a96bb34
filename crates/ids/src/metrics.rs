//! What the ID service counts.

use metrics::{Counter, Gauge};

chassis::metrics! {
    /// Snowflake ids handed out.
    Counter IDS = "terse_ids_issued_total" in "ids";
    /// Attempts to be granted a window of ids.
    Counter WINDOWS = "terse_ids_windows_total" in "attempts" by ["outcome": "granted|lost|unknown|failed"];
    /// How far the newest id is ahead of the clock: more than a window when the clock was set back or demand exceeds 4,096,000 ids/s.
    Gauge AHEAD = "terse_ids_ahead_seconds" in "seconds";
    /// Attempts to lease a block of counters.
    Counter BLOCKS = "terse_ids_code_blocks_total" in "attempts" by ["outcome": "granted|lost|unknown|failed"];
    /// Counters leased; about 69 % become codes.
    Counter COUNTERS = "terse_ids_code_counters_total" in "counters";
    /// Counters of the current key epoch that were never leased.
    Gauge COUNTERS_LEFT = "terse_ids_code_counters_left" in "counters";
}

/// How an attempt at compare-and-set ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swap {
    Granted,
    /// Somebody else was first.
    Lost,
    /// May have been applied; what it would have granted is never used.
    Unknown,
    Failed,
}

/// The four outcomes of one kind of swap.
pub(crate) struct Swaps([Counter; 4]);

impl Swaps {
    pub(crate) fn new(name: &'static str) -> Self {
        Self(["granted", "lost", "unknown", "failed"].map(|outcome| metrics::counter!(name, "outcome" => outcome)))
    }

    pub(crate) fn count(&self, swap: Swap) {
        let [granted, lost, unknown, failed] = &self.0;
        let counter = match swap {
            Swap::Granted => granted,
            Swap::Lost => lost,
            Swap::Unknown => unknown,
            Swap::Failed => failed,
        };
        counter.increment(1);
    }
}

/// Handles kept for the life of the service. The recorder must be installed before it is made.
pub(crate) struct Meters {
    pub(crate) ids: Counter,
    pub(crate) windows: Swaps,
    pub(crate) ahead: Gauge,
    pub(crate) blocks: Swaps,
    pub(crate) counters: Counter,
    pub(crate) counters_left: Gauge,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            ids: metrics::counter!(IDS),
            windows: Swaps::new(WINDOWS),
            ahead: metrics::gauge!(AHEAD),
            blocks: Swaps::new(BLOCKS),
            counters: metrics::counter!(COUNTERS),
            counters_left: metrics::gauge!(COUNTERS_LEFT),
        }
    }
}
