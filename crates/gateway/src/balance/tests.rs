//! Replicas that die, freeze, fail and come back, in paused time.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

use domain::DomainNo;
use domain::api::{Purpose, Visit};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::*;

const DEADLINE: Duration = Duration::from_millis(250);
/// Between requests.
const STEP: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Answers,
    /// Refuses connections.
    Dead,
    /// Takes everything, answers nothing.
    Frozen,
    /// Loses the connection under each request.
    Breaks,
    /// Says that its store does not answer; still knows what is no code.
    Refuses,
    /// Answers each second request.
    Limps,
    /// Answers probes; whatever needs the store takes for ever.
    Slow,
}

#[derive(Default)]
pub(super) struct Fake {
    mode: Mutex<Mode>,
    /// By users; probes are not among them.
    asked: AtomicUsize,
    probed: AtomicUsize,
}

impl Fake {
    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Resolver for Fake {
    fn try_resolve(&self, _: &Ask<'_>) -> Option<Answer> {
        panic!("a replica is another process")
    }

    async fn resolve(&self, ask: &Ask<'_>, _: Deadline) -> Result<Answer> {
        let is_probe = ask.code == ".";
        let count = if is_probe { &self.probed } else { &self.asked }.fetch_add(1, Ordering::Relaxed);
        assert!(!is_probe || ask.visit.purpose == Purpose::Inspect, "a probe is never counted as a click");
        let mode = *self.mode.lock().unwrap();
        let unavailable = || Error::new(Reason::Unavailable, "fake");
        match mode {
            Mode::Answers => Ok(Answer::NotFound),
            Mode::Dead => Err(unavailable().with_never_sent()),
            Mode::Breaks => Err(unavailable()),
            Mode::Refuses | Mode::Slow | Mode::Limps if is_probe => Ok(Answer::NotFound),
            Mode::Limps if count % 2 == 0 => Ok(Answer::NotFound),
            Mode::Refuses | Mode::Limps => Err(unavailable().with_retry_after(RETRY_AFTER)),
            Mode::Frozen | Mode::Slow => std::future::pending().await,
        }
    }
}

struct World {
    fakes: Vec<Arc<Fake>>,
    replicas: Vec<Replica>,
    list: watch::Sender<Arc<[Replica]>>,
    balanced: Balanced,
    lifecycle: Lifecycle,
}

impl World {
    fn new(count: usize, options: Options) -> Self {
        let fakes: Vec<Arc<Fake>> = (0..count).map(|_| Arc::default()).collect();
        let replica = |(number, fake): (usize, &Arc<Fake>)| Replica { name: format!("replica-{number}").into(), resolver: fake.clone() };
        let replicas: Vec<Replica> = fakes.iter().enumerate().map(replica).collect();
        let (list, receiver) = watch::channel(replicas.clone().into());
        let lifecycle = Lifecycle::new(Duration::from_secs(1));
        let balanced = Balanced::start(options, receiver, &lifecycle);
        Self { fakes, replicas, list, balanced, lifecycle }
    }

    fn turns(count: usize) -> Self {
        Self::new(count, Options { policy: Policy::RoundRobin, ..Options::default() })
    }

    async fn ask(&self) -> Result<Answer> {
        ask(&self.balanced).await
    }

    /// A request each [`STEP`], as many at once as need be. Answers how many failed.
    async fn traffic(&self, length: Duration) -> usize {
        let end = Instant::now() + length;
        let (mut running, mut failed) = (FuturesUnordered::new(), 0);
        while Instant::now() < end {
            running.push(self.ask());
            let next = Instant::now() + STEP;
            while let Ok(Some(answer)) = timeout_at(next, running.next()).await {
                failed += usize::from(answer.is_err());
            }
            tokio::time::sleep_until(next).await;
        }
        while let Some(answer) = running.next().await {
            failed += usize::from(answer.is_err());
        }
        failed
    }

    fn left_out(&self) -> usize {
        self.fakes.len() - self.balanced.0.placement.load().in_use()
    }

    /// Sends requests until `done`; answers how long it took.
    async fn until(&self, done: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        let mut running = FuturesUnordered::new();
        while !done(self) {
            assert!(began.elapsed() < Duration::from_mins(5), "never came");
            running.push(self.ask());
            let next = Instant::now() + STEP;
            while let Ok(Some(_)) = timeout_at(next, running.next()).await {}
            tokio::time::sleep_until(next).await;
        }
        began.elapsed()
    }
}

/// As the gateway asks: given up at the deadline.
async fn ask(balanced: &Balanced) -> Result<Answer> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let code = format!("code-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let visit = Visit {
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        user_agent: "",
        referrer: "",
        language: "",
        country: None,
        query: "",
        purpose: Purpose::Follow,
    };
    let deadline = Deadline::after(Instant::now().into_std(), DEADLINE);
    let ask = Ask { domain: DomainNo::DEFAULT, code: &code, visit };
    assert!(balanced.try_resolve(&ask).is_none());
    timeout_at(deadline.at().into(), balanced.resolve(&ask, deadline))
        .await
        .unwrap_or_else(|_| Err(Error::new(Reason::DeadlineExceeded, "too late")))
}

#[tokio::test(start_paused = true)]
async fn a_killed_replica_is_not_noticed_by_anybody() {
    for policy in [Policy::Rendezvous, Policy::RING, Policy::P2c, Policy::RoundRobin] {
        for count in [2, 3, 5] {
            let world = World::new(count, Options { policy, ..Options::default() });
            assert_eq!(world.traffic(Duration::from_secs(1)).await, 0);
            world.fakes[0].set(Mode::Dead);
            let before = world.fakes[0].asked();
            assert_eq!(world.traffic(Duration::from_secs(10)).await, 0, "{policy:?} {count}: retried elsewhere");
            assert_eq!(world.fakes[0].asked() - before, 5, "{policy:?} {count}: then it is left out, and probed only");
            world.fakes[0].set(Mode::Answers);
            let back = world.until(|world| world.left_out() == 0).await;
            assert!(back < Duration::from_secs(1), "{policy:?} {count}: {back:?}");
            let before = world.fakes[0].asked();
            world.traffic(Duration::from_secs(1)).await;
            assert!(world.fakes[0].asked() > before + 20);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_never_sent_again() {
    let world = World::turns(4);
    world.fakes.iter().for_each(|fake| fake.set(Mode::Breaks));
    for _ in 0..100 {
        let error = world.ask().await.unwrap_err();
        assert_eq!(error.reason(), Reason::Unavailable);
    }
    assert_eq!(world.fakes.iter().map(|fake| fake.asked()).sum::<usize>(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_made_once_within_budget_and_deadline() {
    let retry = RetryBudget { percent: 10, per_s: 0, burst: 10 };
    let world = World::new(3, Options { retry, ..Options::default() });
    world.fakes.iter().for_each(|fake| fake.set(Mode::Dead));
    for _ in 0..1_000 {
        let error = world.ask().await.unwrap_err();
        assert!(error.retry_after().is_some(), "the client is told when to come again");
    }
    let asked = world.fakes.iter().map(|fake| fake.asked()).sum::<usize>();
    assert!((1_100..=1_110).contains(&asked), "{asked}: the burst, and a tenth of the requests");

    let world = World::new(2, Options::default());
    world.fakes.iter().for_each(|fake| fake.set(Mode::Dead));
    let now = Instant::now();
    let probe = Ask { domain: DomainNo::DEFAULT, code: "late", visit: VISIT };
    let late = Deadline::after(now.into_std(), Duration::from_millis(4));
    assert!(world.balanced.resolve(&probe, late).await.is_err());
    assert_eq!(world.fakes.iter().map(|fake| fake.asked()).sum::<usize>(), 1, "no time for another");
}

const VISIT: Visit<'static> = Visit {
    ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
    user_agent: "",
    referrer: "",
    language: "",
    country: None,
    query: "",
    purpose: Purpose::Follow,
};

#[tokio::test(start_paused = true)]
async fn a_frozen_replica_gets_nothing_after_half_a_second_and_is_back_when_it_thaws() {
    for count in [2, 4] {
        let world = World::turns(count);
        world.traffic(Duration::from_secs(1)).await;
        world.fakes[0].set(Mode::Frozen);
        let found = world.until(|world| world.left_out() == 1).await;
        assert!(found <= Duration::from_millis(500), "{count}: {found:?}");
        let before = world.fakes[0].asked();
        assert_eq!(world.traffic(Duration::from_mins(2)).await, 0, "no user waits for it");
        assert_eq!(world.fakes[0].asked(), before);
        assert!(world.fakes[0].probed.load(Ordering::Relaxed) > 20, "it is asked by us, one question at a time");
        world.fakes[0].set(Mode::Answers);
        let back = world.until(|world| world.left_out() == 0).await;
        assert!(back <= Duration::from_secs(2), "{count}: {back:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_replica_is_found_even_if_its_clients_do_not_wait_for_the_deadline() {
    let world = World::turns(2);
    world.fakes[0].set(Mode::Frozen);
    let began = Instant::now();
    while world.left_out() == 0 {
        assert!(began.elapsed() <= Duration::from_millis(500));
        let _ = tokio::time::timeout(Duration::from_millis(20), world.ask()).await;
    }
    assert!(world.balanced.0.in_flight.load(Ordering::Relaxed) == 0, "who hangs up is not in flight");
}

#[tokio::test(start_paused = true)]
async fn clients_that_hang_up_do_not_condemn_a_replica() {
    let world = World::turns(2);
    world.fakes.iter().for_each(|fake| fake.set(Mode::Slow));
    for _ in 0..20 {
        assert!(tokio::time::timeout(Duration::from_millis(20), world.ask()).await.is_err());
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(world.left_out(), 0);
    assert_eq!(world.fakes.iter().map(|fake| fake.probed.load(Ordering::Relaxed)).sum::<usize>(), 20, "it was suspected, and answered");
}

#[tokio::test(start_paused = true)]
async fn one_slow_code_does_not_condemn_a_replica() {
    let world = World::turns(2);
    world.fakes[0].set(Mode::Slow);
    for _ in 0..4 {
        assert!(world.ask().await.is_ok() != world.ask().await.is_ok());
        sleep(Duration::from_secs(1)).await;
    }
    assert!(world.fakes[0].probed.load(Ordering::Relaxed) > 0, "it was suspected");
    assert_eq!(world.left_out(), 0, "and it answered the probe");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_third_is_left_out_on_suspicion() {
    let world = World::turns(10);
    for frozen in 0..5 {
        world.fakes[frozen].set(Mode::Frozen);
    }
    world.until(|world| world.left_out() == 3).await;
    world.traffic(Duration::from_secs(20)).await;
    assert_eq!(world.left_out(), 3);
}

#[tokio::test(start_paused = true)]
async fn when_most_seem_faulty_nobody_is_left_out() {
    let world = World::turns(4);
    world.fakes[..3].iter().for_each(|fake| fake.set(Mode::Frozen));
    world.traffic(Duration::from_secs(5)).await;
    assert_eq!(world.left_out(), 0, "it is rather we who are wrong");
    world.fakes[..3].iter().for_each(|fake| fake.set(Mode::Answers));
    world.traffic(Duration::from_mins(2)).await;
    assert_eq!((world.left_out(), world.traffic(Duration::from_secs(1)).await), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn those_that_refuse_connections_are_left_out_while_one_does_not() {
    let world = World::turns(4);
    world.fakes[..3].iter().for_each(|fake| fake.set(Mode::Dead));
    // The other one that is tried may be dead as well.
    assert!(world.traffic(Duration::from_secs(1)).await < 30);
    assert_eq!(world.left_out(), 3);
    assert_eq!(world.traffic(Duration::from_secs(5)).await, 0);
    world.fakes[3].set(Mode::Dead);
    world.traffic(Duration::from_secs(5)).await;
    assert_eq!(world.left_out(), 0, "all are as bad: whoever comes back first is found by asking");
    world.fakes[1].set(Mode::Answers);
    world.until(|world| world.left_out() == 3).await;
    assert_eq!(world.traffic(Duration::from_secs(5)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_fails_more_than_the_others_is_left_out() {
    let world = World::turns(3);
    world.fakes[0].set(Mode::Limps);
    let found = world.until(|world| world.left_out() == 1).await;
    assert!(found <= Duration::from_secs(3), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_store_is_nobodys_fault() {
    let world = World::turns(3);
    world.fakes.iter().for_each(|fake| fake.set(Mode::Refuses));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(30) {
        world.traffic(Duration::from_millis(100)).await;
        assert_eq!(world.left_out(), 0, "what they have in memory is worth keeping");
    }
}

#[tokio::test(start_paused = true)]
async fn time_out_doubles_for_those_that_fail_again_and_again() {
    let world = World::turns(2);
    let mut times = Vec::new();
    for _ in 0..8 {
        world.fakes[0].set(Mode::Breaks);
        world.until(|world| world.left_out() == 1).await;
        world.fakes[0].set(Mode::Answers);
        times.push(world.until(|world| world.left_out() == 0).await);
    }
    for (time, expected_s) in times.iter().zip([1, 2, 4, 8, 16, 30, 30, 30]) {
        let expected = Duration::from_secs(expected_s);
        assert!(*time + Duration::from_millis(100) > expected && *time < expected.mul_f32(1.3) + Duration::from_secs(1), "{times:?}");
    }
    world.traffic(Duration::from_mins(3)).await;
    world.fakes[0].set(Mode::Breaks);
    world.until(|world| world.left_out() == 1).await;
    world.fakes[0].set(Mode::Answers);
    assert!(world.until(|world| world.left_out() == 0).await < Duration::from_secs(2), "what was long ago is forgiven");
}

#[tokio::test(start_paused = true)]
async fn the_list_may_change_and_be_empty() {
    let world = World::new(3, Options::default());
    world.traffic(Duration::from_secs(1)).await;
    let seen: Vec<usize> = world.fakes.iter().map(|fake| fake.asked()).collect();
    world.list.send(world.replicas[1..].into()).unwrap();
    while world.balanced.0.placement.load().in_use() != 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.traffic(Duration::from_secs(1)).await, 0);
    assert_eq!(world.fakes[0].asked(), seen[0]);
    world.list.send(Arc::default()).unwrap();
    while world.balanced.0.placement.load().in_use() != 0 {
        tokio::task::yield_now().await;
    }
    let error = world.ask().await.unwrap_err();
    assert_eq!((error.reason(), error.retry_after()), (Reason::Unavailable, Some(RETRY_AFTER)));
    let doubled: Vec<Replica> = world.replicas.iter().chain(&world.replicas).cloned().collect();
    world.list.send(doubled.into()).unwrap();
    while world.balanced.0.placement.load().in_use() != 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.traffic(Duration::from_secs(1)).await, 0);
    world.lifecycle.drain_in_order().await;
}

#[tokio::test(start_paused = true)]
async fn a_faulty_replica_stays_left_out_over_a_change_of_the_list() {
    let world = World::turns(3);
    world.fakes[0].set(Mode::Frozen);
    world.until(|world| world.left_out() == 1).await;
    let mut shuffled = world.replicas.clone();
    shuffled.rotate_left(1);
    world.list.send(shuffled.into()).unwrap();
    let before = world.fakes[0].asked();
    assert_eq!(world.traffic(Duration::from_secs(5)).await, 0);
    assert_eq!(world.fakes[0].asked(), before);
}

/// On threads: requests, changes of the list and failures at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_when_everything_happens_at_once() {
    let world = World::new(4, Options { retry: RetryBudget { percent: 100, per_s: 1_000, burst: 100_000 }, ..Options::default() });
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let balanced = world.balanced.clone();
        tasks.spawn(async move {
            for _ in 0..2_000 {
                // Only one of them ever dies, so another one always answers.
                assert!(ask(&balanced).await.is_ok());
                tokio::task::yield_now().await;
            }
        });
    }
    let mut turn = 0;
    while !tasks.is_empty() {
        world.fakes[0].set(if turn % 2 == 0 { Mode::Dead } else { Mode::Answers });
        let shown = if turn % 3 == 0 { &world.replicas[..] } else { &world.replicas[..3] };
        world.list.send(shown.into()).unwrap();
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        while let Some(ended) = tasks.try_join_next() {
            ended.unwrap();
        }
        turn += 1;
    }
    assert_eq!(world.balanced.0.in_flight.load(Ordering::Relaxed), 0);
    assert!(world.balanced.0.roster().members().all(|member| member.health.in_flight() == 0));
}
