use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use domain::port::{Allowed, Outcome, PortError, PortErrorKind};

use super::*;

const LIMIT: Limit = Limit { name: "test", max: 10, window: Duration::from_mins(1) };

#[derive(Clone, Copy, Debug, Default)]
enum Mode {
    #[default]
    Answers,
    Fails,
    Hangs,
}

/// Says in `remaining` who it is.
struct Fake {
    remaining: u32,
    mode: Mutex<Mode>,
    asked: AtomicUsize,
}

impl Fake {
    fn new(remaining: u32) -> Arc<Self> {
        Arc::new(Self { remaining, mode: Mutex::default(), asked: AtomicUsize::new(0) })
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl RateLimiter for Fake {
    async fn take(&self, _: &Limit, _: u64, _: u32) -> PortResult<Decision> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mode = *self.mode.lock().unwrap();
        match mode {
            Mode::Answers => Ok(Decision { allowed: Allowed::Yes, remaining: self.remaining, reset: LIMIT.window }),
            Mode::Fails => Err(PortError::new(PortErrorKind::Unavailable, "fake: take", Outcome::Unknown)),
            Mode::Hangs => std::future::pending().await,
        }
    }
}

const SHARED: u32 = 1;
const LOCAL: u32 = 2;

struct World {
    shared: Arc<Fake>,
    local: Arc<Fake>,
    limiter: FallbackLimiter,
}

impl World {
    fn new() -> Self {
        let (shared, local) = (Fake::new(SHARED), Fake::new(LOCAL));
        let limiter = FallbackLimiter::new(shared.clone(), local.clone(), FallbackOptions::default());
        Self { shared, local, limiter }
    }

    /// Who decided.
    async fn decided_by(&self) -> u32 {
        self.limiter.take(&LIMIT, 1, 1).await.unwrap().remaining
    }
}

#[tokio::test(start_paused = true)]
async fn the_shared_limiter_decides_alone_while_it_answers() {
    let world = World::new();
    for _ in 0..100 {
        assert_eq!(world.decided_by().await, SHARED);
    }
    assert_eq!((world.shared.asked(), world.local.asked()), (100, 0));
}

#[tokio::test(start_paused = true)]
async fn a_single_failure_is_decided_here_and_forgotten() {
    let world = World::new();
    for _ in 0..10 {
        world.shared.set(Mode::Fails);
        for _ in 0..4 {
            assert_eq!(world.decided_by().await, LOCAL);
        }
        world.shared.set(Mode::Answers);
        assert_eq!(world.decided_by().await, SHARED, "four in a row are not five");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_one_costs_its_budget_five_times_and_then_nothing() {
    let world = World::new();
    world.shared.set(Mode::Hangs);
    let began = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(world.decided_by().await, LOCAL);
    }
    // A timer fires up to a millisecond late.
    assert!((Duration::from_millis(100)..=Duration::from_millis(105)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(world.shared.asked(), 5);
}

#[tokio::test(start_paused = true)]
async fn one_request_a_second_tries_and_the_first_success_ends_it() {
    let world = World::new();
    world.shared.set(Mode::Fails);
    for _ in 0..5 {
        world.decided_by().await;
    }
    for second in 1..=10 {
        tokio::time::advance(Duration::from_millis(1_001)).await;
        for _ in 0..100 {
            assert_eq!(world.decided_by().await, LOCAL);
        }
        assert_eq!(world.shared.asked(), 5 + second, "one request tries it");
    }
    world.shared.set(Mode::Answers);
    assert_eq!(world.decided_by().await, LOCAL, "not yet");
    tokio::time::advance(Duration::from_millis(1_001)).await;
    assert_eq!(world.decided_by().await, SHARED);
    assert_eq!(world.decided_by().await, SHARED);
    // It starts from zero: a single failure does not open it again.
    world.shared.set(Mode::Fails);
    assert_eq!(world.decided_by().await, LOCAL);
    world.shared.set(Mode::Answers);
    assert_eq!(world.decided_by().await, SHARED);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_is_dropped_half_way_holds_nobody_up() {
    let world = World::new();
    world.shared.set(Mode::Hangs);
    for _ in 0..5 {
        world.decided_by().await;
    }
    tokio::time::advance(Duration::from_millis(1_001)).await;
    let dropped = tokio::time::timeout(Duration::from_millis(5), world.decided_by()).await;
    assert!(dropped.is_err() && world.shared.asked() == 6);
    world.shared.set(Mode::Answers);
    tokio::time::advance(Duration::from_millis(1_001)).await;
    assert_eq!(world.decided_by().await, SHARED);
}

#[tokio::test(start_paused = true)]
async fn a_failing_local_one_is_an_error() {
    let world = World::new();
    world.shared.set(Mode::Fails);
    world.local.set(Mode::Fails);
    assert!(world.limiter.take(&LIMIT, 1, 1).await.is_err());
}
