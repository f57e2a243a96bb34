//! Long runs with faults that a seed decides: whatever was acknowledged is there, whatever was promised holds. In the ordinary
//! suite each runs for seconds; `scripts/soak NAME SECONDS SEED` runs one for as long as it is told to. `docs/soaks.md` says what
//! each of them proves.
//!
//! A soak writes down what it was told, and a checker of `ledger.rs` compares that with what is found; each checker has a test
//! that feeds it a falsified history, and fails unless the checker does.

#[path = "../it/client.rs"]
#[allow(dead_code, reason = "of the end-to-end tests, which use all of it")]
mod client;
#[path = "../it/cluster/mod.rs"]
#[allow(dead_code, unused_macros, unused_imports, reason = "of the end-to-end tests, which use all of it")]
mod cluster;

mod canary;
mod codes;
mod conservation;
mod idempotency;
mod ledger;
mod news;
mod nodes;
mod plan;
mod rolling;
mod stampede;
mod workers;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use client::Client;

/// Of whatever comes about by itself, on a machine that does everything at once.
const PATIENCE: Duration = Duration::from_mins(3);

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(cluster::POLL).await;
    }
}

/// A link as it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    id: String,
    /// With the slash before it.
    path: String,
}

impl Made {
    #[track_caller]
    fn read(link: &Value) -> Self {
        let text = |name: &str| link[name].as_str().unwrap_or_else(|| panic!("no link: {link}")).to_owned();
        Self { id: text("id"), path: format!("/{}", text("code")) }
    }

    fn api(&self) -> String {
        format!("/api/v1/links/{}", self.id)
    }
}

/// So many links at once.
async fn links(client: &Client, tag: &str, number: usize) -> Vec<Made> {
    let drafts: Vec<Value> = (0..number).map(|i| json!({"target": format!("https://example.com/{tag}/{i}")})).collect();
    let made = client.post("/api/v1/links/bulk", &json!({"links": drafts})).await.expect(200).json();
    made["results"].as_array().expect("results").iter().map(|result| Made::read(&result["link"])).collect()
}
