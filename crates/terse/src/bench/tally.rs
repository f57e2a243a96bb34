//! What became of the requests: counted as they end, added up at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;

use super::histogram::Histogram;

/// Workers share them, so that thousands of connections do not need as many histograms.
const SHARDS: usize = 8;
/// Sent later than this after its moment counts as late.
const LATE: Duration = Duration::from_millis(1);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failed {
    /// No connection came about.
    Connect,
    /// The answer was not there in time.
    Timeout,
    /// The connection ended before the answer did.
    Closed,
    /// What came is not HTTP.
    Protocol,
}

impl Failed {
    pub(super) const ALL: [Self; 4] = [Self::Connect, Self::Timeout, Self::Closed, Self::Protocol];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
        }
    }
}

/// How one request went.
pub(super) struct Went {
    pub(super) outcome: Result<Answered, (Failed, String)>,
    /// Since it was to be sent, since it was sent, and between the two.
    pub(super) since_planned: Duration,
    pub(super) since_sent: Duration,
    /// It waited for a connection to be free.
    pub(super) queued: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) body_bytes: u64,
}

#[derive(Clone, Default)]
pub(super) struct Tally {
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) failures: BTreeMap<Failed, u64>,
    /// What the first of a kind said.
    pub(super) first_failures: BTreeMap<Failed, String>,
    pub(super) body_bytes: u64,
    /// Connections that came about.
    pub(super) opened: u64,
    /// Late because no connection was free, and because this program was.
    pub(super) late_queued: u64,
    pub(super) late_here: u64,
    /// From the planned moment: all answers and timeouts.
    pub(super) planned: Histogram,
    /// From the planned moment, only 2xx and 3xx.
    pub(super) good: Histogram,
    /// From the sending: what a closed loop would have seen.
    pub(super) sent: Histogram,
    /// From the planned moment to the sending.
    pub(super) behind: Histogram,
}

impl Tally {
    pub(super) fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    pub(super) fn late(&self) -> u64 {
        self.late_queued + self.late_here
    }

    fn add(&mut self, went: Went) {
        let behind = went.since_planned.saturating_sub(went.since_sent);
        self.behind.record(behind);
        if behind > LATE {
            *(if went.queued { &mut self.late_queued } else { &mut self.late_here }) += 1;
        }
        match went.outcome {
            Ok(answered) => {
                *self.statuses.entry(answered.status.as_u16()).or_default() += 1;
                self.body_bytes += answered.body_bytes;
                if answered.status.is_success() || answered.status.is_redirection() {
                    self.good.record(went.since_planned);
                }
            }
            Err((failed, text)) => {
                *self.failures.entry(failed).or_default() += 1;
                self.first_failures.entry(failed).or_insert(text);
                // That it was refused quickly makes nothing faster.
                if failed != Failed::Timeout {
                    return;
                }
            }
        }
        self.planned.record(went.since_planned);
        self.sent.record(went.since_sent);
    }

    fn merge(&mut self, other: &Self) {
        other.statuses.iter().for_each(|(status, count)| *self.statuses.entry(*status).or_default() += count);
        other.failures.iter().for_each(|(failed, count)| *self.failures.entry(*failed).or_default() += count);
        for (failed, text) in &other.first_failures {
            self.first_failures.entry(*failed).or_insert_with(|| text.clone());
        }
        self.body_bytes += other.body_bytes;
        self.opened += other.opened;
        self.late_queued += other.late_queued;
        self.late_here += other.late_here;
        self.planned.add(&other.planned);
        self.good.add(&other.good);
        self.sent.add(&other.sent);
        self.behind.add(&other.behind);
    }
}

#[derive(Default)]
pub(super) struct Tallies([Mutex<Tally>; SHARDS]);

impl Tallies {
    fn shard(&self, worker: u32) -> MutexGuard<'_, Tally> {
        let shard = &self.0[usize::try_from(worker).unwrap_or(0) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, worker: u32, went: Went) {
        self.shard(worker).add(went);
    }

    pub(super) fn opened(&self, worker: u32) {
        self.shard(worker).opened += 1;
    }

    pub(super) fn sum(&self) -> Tally {
        let mut sum = Tally::default();
        for shard in &self.0 {
            sum.merge(&shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn went(outcome: Result<u16, Failed>, planned_ms: u64, sent_ms: u64, queued: bool) -> Went {
        let answered = |status| Answered { status: StatusCode::from_u16(status).unwrap(), body_bytes: 10 };
        Went {
            outcome: outcome.map(answered).map_err(|failed| (failed, "said".to_owned())),
            since_planned: Duration::from_millis(planned_ms),
            since_sent: Duration::from_millis(sent_ms),
            queued,
        }
    }

    #[test]
    fn what_waited_counts_from_its_plan_and_timeouts_count_as_long() {
        let tallies = Tallies::default();
        tallies.add(0, went(Ok(302), 500, 2, true));
        tallies.add(1, went(Ok(503), 1, 1, false));
        tallies.add(2, went(Err(Failed::Timeout), 4_000, 3_000, true));
        tallies.add(9, went(Err(Failed::Connect), 1, 1, false));
        tallies.add(9, went(Ok(302), 9, 3, false));
        let sum = tallies.sum();
        assert_eq!((sum.answered(), sum.failed(), sum.late_queued, sum.late_here), (3, 2, 2, 1));
        assert_eq!((sum.planned.len(), sum.good.len(), sum.sent.len(), sum.behind.len()), (4, 2, 4, 5));
        let near = |value: u64, ms: u64| value.abs_diff(ms * 1_000) <= ms;
        assert!(near(sum.planned.max_us(), 4_000) && near(sum.good.max_us(), 500) && near(sum.sent.max_us(), 3_000));
        assert_eq!(sum.statuses, BTreeMap::from([(302, 2), (503, 1)]));
        assert_eq!((sum.first_failures[&Failed::Connect].as_str(), sum.body_bytes), ("said", 30));
    }
}
