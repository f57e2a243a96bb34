//! How a process ends: every task is tracked and named, and drain has an order.
//!
//! 1. not ready, 2. intake stops accepting and finishes what is in flight, 3. background tasks finish
//!    (consumers commit, the click log is flushed, leases are given back), 4. traces are exported, 5. stores close, exit code.
//!
//! A second signal, or the end of the grace time, cuts all of it short.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the failure of a task means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The process cannot go on without it: drain, and exit with 1.
    Drain,
    /// It is logged, and the process goes on.
    Log,
}

/// When a task is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// At the first signal: whatever brings work in.
    Intake,
    /// When all intake has finished: whatever that work needs.
    Background,
    /// When all else has finished: whatever tells of it.
    Telemetry,
}

/// The handle that every component gets. Cheap to clone, never global.
#[derive(Clone)]
pub struct Lifecycle(Arc<Inner>);

struct Inner {
    draining: CancellationToken,
    background_draining: CancellationToken,
    telemetry_draining: CancellationToken,
    killed: CancellationToken,
    /// Set before `killed` is cancelled: asking that takes a lock.
    is_killed: AtomicBool,
    intake: TaskTracker,
    background: TaskTracker,
    telemetry: TaskTracker,
    failed: AtomicBool,
    latches: AtomicUsize,
    grace: Duration,
}

/// The process is not ready while any latch is held.
pub struct Latch(Arc<Inner>);

impl Drop for Latch {
    fn drop(&mut self) {
        self.0.latches.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Runs `task` to its end; `None` when it is killed before. A task's waker is always the same, so that listening once is
/// enough: a connection is polled for each request.
async fn unless_killed<T>(inner: &Inner, task: impl Future<Output = T>) -> Option<T> {
    let (mut task, mut killed) = (pin!(task), pin!(inner.killed.cancelled()));
    let mut listens = false;
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = task.as_mut().poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        let looks = !listens || inner.is_killed.load(Ordering::Acquire);
        listens = true;
        if looks && killed.as_mut().poll(cx).is_ready() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

impl Lifecycle {
    /// `grace`: how long drain may take before what remains is cut off.
    pub fn new(grace: Duration) -> Self {
        let draining = CancellationToken::new();
        Self(Arc::new(Inner {
            draining,
            background_draining: CancellationToken::new(),
            telemetry_draining: CancellationToken::new(),
            killed: CancellationToken::new(),
            is_killed: AtomicBool::new(false),
            intake: TaskTracker::new(),
            background: TaskTracker::new(),
            telemetry: TaskTracker::new(),
            failed: AtomicBool::new(false),
            latches: AtomicUsize::new(0),
            grace,
        }))
    }

    /// Cancelled when tasks of `stage` are to finish.
    pub fn draining(&self, stage: Stage) -> CancellationToken {
        match stage {
            Stage::Intake => self.0.draining.clone(),
            Stage::Background => self.0.background_draining.clone(),
            Stage::Telemetry => self.0.telemetry_draining.clone(),
        }
    }

    /// Cancelled when there is no more time: drop everything.
    pub fn killed(&self) -> CancellationToken {
        self.0.killed.clone()
    }

    /// Begins the drain, as the first signal does.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// Not ready until the latch is dropped.
    #[must_use]
    pub fn latch(&self) -> Latch {
        self.0.latches.fetch_add(1, Ordering::AcqRel);
        Latch(self.0.clone())
    }

    pub fn is_ready(&self) -> bool {
        !self.0.draining.is_cancelled() && self.0.latches.load(Ordering::Acquire) == 0
    }

    /// Runs `task` until it ends by itself (it watches [`Self::draining`]) or the process is cut short.
    pub fn spawn<E: Display + Send>(
        &self,
        name: &'static str,
        stage: Stage,
        on_error: OnError,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let inner = self.0.clone();
        let tracker = match stage {
            Stage::Intake => &self.0.intake,
            Stage::Background => &self.0.background,
            Stage::Telemetry => &self.0.telemetry,
        };
        tracker.spawn(async move {
            let Some(outcome) = unless_killed(&inner, std::panic::AssertUnwindSafe(task).catch_unwind_into_error()).await else {
                tracing::warn!(task = name, "task cut off at the end of the grace time");
                return;
            };
            match outcome {
                Ok(Ok(())) => tracing::debug!(task = name, "task ended"),
                Ok(Err(error)) => inner.fail(name, on_error, &error),
                Err(panic) => inner.fail(name, on_error, &panic),
            }
        });
    }

    /// Waits for the first signal or a failed essential task, drains in order, and answers the exit code.
    pub async fn run_to_end(&self) -> u8 {
        let signals = self.clone();
        tokio::select! {
            () = terminated() => tracing::info!("signal received, draining; a second one stops at once"),
            () = self.0.draining.cancelled() => {}
        }
        self.0.draining.cancel();
        let drained = tokio::select! {
            () = self.drain_in_order() => true,
            () = terminated() => false,
            () = tokio::time::sleep(self.0.grace) => false,
        };
        if !drained {
            tracing::warn!(grace_s = self.0.grace.as_secs(), "drain cut short");
            signals.0.is_killed.store(true, Ordering::Release);
            signals.0.killed.cancel();
        }
        u8::from(!drained || self.0.failed.load(Ordering::Acquire))
    }

    /// Ends all tasks in order, as [`Self::run_to_end`] does after a signal. For tests.
    pub async fn drain_in_order(&self) {
        self.0.draining.cancel();
        self.0.intake.close();
        self.0.intake.wait().await;
        self.0.background_draining.cancel();
        self.0.background.close();
        self.0.background.wait().await;
        self.0.telemetry_draining.cancel();
        self.0.telemetry.close();
        self.0.telemetry.wait().await;
    }
}

impl Inner {
    fn fail(&self, name: &'static str, on_error: OnError, error: &dyn Display) {
        tracing::error!(task = name, %error, "task failed");
        if on_error == OnError::Drain {
            self.failed.store(true, Ordering::Release);
            self.draining.cancel();
        }
    }
}

/// A task's panic is a failure like any other: it is logged, and obeys the task's policy.
trait CatchUnwind: Future + Sized {
    async fn catch_unwind_into_error(self) -> Result<Self::Output, String>;
}

impl<F: Future + Send> CatchUnwind for std::panic::AssertUnwindSafe<F> {
    async fn catch_unwind_into_error(self) -> Result<F::Output, String> {
        use futures_util::FutureExt as _;
        self.catch_unwind().await.map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("panicked: {}", text.unwrap_or_else(|| "without a message".into()))
        })
    }
}

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    if let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    } else {
        tracing::warn!("signals cannot be received; only SIGKILL ends this process");
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn background_outlives_intake_and_telemetry_outlives_both() {
        let life = Lifecycle::new(Duration::from_secs(5));
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        for (name, stage) in [("telemetry", Stage::Telemetry), ("background", Stage::Background), ("intake", Stage::Intake)] {
            let (token, order) = (life.draining(stage), order.clone());
            life.spawn(name, stage, OnError::Log, async move {
                token.cancelled().await;
                order.lock().unwrap().push(name);
                Ok::<_, String>(())
            });
        }
        life.drain_in_order().await;
        assert_eq!(*order.lock().unwrap(), ["intake", "background", "telemetry"]);
    }

    #[tokio::test]
    async fn an_essential_task_that_fails_or_panics_drains_the_process_and_fails_it() {
        for panics in [false, true] {
            let life = Lifecycle::new(Duration::from_secs(5));
            life.spawn("essential", Stage::Background, OnError::Drain, async move {
                assert!(!panics, "as it must");
                Err("broken")
            });
            assert_eq!(life.run_to_end().await, 1);
        }
    }

    #[tokio::test]
    async fn ready_only_between_the_last_latch_and_the_drain() {
        let life = Lifecycle::new(Duration::from_secs(5));
        let latch = life.latch();
        assert!(!life.is_ready());
        drop(latch);
        assert!(life.is_ready());
        life.drain();
        assert!(!life.is_ready());
    }
}
