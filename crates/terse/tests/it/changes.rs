//! Changing, deleting and restoring links; jobs; domains.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::{Shape, both_shapes};

both_shapes!(
    a_change_is_visible_in_the_next_redirect,
    if_match_lets_one_of_many_win,
    deleted_links_can_be_restored_and_codes_are_never_reused,
    a_takedown_shows_451_with_its_reason,
    mass_deletes_run_as_jobs_and_go_on_after_a_kill,
    domains_have_their_own_codes_and_defaults,
);

fn path(link: &Value) -> String {
    format!("/api/v1/links/{}", link["id"].as_str().expect("an id"))
}

async fn a_change_is_visible_in_the_next_redirect(shape: Shape) {
    let cluster = shape.cluster().start();
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    let link = client.create(&json!({"target": "https://example.com/1", "alias": "moving"})).await;
    visitor.get("/moving").await.expect(302);
    let changed =
        client.patch(&path(&link), &json!({"target": "https://example.com/2", "redirect_status": 307, "title": "T", "tags": ["a"]})).await;
    let changed = changed.expect(200).json();
    assert_eq!(changed["version"], 2);
    assert_eq!(visitor.get("/moving").await.expect(307).location(), "https://example.com/2");
    client.patch(&path(&link), &json!({"state": "disabled"})).await.expect(200);
    visitor.get("/moving").await.expect(404);
    let back = client.patch(&path(&link), &json!({"state": null, "redirect_status": null, "title": null})).await.expect(200).json();
    assert_eq!((&back["state"], &back["redirect_status"], &back["title"]), (&json!("active"), &json!(302), &Value::Null));
    visitor.get("/moving").await.expect(302);
    client.patch(&path(&link), &json!({"alias": "other"})).await.expect(422);
    client.patch(&path(&link), &json!({"target": null})).await.expect(422);
}

async fn if_match_lets_one_of_many_win(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    let link = client.create(&json!({"target": "https://example.com/1"})).await;
    let etag = client.get(&path(&link)).await.expect(200).header("etag").to_owned();
    client.clone().with("if-none-match", &etag).get(&path(&link)).await.expect(304);
    let conditional = client.clone().with("if-match", &etag);
    let bodies: Vec<_> = (0..20).map(|i| json!({"target": format!("https://example.com/winner/{i}")})).collect();
    let link_path = path(&link);
    let replies = join_all(bodies.iter().map(|body| conditional.patch(&link_path, body))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert!(replies.iter().filter(|reply| reply.status == 412).all(|reply| reply.problem() == "version_mismatch"));
    assert_eq!(client.get(&path(&link)).await.json()["version"], 2);
    // Without If-Match all of them are applied, one after the other.
    let bodies: Vec<_> = (0..20).map(|i| json!({"target": format!("https://example.com/each/{i}")})).collect();
    let replies = join_all(bodies.iter().map(|body| client.patch(&link_path, body))).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    assert_eq!(client.get(&path(&link)).await.json()["version"], 22);
}

async fn deleted_links_can_be_restored_and_codes_are_never_reused(shape: Shape) {
    let cluster = shape.cluster().start();
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    let link = client.create(&json!({"target": "https://example.com/1", "alias": "kept"})).await;
    visitor.get("/kept").await.expect(302);
    client.delete(&path(&link)).await.expect(204);
    client.delete(&path(&link)).await.expect(204);
    visitor.get("/kept").await.expect(404);
    assert_eq!(client.get(&path(&link)).await.expect(200).json()["state"], "deleted");
    assert_eq!(client.patch(&path(&link), &json!({"title": "x"})).await.expect(410).problem(), "gone");
    client.post("/api/v1/links", &json!({"target": "https://example.com/2", "alias": "kept"})).await.expect(409);
    assert_eq!(client.get("/api/v1/links").await.json()["data"], json!([]));
    assert_eq!(client.get("/api/v1/links?state=deleted").await.json()["data"].as_array().map(Vec::len), Some(1));
    client.post(&format!("{}/restore", path(&link)), &json!({})).await.expect(200);
    visitor.get("/kept").await.expect(302);
}

async fn a_takedown_shows_451_with_its_reason(shape: Shape) {
    let cluster = shape.cluster().start();
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    let link = client.create(&json!({"target": "https://example.com/bad", "alias": "bad-one"})).await;
    visitor.get("/bad-one").await.expect(302);
    client.post(&format!("{}/block", path(&link)), &json!({"reason": "phishing <b>"})).await.expect(200);
    let page = visitor.clone().with("accept", "text/html").get("/bad-one").await.expect(451).text();
    assert!(page.contains("phishing &lt;b&gt;"), "{page}");
    assert_eq!(client.get(&path(&link)).await.json()["state"], "blocked");
    client.post(&format!("{}/unblock", path(&link)), &json!({})).await.expect(200);
    visitor.get("/bad-one").await.expect(302);
}

/// Polls a job until it is done; the deadline is the test's.
async fn finished(client: &Client, location: &str) -> Value {
    loop {
        let job = client.get(location).await.expect(200).json();
        if job["state"] != "running" {
            return job;
        }
        tokio::time::sleep(crate::cluster::POLL).await;
    }
}

async fn mass_deletes_run_as_jobs_and_go_on_after_a_kill(shape: Shape) {
    let mut cluster = shape.cluster().start();
    let client = cluster.client();
    // Conditional inserts are hundreds of times dearer on a ring of nodes than in a file.
    let (batches, batch_len) = match shape {
        Shape::AllInOne => (5, 1_000),
        Shape::Services => (3, 100),
    };
    let mut ids = Vec::new();
    for batch in 0..batches {
        let links: Vec<_> =
            (0..batch_len).map(|i| json!({"target": format!("https://example.com/{batch}/{i}"), "tags": ["old"]})).collect();
        let made = client.post("/api/v1/links/bulk", &json!({"links": links})).await.expect(200).json();
        ids.extend(made["results"].as_array().expect("results").iter().map(|result| result["link"]["id"].clone()));
    }
    let kept = client.create(&json!({"target": "https://example.com/kept", "tags": ["new"]})).await;
    let by_id = client.post("/api/v1/links/bulk-delete", &json!({"ids": &ids[..100]})).await.expect(202);
    let job = finished(&client, by_id.location()).await;
    assert_eq!((&job["state"], &job["done"], &job["total"], &job["errors"]), (&json!("done"), &json!(100), &json!(100), &json!(0)));
    let by_tag = client.post("/api/v1/links/bulk-delete", &json!({"tag": "old"})).await.expect(202);
    cluster.kill();
    cluster.start();
    let client = cluster.client();
    let job = finished(&client, by_tag.location()).await;
    assert_eq!((&job["state"], &job["errors"]), (&json!("done"), &json!(0)), "{job}");
    assert_eq!(job["done"], json!(batches * batch_len - 100), "{job}");
    let left = client.get("/api/v1/links").await.json();
    assert_eq!(left["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(left["data"][0]["id"], kept["id"]);
    client.get("/api/v1/jobs/12345").await.expect(404);
}

async fn domains_have_their_own_codes_and_defaults(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    let domain = json!({"host": "go.example.org", "redirect_status": 301, "caching": "balanced", "landing_url": "https://example.org/"});
    client.post("/api/v1/domains", &domain).await.expect(201);
    client.post("/api/v1/domains", &domain).await.expect(409);
    let here = client.create(&json!({"target": "https://example.com/here", "alias": "same"})).await;
    let there = client.create(&json!({"target": "https://example.com/there", "alias": "same", "domain": "go.example.org"})).await;
    assert_eq!((&there["redirect_status"], &there["caching"]), (&json!(301), &json!("balanced")));
    assert_eq!(here["redirect_status"], 302);
    let visitor = cluster.anonymous().with("host", "go.example.org");
    assert_eq!(visitor.get("/same").await.expect(301).location(), "https://example.com/there");
    assert_eq!(visitor.get("/").await.expect(302).location(), "https://example.org/");
    assert_eq!(cluster.anonymous().get("/same").await.expect(302).location(), "https://example.com/here");
    assert_eq!(cluster.anonymous().with("host", "evil.example").get("/same").await.expect(421).problem(), "wrong_host");
    client.delete("/api/v1/domains/go.example.org").await.expect(409);
    client.patch("/api/v1/domains/go.example.org", &json!({"redirect_status": 308})).await.expect(200);
    assert_eq!(visitor.get("/same").await.status, 308);
    client.post("/api/v1/links", &json!({"target": "https://go.example.org/x"})).await.expect(422);
}
