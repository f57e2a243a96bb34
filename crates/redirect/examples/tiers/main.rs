//! Which tier answers as the staleness bound N grows: the service itself, its own L1, on a stream of clicks in virtual time;
//! behind it a shared cache that holds everything for N, as Redis does, and a store that knows every code.
//! `cargo run --release -p redirect --example tiers -- CLICKS_PER_S CODES,… N,…`; lines that begin with FIGURE are for scripts/bench.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for the terminal")]

mod stream;
mod world;

use std::sync::Arc;
use std::time::Duration;

use chassis::Lifecycle;
use domain::api::{Ask, Deadline, Purpose, Resolver as _, Visit};
use domain::{DomainNo, code};
use redirect::{L2, Options, Service};
use stream::{Clicks, Seen};
use tokio::time::Instant;
use world::World;

/// Of virtual time.
const STEP: Duration = Duration::from_millis(10);
/// Measured for at least so long, after as long a start, and for one N at least.
const TIME_MIN: Duration = Duration::from_secs(30);
const CDN_PERCENT: f64 = 95.0;

/// Percent of the clicks that reach the origin.
struct Shares {
    l1: f64,
    redis: f64,
    store: f64,
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [per_s, codes, bounds] = arguments.as_slice() else {
        eprintln!("tiers CLICKS_PER_S CODES,… N,…");
        std::process::exit(2);
    };
    let per_s: f64 = per_s.parse().unwrap();
    let bounds: Vec<u64> = bounds.split(',').map(|n| n.parse().unwrap()).collect();
    println!("{per_s} clicks a second; shares of what reaches the origin, and of all clicks with {CDN_PERCENT} % answered by a CDN");
    println!("{:>9} {:>5} {:<10} {:>4} {:>7} {:>7} {:>7} {:>14}", "codes", "zipf", "seen", "N", "L1", "Redis", "store", "store, of all");
    for codes in codes.split(',').map(|codes| codes.parse::<u32>().unwrap()) {
        for (zipf_name, s) in [("08", 0.8), ("10", 1.0)] {
            for (seen_name, seen) in [("all", Seen::All), ("cdn_even", Seen::Evenly(CDN_PERCENT)), ("cdn_tail", Seen::Tail(CDN_PERCENT))] {
                let clicks = Clicks::new(codes, s, per_s, seen);
                for n in &bounds {
                    let shares = Box::pin(play(&clicks, Duration::from_secs(*n))).await;
                    let of_all = shares.store * clicks.per_s / per_s;
                    println!(
                        "{codes:>9} {s:>5.1} {seen_name:<10} {n:>4} {:>6.2}% {:>6.2}% {:>6.2}% {of_all:>13.3}%",
                        shares.l1, shares.redis, shares.store
                    );
                    let name = format!("{}m_zipf{zipf_name}_{seen_name}_n{n}", f64::from(codes) / 1e6);
                    for (tier, percent) in [("l1", shares.l1), ("redis", shares.redis), ("store", shares.store), ("store_of_all", of_all)] {
                        println!("FIGURE {name}_{tier}_percent {percent:.4}");
                    }
                }
            }
        }
    }
}

async fn play(clicks: &Clicks, n: Duration) -> Shares {
    let world = Arc::new(World::new(n));
    let life = Lifecycle::new(Duration::from_secs(5));
    let options = Options { staleness: n, l2: Some(L2::default()), ..Options::default() };
    let service = Service::new(options, world.deps(), &life).await.unwrap();
    let time = n.max(TIME_MIN);
    let mut dice = stream::Dice::new(1);
    let mut due = 0.0;
    let mut run = async |time: Duration| {
        let (until, mut asked, mut from_l1) = (Instant::now() + time, 0_u64, 0_u64);
        while Instant::now() < until {
            due += clicks.per_s * STEP.as_secs_f64();
            while due >= 1.0 {
                due -= 1.0;
                asked += 1;
                from_l1 += u64::from(resolve(&service, clicks.next(&mut dice)).await);
            }
            tokio::time::advance(STEP).await;
        }
        (asked, from_l1)
    };
    run(time).await;
    let before = world.store_reads();
    let (asked, from_l1) = run(time).await;
    let percent = |count: u64| 100.0 * stream::float(count) / stream::float(asked.max(1));
    // All reads count, those that refresh early as well: it is what the store bears.
    let (l1, store) = (percent(from_l1), percent(world.store_reads() - before));
    life.drain_in_order().await;
    Shares { l1, redis: (100.0 - l1 - store).max(0.0), store }
}

/// Whether memory answered.
async fn resolve(service: &Service, number: u32) -> bool {
    let text = code::encode_base62(world::code_of(number)).unwrap();
    let visit = Visit {
        ip: std::net::IpAddr::from([127, 0, 0, 1]),
        user_agent: "curl/8",
        referrer: "",
        language: "",
        country: None,
        query: "",
        purpose: Purpose::Follow,
    };
    let ask = Ask { domain: DomainNo::DEFAULT, code: std::str::from_utf8(&text).unwrap(), visit };
    if service.try_resolve(&ask).is_some() {
        return true;
    }
    let deadline = Deadline::after(Instant::now().into_std(), Duration::from_secs(5));
    service.resolve(&ask, deadline).await.unwrap();
    false
}
