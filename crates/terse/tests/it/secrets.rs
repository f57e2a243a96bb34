//! Secrets pass through every process in requests of every kind, good and bad, and none of them is in any line of any log,
//! however much is logged: keys, the headers they come in, cookies, and the parts of targets that people keep tokens in.

use http::Method;
use serde_json::json;

use crate::client::Client;
use crate::cluster::{Cluster, Shape, both_shapes};

both_shapes!(no_secret_is_in_a_log);

/// Each is looked for as it is, and where it may be told apart from the key that it belongs to.
const GUESSED_KEY: &str = "tk_canaryguess0000000000000000000000000000000000";
const PASSWORD: &str = "canary-password";
const COOKIE: &str = "canary-cookie";
const OF_TARGETS: [&str; 4] = ["canary-query", "canary-fragment", "canary-user", "canary-refused"];
const OF_VISITS: &str = "canary-visit";
const IDEMPOTENCY_KEY: &str = "canary-idempotency";

async fn no_secret_is_in_a_log(shape: Shape) {
    let mut cluster = shape.cluster().set("TERSE__LOG__LEVEL", &"debug").set("TERSE__LIMITS__MISSES_PER_IP_PER_MIN", &5).start();
    let admin = cluster.client();
    let made = admin.post("/api/v1/keys", &json!({"name": "second", "scopes": ["links:write", "links:read"]})).await.expect(201).json();
    let second = made["key"].as_str().expect("a key").to_owned();
    walk(&Client::new(cluster.public()).with_key(&second)).await;
    refused(&cluster).await;
    admin.delete(&format!("/api/v1/keys/{}", made["id"].as_str().expect("an id"))).await.expect(204);
    Client::new(cluster.public()).with_key(&second).get("/api/v1/links").await.expect(401);

    let first = cluster.admin_key();
    assert_eq!(cluster.interrupt(), Some(0));
    let logs = cluster.log();
    assert!(logs.lines().any(|line| line.contains("\"level\":\"debug\"")), "the logs are not those of this level:\n{logs}");
    // Shown once, at the first start, to whoever sits there: no line of the log, though it lies in the same file here.
    let lines: Vec<&str> = logs.lines().filter(|line| !line.starts_with("  Admin key  ")).collect();
    assert_eq!(written(&lines, &[&first, &second]), [""; 0]);
}

/// What succeeds: targets with everything that may be secret in them, created, changed, listed, visited, exported.
async fn walk(client: &Client) {
    let target = "https://example.com/a?token=canary-query#canary-fragment";
    let owner = client.clone().with("cookie", &format!("session={COOKIE}")).with("idempotency-key", IDEMPOTENCY_KEY);
    let link = owner.create(&json!({"target": target, "alias": "kept"})).await;
    let at = format!("/api/v1/links/{}", link["id"].as_str().expect("an id"));
    client.post("/api/v1/links", &json!({"target": target, "find_or_create": true})).await.expect(201);
    client.post("/api/v1/links/bulk", &json!({"links": [{"target": target}, {"target": target, "alias": "kept"}]})).await.expect(200);
    client.patch(&at, &json!({"target": format!("{target}2")})).await.expect(200);
    client.get(&at).await.expect(200);
    client.get("/api/v1/links?limit=10").await.expect(200);
    for path in ["/kept", "/kept+", "/kept.qr"] {
        client.clone().with("cookie", COOKIE).get(&format!("{path}?secret={OF_VISITS}")).await;
    }
    client.delete(&at).await.expect(204);
}

/// What is refused, and so might be said in the log with its reasons.
async fn refused(cluster: &Cluster) {
    let (client, nobody) = (cluster.client(), cluster.anonymous());
    for target in [
        "javascript:canary-refused",
        "https://canary-user:canary-password@example.com/",
        "https://localhost/?q=canary-query",
        "https://example.com:99999/canary-refused",
    ] {
        client.post("/api/v1/links", &json!({"target": target})).await.expect(422);
    }
    client.send(Method::POST, "/api/v1/links", Some("{\"target\":\"canary-query".into())).await.expect(400);
    client.post("/api/v1/links", &json!({"canary-refused": 1})).await;
    for header in [format!("Bearer {GUESSED_KEY}"), format!("Basic {PASSWORD}"), PASSWORD.to_owned()] {
        nobody.clone().with("authorization", &header).get("/api/v1/links").await.expect(401);
    }
    nobody.clone().with("host", OF_VISITS).get(&format!("/absent?{OF_VISITS}")).await.expect(421);
    for _ in 0..10 {
        nobody.clone().with("cookie", COOKIE).get(&format!("/zzzzzz9?{OF_VISITS}")).await;
    }
    client.send(Method::PUT, &format!("/api/v1/links?{OF_VISITS}"), Some(PASSWORD.into())).await.expect(405);
}

/// The secrets that lines have, each with its line.
fn written(lines: &[&str], keys: &[&str]) -> Vec<String> {
    let others = [GUESSED_KEY, PASSWORD, COOKIE, OF_VISITS, IDEMPOTENCY_KEY];
    let secrets = keys.iter().chain(&others).chain(&OF_TARGETS);
    let found =
        secrets.flat_map(|secret| lines.iter().filter(move |line| line.contains(secret)).map(move |line| format!("{secret}: {line}")));
    found.collect()
}

#[test]
fn sabotage_a_secret_in_a_line_is_noticed() {
    let lines = [r#"{"msg":"fine"}"#, r#"{"msg":"created","target":"https://example.com/?token=canary-query"}"#, r#"{"msg":"tk_real"}"#];
    assert_eq!(written(&lines, &["tk_real"]).len(), 2);
    assert!(written(&lines[..1], &["tk_real"]).is_empty());
}
