//! When requests are to be sent. Nothing that the server does changes the plan.

use std::io;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::dice::Dice;

/// What is planned for the last moment is still sent.
const LAST_CALL: Duration = Duration::from_millis(50);
/// How long the pacer sleeps at most, so that it hears of an early end.
const NAP_MAX: Duration = Duration::from_millis(50);
/// Sleeping costs more than it brings below this.
const NAP_MIN: Duration = Duration::from_micros(50);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// Whatever happens to the requests before.
    Open { per_s: f64 },
    /// Each connection when it was answered.
    Closed,
}

/// A request that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) number: u64,
    pub(super) at: Instant,
    /// It was due before a connection was free for it.
    pub(super) queued: bool,
}

pub(super) struct Plan {
    pub(super) pace: Pace,
    began: Instant,
    duration: Duration,
    state: Mutex<State>,
    news: Notify,
}

struct State {
    arrivals: Arrivals,
    /// Due so far, and of those taken by a connection.
    due: u64,
    taken: u64,
    ended: bool,
}

/// Moments of a Poisson process, from the start on.
#[derive(Clone)]
struct Arrivals {
    dice: Dice,
    gap_s: f64,
    at_s: f64,
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.at_s += self.dice.exponential() * self.gap_s;
        Some(Duration::from_secs_f64(self.at_s))
    }
}

impl Plan {
    pub(super) fn new(pace: Pace, began: Instant, duration: Duration, seed: u64) -> Self {
        let gap_s = match pace {
            Pace::Open { per_s } => 1.0 / per_s,
            Pace::Closed => 0.0,
        };
        // Connections have the streams 0, 1, ….
        let arrivals = Arrivals { dice: Dice::new(seed, u64::MAX), gap_s, at_s: 0.0 };
        let state = State { arrivals, due: 0, taken: 0, ended: false };
        Self { pace, began, duration, state: Mutex::new(state), news: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread that says when a request is due: the runtime's timers only know milliseconds.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<Option<JoinHandle<()>>> {
        if self.pace == Pace::Closed {
            return Ok(None);
        }
        let (plan, arrivals) = (self.clone(), self.state().arrivals.clone());
        std::thread::Builder::new().name("pacer".to_owned()).spawn(move || plan.keep(arrivals)).map(Some)
    }

    fn keep(&self, arrivals: Arrivals) {
        let mut arrivals = arrivals.take_while(|at| *at < self.duration).peekable();
        while arrivals.peek().is_some() && !self.state().ended {
            let now = self.began.elapsed();
            let mut due = 0;
            while arrivals.next_if(|at| *at <= now).is_some() {
                due += 1;
            }
            if due > 0 {
                self.state().due += due;
                (0..due).for_each(|_| self.news.notify_one());
            }
            if let Some(next) = arrivals.peek() {
                std::thread::sleep(next.saturating_sub(self.began.elapsed()).clamp(NAP_MIN, NAP_MAX));
            }
        }
        std::thread::sleep(LAST_CALL);
        self.stop();
    }

    /// Nothing is sent any more.
    pub(super) fn stop(&self) {
        self.state().ended = true;
        self.news.notify_waiters();
    }

    /// The next request, when it is due. None when the time is over.
    pub(super) async fn next(&self) -> Option<Planned> {
        let mut queued = true;
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            {
                let mut state = self.state();
                if state.ended || self.pace == Pace::Closed && self.began.elapsed() >= self.duration {
                    return None;
                }
                if self.pace == Pace::Closed || state.taken < state.due {
                    return Some(self.take(&mut state, queued));
                }
            }
            queued = false;
            news.await;
        }
    }

    fn take(&self, state: &mut State, queued: bool) -> Planned {
        let number = state.taken;
        state.taken += 1;
        match self.pace {
            Pace::Closed => {
                state.due += 1;
                Planned { number, at: Instant::now(), queued: false }
            }
            Pace::Open { .. } => Planned { number, at: self.began + state.arrivals.next().unwrap_or_default(), queued },
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed().min(self.duration)
    }

    /// Due, but not sent.
    pub(super) fn waiting(&self) -> u64 {
        let state = self.state();
        state.due - state.taken
    }

    pub(super) fn due(&self) -> u64 {
        self.state().due
    }

    /// How long each of those that were never sent had waited at `end`.
    pub(super) fn unsent(&self, end: Instant) -> Vec<Duration> {
        let mut state = self.state();
        let unsent = state.due - state.taken;
        (0..unsent).filter_map(|_| state.arrivals.next()).map(|at| end.saturating_duration_since(self.began + at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(per_s: f64, duration: Duration) -> Arc<Plan> {
        Arc::new(Plan::new(Pace::Open { per_s }, Instant::now(), duration, 1))
    }

    #[tokio::test]
    async fn all_that_is_planned_is_taken_at_its_time() {
        let plan = plan(2_000.0, Duration::from_millis(200));
        let pacer = plan.start().unwrap().unwrap();
        let (mut taken, mut last) = (0, plan.began);
        while let Some(planned) = plan.next().await {
            assert!(planned.at >= last && planned.at <= Instant::now(), "in order, and not too early");
            assert_eq!(planned.number, taken);
            (taken, last) = (taken + 1, planned.at);
        }
        pacer.join().unwrap();
        let expected = Arrivals { dice: Dice::new(1, u64::MAX), gap_s: 1.0 / 2_000.0, at_s: 0.0 };
        let expected = expected.take_while(|at| *at < Duration::from_millis(200)).count();
        assert_eq!((taken, plan.due(), plan.waiting()), (u64::try_from(expected).unwrap(), taken, 0));
    }

    #[test]
    fn what_nobody_takes_is_told() {
        let plan = plan(1_000.0, Duration::from_millis(100));
        plan.start().unwrap().unwrap().join().unwrap();
        let unsent = plan.unsent(Instant::now());
        assert!(!unsent.is_empty() && unsent.len() == usize::try_from(plan.due()).unwrap(), "{}", unsent.len());
        assert!(unsent.is_sorted_by(|a, b| a >= b) && unsent[unsent.len() - 1] >= LAST_CALL);
    }

    #[tokio::test]
    async fn a_stopped_plan_ends_for_all() {
        let plan = plan(0.001, Duration::from_hours(1));
        let pacer = plan.start().unwrap().unwrap();
        let both = async { tokio::join!(plan.next(), plan.next(), async { plan.stop() }) };
        let (one, other, ()) = both.await;
        assert!(one.is_none() && other.is_none());
        pacer.join().unwrap();
    }
}
