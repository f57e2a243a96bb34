//! Services of our own that die or hang, beside servers that are well.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::cluster::{Cluster, Role};
use crate::load::{Load, failed, none_is_denied};
use crate::{links, says, until, until_counted};

const EJECTED: &str = "terse_balance_replicas_ejected";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Frozen,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_replica_that_dies_or_hangs_is_ejected_and_comes_back() {
    let mut cluster = Cluster::services().redirects(3).set("TERSE__GATEWAY__REDIRECT_DEADLINE_MS", &1_000).start();
    let paths: Vec<String> = links(&cluster.client(), "spread", 100).await.into_iter().map(|(path, _)| path).collect();
    for (index, fault) in [(0, Fault::Killed), (1, Fault::Frozen)] {
        let load = Load::start(cluster.public(), &paths, 16);
        tokio::time::sleep(Duration::from_secs(1)).await;
        match fault {
            Fault::Killed => cluster.service(Role::Redirect, index).kill(),
            Fault::Frozen => cluster.service(Role::Redirect, index).pause(),
        }
        until("it is ejected", async || cluster.metric_of(Role::Gateway, EJECTED, &[]).await >= 1.0).await;
        let ejected = Instant::now();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let seen = load.end().await;
        none_is_denied(&seen);
        let after: Vec<_> = seen.iter().filter(|seen| seen.began > ejected).collect();
        let failed_after = after.iter().filter(|seen| seen.status != Some(302)).count();
        let slowest = after.iter().map(|seen| seen.took).max().unwrap_or_default();
        println!(
            "{fault:?}: {} of {} requests failed; afterwards {failed_after} of {}, {slowest:?} at most",
            failed(&seen),
            seen.len(),
            after.len()
        );
        // At most what was under way, and what was sent until it was noticed; most of it is asked elsewhere.
        assert!(failed(&seen) <= 2 * 16, "{fault:?}: {} of {} failed", failed(&seen), seen.len());
        assert!(after.len() > 100 && failed_after == 0, "{fault:?}: {failed_after} of {} failed after the ejection", after.len());
        assert!(says(&cluster, "a redirect replica fails"), "{}", cluster.log());

        match fault {
            Fault::Killed => cluster.service(Role::Redirect, index).start(),
            Fault::Frozen => cluster.service(Role::Redirect, index).resume(),
        }
        until("it is back", async || cluster.metric_of(Role::Gateway, EJECTED, &[]).await < 1.0).await;
        let (_, admin) = cluster.service(Role::Redirect, index).addresses();
        let before = redirects(admin).await;
        let load = Load::start(cluster.public(), &paths, 8);
        until("it redirects again", async || redirects(admin).await > before).await;
        assert_eq!(failed(&load.end().await), 0, "{fault:?}");
    }
}

/// How often one replica has redirected.
async fn redirects(admin: std::net::SocketAddr) -> u64 {
    let text = Client::new(admin).get("/metrics").await.text();
    let lines = text.lines().filter(|line| line.starts_with("terse_redirects_total"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_go_on_without_the_id_service() {
    let mut cluster = Cluster::services().set("TERSE__CODES__BLOCK_LEN", &64).start();
    let client = cluster.client();
    let mut codes: HashSet<String> = links(&client, "before", 10).await.into_iter().map(|(path, _)| path).collect();
    cluster.service(Role::Ids, 0).kill();
    // Far more than a block, so that new ones are needed.
    for round in 0..4 {
        codes.extend(links(&client, &format!("without-{round}"), 100).await.into_iter().map(|(path, _)| path));
    }
    assert_eq!(codes.len(), 410, "a code was given out twice");
    assert!(says(&cluster, "the ID service does not answer"), "{}", cluster.log());
    assert!(cluster.metric_of(Role::Links, "terse_ids_code_blocks_total", &[]).await >= 4.0);
    cluster.service(Role::Ids, 0).start();
    until("the ID service is used again", async || {
        codes.extend(links(&client, "after", 100).await.into_iter().map(|(path, _)| path));
        says(&cluster, "the ID service answers again")
    })
    .await;
    assert!((codes.len() - 410).is_multiple_of(100), "a code was given out twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_go_on_without_analytics_and_are_counted_later() {
    let mut cluster = Cluster::services().start();
    let client = cluster.client();
    let (path, id) = links(&client, "counted", 1).await.remove(0);
    let visitor = cluster.anonymous();
    visitor.get(&path).await.expect(302);
    until_counted(&client, &id, 1).await;
    cluster.service(Role::Analytics, 0).kill();
    cluster.service(Role::Analytics, 1).kill();
    for _ in 0..500 {
        visitor.get(&path).await.expect(302);
    }
    crate::is_unavailable(&client.get(&format!("/api/v1/links/{id}/stats")).await);
    client.post("/api/v1/links", &json!({"target": "https://example.com/meanwhile"})).await.expect(201);
    cluster.service(Role::Analytics, 0).start();
    cluster.service(Role::Analytics, 1).start();
    until_counted(&client, &id, 501).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_gateway_may_take_is_refused_and_the_rest_served() {
    let cluster = Cluster::services().set("TERSE__LIMITS__REQUESTS_PER_S", &200).start();
    let (path, _) = links(&cluster.client(), "many", 1).await.remove(0);
    let load = Load::start(cluster.public(), std::slice::from_ref(&path), 32);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seen = load.end().await;
    none_is_denied(&seen);
    let served = seen.iter().filter(|seen| seen.status == Some(302)).count();
    let refused = seen.iter().filter(|seen| matches!(seen.status, Some(429 | 503))).count();
    assert_eq!(
        served + refused,
        seen.len(),
        "{:?}",
        seen.iter().find(|seen| !matches!(seen.status, Some(302 | 429 | 503))).map(|seen| seen.status)
    );
    // Three seconds' worth, and one in hand.
    assert!((200..=1_000).contains(&served) && refused > served, "{served} served, {refused} refused");
    let counted = cluster.metric_of(Role::Gateway, "terse_gateway_limited_total", &[]).await
        + cluster.metric_of(Role::Gateway, "terse_gateway_shed_total", &[]).await;
    assert!(counted > 0.0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.anonymous().get(&path).await.expect(302);
}
