//! What browsers get, without the style that all pages share.

use std::fmt::Write as _;

use serde_json::json;

use crate::cluster::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn pages_for_browsers() {
    let cluster = Cluster::all_in_one().set("TERSE__PUBLIC_URL", &crate::PUBLIC_URL).start();
    let client = cluster.client();
    client.create(&json!({"target": "https://example.com/a?b=<c>#d", "alias": "seen", "title": "A <b>title</b>"})).await;
    client.create(&json!({"target": "https://example.com/", "alias": "over", "expires_at": "2020-01-01T00:00:00Z"})).await;
    let taken = client.create(&json!({"target": "https://example.com/", "alias": "taken"})).await;
    let id = taken["id"].as_str().expect("an id");
    client.post(&format!("/api/v1/links/{id}/block"), &json!({"reason": "phishing"})).await.expect(200);
    let browser = cluster.anonymous().with("accept", "text/html");
    let mut whole = String::new();
    for path in ["/", "/seen+", "/absent", "/over", "/taken", "/robots.txt"] {
        let page = browser.get(path).await;
        let text = page.text().replace(page.header("x-request-id"), "[request]");
        let (before, rest) = text.split_once("<style>").unwrap_or((&text, ""));
        let after = rest.split_once("</style>").map_or("", |(_, after)| after);
        let _ = writeln!(whole, "=== GET {path}: {}\n{before}{after}", page.status);
    }
    // Where a tag ends, a line does: differences are read by people.
    insta::assert_snapshot!(whole.replace("><", ">\n<"));
}
