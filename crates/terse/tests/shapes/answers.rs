//! Answers of the API: status, headers and body.

use std::fmt::Write as _;

use http::Method;
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::cluster::{Cluster, POLL};

/// What differs from run to run, by its key.
fn masked(key: &str, object_is_link: bool) -> Option<&'static str> {
    Some(match key {
        "id" => "[id]",
        "request_id" => "[request]",
        "created_at" | "updated_at" | "last_used_at" | "from" | "to" | "start" => "[time]",
        "key" => "[key]",
        "next_cursor" => "[cursor]",
        "code" | "short_url" if object_is_link => "[by the code]",
        _ => return None,
    })
}

fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(fields) => {
            let is_link = fields.contains_key("target");
            for (key, value) in fields {
                match (masked(key, is_link), &value) {
                    (Some(mask), Value::String(_)) => *value = mask.into(),
                    _ => mask(value),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Of the headers those that say the same each time; of the others that they are there.
fn shown(reply: &Reply) -> String {
    let mut text = format!("{}\n", reply.status);
    let mut headers: Vec<_> = reply.headers.iter().collect();
    headers.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in headers {
        let value = match name.as_str() {
            "date" | "content-length" | "x-request-id" | "location" | "etag" | "ratelimit" | "link" => "[…]",
            _ => value.to_str().expect("ASCII"),
        };
        let _ = writeln!(text, "{name}: {value}");
    }
    if !reply.body.is_empty() {
        let mut body = reply.json();
        mask(&mut body);
        let _ = writeln!(text, "\n{}", serde_json::to_string_pretty(&body).expect("JSON"));
    }
    text
}

/// Sends requests one after the other and keeps what was answered.
struct Recorder<'a> {
    client: &'a Client,
    whole: String,
}

impl Recorder<'_> {
    async fn send(&mut self, method: Method, path: &str, body: Option<&str>) -> Reply {
        let reply = self.client.send(method.clone(), path, body.map(|body| body.to_owned().into())).await;
        let body = body.map(|body| format!(" {body}")).unwrap_or_default();
        // Ids in paths are nobody's business either.
        let path: Vec<_> = path.split('/').map(|part| if part.len() > 12 && part.parse::<u64>().is_ok() { "[id]" } else { part }).collect();
        let _ = writeln!(self.whole, "=== {method} {}{body}\n{}", path.join("/"), shown(&reply));
        reply
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_keys_domains_and_statistics() {
    let cluster = Cluster::all_in_one().set("TERSE__PUBLIC_URL", &crate::PUBLIC_URL).start();
    let client = cluster.client();
    let mut to = Recorder { client: &client, whole: String::new() };
    let full =
        r#"{"target":"https://example.com/a","alias":"full","title":"A","tags":["x"],"max_clicks":5,"expires_at":"2100-01-01T00:00:00Z"}"#;
    let link = to.send(Method::POST, "/api/v1/links", Some(full)).await.expect(201).json();
    to.send(Method::POST, "/api/v1/links", Some(r#"{"target":"https://example.com/b"}"#)).await.expect(201);
    let id = link["id"].as_str().expect("an id");
    let at = format!("/api/v1/links/{id}");
    cluster.anonymous().get("/full").await.expect(302);
    while client.get(&format!("{at}/stats")).await.expect(200).json()["total"] != 1 {
        tokio::time::sleep(POLL).await;
    }
    to.send(Method::GET, &at, None).await;
    to.send(Method::PATCH, &at, Some(r#"{"title":null,"state":"disabled"}"#)).await.expect(200);
    to.send(Method::GET, "/api/v1/links?limit=1", None).await;
    to.send(Method::GET, "/api/v1/links/lookup?code=full", None).await.expect(200);
    to.send(Method::GET, &format!("{at}/stats?interval=month&from=2100-01-01T00:00:00Z&to=2100-02-01T00:00:00Z"), None).await.expect(200);
    to.send(Method::GET, &format!("{at}/stats/browsers"), None).await.expect(200);
    let bulk = r#"{"links":[{"target":"https://example.com/c"},{"target":"nowhere"}]}"#;
    to.send(Method::POST, "/api/v1/links/bulk", Some(bulk)).await.expect(200);
    to.send(Method::POST, "/api/v1/keys", Some(r#"{"name":"reader","scopes":["links:read"],"owner":"alice"}"#)).await.expect(201);
    to.send(Method::POST, "/api/v1/domains", Some(r#"{"host":"two.example.com"}"#)).await.expect(201);
    to.send(Method::GET, "/api/v1/tags", None).await.expect(200);
    to.send(Method::GET, "/api/v1/me", None).await.expect(200);
    to.send(Method::DELETE, &at, None).await.expect(204);
    insta::assert_snapshot!(to.whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn problems() {
    let cluster = Cluster::all_in_one().set("TERSE__PUBLIC_URL", &crate::PUBLIC_URL).start();
    let client = cluster.client();
    let gone = client.create(&json!({"target": "https://example.com/a", "alias": "taken"})).await;
    client.create(&json!({"target": "https://example.com/a", "alias": "over", "expires_at": "2020-01-01T00:00:00Z"})).await;
    let mut to = Recorder { client: &client, whole: String::new() };
    for body in [
        "{",
        r#"{"target":"javascript:alert(1)"}"#,
        r#"{"target":"https://go.example.com/self"}"#,
        r#"{"target":"https://example.com/","alias":"api"}"#,
        r#"{"target":"https://example.com/","alias":"Taken"}"#,
        r#"{"target":"https://example.com/","alias":"a b","max_clicks":0,"redirect_status":200}"#,
        r#"{"target":"https://example.com/","colour":"x"}"#,
    ] {
        to.send(Method::POST, "/api/v1/links", Some(body)).await;
    }
    to.send(Method::PUT, "/api/v1/links", Some("{}")).await.expect(405);
    to.send(Method::GET, "/api/v1/links/1", None).await.expect(404);
    to.send(Method::GET, "/absent", None).await.expect(404);
    to.send(Method::GET, "/over", None).await.expect(410);
    let matching = client.clone().with("if-match", "\"7\"");
    let at = format!("/api/v1/links/{}", gone["id"].as_str().expect("an id"));
    let mut stale = Recorder { client: &matching, whole: to.whole };
    stale.send(Method::PATCH, &at, Some(r#"{"title":"x"}"#)).await.expect(412);
    let nobody = cluster.anonymous();
    let mut unknown = Recorder { client: &nobody, whole: stale.whole };
    unknown.send(Method::GET, "/api/v1/links", None).await.expect(401);
    let elsewhere = nobody.clone().with("host", "evil.example");
    let mut wrong_host = Recorder { client: &elsewhere, whole: unknown.whole };
    wrong_host.send(Method::GET, "/taken", None).await.expect(421);
    insta::assert_snapshot!(wrong_host.whole);
}
