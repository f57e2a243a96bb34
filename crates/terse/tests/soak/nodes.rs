//! Three Cassandra nodes, of which one at a time is killed or frozen, under creates, changes, deletes and redirects: what was
//! acknowledged is there, versions never go back, and nobody hears that a link does not exist which does. Then the caches, and
//! then all of the store: what was taken down stays down.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Client, Reply};
use crate::cluster::{Cluster, Role, Stack};
use crate::ledger::{Found, Known, given_twice, lost};
use crate::plan::{Dice, Plan};
use crate::{Made, until};

const WRITERS: u64 = 4;
const READERS: u64 = 4;
const NODES: [&str; 3] = ["cassandra-1", "cassandra-2", "cassandra-3"];
const REDIS: [&str; 6] = ["redis-1", "redis-2", "redis-3", "redis-4", "redis-5", "redis-6"];
const STALENESS: Duration = Duration::from_secs(5);
/// A node that falls silent is waited for, twice.
const SLACK: Duration = Duration::from_secs(5);
/// Of a redirect, and what the machine may add: drivers that were left alone would wait for half a minute.
const DEADLINE: Duration = Duration::from_secs(3);
const DEADLINE_SLACK: Duration = Duration::from_secs(4);
const TAKEDOWN_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_is_there_while_nodes_die_and_freeze() {
    let mut plan = Plan::of("nodes", 30);
    let stack = tokio::task::block_in_place(|| Stack::start(3));
    let cluster = Cluster::services()
        .links(2)
        .analytics(1)
        .on(&stack)
        .set("TERSE__REDIRECT__STALENESS_S", &STALENESS.as_secs())
        .set("TERSE__GATEWAY__REDIRECT_DEADLINE_MS", &DEADLINE.as_millis())
        .start();
    let shared = Arc::new(Shared::of(&cluster));
    let mut load = JoinSet::new();
    for number in 0..WRITERS {
        load.spawn(Writer { number, shared: shared.clone(), dice: Dice::new(plan.dice.below(u64::MAX)) }.run());
    }
    for _ in 0..READERS {
        load.spawn(read(shared.clone(), Dice::new(plan.dice.below(u64::MAX))));
    }
    plan.begin();
    let faults = break_nodes(&stack, &mut plan);
    shared.stop.store(true, Ordering::Relaxed);
    load.join_all().await;
    let links = shared.links.lock().expect("links").clone();
    let [changes, reads, unavailable] = [&shared.changes, &shared.reads, &shared.unavailable].map(|count| count.load(Ordering::Relaxed));
    println!("soak nodes: {faults} faults, {} links, {changes} changes, {reads} reads, of which {unavailable} were refused", links.len());
    assert!(links.len() > 20 && changes > 20 && reads > 100, "no load at all");
    // While nobody can be asked, what is cached is served beyond its bound, and each such answer is counted.
    let served_stale = cluster.metric_of(Role::Redirect, "terse_redirect_stale_age_seconds_count", &[]).await;
    let too_old = shared.too_old.load(Ordering::Relaxed);
    println!("soak nodes: {too_old} redirects to what had been replaced, {served_stale} said to be stale by the services");
    assert!(
        f64::from(u32::try_from(too_old).expect("a few")) <= served_stale,
        "{too_old} answers were too old, {served_stale} of them knowingly"
    );
    assert_eq!(*shared.wrong.lock().expect("what was wrong"), [""; 0]);
    assert_eq!(given_twice(links.iter().map(|link| (link.made.path.as_str(), link.made.id.as_str()))), [""; 0]);
    assert_eq!(not_there(&shared, &links).await, [""; 0]);
    taken_down_stays_down(&shared, &stack).await;
}

/// One at a time, so that the others are a quorum. Answers how many faults there were.
fn break_nodes(stack: &Stack, plan: &mut Plan) -> usize {
    tokio::task::block_in_place(|| {
        let mut faults = 0;
        while plan.goes_on() || faults < 2 {
            std::thread::sleep(plan.dice.ms(1_000, 3_000));
            let node = [NODES[plan.dice.index(NODES.len())]];
            // One after the other: a killed node takes its time to come back.
            let (down, up) = if faults % 2 == 0 { ("pause", "resume") } else { ("kill", "start") };
            stack.server(down, &node);
            std::thread::sleep(plan.dice.ms(2_000, if plan.is_long { 20_000 } else { 6_000 }));
            stack.server(up, &node);
            faults += 1;
            println!("soak nodes: {down} of {} survived after {:?}", node[0], plan.elapsed());
        }
        faults
    })
}

#[derive(Clone, Debug)]
struct Link {
    made: Made,
    known: Known,
    /// When each version was acknowledged, the first first.
    acknowledged: Vec<Instant>,
    /// It may be deleted: from here on 404 is no lie.
    may_be_gone: bool,
}

impl Link {
    /// The newest version that was acknowledged at `at`.
    fn version_at(&self, at: Instant) -> u64 {
        self.acknowledged.iter().filter(|acknowledged| **acknowledged <= at).count() as u64
    }
}

struct Shared {
    client: Client,
    visitor: Client,
    links: Mutex<Vec<Link>>,
    stop: AtomicBool,
    changes: AtomicU64,
    reads: AtomicU64,
    unavailable: AtomicU64,
    /// Redirects to a version that was replaced longer ago than promised.
    too_old: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Shared {
    fn of(cluster: &Cluster) -> Self {
        Self {
            client: cluster.client(),
            visitor: cluster.anonymous(),
            links: Mutex::default(),
            stop: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
            too_old: AtomicU64::new(0),
            wrong: Mutex::default(),
        }
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn with<T>(&self, index: usize, change: impl FnOnce(&mut Link) -> T) -> T {
        change(&mut self.links.lock().expect("links")[index])
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().expect("what was wrong").push(what);
    }
}

struct Writer {
    number: u64,
    shared: Arc<Shared>,
    dice: Dice,
}

impl Writer {
    async fn run(mut self) {
        for number in 0.. {
            if self.shared.stops() {
                break;
            }
            let Some(index) = self.create(number).await else { continue };
            for version in 2..2 + self.dice.below(4) {
                let target = json!({"target": target(self.number, number, version)});
                if !self.change(index, Some(target)).await {
                    break;
                }
            }
            if self.dice.once_in(5) && !self.shared.with(index, |link| link.known.is_unsure) {
                self.change(index, None).await;
            }
        }
    }

    /// Under a key, sent again until it is answered: whatever became of it at first, there is one link.
    async fn create(&self, number: u64) -> Option<usize> {
        let client = self.shared.client.clone().with("idempotency-key", &format!("nodes-{}-{number}", self.number));
        let draft = json!({"target": target(self.number, number, 1)});
        while !self.shared.stops() {
            let reply = client.post("/api/v1/links", &draft).await;
            if reply.status == 201 {
                let known = Known { version: 1, is_deleted: false, is_unsure: false };
                let made = Made::read(&reply.json());
                let mut links = self.shared.links.lock().expect("links");
                links.push(Link { made, known, acknowledged: vec![Instant::now()], may_be_gone: false });
                return Some(links.len() - 1);
            }
            self.refused("POST", &reply);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        None
    }

    /// Answers whether it is known that it was made.
    async fn change(&self, index: usize, to: Option<Value>) -> bool {
        let path = self.shared.with(index, |link| {
            link.may_be_gone |= to.is_none();
            link.known.is_unsure = true;
            link.made.api()
        });
        let reply = match &to {
            Some(body) => self.shared.client.patch(&path, body).await,
            None => self.shared.client.delete(&path).await,
        };
        if !reply.status.is_success() {
            self.refused("PATCH or DELETE", &reply);
            return false;
        }
        self.shared.changes.fetch_add(1, Ordering::Relaxed);
        self.shared.with(index, |link| {
            link.known = Known { version: link.known.version + 1, is_deleted: to.is_none(), is_unsure: false };
            link.acknowledged.push(Instant::now());
        });
        true
    }

    fn refused(&self, what: &str, reply: &Reply) {
        let status = reply.status.as_u16();
        if !matches!(status, 409 | 500..) {
            self.shared.wrong(format!("{what}: {status} {}", reply.text()));
        }
    }
}

fn target(writer: u64, number: u64, version: u64) -> String {
    format!("https://example.com/{writer}/{number}/{version}")
}

fn version_of(target: &str) -> Option<u64> {
    target.rsplit('/').next()?.parse().ok()
}

async fn read(shared: Arc<Shared>, mut dice: Dice) {
    while !shared.stops() {
        let known = {
            let links = shared.links.lock().expect("links");
            if links.is_empty() { None } else { Some((dice.index(links.len()), links.len())) }
        };
        let Some((any, len)) = known else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // New links as often as old ones.
        let index = if dice.once_in(2) { any } else { len - 1 };
        let (began, before) = (Instant::now(), shared.with(index, |link| link.clone()));
        let reply = if dice.once_in(4) { api(&shared, &before).await } else { follow(&shared, index, began).await };
        shared.reads.fetch_add(1, Ordering::Relaxed);
        match reply {
            Ok(()) => {}
            Err(reply) if reply.status.is_server_error() => drop(shared.unavailable.fetch_add(1, Ordering::Relaxed)),
            Err(reply) => shared.wrong(format!("{before:?}: {} {} {}", reply.status, reply.location(), reply.text())),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The API says what was acknowledged before it was asked, or something newer.
async fn api(shared: &Shared, before: &Link) -> Result<(), Reply> {
    let reply = shared.client.get(&before.made.api()).await;
    let is_new = reply.status == 200 && reply.json()["version"].as_u64() >= Some(before.known.version);
    if is_new { Ok(()) } else { Err(reply) }
}

/// A redirect is never nowhere. Those to a version that was replaced longer ago than promised are counted.
async fn follow(shared: &Shared, index: usize, began: Instant) -> Result<(), Reply> {
    let path = shared.with(index, |link| link.made.path.clone());
    let reply = shared.visitor.get(&path).await;
    if began.elapsed() > DEADLINE + DEADLINE_SLACK {
        shared.wrong(format!("{path} was answered after {:?}", began.elapsed()));
    }
    let (may_be_gone, oldest) = shared.with(index, |link| {
        let oldest = began.checked_sub(STALENESS + SLACK).map_or(0, |at| link.version_at(at));
        (link.may_be_gone, oldest)
    });
    let is_right = match (reply.status.as_u16(), version_of(reply.location())) {
        (302, Some(version)) => {
            if version < highest_target(oldest, may_be_gone) {
                shared.too_old.fetch_add(1, Ordering::Relaxed);
            }
            true
        }
        (404 | 410, _) => may_be_gone,
        _ => false,
    };
    if is_right { Ok(()) } else { Err(reply) }
}

/// The delete is a version without a target of its own.
fn highest_target(version: u64, may_be_gone: bool) -> u64 {
    if may_be_gone { version.saturating_sub(1) } else { version }
}

/// Once all nodes are there again: what cannot be found.
async fn not_there(shared: &Shared, links: &[Link]) -> Vec<String> {
    let mut found = Vec::new();
    for link in links {
        let reply = answered(&shared.client, &link.made.api()).await;
        found.push((reply.status == 200).then(|| {
            let json = reply.json();
            Found { version: json["version"].as_u64().expect("a version"), is_deleted: json["state"] == "deleted" }
        }));
        let reply = answered(&shared.visitor, &link.made.path).await;
        assert!(reply.status == 302 || link.may_be_gone, "{link:?}: {}", reply.status);
    }
    lost(links.iter().zip(found).map(|(link, found)| (link.made.id.as_str(), &link.known, found)))
}

/// Asks until somebody can say.
async fn answered(client: &Client, path: &str) -> Reply {
    let began = Instant::now();
    loop {
        let reply = client.get(path).await;
        if !reply.status.is_server_error() {
            return reply;
        }
        assert!(began.elapsed() < crate::PATIENCE, "{path}: {}", reply.text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A takedown is seen without Redis, and holds without the store, when everything else is served from what is left in caches.
async fn taken_down_stays_down(shared: &Shared, stack: &Stack) {
    let server = |verb: &str, names: &[&str]| tokio::task::block_in_place(|| stack.server(verb, names));
    let made = crate::links(&shared.client, "taken", 3).await;
    for link in &made {
        for _ in 0..4 {
            shared.visitor.get(&link.path).await.expect(302);
        }
    }
    server("pause", &REDIS);
    let (taken, kept) = (&made[0], &made[1]);
    shared.client.post(&format!("{}/block", taken.api()), &json!({"reason": "phishing"})).await.expect(200);
    let acknowledged = Instant::now();
    let mut last = acknowledged;
    while acknowledged.elapsed() < TAKEDOWN_MAX + Duration::from_secs(2) {
        let at = Instant::now();
        if answered(&shared.visitor, &taken.path).await.status != 451 {
            last = at;
        }
        shared.visitor.get(&kept.path).await.expect(302);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("soak nodes: without Redis a takedown is seen after {:?}", last - acknowledged);
    assert!(last - acknowledged <= TAKEDOWN_MAX, "{:?}", last - acknowledged);
    server("resume", &REDIS);

    server("pause", &NODES);
    let frozen = Instant::now();
    while frozen.elapsed() < STALENESS * 2 {
        let taken = shared.visitor.get(&taken.path).await;
        assert_eq!(taken.status, 451, "served although it was taken down");
        shared.visitor.get(&kept.path).await.expect(302);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server("resume", &NODES);
    until("creates go on", async || shared.client.post("/api/v1/links", &json!({"target": "https://example.com/"})).await.status == 201)
        .await;
    assert_eq!(answered(&shared.visitor, &taken.path).await.status, 451);
}

#[test]
fn sabotage_an_answer_that_is_too_old_is_noticed() {
    let now = Instant::now();
    let made = Made { id: "1".into(), path: "/a".into() };
    let known = Known { version: 2, is_deleted: false, is_unsure: false };
    let link = Link { made, known, acknowledged: vec![now, now + STALENESS], may_be_gone: false };
    assert_eq!([now, now + STALENESS, now + STALENESS * 2].map(|at| link.version_at(at)), [1, 2, 2]);
    assert_eq!(version_of("https://example.com/3/17/2"), Some(2));
    assert!(version_of("https://example.com/3/17/1") < Some(link.version_at(now + STALENESS)));
    assert!(version_of("") < Some(1));
}
