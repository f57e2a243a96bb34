//! Many processes give out codes at once, on a store that was empty a moment ago, and are killed meanwhile: no code twice, and
//! every link that was acknowledged leads where it should.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::cluster::{Cluster, Role};
use crate::ledger::given_twice;
use crate::plan::Plan;
use crate::{Made, PATIENCE};

const WRITERS: usize = 16;

/// A link, and where it should lead.
type Link = (Made, String);

#[tokio::test(flavor = "multi_thread")]
async fn no_code_is_given_out_twice_by_services_that_are_killed() {
    let mut plan = Plan::of("codes", 0);
    let (services, wanted) = if plan.is_long { (20, 100_000) } else { (5, 2_000) };
    // Small blocks, so that many are taken, and many lost.
    let mut cluster = Cluster::services().redirects(1).analytics(1).links(services).set("TERSE__CODES__BLOCK_LEN", &64).start();
    let made = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(cluster.client(), writer, made.clone(), wanted));
    }
    plan.begin();
    let (mut kills, mut down) = (0, VecDeque::new());
    while made.load(Ordering::Relaxed) < wanted {
        // A long one ends after its seconds, too; a short one must get there.
        if plan.is_long && !plan.goes_on() {
            break;
        }
        assert!(plan.is_long || plan.elapsed() < PATIENCE, "{} of {wanted} links made", made.load(Ordering::Relaxed));
        tokio::time::sleep(plan.dice.ms(200, 1_500)).await;
        let index = plan.dice.index(services);
        if down.iter().all(|(dead, _)| *dead != index) && down.len() < services / 2 {
            cluster.service(Role::Links, index).kill();
            down.push_back((index, Instant::now() + plan.dice.ms(0, 2_000)));
            kills += 1;
        }
        if down.front().is_some_and(|(_, until)| Instant::now() >= *until) {
            let (index, _) = down.pop_front().expect("somebody is down");
            tokio::task::block_in_place(|| cluster.service(Role::Links, index).start());
        }
    }
    made.fetch_max(wanted, Ordering::Relaxed);
    let links: Vec<Link> = writers.join_all().await.into_iter().flatten().collect();
    println!("soak codes: {} links by {services} services, {kills} kills, after {:?}", links.len(), plan.elapsed());
    assert!(links.len() > 100 && kills > 1, "{} links, {kills} kills", links.len());
    assert_eq!(given_twice(links.iter().map(|(made, target)| (made.path.as_str(), target.as_str()))), [""; 0]);
    assert_eq!(given_twice(links.iter().map(|(made, target)| (made.id.as_str(), target.as_str()))), [""; 0]);
    all_lead(&cluster.anonymous(), &links).await;
}

async fn write(client: Client, writer: usize, made: Arc<AtomicUsize>, wanted: usize) -> Vec<Link> {
    let mut links = Vec::new();
    for number in 0.. {
        if made.load(Ordering::Relaxed) >= wanted {
            break;
        }
        let target = format!("https://example.com/codes/{writer}/{number}");
        let draft = json!({"target": target}).to_string();
        // What is not acknowledged may have been made or not, and nobody asks.
        if let Ok(reply) = client.try_send(http::Method::POST, "/api/v1/links", Some(draft.into())).await
            && reply.status == 201
        {
            links.push((Made::read(&reply.json()), target));
            made.fetch_add(1, Ordering::Relaxed);
        }
    }
    links
}

async fn all_lead(visitor: &Client, links: &[Link]) {
    for some in links.chunks(64) {
        let replies = join_all(some.iter().map(|(made, _)| visitor.get(&made.path))).await;
        for ((made, target), reply) in some.iter().zip(replies) {
            assert_eq!(reply.expect(302).location(), target, "{made:?}");
        }
    }
}
