//! Keys: scopes, owners, revocation. Nobody sees what is somebody else's.

use serde_json::json;

use crate::client::Client;
use crate::cluster::{Cluster, Shape, both_shapes};

both_shapes!(owners_do_not_see_each_other, scopes_are_kept_and_revoked_keys_end, limits_are_counted_and_told,);

async fn key(cluster: &Cluster, owner: &str, scopes: &[&str]) -> (String, Client) {
    let made = cluster.client().post("/api/v1/keys", &json!({"name": "test", "scopes": scopes, "owner": owner})).await.expect(201).json();
    let text = made["key"].as_str().expect("shown once").to_owned();
    assert!(text.starts_with("tk_"));
    (made["id"].as_str().expect("an id").to_owned(), cluster.anonymous().with_key(&text))
}

async fn owners_do_not_see_each_other(shape: Shape) {
    let cluster = shape.cluster().start();
    let (_, alice) = key(&cluster, "alice", &["links:read", "links:write", "stats:read"]).await;
    let (_, bob) = key(&cluster, "bob", &["links:read", "links:write", "stats:read"]).await;
    let link = alice.create(&json!({"target": "https://example.com/a", "alias": "alices"})).await;
    let id = link["id"].as_str().expect("an id");
    assert_eq!(link["owner"], "alice");
    for path in ["", "/stats", "/stats/countries"] {
        alice.get(&format!("/api/v1/links/{id}{path}")).await.expect(200);
        assert_eq!(bob.get(&format!("/api/v1/links/{id}{path}")).await.expect(404).problem(), "not_found");
    }
    bob.patch(&format!("/api/v1/links/{id}"), &json!({"title": "mine"})).await.expect(404);
    bob.delete(&format!("/api/v1/links/{id}")).await.expect(404);
    bob.post(&format!("/api/v1/links/{id}/restore"), &json!({})).await.expect(404);
    bob.get("/api/v1/links/lookup?code=alices").await.expect(404);
    assert_eq!(bob.get("/api/v1/links").await.expect(200).json()["data"], json!([]));
    // The same key text under another owner is another claim.
    let once = json!({"target": "https://example.com/a", "find_or_create": true});
    let one = alice.clone().post("/api/v1/links", &once).await.expect(201).json();
    assert_ne!(bob.post("/api/v1/links", &once).await.expect(201).json()["id"], one["id"]);
    cluster.client().get(&format!("/api/v1/links/{id}")).await.expect(200);
}

async fn scopes_are_kept_and_revoked_keys_end(shape: Shape) {
    let cluster = shape.cluster().start();
    let (id, reader) = key(&cluster, "alice", &["links:read"]).await;
    reader.get("/api/v1/links").await.expect(200);
    assert_eq!(reader.get("/api/v1/me").await.expect(200).json()["owner"], "alice");
    assert_eq!(reader.post("/api/v1/links", &json!({"target": "https://example.com"})).await.expect(403).problem(), "forbidden");
    reader.post("/api/v1/keys", &json!({"name": "x", "scopes": ["links:read"]})).await.expect(403);
    let (_, maker) = key(&cluster, "alice", &["keys:write", "links:read"]).await;
    maker.post("/api/v1/keys", &json!({"name": "x", "scopes": ["links:read"]})).await.expect(201);
    maker.post("/api/v1/keys", &json!({"name": "x", "scopes": ["links:write"]})).await.expect(403);
    assert!(maker.post("/api/v1/keys", &json!({"name": "x", "scopes": ["links:read"], "owner": "bob"})).await.status.is_client_error());
    cluster.client().delete(&format!("/api/v1/keys/{id}")).await.expect(204);
    assert_eq!(reader.get("/api/v1/links").await.expect(401).problem(), "unauthenticated");
    for bad in ["tk_nonsense", "", "Basic"] {
        cluster.anonymous().with_key(bad).get("/api/v1/links").await.expect(401);
    }
    assert!(cluster.anonymous().get("/api/v1/links").await.expect(401).header("www-authenticate").starts_with("Bearer"));
}

async fn limits_are_counted_and_told(shape: Shape) {
    let cluster = shape
        .cluster()
        .set("TERSE__LIMITS__CREATES_PER_KEY_PER_H", &30)
        .set("TERSE__LIMITS__API_PER_IP_PER_MIN", &100)
        .set("TERSE__LIMITS__MISSES_PER_IP_PER_MIN", &30)
        .start();
    let (_, alice) = key(&cluster, "alice", &["links:read", "links:write"]).await;
    for _ in 0..10 {
        alice.create(&json!({"target": "https://example.com/a"})).await;
    }
    let bulk = |n: usize| json!({"links": vec![json!({"target": "https://example.com/b"}); n]});
    let refused = alice.post("/api/v1/links/bulk", &bulk(21)).await.expect(429);
    assert_eq!(refused.problem(), "rate_limited");
    assert!(!refused.header("retry-after").is_empty() && !refused.header("ratelimit").is_empty());
    alice.post("/api/v1/links/bulk", &bulk(20)).await.expect(200);
    alice.post("/api/v1/links", &json!({"target": "https://example.com/a"})).await.expect(429);
    cluster.client().create(&json!({"target": "https://example.com/admin", "alias": "still-there"})).await;
    // 30 misses, then every code is refused, those that exist too.
    let visitor = cluster.anonymous();
    visitor.get("/still-there").await.expect(302);
    for i in 0..30 {
        visitor.get(&format!("/missing-{i}")).await.expect(404);
    }
    visitor.get("/missing-30").await.expect(429);
    assert!(!visitor.get("/still-there").await.expect(429).header("retry-after").is_empty());
    // 100 API requests a minute from one address.
    let mut last = alice.get("/api/v1/me").await;
    for _ in 0..100 {
        last = alice.get("/api/v1/me").await;
    }
    assert_eq!(last.status, 429);
    cluster.client().get("/api/v1/me").await.expect(200);
}
