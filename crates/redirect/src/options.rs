//! What operators may choose, with the bounds within which the promises hold.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// N: no answer is older than this while the store answers, even if every invalidation is lost.
    pub staleness: Duration,
    /// S: how much longer a cached link redirects while the store does not answer.
    pub serve_stale: Duration,
    /// The cache that replicas share, where there is one.
    pub l2: Option<L2>,
    /// Bytes of links kept in memory, with what keeping them costs.
    pub l1_bytes: u64,
    /// What one read of the store may take before it counts as failed.
    pub store_timeout: Duration,
    /// Reads of the store at one time; the others wait their turn, within the same timeout.
    pub store_reads_max: usize,
    /// What one write of a click budget may take before its outcome counts as unknown.
    pub budget_timeout: Duration,
    /// Remaining ages are shortened by up to this part, so that what was read together does not expire together.
    pub jitter: f64,
    /// `β` of `XFetch`: above 1 refreshes earlier, 0 never before expiry.
    pub xfetch_beta: f64,
    /// After a failed read, how long a stale link is served without asking the store again.
    pub stale_pause: Duration,
    /// How often the list of takedowns is read.
    pub takedown_poll: Duration,
    /// Early refreshes waiting for their turn; more are left to expiry.
    pub refresh_queue_len: usize,
    /// Early refreshes at one time.
    pub refreshes_max: usize,
    /// User agents whose classification is remembered.
    pub agents_max: usize,
}

/// A cache between memory and the store.
#[derive(Clone, Debug, PartialEq)]
pub struct L2 {
    /// What asking it may take, before the store is asked instead.
    pub timeout: Duration,
    /// How far memory may lag behind it: what memory holds is asked for again there when it is this old.
    pub lag: Duration,
}

impl Default for L2 {
    fn default() -> Self {
        Self { timeout: Duration::from_millis(15), lag: Duration::from_secs(5) }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            staleness: Duration::from_mins(1),
            serve_stale: Duration::from_hours(1),
            l2: None,
            l1_bytes: 64 << 20,
            store_timeout: Duration::from_millis(150),
            store_reads_max: 1_024,
            budget_timeout: Duration::from_secs(2),
            jitter: 0.2,
            xfetch_beta: 1.0,
            stale_pause: Duration::from_secs(1),
            takedown_poll: Duration::from_secs(5),
            refresh_queue_len: 1_024,
            refreshes_max: 32,
            agents_max: 16_384,
        }
    }
}

/// An option outside its bounds: which one, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {takes}")]
pub struct OptionsError {
    pub option: &'static str,
    pub takes: &'static str,
}

impl Options {
    /// # Errors
    /// Names the first option that is outside its bounds.
    pub fn check(&self) -> Result<(), OptionsError> {
        let second = Duration::from_secs(1);
        let l2 = self.l2.as_ref();
        let within = |value: Duration, from: Duration, to: Duration| (from..=to).contains(&value);
        let rules = [
            (within(self.staleness, 5 * second, 300 * second), "staleness", "5 to 300 seconds"),
            (within(self.serve_stale, Duration::ZERO, 86_400 * second), "serve_stale", "0 seconds to 24 hours"),
            (l2.is_none_or(|l2| within(l2.timeout, second / 1_000, second / 10)), "l2.timeout", "1 to 100 milliseconds"),
            (l2.is_none_or(|l2| within(l2.lag, second / 10, 60 * second)), "l2.lag", "0.1 to 60 seconds"),
            (self.l1_bytes >= 1 << 20, "l1_bytes", "at least 1 MiB"),
            (within(self.store_timeout, second / 1_000, 10 * second), "store_timeout", "1 millisecond to 10 seconds"),
            (self.store_reads_max > 0, "store_reads_max", "at least 1"),
            (within(self.budget_timeout, second / 1_000, 30 * second), "budget_timeout", "1 millisecond to 30 seconds"),
            ((0.0..=0.9).contains(&self.jitter), "jitter", "0 to 0.9"),
            ((0.0..=100.0).contains(&self.xfetch_beta), "xfetch_beta", "0 to 100"),
            (within(self.stale_pause, Duration::ZERO, 5 * second), "stale_pause", "0 to 5 seconds"),
            (within(self.takedown_poll, second / 10, 10 * second), "takedown_poll", "0.1 to 10 seconds"),
            (self.refresh_queue_len > 0, "refresh_queue_len", "at least 1"),
            (self.refreshes_max > 0, "refreshes_max", "at least 1"),
            (self.agents_max > 0, "agents_max", "at least 1"),
        ];
        rules.iter().find(|(holds, ..)| !holds).map_or(Ok(()), |&(_, option, takes)| Err(OptionsError { option, takes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_bounds_and_others_are_named() {
        assert_eq!(Options::default().check(), Ok(()));
        let wrong = Options { staleness: Duration::from_secs(4), ..Options::default() };
        assert_eq!(wrong.check().unwrap_err().option, "staleness");
        let wrong = Options { jitter: f64::NAN, ..Options::default() };
        assert_eq!(wrong.check().unwrap_err().option, "jitter");
    }
}
