//! What is noticed of one replica while it is asked: a handful of counters, no lock.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use domain::api::Answer;
use domain::{Kind, Reason, Result};
use tokio::time::Instant;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    /// The replica itself says that it cannot, for instance because its store does not answer. It
    /// lives; whether it does worse than the others is for the windows to say.
    Refused,
    /// Provably never sent.
    Unreachable,
    TooLate,
    /// The connection ended under the request.
    BrokenOff,
}

impl Outcome {
    pub(crate) const ALL: [Self; 5] = [Self::Answered, Self::Refused, Self::Unreachable, Self::TooLate, Self::BrokenOff];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TooLate => "too_late",
            Self::BrokenOff => "broken_off",
        }
    }

    pub(super) fn of(answered: &Result<Answer>) -> Self {
        let Err(error) = answered else { return Self::Answered };
        match error.kind() {
            // Even if it was never sent: there may just have been no time left when it came to us.
            Kind::Unavailable if error.reason() == Reason::DeadlineExceeded => Self::TooLate,
            _ if error.was_never_sent() => Self::Unreachable,
            // A service that fails says when to come again; a transport that fails cannot know.
            Kind::Unavailable if error.retry_after().is_none() => Self::BrokenOff,
            Kind::Unavailable | Kind::Internal => Self::Refused,
            Kind::Invalid | Kind::NotFound | Kind::Conflict | Kind::RateLimited => Self::Answered,
        }
    }

    pub(super) const fn is_sign_of_life(self) -> bool {
        matches!(self, Self::Answered | Self::Refused)
    }
}

/// On lines of its own: other cores count other replicas.
#[repr(align(128))]
pub(crate) struct Health {
    began: Instant,
    in_flight: AtomicUsize,
    /// Milliseconds since `began`, as all times here. Since then nothing was answered.
    unanswered_since: AtomicU64,
    /// 0: never.
    answered_at: AtomicU64,
    /// Requests dropped since the last answer: at their deadline, or because their client went away.
    given_up: AtomicU32,
    /// Failures since the last answer.
    failed_in_row: AtomicU32,
    /// Since [`Self::take_counts`].
    good: AtomicU32,
    bad: AtomicU32,
}

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            in_flight: AtomicUsize::new(0),
            unanswered_since: AtomicU64::new(0),
            answered_at: AtomicU64::new(0),
            given_up: AtomicU32::new(0),
            failed_in_row: AtomicU32::new(0),
            good: AtomicU32::new(0),
            bad: AtomicU32::new(0),
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn ms(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began);
        since.as_secs() * 1_000 + u64::from(since.subsec_millis())
    }

    pub(super) fn asked(&self, now: Instant) {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) == 0 && self.given_up.load(Ordering::Relaxed) == 0 {
            self.unanswered_since.store(self.ms(now), Ordering::Relaxed);
        }
    }

    pub(super) fn let_go(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts an outcome; answers how many have failed in a row.
    pub(super) fn noticed(&self, outcome: Outcome, now: Instant) -> u32 {
        match outcome {
            Outcome::Answered => self.good.fetch_add(1, Ordering::Relaxed),
            Outcome::Refused | Outcome::Unreachable | Outcome::TooLate | Outcome::BrokenOff => self.bad.fetch_add(1, Ordering::Relaxed),
        };
        if outcome.is_sign_of_life() {
            self.lives(now);
            self.failed_in_row.store(0, Ordering::Relaxed);
            return 0;
        }
        if outcome == Outcome::TooLate {
            self.given_up();
        }
        self.failed_in_row.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// A request ended without any outcome.
    pub(super) fn given_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }

    /// A probe came back.
    pub(super) fn lives(&self, now: Instant) {
        let now = self.ms(now);
        self.answered_at.store(now.max(1), Ordering::Relaxed);
        self.unanswered_since.store(now, Ordering::Relaxed);
        self.given_up.store(0, Ordering::Relaxed);
    }

    /// How long it has not answered anything although it was asked. The oldest request in flight alone
    /// would not tell: it is dropped at its deadline. A reason to probe, no more: the answer may just
    /// have been on its way.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        if self.in_flight() == 0 && self.given_up.load(Ordering::Relaxed) == 0 {
            return Duration::ZERO;
        }
        Duration::from_millis(self.ms(now).saturating_sub(self.unanswered_since.load(Ordering::Relaxed)))
    }

    pub(super) fn answered_within(&self, last: Duration, now: Instant) -> bool {
        let at = self.answered_at.load(Ordering::Relaxed);
        at != 0 && Duration::from_millis(self.ms(now).saturating_sub(at)) <= last
    }

    /// The good and the bad since the last call.
    pub(super) fn take_counts(&self) -> (u64, u64) {
        (self.good.swap(0, Ordering::Relaxed).into(), self.bad.swap(0, Ordering::Relaxed).into())
    }

    /// What was held against it is forgotten.
    pub(super) fn start_again(&self) {
        self.failed_in_row.store(0, Ordering::Relaxed);
        self.given_up.store(0, Ordering::Relaxed);
        self.take_counts();
    }
}
