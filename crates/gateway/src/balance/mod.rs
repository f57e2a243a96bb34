//! Which redirect replica answers. Placement by the code keeps each replica's memory useful, but it is
//! a hint: any replica can answer any code, so a replica that is slow, broken or frozen is left out.
//!
//! Read `resolve` here, then `placement.rs` (who is asked), `health.rs` (what is noticed of a replica),
//! `roster.rs` (who is left out, and when one returns), `watcher.rs` (the task that looks after them).

mod health;
mod placement;
mod retries;
mod roster;
#[cfg(test)]
mod tests;
mod watcher;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use chassis::{Lifecycle, OnError, Stage};
use domain::api::{Answer, Ask, Deadline, Resolver};
use domain::{Error, Reason, Result};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics::{BalanceMetrics, Retried};
use health::Health;
use placement::{Dice, Placement};
use retries::Retries;
use roster::Roster;

pub(crate) use health::Outcome;
pub use placement::Policy;
pub(crate) use roster::Fault;

/// What is left of a deadline must be worth a second try.
const RETRY_TIME_MIN: Duration = Duration::from_millis(5);
/// A request dropped this close to its deadline was dropped because of it: timers fire by the millisecond.
const TIMER_GRAIN: Duration = Duration::from_millis(2);
/// When there is nobody to ask.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A process that answers, and how to reach it.
#[derive(Clone)]
pub struct Replica {
    /// Its address. Placement goes by it: every gateway that knows the same addresses asks the same replica.
    pub name: Arc<str>,
    pub resolver: Arc<dyn Resolver>,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub policy: Policy,
    /// A replica takes no more than this many times the mean of the requests in flight. At least 1.
    /// [`Policy::P2c`] and [`Policy::RoundRobin`] spread by themselves.
    pub load_bound: f64,
    pub retry: RetryBudget,
    pub outlier: Outlier,
}

impl Default for Options {
    fn default() -> Self {
        Self { policy: Policy::default(), load_bound: 1.5, retry: RetryBudget::default(), outlier: Outlier::default() }
    }
}

/// How many requests that never reached their replica are asked of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Of all requests.
    pub percent: u32,
    /// On top of it, so that little traffic can retry as well.
    pub per_s: u32,
    /// What may be saved up: a replica that dies takes a whole batch with it.
    pub burst: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 10, per_s: 5, burst: 250 }
    }
}

/// When a replica is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Unreachable, too late or broken off, so many times in a row.
    pub consecutive_failures: u32,
    /// Fewer of its answers are good, while those of the others are.
    pub success_percent_min: u64,
    /// Requests in `window` below which nothing is concluded from shares.
    pub window_requests_min: u64,
    pub window: Duration,
    /// The first time; doubled each time soon after, with jitter.
    pub eject_first: Duration,
    pub eject_max: Duration,
    /// Of all replicas; one of two or more in any case. Those that refuse connections do not count.
    pub ejected_percent_max: usize,
    /// When more than this were to be left out, it is rather we who are wrong: only those that refuse
    /// connections are left out.
    pub panic_percent: usize,
    /// Nothing answered for so long, though asked: it is probed.
    pub suspect_after: Duration,
    /// A probe is answered from memory; without an answer in this time the replica is frozen.
    pub probe_timeout: Duration,
    /// Between probes of a replica that is left out.
    pub probe_every: Duration,
    /// How often the task looks.
    pub sweep_every: Duration,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            success_percent_min: 85,
            window_requests_min: 50,
            window: Duration::from_secs(10),
            eject_first: Duration::from_secs(1),
            eject_max: Duration::from_secs(30),
            ejected_percent_max: 33,
            panic_percent: 50,
            suspect_after: Duration::from_millis(200),
            probe_timeout: Duration::from_millis(200),
            probe_every: Duration::from_millis(500),
            sweep_every: Duration::from_millis(50),
        }
    }
}

/// Answers by asking one of several replicas. Cheap to clone.
#[derive(Clone)]
pub struct Balanced(Arc<Core>);

pub(crate) struct Core {
    options: Options,
    roster: Mutex<Roster>,
    placement: ArcSwap<Placement>,
    in_flight: AtomicUsize,
    retries: Retries,
    dice: Dice,
    metrics: BalanceMetrics,
}

/// A replica with what is known of it. Survives changes of the list as long as its name is on it.
pub(crate) struct Member {
    name: Arc<str>,
    seed: u64,
    resolver: Arc<dyn Resolver>,
    health: Arc<Health>,
}

impl Balanced {
    /// Follows `replicas` and looks after their health until the process drains. A closed channel
    /// leaves the last list in force.
    pub fn start(options: Options, mut replicas: watch::Receiver<Arc<[Replica]>>, lifecycle: &Lifecycle) -> Self {
        let first = replicas.borrow_and_update().clone();
        let core = Arc::new(Core::new(options, &first));
        let draining = lifecycle.draining(Stage::Background);
        let task = core.clone();
        lifecycle.spawn("balance", Stage::Background, OnError::Drain, async move {
            watcher::run(&task, replicas, draining).await;
            Ok::<(), Infallible>(())
        });
        Self(core)
    }
}

#[async_trait]
impl Resolver for Balanced {
    /// Replicas are other processes: there is always I/O.
    fn try_resolve(&self, _: &Ask<'_>) -> Option<Answer> {
        None
    }

    async fn resolve(&self, ask: &Ask<'_>, deadline: Deadline) -> Result<Answer> {
        let core = self.0.as_ref();
        let key = placement::key_of(ask);
        core.retries.earn();
        let Some(member) = core.pick(key, None) else {
            return Err(Error::new(Reason::Unavailable, "no redirect replica is known; try again").with_retry_after(RETRY_AFTER));
        };
        match core.ask(&member, ask, deadline).await {
            Err(error) if error.was_never_sent() => core.ask_another(key, (&member, error), ask, deadline).await,
            answered => answered,
        }
    }
}

impl Core {
    fn new(options: Options, replicas: &[Replica]) -> Self {
        let metrics = BalanceMetrics::new();
        let core = Self {
            retries: Retries::new(options.retry),
            placement: ArcSwap::from_pointee(Placement::default()),
            roster: Mutex::new(Roster::default()),
            in_flight: AtomicUsize::new(0),
            dice: Dice::new(),
            metrics,
            options,
        };
        core.update(replicas);
        core
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pick(&self, key: u64, except: Option<&Arc<Member>>) -> Option<Arc<Member>> {
        let placement = self.placement.load();
        let chosen = placement.choose(key, except, self.in_flight.load(Ordering::Relaxed), &self.dice)?;
        if chosen.spilled {
            self.metrics.spilled.increment(1);
        }
        Some(chosen.member.clone())
    }

    async fn ask(&self, member: &Arc<Member>, ask: &Ask<'_>, deadline: Deadline) -> Result<Answer> {
        let mut asked = Asked::begin(self, member, deadline);
        let answered = member.resolver.resolve(ask, deadline).await;
        asked.outcome = Some(Outcome::of(&answered));
        answered
    }

    /// Once, and only what never reached the first replica: it could be counted twice otherwise.
    async fn ask_another(&self, key: u64, (first, error): (&Arc<Member>, Error), ask: &Ask<'_>, deadline: Deadline) -> Result<Answer> {
        let give_up = |error: Error| if error.retry_after().is_some() { error } else { error.with_retry_after(RETRY_AFTER) };
        let now = Instant::now();
        if deadline.remaining(now.into_std()) < RETRY_TIME_MIN {
            self.metrics.retried(Retried::TooLate);
            return Err(give_up(error));
        }
        let Some(other) = self.pick(key, Some(first)) else {
            self.metrics.retried(Retried::NoOther);
            return Err(give_up(error));
        };
        if !self.retries.spend(now) {
            self.metrics.retried(Retried::OverBudget);
            return Err(give_up(error));
        }
        let answered = self.ask(&other, ask, deadline).await;
        self.metrics.retried(if answered.is_ok() { Retried::Answered } else { Retried::Failed });
        answered.map_err(give_up)
    }
}

/// A request in flight, until dropped.
struct Asked<'a> {
    core: &'a Core,
    member: &'a Arc<Member>,
    deadline: Deadline,
    outcome: Option<Outcome>,
}

impl<'a> Asked<'a> {
    fn begin(core: &'a Core, member: &'a Arc<Member>, deadline: Deadline) -> Self {
        core.in_flight.fetch_add(1, Ordering::Relaxed);
        member.health.asked(Instant::now());
        Self { core, member, deadline, outcome: None }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.core.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.member.health.let_go();
        // Whoever waits drops the request at its deadline, or because the client went away.
        let late = self.deadline.remaining(now.into_std()) <= TIMER_GRAIN;
        match self.outcome.or_else(|| late.then_some(Outcome::TooLate)) {
            Some(outcome) => self.core.noticed(self.member, outcome, now),
            None => self.member.health.given_up(),
        }
    }
}
