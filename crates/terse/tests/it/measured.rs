//! What processes tell of themselves is what docs/metrics.md lists: no metric, type, label or value of a label that is not there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::clicks::until_counted;
use crate::cluster::{Shape, both_shapes};

both_shapes!(whatever_is_told_is_listed);

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md"));
/// What every process tells from its start on.
const OF_ALL: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "terse_build_info",
    "terse_data_disk_free_bytes",
    "terse_ready",
    "terse_runtime_busy_seconds_total",
];

async fn whatever_is_told_is_listed(shape: Shape) {
    let cluster = shape.cluster().start();
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    let link = client.create(&json!({"target": "https://example.com/a", "alias": "told", "max_clicks": 9})).await;
    client.create(&json!({"target": "https://example.com/b"})).await;
    client.post("/api/v1/links", &json!({"target": "nowhere"})).await.expect(422);
    for (path, status) in [("/told", 302), ("/told", 302), ("/told+", 200), ("/absent", 404), ("/Zz9Zz9Z", 404)] {
        visitor.get(path).await.expect(status);
    }
    visitor.get("/api/v1/links").await.expect(401);
    let id = link["id"].as_str().expect("an id");
    client.patch(&format!("/api/v1/links/{id}"), &json!({"title": "A"})).await.expect(200);
    until_counted(&client, id, 2).await;

    let listed = listed(PAGE);
    let told = cluster.metrics().await;
    assert!(!told.is_empty());
    for text in &told {
        assert_eq!(unlisted(text, &listed), [""; 0]);
        for name in OF_ALL {
            assert!(text.contains(&format!("# TYPE {name} ")), "{name} is missing in\n{text}");
        }
    }
    assert!(cluster.metric("terse_redirects_total", &[("result", "redirect")]).await >= 2.0);
}

#[derive(Debug)]
struct Listed {
    kind: String,
    /// Without values: any.
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// The rows of the page.
fn listed(page: &str) -> BTreeMap<String, Listed> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [name, kind, _, labels, ..] = cells[..] else { panic!("{row}") };
        let labels = labels.split("; ").filter_map(|label| label.split_once(": ")).map(|(label, values)| {
            let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
            (quoted(label).concat(), quoted(values).into_iter().collect())
        });
        (name.trim_end_matches('`').to_owned(), Listed { kind: kind.to_owned(), labels: labels.collect() })
    })
    .collect()
}

/// What of an answer is not on the list.
fn unlisted(text: &str, listed: &BTreeMap<String, Listed>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, kind) in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
        if listed.get(name).is_none_or(|known| known.kind != kind) {
            wrong.push(format!("{name} {kind}"));
        }
        if !text.contains(&format!("# HELP {name} ")) {
            wrong.push(format!("{name} says nothing of itself"));
        }
    }
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let parts = ["_bucket", "_sum", "_count"];
        let Some(known) = listed.get(name).or_else(|| parts.iter().find_map(|part| listed.get(name.strip_suffix(part)?))) else {
            wrong.push(series.to_owned());
            continue;
        };
        for (label, value) in labels.trim_end_matches("\"}").split("\",").filter_map(|pair| pair.split_once("=\"")) {
            let is_known = known.labels.get(label).is_some_and(|values| values.is_empty() || values.contains(value));
            if !is_known && label != "le" {
                wrong.push(series.to_owned());
            }
        }
    }
    wrong
}

#[test]
fn sabotage_what_is_not_listed_is_noticed() {
    let listed =
        listed("| `a_total` | counter | things | `kind`: `x`, `y`; `op`: words | Things. |\n| `b` | gauge | things |  | More. |\n");
    let fine =
        "# HELP a_total Things.\n# TYPE a_total counter\na_total{kind=\"x\",op=\"any thing\"} 1\n\n# HELP b More.\n# TYPE b gauge\nb 2\n";
    assert_eq!(unlisted(fine, &listed), [""; 0]);
    for (from, to) in [("b 2", "c 2"), ("kind=\"x\"", "kind=\"z\""), ("op=", "url="), ("b gauge", "b counter"), ("# HELP b More.\n", "")] {
        assert_eq!(unlisted(&fine.replace(from, to), &listed).len(), 1, "{from} → {to}");
    }
}
