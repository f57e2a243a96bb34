//! What is kept, and where it waits to be exported. One for the process, as the metrics' is; none when traces are off.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::metrics::{Counter, counter};
use tokio::sync::mpsc;

use super::TraceContext;
use super::dice::roll;
use super::span::Finished;

crate::metrics! {
    /// Spans of traces, by what became of them: exported, refused or not taken by the collector, or dropped before.
    Counter SPANS = "terse_trace_spans_total" in "spans" by ["outcome": "exported|failed|queue_full|over_budget"];
}

/// Spans that wait to be exported; more are dropped and counted.
const QUEUE_LEN: usize = 4_096;
/// Spans a second that are kept though their trace is not: when everything fails, a few show why.
const UNSAMPLED_PER_S: u64 = 100;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// One request in so many is traced whole. At least 1.
    pub sample_one_in: u32,
    /// A span that took as long is kept in any case.
    pub slow: Duration,
}

pub(super) struct Recorder {
    /// A draw up to this one samples.
    sampled_to: u64,
    slow: Duration,
    finished: mpsc::Sender<Finished>,
    began: Instant,
    /// The second since `began`, and in the lower half what was kept in it beside what is sampled.
    unsampled: AtomicU64,
    queue_full: Counter,
    over_budget: Counter,
}

static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// Traces from now on, for the whole process. Whoever gets the spans must take them.
///
/// `None` when it was called before.
pub fn install(options: Options) -> Option<mpsc::Receiver<Finished>> {
    let (recorder, finished) = Recorder::new(options);
    RECORDER.set(recorder).ok().map(|()| finished)
}

/// Counts spans that ended so.
pub fn spans(outcome: &'static str) -> Counter {
    counter!(SPANS, "outcome" => outcome)
}

/// Whether anything is traced.
pub fn is_on() -> bool {
    RECORDER.get().is_some()
}

#[inline]
pub(super) fn recorder() -> Option<&'static Recorder> {
    RECORDER.get()
}

/// Why a span is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Sampled,
    Failed,
    Slow,
}

impl Recorder {
    fn new(options: Options) -> (Self, mpsc::Receiver<Finished>) {
        let (sender, finished) = mpsc::channel(QUEUE_LEN);
        let recorder = Self {
            sampled_to: u64::MAX / u64::from(options.sample_one_in.max(1)),
            slow: options.slow,
            finished: sender,
            began: Instant::now(),
            unsampled: AtomicU64::new(0),
            queue_full: spans("queue_full"),
            over_budget: spans("over_budget"),
        };
        (recorder, finished)
    }

    /// Whether a new trace is one of those kept whole.
    #[inline]
    pub(super) fn samples(&self) -> bool {
        roll() <= self.sampled_to
    }

    /// Whether a span of `context` that has ended is kept, and why.
    #[inline]
    pub(super) fn keeps(&self, context: Option<TraceContext>, has_failed: bool, took: Duration) -> Option<Kept> {
        if context.is_some_and(TraceContext::is_sampled) {
            return Some(Kept::Sampled);
        }
        let why = if has_failed {
            Kept::Failed
        } else if took >= self.slow {
            Kept::Slow
        } else {
            return None;
        };
        if self.may_keep_another() {
            return Some(why);
        }
        self.over_budget.increment(1);
        None
    }

    fn may_keep_another(&self) -> bool {
        let second = self.began.elapsed().as_secs() << 32;
        let another = |kept: u64| match kept.checked_sub(second) {
            Some(count) if count < UNSAMPLED_PER_S => Some(kept + 1),
            Some(_) => None,
            None => Some(second + 1),
        };
        self.unsampled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, another).is_ok()
    }

    pub(super) fn keep(&self, span: Finished) {
        if self.finished.try_send(span).is_err() {
            self.queue_full.increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(sample_one_in: u32) -> Recorder {
        Recorder::new(Options { sample_one_in, slow: Duration::from_millis(250) }).0
    }

    #[test]
    fn one_in_so_many_is_sampled() {
        let all = recorder(1);
        assert!((0..1_000).all(|_| all.samples()));
        let some = recorder(100);
        let sampled = (0..100_000).filter(|_| some.samples()).count();
        // Ten standard deviations from the mean: less likely than a broken machine.
        assert!((700..1_300).contains(&sampled), "{sampled}");
    }

    #[test]
    fn of_what_is_not_sampled_the_failed_and_the_slow_are_kept() {
        let recorder = recorder(u32::MAX);
        let [sampled, unsampled] = [true, false].map(|sampled| Some(TraceContext::root(sampled)));
        let (quick, slow) = (Duration::from_millis(249), Duration::from_millis(250));
        assert_eq!(recorder.keeps(sampled, false, quick), Some(Kept::Sampled));
        assert_eq!(recorder.keeps(unsampled, false, quick), None);
        assert_eq!(recorder.keeps(unsampled, true, quick), Some(Kept::Failed));
        assert_eq!(recorder.keeps(unsampled, false, slow), Some(Kept::Slow));
        assert_eq!(recorder.keeps(None, true, quick), Some(Kept::Failed), "a request that nobody looked at before it failed");
    }

    #[test]
    fn when_everything_fails_only_a_few_are_kept() {
        let mut recorder = recorder(u32::MAX);
        let kept = |recorder: &Recorder| (0..10_000).filter(|_| recorder.keeps(None, true, Duration::ZERO).is_some()).count();
        // The second may end while it is counted.
        let budget = usize::try_from(UNSAMPLED_PER_S).unwrap();
        assert!((budget..=2 * budget).contains(&kept(&recorder)));
        recorder.began -= Duration::from_secs(2);
        assert!(kept(&recorder) >= budget, "each second has its own");
        assert_eq!(recorder.keeps(Some(TraceContext::root(true)), true, Duration::ZERO), Some(Kept::Sampled), "beside what is sampled");
    }
}
