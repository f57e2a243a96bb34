//! Two processes of the ID service that were given one number by mistake, frozen beyond their window, killed and started again:
//! both go on, and no id and no code is ever handed out twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::api::{Deadline, Ids as _};
use rpc::{Connector, IdsClient, Replicas};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Role};
use crate::ledger::{overlapping, repeated};
use crate::plan::Plan;
use crate::until;

const IDS_OF_A_CALL: u32 = 1_000;
const CODES_OF_A_CALL: u32 = 16;
/// A window of ids is granted for 10 s.
const WINDOW: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Given {
    ids: Vec<u64>,
    blocks: Vec<(u64, u64)>,
    /// Ids of one call, or of two calls after each other, that were not ascending.
    unordered: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_number_go_on_without_a_duplicate() {
    let mut plan = Plan::of("workers", 20);
    let mut cluster = Cluster::services().redirects(1).analytics(1).ids(2).set("TERSE__IDS__WORKER", &7).start();
    let stop = Arc::new(AtomicBool::new(false));
    let given: [Arc<AtomicU64>; 2] = Default::default();
    let mut takers = JoinSet::new();
    for (index, given) in given.iter().enumerate() {
        let address = cluster.service(Role::Ids, index).addresses().0;
        takers.spawn(take(address, given.clone(), stop.clone()));
    }
    plan.begin();
    let mut faults = 0;
    while plan.goes_on() {
        let index = plan.dice.index(2);
        if faults == 0 || plan.dice.once_in(2) {
            // The other one takes what would have been its window.
            cluster.service(Role::Ids, index).pause();
            tokio::time::sleep(WINDOW + plan.dice.ms(500, 3_000)).await;
            cluster.service(Role::Ids, index).resume();
        } else {
            tokio::task::block_in_place(|| {
                cluster.service(Role::Ids, index).kill();
                cluster.service(Role::Ids, index).start();
            });
        }
        faults += 1;
        for (index, given) in given.iter().enumerate() {
            let before = given.load(Ordering::Relaxed);
            until(&format!("process {index} goes on"), async || given.load(Ordering::Relaxed) > before).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let all = takers.join_all().await;
    let ids: Vec<u64> = all.iter().flat_map(|given| given.ids.iter().copied()).collect();
    let blocks: Vec<(u64, u64)> = all.iter().flat_map(|given| given.blocks.iter().copied()).collect();
    println!("soak workers: {} ids, {} blocks of codes, {faults} faults", ids.len(), blocks.len());
    assert!(all.iter().all(|given| given.ids.len() > 1_000 && given.blocks.len() > 1), "one of them did nothing");
    assert_eq!(all.iter().map(|given| given.unordered).sum::<usize>(), 0);
    assert_eq!(repeated(ids), [0; 0]);
    assert_eq!(overlapping(blocks), [""; 0]);
}

async fn take(address: SocketAddr, count: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Given {
    let connector = Connector::new(rpc::channel::Options::default()).expect("no TLS");
    let (client, mut given) = (IdsClient::new(Replicas::one(address, connector)), Given::default());
    let deadline = || Deadline::after(Instant::now(), Duration::from_secs(5));
    while !stop.load(Ordering::Relaxed) {
        // What it cannot grant it refuses; what is lost on the way is lost.
        if let Ok(ids) = client.next_ids(IDS_OF_A_CALL, deadline()).await {
            let last = given.ids.last().copied().unwrap_or(0);
            given.ids.extend(ids.iter().map(|id| id.get()));
            let of_call = &given.ids[given.ids.len() - ids.len()..];
            given.unordered += usize::from(of_call.first().is_some_and(|first| *first <= last) || !of_call.is_sorted());
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Ok(block) = client.lease_codes(CODES_OF_A_CALL, deadline()).await {
            given.blocks.push((block.start, block.end));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    given
}
