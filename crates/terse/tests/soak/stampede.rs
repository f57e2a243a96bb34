//! A thousand visitors of a hot link whose cached copies have just expired: the store is asked once by each process at most.

use std::time::Duration;

use futures_util::future::join_all;

use crate::cluster::{Cluster, Role};
use crate::links;
use crate::plan::Plan;

const REPLICAS: usize = 2;
const VISITORS: usize = 1_000;
const STALENESS: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_hot_link_is_read_once_by_each_replica() {
    let mut plan = Plan::of("stampede", 1);
    let cluster = Cluster::services()
        .redirects(REPLICAS)
        .analytics(1)
        .set("TERSE__REDIRECT__STALENESS_S", &STALENESS.as_secs())
        // Each replica gets half of the visitors, as with a link that is hotter than one of them can take.
        .set("TERSE__GATEWAY__BALANCE", &"round_robin")
        .set("TERSE__GATEWAY__CONNECTIONS_PER_IP_MAX", &0)
        .set("TERSE__GATEWAY__REDIRECT_DEADLINE_MS", &10_000)
        .start();
    let client = cluster.client();
    let reads = async || cluster.metric_of(Role::Redirect, "terse_redirect_store_read_seconds_count", &[]).await;
    let visitors: Vec<_> = (0..VISITORS).map(|_| cluster.anonymous()).collect();
    plan.begin();
    let mut rounds = 0;
    while rounds == 0 || plan.goes_on() {
        let hot = links(&client, &format!("hot-{rounds}"), 3).await;
        for link in &hot {
            let warm = join_all((0..4).map(|_| visitors[0].get(&link.path))).await;
            assert!(warm.iter().all(|reply| reply.status == 302));
        }
        tokio::time::sleep(STALENESS + Duration::from_secs(1)).await;
        for link in &hot {
            let before = reads().await;
            let replies = join_all(visitors.iter().map(|visitor| visitor.get(&link.path))).await;
            let failed = replies.iter().filter(|reply| reply.status != 302).count();
            assert_eq!(failed, 0, "of {VISITORS}");
            let read = reads().await - before;
            println!("soak stampede: {VISITORS} visitors, {read} reads of the store");
            assert!((1.0..=2.0).contains(&read), "{read} reads of the store");
        }
        rounds += 1;
    }
    let begun = reads().await;
    // The sabotage: as many links that are not the same are as many reads, so the metric does see them.
    let cold = links(&client, "cold", 30).await;
    tokio::time::sleep(STALENESS + Duration::from_secs(1)).await;
    for link in &cold {
        visitors[0].get(&link.path).await.expect(302);
    }
    let read = reads().await - begun;
    assert!(read >= 30.0, "30 expired links, {read} reads of the store");
}
