//! Who answers which code under each policy of the gateway, and what a replica that joins or leaves moves: the gateway's own
//! balancing in front of replicas that only count, on a Zipf(1.0) stream. `mod N` stands beside it for comparison.

use std::collections::HashSet;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chassis::Lifecycle;
use domain::api::{Answer, Ask, Deadline, Purpose, Resolver, Visit};
use domain::{DomainNo, Result};
use gateway::balance::{Balanced, Options, Outlier, Policy, Replica};
use tokio::sync::watch;

use crate::figures::{figure, float, len};
use crate::files::Maker;
use crate::zipf::{Dice, Zipf};

const CODES: u32 = 100_000;
const REPLICAS: usize = 8;
/// Each replica remembers so many of the codes; together they could hold eight tenths of them.
const REMEMBERED: usize = 10_000;
/// Requests in flight at all replicas.
const IN_FLIGHT: usize = 64;

#[derive(Clone, Copy)]
enum Rule {
    Gateway(Policy),
    /// What a load balancer without state does: the hash of the code, modulo the number of replicas.
    Modulo,
}

const RULES: [(&str, Rule); 5] = [
    ("round_robin", Rule::Gateway(Policy::RoundRobin)),
    ("mod_n", Rule::Modulo),
    ("ring", Rule::Gateway(Policy::RING)),
    ("p2c", Rule::Gateway(Policy::P2c)),
    ("rendezvous", Rule::Gateway(Policy::Rendezvous)),
];

pub(crate) async fn run(requests: &str) -> anyhow::Result<()> {
    let requests: usize = requests.parse()?;
    let maker = Maker::new([7; 16]);
    let codes: Vec<String> = (0..)
        .filter(|counter| maker.has_code(*counter))
        .map(|counter| maker.code(counter).as_str().to_owned())
        .take(usize::try_from(CODES)?)
        .collect();
    let zipf = Zipf::new(CODES, 1.0);
    println!("{:<12} {:>12} {:>12} {:>10} {:>10} {:>10} {:>10}", "", "moved, join", "moved, leave", "hits", "+1", "-1", "peak/mean");
    for (name, rule) in RULES {
        let life = Lifecycle::new(Duration::from_secs(5));
        let replicas: Vec<Arc<Counting>> = (0..=REPLICAS).map(|_| Arc::default()).collect();
        let group = |numbers: &[usize]| Group::start(rule, &replicas, numbers, &life);
        let all: Vec<usize> = (0..=REPLICAS).collect();
        let (eight, nine) = (group(&all[..REPLICAS]), group(&all));
        // The first of the nine leaves; the newcomer stays.
        let left = group(&all[1..]);
        let moved = |from: &Group, to: &Group| codes.iter().filter(|code| from.home(code) != to.home(code)).count();
        let (joins, leaves) = (moved(&eight, &nine), moved(&nine, &left));
        for replica in &replicas {
            replica.forget();
        }

        let mut dice = Dice::new(1);
        let mut play = |group: &Group, requests: usize| {
            for replica in &replicas {
                replica.reset();
            }
            group.play(&codes, requests, || zipf.rank(&mut dice));
            let sums = replicas.iter().map(|replica| (replica.asked.load(Ordering::Relaxed), replica.hits.load(Ordering::Relaxed)));
            sums.collect::<Vec<_>>()
        };
        play(&eight, requests);
        let steady = play(&eight, requests);
        let joined = play(&nine, requests / 10);
        play(&nine, requests);
        let leaving = play(&left, requests / 10);
        let peak = steady.iter().map(|(asked, _)| *asked).max().unwrap_or(0);
        let peak = float(peak) * len(REPLICAS) / len(requests);
        let of_codes = |moved: usize| 100.0 * len(moved) / f64::from(CODES);
        let figures = [
            ("moved_join_percent", of_codes(joins)),
            ("moved_leave_percent", of_codes(leaves)),
            ("hit_percent", hit_percent(&steady)),
            ("hit_percent_after_join", hit_percent(&joined)),
            ("hit_percent_after_leave", hit_percent(&leaving)),
            ("peak_over_mean", peak),
        ];
        let [join, leave, hits, after_join, after_leave, peak] = figures.map(|(_, value)| value);
        println!("{name:<12} {join:>11.1}% {leave:>11.1}% {hits:>9.1}% {after_join:>9.1}% {after_leave:>9.1}% {peak:>10.2}");
        for (what, value) in figures {
            figure(&format!("{name}_{what}"), value);
        }
        life.drain_in_order().await;
    }
    Ok(())
}

fn hit_percent(replicas: &[(u64, u64)]) -> f64 {
    let (asked, hits) = replicas.iter().fold((0, 0), |sum, replica| (sum.0 + replica.0, sum.1 + replica.1));
    100.0 * float(hits) / float(asked.max(1))
}

/// A replica that counts what it is asked, and remembers the codes asked for last.
#[derive(Default)]
struct Counting {
    asked: AtomicU64,
    hits: AtomicU64,
    memory: Mutex<Memory>,
}

/// The younger half, and the older one, which goes when the younger is full.
#[derive(Default)]
struct Memory {
    young: HashSet<String>,
    old: HashSet<String>,
}

impl Memory {
    /// Whether it was there.
    fn touch(&mut self, code: &str) -> bool {
        if self.young.contains(code) {
            return true;
        }
        let was_old = self.old.remove(code);
        self.young.insert(code.to_owned());
        if self.young.len() >= REMEMBERED / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        was_old
    }
}

impl Counting {
    fn reset(&self) {
        self.asked.store(0, Ordering::Relaxed);
        self.hits.store(0, Ordering::Relaxed);
    }

    fn forget(&self) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Memory::default();
    }

    fn count(&self, code: &str) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.memory.lock().unwrap_or_else(PoisonError::into_inner).touch(code) {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl Resolver for Counting {
    fn try_resolve(&self, _: &Ask<'_>) -> Option<Answer> {
        None
    }

    /// In flight until it is polled again.
    async fn resolve(&self, ask: &Ask<'_>, _: Deadline) -> Result<Answer> {
        self.count(ask.code);
        let mut polled = false;
        std::future::poll_fn(|_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        Ok(Answer::NotFound)
    }
}

/// Replicas behind a rule.
enum Group {
    Gateway(Balanced, Vec<Arc<Counting>>),
    Modulo(Vec<Arc<Counting>>),
}

type InFlight<'a> = Pin<Box<dyn Future<Output = Result<Answer>> + Send + 'a>>;

impl Group {
    fn start(rule: Rule, all: &[Arc<Counting>], numbers: &[usize], life: &Lifecycle) -> Self {
        let members: Vec<_> = numbers.iter().map(|number| all[*number].clone()).collect();
        let Rule::Gateway(policy) = rule else { return Self::Modulo(members) };
        let replica = |number: &usize| Replica { name: format!("10.0.0.{number}:7003").into(), resolver: all[*number].clone() };
        let replicas: Arc<[Replica]> = numbers.iter().map(replica).collect();
        // What is held here for long is no sign of a frozen replica.
        let outlier = Outlier { suspect_after: Duration::from_hours(1), ..Outlier::default() };
        let options = Options { policy, outlier, ..Options::default() };
        Self::Gateway(Balanced::start(options, watch::Sender::new(replicas).subscribe(), life), members)
    }

    async fn ask(&self, code: &str) -> Result<Answer> {
        let visit = Visit {
            ip: IpAddr::from([127, 0, 0, 1]),
            user_agent: "",
            referrer: "",
            language: "",
            country: None,
            query: "",
            purpose: Purpose::Follow,
        };
        let ask = Ask { domain: DomainNo::DEFAULT, code, visit };
        let deadline = Deadline::after(Instant::now(), Duration::from_hours(1));
        match self {
            Self::Gateway(balanced, _) => balanced.resolve(&ask, deadline).await,
            Self::Modulo(members) => members[modulo(code, members.len())].resolve(&ask, deadline).await,
        }
    }

    /// Who answers a code when nothing else is under way: where that replica lies in memory.
    fn home(&self, code: &str) -> *const Counting {
        let (Self::Gateway(_, members) | Self::Modulo(members)) = self;
        for member in members {
            member.reset();
        }
        let mut asked: InFlight<'_> = Box::pin(self.ask(code));
        let _ = poll(&mut asked);
        let home = members.iter().find(|member| member.asked.load(Ordering::Relaxed) > 0);
        let _ = poll(&mut asked);
        home.map_or(std::ptr::null(), Arc::as_ptr)
    }

    /// A stream of requests, the oldest of which is answered when there are too many.
    fn play(&self, codes: &[String], requests: usize, mut rank: impl FnMut() -> usize) {
        let mut in_flight = std::collections::VecDeque::with_capacity(IN_FLIGHT + 1);
        for _ in 0..requests {
            let mut asked: InFlight<'_> = Box::pin(self.ask(&codes[rank()]));
            let _ = poll(&mut asked);
            in_flight.push_back(asked);
            if in_flight.len() > IN_FLIGHT
                && let Some(mut oldest) = in_flight.pop_front()
            {
                let _ = poll(&mut oldest);
            }
        }
        for asked in &mut in_flight {
            let _ = poll(asked);
        }
    }
}

fn poll(future: &mut InFlight<'_>) -> Poll<Result<Answer>> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// FNV-1a, as simple balancers do.
fn modulo(code: &str, count: usize) -> usize {
    let hash = code.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    usize::try_from((hash >> 32) % u64::try_from(count.max(1)).unwrap_or(1)).unwrap_or(0)
}
