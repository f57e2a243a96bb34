//! Redis, Kafka and the store, killed and frozen, on servers of the test's own.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::{Cluster, Role, Stack};
use crate::load::{Load, failed, none_is_denied};
use crate::{is_unavailable, links, says, until, until_counted};

const REDIS: [&str; 6] = ["redis-1", "redis-2", "redis-3", "redis-4", "redis-5", "redis-6"];
const STALENESS: Duration = Duration::from_secs(5);

/// One stack for all of it: starting one takes half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn redis_kafka_and_the_store_may_die_and_hang() {
    let stack = tokio::task::spawn_blocking(|| Stack::start(1)).await.expect("it starts");
    let mut cluster = Cluster::services()
        .on(&stack)
        .set("TERSE__REDIRECT__STALENESS_S", &STALENESS.as_secs())
        .set("TERSE__LIMITS__MISSES_PER_IP_PER_MIN", &30)
        .set("TERSE__GATEWAY__TRUSTED_PROXIES", &"127.0.0.1/32")
        .start();
    let stack = Servers(stack);
    redis(&mut cluster, &stack).await;
    kafka(&mut cluster, &stack).await;
    store(&mut cluster, &stack).await;
    assert_eq!(tokio::task::spawn_blocking(move || cluster.interrupt()).await.expect("ended"), Some(0));
}

struct Servers(Stack);

impl Servers {
    /// In the background the tests go on being polled.
    fn each(&self, verb: &str, names: &[&str]) {
        tokio::task::block_in_place(|| self.0.server(verb, names));
    }
}

async fn redis(cluster: &mut Cluster, stack: &Servers) {
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    for (down, up) in [("kill", "start"), ("pause", "resume")] {
        let made = links(&client, down, 40).await;
        let paths: Vec<String> = made.iter().map(|(path, _)| path.clone()).collect();
        let (known, cold) = paths.split_at(20);
        for path in known {
            visitor.get(path).await.expect(302);
        }
        stack.each(down, &REDIS);
        let load = Load::start(cluster.public(), known, 4);
        // From the store, since neither cache has them.
        for path in cold {
            visitor.get(path).await.expect(302);
        }
        // No news comes through: the old target may be answered for N, and not longer.
        let (path, id) = &made[0];
        client.patch(&format!("/api/v1/links/{id}"), &json!({"target": "https://example.com/changed"})).await.expect(200);
        let changed = Instant::now();
        until("the change is seen", async || visitor.get(path).await.expect(302).location() == "https://example.com/changed").await;
        assert!(changed.elapsed() < STALENESS + Duration::from_secs(1), "{down}: {:?}", changed.elapsed());
        client.post("/api/v1/links", &json!({"target": "https://example.com/created"})).await.expect(201);
        // Limits hold all the same, by what the gateway itself has seen.
        let guesser = visitor.clone().with("x-forwarded-for", if down == "kill" { "203.0.113.8" } else { "203.0.113.9" });
        let mut statuses = Vec::new();
        for _ in 0..50 {
            statuses.push(guesser.get("/zzzzzzz").await.status.as_u16());
        }
        let missed = statuses.iter().filter(|status| **status == 404).count();
        assert!((30..=31).contains(&missed) && statuses.last() == Some(&429), "{down}: {statuses:?}");
        let seen = load.end().await;
        none_is_denied(&seen);
        assert_eq!(failed(&seen), 0, "{down}: of {}", seen.len());
        assert!(
            cluster.metric_of(Role::Gateway, "terse_limiter_fallback_total", &[]).await > 0.0,
            "limits are not kept by the gateway alone"
        );
        assert!(says(cluster, "the shared limiter does not answer"), "{}", cluster.log());
        assert!(says(cluster, "does not answer: it is done without"), "{}", cluster.log());

        stack.each(up, &REDIS);
        let hits =
            async |cluster: &Cluster| cluster.metric_of(Role::Redirect, "terse_link_cache_finds_total", &[("outcome", "link")]).await;
        let before = hits(cluster).await;
        until("the shared cache is used again", async || {
            let (path, _) = links(&client, "again", 1).await.remove(0);
            for _ in 0..3 {
                visitor.get(&path).await.expect(302);
            }
            hits(cluster).await > before
        })
        .await;
        // News is heard again: well below N.
        until("news is heard again", async || {
            let (path, id) = links(&client, "news", 1).await.remove(0);
            visitor.get(&path).await.expect(302);
            client.patch(&format!("/api/v1/links/{id}"), &json!({"target": "https://example.com/news"})).await.expect(200);
            let changed = Instant::now();
            until("the change is seen", async || visitor.get(&path).await.expect(302).location() == "https://example.com/news").await;
            changed.elapsed() < Duration::from_secs(1)
        })
        .await;
    }
}

async fn kafka(cluster: &mut Cluster, stack: &Servers) {
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    let (path, id) = links(&client, "clicks", 1).await.remove(0);
    let mut clicks = 0;
    for (down, up) in [("kill", "start"), ("pause", "resume")] {
        stack.each(down, &["kafka"]);
        for _ in 0..300 {
            visitor.get(&path).await.expect(302);
        }
        clicks += 300;
        until("clicks wait", async || cluster.metric_of(Role::Redirect, "terse_clicks_in_queue", &[]).await > 0.0).await;
        client.post("/api/v1/links", &json!({"target": "https://example.com/without-kafka"})).await.expect(201);
        stack.each(up, &["kafka"]);
        until_counted(&client, &id, clicks).await;
        let dropped = cluster.metric_of(Role::Redirect, "terse_clicks_dropped_total", &[]).await;
        assert!(dropped.abs() < f64::EPSILON, "{dropped} dropped");
    }
}

async fn store(cluster: &mut Cluster, stack: &Servers) {
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    for (down, up) in [("kill", "start"), ("pause", "resume")] {
        let made = links(&client, "kept", 40).await;
        let paths: Vec<String> = made.iter().map(|(path, _)| path.clone()).collect();
        let (known, cold) = paths.split_at(20);
        // By both replicas: each code has two, and either may be asked.
        let warming = Load::start(cluster.public(), known, 8);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(failed(&warming.end().await), 0);
        // What creates wrote through is no longer there either.
        stack.each("restart", &REDIS);
        until("the cache is empty and answers", async || {
            cluster.metric_of(Role::Redirect, "terse_redis_broken_ratio", &[]).await < f64::EPSILON
        })
        .await;
        stack.each(down, &["cassandra-1"]);
        let load = Load::start(cluster.public(), known, 4);
        let mut unavailable = 0;
        for path in cold {
            let reply = visitor.get(path).await;
            if reply.status != 302 {
                assert_eq!(reply.status, 503, "{}", reply.text());
                is_unavailable(&reply);
                unavailable += 1;
            }
        }
        assert!(unavailable > 0, "{down}: every code was still in a cache");
        // Never issued: known without the store for as long as what was leased is known.
        let never = visitor.get("/zzzzzzz").await;
        assert!(matches!(never.status.as_u16(), 404 | 503), "{}", never.status);
        is_unavailable(&client.post("/api/v1/links", &json!({"target": "https://example.com/refused"})).await);
        tokio::time::sleep(STALENESS).await;
        let seen = load.end().await;
        none_is_denied(&seen);
        assert_eq!(failed(&seen), 0, "{down}: of {}", seen.len());
        assert!(says(cluster, "cached links are served, others are answered 503"), "{}", cluster.log());

        stack.each(up, &["cassandra-1"]);
        until("creates go on", async || client.post("/api/v1/links", &json!({"target": "https://example.com/again"})).await.status == 201)
            .await;
        for path in cold {
            until("codes lead again", async || visitor.get(path).await.status == 302).await;
        }
    }
}
