//! What users see when a part is down, which metric and which line of the log tell, and that it mends itself: each row of the
//! table in `docs/degrading.md`, on the real processes and the real servers, stopped, killed and frozen.

#[path = "../it/client.rs"]
#[allow(dead_code, reason = "of the end-to-end tests, which use all of it")]
mod client;
#[path = "../it/cluster/mod.rs"]
#[allow(dead_code, unused_macros, unused_imports, reason = "of the end-to-end tests, which use all of it")]
mod cluster;

mod load;
mod replicas;
mod servers;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use client::{Client, Reply};
use cluster::Cluster;

/// Of whatever mends itself, on a machine that does everything at once.
const PATIENCE: Duration = Duration::from_mins(1);

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(cluster::POLL).await;
    }
}

/// So many links; answers their paths and ids.
async fn links(client: &Client, tag: &str, number: usize) -> Vec<(String, String)> {
    let drafts: Vec<Value> = (0..number).map(|i| json!({"target": format!("https://example.com/{tag}/{i}")})).collect();
    let made = client.post("/api/v1/links/bulk", &json!({"links": drafts})).await.expect(200).json();
    let text = |link: &Value, name: &str| link[name].as_str().unwrap_or_else(|| panic!("no link in {made}")).to_owned();
    let results = made["results"].as_array().expect("results");
    results.iter().map(|result| (format!("/{}", text(&result["link"], "code")), text(&result["link"], "id"))).collect()
}

/// Until `total` clicks of the link are counted, and never more.
async fn until_counted(client: &Client, id: &str, total: u64) {
    until(&format!("{total} clicks of {id} are counted"), async || {
        let stats = client.get(&format!("/api/v1/links/{id}/stats")).await;
        let counted = if stats.status == 200 { stats.json()["total"].as_u64().expect("a number") } else { 0 };
        assert!(counted <= total, "{counted} counted of {total} clicked");
        counted == total
    })
    .await;
}

/// A service that cannot, and says when to come again.
#[track_caller]
fn is_unavailable(reply: &Reply) {
    assert!(reply.status == 503 || reply.status == 504, "{} {}", reply.status, reply.text());
    let again = reply.header("retry-after").parse::<u64>();
    assert!(again.is_ok_and(|seconds| (1..=60).contains(&seconds)), "{:?}", reply.headers);
}

fn says(cluster: &Cluster, words: &str) -> bool {
    cluster.log().contains(words)
}
