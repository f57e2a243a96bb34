//! The metrics that dashboards and alerts are built on: name, type, help and labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::json;

use crate::client::Client;
use crate::cluster::{Cluster, POLL};

/// Of every kind one: creates, changes, redirects that are found, absent and over, statistics.
async fn walk(cluster: &Cluster) {
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    let link = client.create(&json!({"target": "https://example.com/a"})).await;
    client.create(&json!({"target": "https://example.com/a", "alias": "ten", "max_clicks": 10})).await;
    client.create(&json!({"target": "https://example.com/a", "find_or_create": true})).await;
    client.post("/api/v1/links/bulk", &json!({"links": [{"target": "https://example.com/b"}]})).await.expect(200);
    client.post("/api/v1/links", &json!({"target": "javascript:alert(1)"})).await.expect(422);
    let (id, code) = (link["id"].as_str().expect("an id"), link["code"].as_str().expect("a code"));
    for (path, status) in [(format!("/{code}"), 302), (format!("/{code}"), 302), ("/ten".into(), 302), ("/absent".into(), 404)] {
        visitor.get(&path).await.expect(status);
    }
    // Never leased: answered without asking the store.
    visitor.get("/Zz9Zz9Z").await.expect(404);
    client.patch(&format!("/api/v1/links/{id}"), &json!({"title": "A"})).await.expect(200);
    let stats = format!("/api/v1/links/{id}/stats");
    while client.get(&stats).await.expect(200).json()["total"] != 2 {
        tokio::time::sleep(POLL).await;
    }
    client.delete(&format!("/api/v1/links/{id}")).await.expect(204);
}

#[derive(Default)]
struct Metric {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// `name{label="value",…} 1` without the labels that every metric of its type has.
fn name_and_labels(series: &str) -> (&str, Vec<String>) {
    let Some((name, rest)) = series.split_once('{') else { return (series.split(' ').next().unwrap_or(series), Vec::new()) };
    let labels = rest.split("\",").filter_map(|pair| Some(pair.split_once("=\"")?.0.to_owned()));
    (name, labels.filter(|label| !matches!(label.as_str(), "le" | "quantile")).collect())
}

fn metrics(exposed: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in exposed.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.clone_into(&mut metrics.entry(name.to_owned()).or_default().help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind.clone_into(&mut metrics.entry(name.to_owned()).or_default().kind);
        } else if !line.is_empty() && !line.starts_with('#') {
            let (name, labels) = name_and_labels(line);
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end).filter(|it| metrics.contains_key(*it)));
            let family = family.unwrap_or(name).to_owned();
            metrics.entry(family).or_default().labels.extend(labels);
        }
    }
    metrics
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_after_a_small_walk() {
    let cluster = Cluster::all_in_one().start();
    walk(&cluster).await;
    let exposed = Client::new(cluster.admin()).get("/metrics").await.expect(200).text();
    let mut list = String::new();
    for (name, metric) in metrics(&exposed) {
        assert!(!metric.help.is_empty(), "{name} does not say what it counts");
        let labels: Vec<_> = metric.labels.into_iter().collect();
        let _ = writeln!(list, "{name} {} {{{}}}\n  {}", metric.kind, labels.join(","), metric.help);
    }
    insta::assert_snapshot!(list);
}
