//! Every process is restarted, one after the other, under load: not one request fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::cluster::{Cluster, Role};
use crate::ledger::given_twice;
use crate::plan::Plan;
use crate::{Made, links};

const VISITORS: usize = 6;
const WRITERS: usize = 2;
/// Two of each, in the order in which an operator would take them.
const ROLES: [Role; 5] = [Role::Ids, Role::Links, Role::Redirect, Role::Analytics, Role::Gateway];

/// What stands before two gateways: it sends nothing new to the one that is about to restart.
struct Front {
    gateways: [SocketAddr; 2],
    in_use: AtomicUsize,
    stop: AtomicBool,
}

#[derive(Default)]
struct Outcome {
    redirects: usize,
    made: Vec<Made>,
    failed: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_every_process_restarts() {
    let mut plan = Plan::of("rolling", 1);
    let rounds = if plan.is_long { usize::MAX } else { 2 };
    let mut cluster = Cluster::services().gateways(2).ids(2).links(2).start();
    let key = cluster.admin_key();
    let known = links(&cluster.client(), "known", 50).await;
    let gateways = [0, 1].map(|index| cluster.service(Role::Gateway, index).addresses().0);
    let front = Arc::new(Front { gateways, in_use: AtomicUsize::new(0), stop: AtomicBool::new(false) });
    let mut load = JoinSet::new();
    for visitor in 0..VISITORS {
        load.spawn(visit(front.clone(), known.iter().map(|link| link.path.clone()).skip(visitor * 7).collect()));
    }
    for writer in 0..WRITERS {
        load.spawn(write(front.clone(), key.clone(), writer));
    }
    plan.begin();
    let mut restarts = 0;
    for round in 0..rounds {
        if plan.is_long && !plan.goes_on() {
            break;
        }
        for role in ROLES {
            for index in 0..2 {
                tokio::task::block_in_place(|| restart(&mut cluster, &front, role, index));
                restarts += 1;
            }
        }
        println!("soak rolling: round {} after {:?}", round + 1, plan.elapsed());
    }
    front.stop.store(true, Ordering::Relaxed);
    let mut all = Outcome::default();
    for outcome in load.join_all().await {
        all.redirects += outcome.redirects;
        all.made.extend(outcome.made);
        all.failed.extend(outcome.failed);
    }
    println!("soak rolling: {restarts} restarts, {} redirects, {} creates, {} failed", all.redirects, all.made.len(), all.failed.len());
    assert_eq!(all.failed, [""; 0], "of {} redirects and {} creates", all.redirects, all.made.len());
    assert!(all.redirects > 100 && all.made.len() > 10, "no load at all: {} redirects, {} creates", all.redirects, all.made.len());
    assert_eq!(given_twice(all.made.iter().map(|made| (made.path.as_str(), made.id.as_str()))), [""; 0]);
}

/// SIGTERM, and again when it has ended by itself.
fn restart(cluster: &mut Cluster, front: &Front, role: Role, index: usize) {
    if role == Role::Gateway {
        front.in_use.store(1 - index, Ordering::SeqCst);
    }
    let ended = cluster.service(role, index).stop();
    assert_eq!(ended, Some(0), "{} {index}: {}", role.as_str(), cluster.service(role, index).log());
    cluster.service(role, index).start();
}

impl Front {
    fn ends(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn choose<'a>(&self, clients: &'a [Client; 2]) -> &'a Client {
        &clients[self.in_use.load(Ordering::SeqCst)]
    }
}

async fn visit(front: Arc<Front>, paths: Vec<String>) -> Outcome {
    let (clients, mut outcome) = (front.gateways.map(Client::new), Outcome::default());
    for path in paths.iter().cycle() {
        if front.ends() {
            break;
        }
        match front.choose(&clients).try_send(http::Method::GET, path, None).await {
            Ok(reply) if reply.status == 302 => outcome.redirects += 1,
            Ok(reply) => outcome.failed.push(format!("GET {path}: {} {}", reply.status, reply.text())),
            Err(error) => outcome.failed.push(format!("GET {path}: {error:?}")),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    outcome
}

async fn write(front: Arc<Front>, key: String, writer: usize) -> Outcome {
    let (clients, mut outcome) = (front.gateways.map(|gateway| Client::new(gateway).with_key(&key)), Outcome::default());
    for number in 0.. {
        if front.ends() {
            break;
        }
        let draft = json!({"target": format!("https://example.com/rolling/{writer}/{number}")});
        match front.choose(&clients).try_send(http::Method::POST, "/api/v1/links", Some(draft.to_string().into())).await {
            Ok(reply) if reply.status == 201 => outcome.made.push(Made::read(&reply.json())),
            Ok(reply) => outcome.failed.push(format!("POST {number}: {} {}", reply.status, reply.text())),
            Err(error) => outcome.failed.push(format!("POST {number}: {error:?}")),
        }
    }
    outcome
}
