//! What comes from outside is hostile: each limit and one more.

use axum::body::Body;
use domain::{Scope, limits};
use http::Method;
use serde_json::json;

use super::world::World;

fn admin(world: &World) -> String {
    world.key("root", &[Scope::Admin])
}

#[tokio::test]
async fn bodies_have_a_length() {
    let world = World::new();
    let key = admin(&world);
    for (path, max) in [("/links", limits::BODY_LEN_MAX), ("/links/bulk", limits::BULK_BODY_LEN_MAX), ("/keys", limits::BODY_LEN_MAX)] {
        // Spaces are valid JSON, so that only the length can be wrong.
        let body = |length: usize| format!("{}{{}}", " ".repeat(length - 2));
        assert_eq!(world.ask(&key, Method::POST, path, &[], body(max)).await.short(), "422 invalid_field", "{path}");
        assert_eq!(world.ask(&key, Method::POST, path, &[], body(max + 1)).await.short(), "413 body_too_large", "{path}");
    }
}

#[tokio::test]
async fn only_json_is_read() {
    let world = World::new();
    let key = admin(&world);
    let id = world.link(&key, "https://example.com/").await;
    let link = format!("/links/{id}");
    for (method, path, content_type, expected) in [
        (Method::POST, "/links", "application/json", "201"),
        (Method::POST, "/links", "Application/JSON; charset=utf-8", "201"),
        (Method::POST, "/links", "application/merge-patch+json", "415 unsupported_media_type"),
        (Method::POST, "/links", "text/plain", "415 unsupported_media_type"),
        (Method::POST, "/links", "application/x-www-form-urlencoded", "415 unsupported_media_type"),
        (Method::POST, "/links", "", "415 unsupported_media_type"),
        (Method::PATCH, &link, "application/merge-patch+json", "422 unknown_field"),
        (Method::PATCH, &link, "application/xml", "415 unsupported_media_type"),
    ] {
        let body = r#"{"target":"https://example.com/","alias":null}"#;
        let got = world.ask(&key, method, path, &[("content-type", content_type)], body).await;
        assert_eq!(got.short(), expected, "{path} {content_type}");
    }
}

#[tokio::test]
async fn broken_json_has_a_position() {
    let world = World::new();
    let key = admin(&world);
    let deep = format!("{{\"target\":{}1{}}}", "[".repeat(limits::JSON_DEPTH_MAX), "]".repeat(limits::JSON_DEPTH_MAX));
    for body in ["", "{", "{\"target\":\"x\"", "nonsense", deep.as_str()] {
        let got = world.ask(&key, Method::POST, "/links", &[], body.to_owned()).await;
        assert_eq!(got.short(), "400 invalid_json", "{body}");
        let detail = got.json()["detail"].to_string();
        assert!(detail.contains("column") || detail.contains("byte"), "{detail}");
    }
    let got = world.ask(&key, Method::POST, "/links", &[], Body::from(&b"{\"target\":\"\xff\"}"[..])).await;
    assert_eq!(got.short(), "400 invalid_json");
}

#[tokio::test]
async fn wrong_fields_are_named_together() {
    let world = World::new();
    let key = admin(&world);
    let got = world.post(&key, "/links", json!({"target": 5, "title": " x", "redirect_status": 303, "tags": "a", "colour": "red"})).await;
    assert_eq!(got.short(), "422 invalid_field");
    let mut pointers = got.pointers();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/colour", "/redirect_status", "/tags", "/target", "/title"]);
    // What only the service can refuse comes from there.
    let got = world.post(&key, "/links", json!({"target": "https://example.com/", "max_clicks": 0, "alias": "api"})).await;
    let mut pointers = got.pointers();
    pointers.sort_unstable();
    assert_eq!((got.status.as_u16(), pointers), (422, vec!["/alias".to_owned(), "/max_clicks".to_owned()]));
    let naming = json!({"target": "https://example.com/", "alias": "a", "strategy": "guess", "code_length": 6});
    let mut pointers = world.post(&key, "/links", naming).await.pointers();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/alias", "/code_length", "/strategy"]);
}

#[tokio::test]
async fn bounds_and_one_more() {
    let world = World::new();
    let key = admin(&world);
    let titled = |length: usize| json!({"target": "https://example.com/", "title": "x".repeat(length)});
    let tagged = |count: usize| json!({"target": "https://example.com/", "tags": (0..count).map(|i| format!("t{i}")).collect::<Vec<_>>()});
    let aliased = |length: usize| json!({"target": "https://example.com/", "alias": "x".repeat(length)});
    let clicks = |max: u64| json!({"target": "https://example.com/", "max_clicks": max});
    let coded = |length: u64| json!({"target": "https://example.com/", "strategy": "random", "code_length": length});
    for (good, bad) in [
        (titled(limits::TITLE_LEN_MAX), titled(limits::TITLE_LEN_MAX + 1)),
        (tagged(limits::TAGS_MAX), tagged(limits::TAGS_MAX + 1)),
        (aliased(limits::ALIAS_LEN_MIN), aliased(limits::ALIAS_LEN_MIN - 1)),
        (aliased(limits::ALIAS_LEN_MAX), aliased(limits::ALIAS_LEN_MAX + 1)),
        (clicks(1), clicks(0)),
        (clicks(i64::MAX as u64), clicks(i64::MAX as u64 + 1)),
        (coded(7), coded(6)),
        (coded(22), coded(23)),
    ] {
        assert_eq!(world.post(&key, "/links", good.clone()).await.short(), "201", "{good}");
        let got = world.post(&key, "/links", bad.clone()).await;
        assert_eq!((got.status.as_u16(), got.pointers().len()), (422, 1), "{bad}");
    }
}

#[tokio::test]
async fn queries_are_read_strictly() {
    let world = World::new();
    let key = admin(&world);
    let id = world.link(&key, "https://example.com/").await;
    for (path, expected) in [
        ("/links?limit=0".to_owned(), "422 invalid_field"),
        ("/links?limit=1".to_owned(), "200"),
        ("/links?limit=1000".to_owned(), "200"),
        ("/links?limit=1001".to_owned(), "422 invalid_field"),
        ("/links?limit=x".to_owned(), "422 invalid_field"),
        ("/links?limit=1&limit=2".to_owned(), "422 invalid_field"),
        ("/links?cursor=garbage".to_owned(), "422 invalid_field"),
        ("/links?state=lost".to_owned(), "422 invalid_field"),
        (format!("/links?q={}", "x".repeat(256)), "200"),
        (format!("/links?q={}", "x".repeat(257)), "422 invalid_field"),
        (format!("/links?tag={}", "x".repeat(65)), "422 invalid_field"),
        ("/links?page=2".to_owned(), "422 unknown_field"),
        ("/links/lookup".to_owned(), "422 invalid_field"),
        ("/links/lookup?code=a%20b".to_owned(), "404 not_found"),
        ("/links/lookup?code=x&domain=a%20b".to_owned(), "422 invalid_field"),
        (format!("/links/{id}/stats?from=yesterday"), "422 invalid_field"),
        (format!("/links/{id}/stats?from=2026-11-23T00:00:00Z&to=2026-11-23T00:00:00Z"), "422 invalid_field"),
        (format!("/links/{id}/stats?interval=week"), "422 invalid_field"),
        (format!("/links/{id}/stats?tz={}", "x".repeat(65)), "422 invalid_field"),
        (format!("/links/{id}/stats/planets"), "404 not_found"),
        (format!("/links/{id}/stats/countries?limit=0"), "422 invalid_field"),
        ("/stats/links?limit=101".to_owned(), "422 invalid_field"),
        ("/tags?x=1".to_owned(), "422 unknown_field"),
    ] {
        assert_eq!(world.get(&key, &path).await.short(), expected, "{path}");
    }
}

#[tokio::test]
async fn what_no_id_looks_like_is_not_found() {
    let world = World::new();
    let key = admin(&world);
    for id in ["x", "-1", "0x1", "99999999999999999999", "1%20", "%ff", "1%2F2", "..%2f..%2fetc", "%00"] {
        assert_eq!(world.get(&key, &format!("/links/{id}")).await.short(), "404 not_found", "{id}");
        assert_eq!(world.get(&key, &format!("/jobs/{id}")).await.short(), "404 not_found", "{id}");
        assert_eq!(world.delete(&key, &format!("/keys/{id}")).await.short(), "404 not_found", "{id}");
        assert_eq!(world.get(&key, &format!("/domains/{id}")).await.short(), "404 not_found", "{id}");
    }
    for path in ["", "/", "/nothing", "/links/", "/links/1/nothing", "/links/1/stats/countries/more"] {
        assert_eq!(world.get(&key, path).await.short(), "404 not_found", "{path}");
    }
}

#[tokio::test]
async fn idempotency_keys_have_a_form() {
    let world = World::new();
    let key = admin(&world);
    let (longest, longer) = ("k".repeat(255), "k".repeat(256));
    for (value, expected) in
        [(longest.as_str(), "201"), (longer.as_str(), "422 invalid_field"), ("", "422 invalid_field"), ("a b", "422 invalid_field")]
    {
        let body = r#"{"target":"https://example.com/"}"#;
        assert_eq!(world.ask(&key, Method::POST, "/links", &[("idempotency-key", value)], body).await.short(), expected);
    }
}

#[tokio::test]
async fn keys_are_checked_before_they_are_made() {
    let world = World::new();
    let key = admin(&world);
    for (body, pointer) in [
        (json!({}), "/name"),
        (json!({"name": "n"}), "/scopes"),
        (json!({"name": "n", "scopes": []}), "/scopes"),
        (json!({"name": "n", "scopes": ["root"]}), "/scopes/0"),
        (json!({"name": "", "scopes": ["admin"]}), "/name"),
        (json!({"name": "n\u{202e}", "scopes": ["admin"]}), "/name"),
        (json!({"name": "n", "scopes": ["admin"], "owner": "x".repeat(65)}), "/owner"),
        (json!({"name": "n", "scopes": ["admin"], "expires_at": "2020-01-01T00:00:00Z"}), "/expires_at"),
        (json!({"name": "n", "scopes": ["admin"], "id": "1"}), "/id"),
    ] {
        let got = world.post(&key, "/keys", body.clone()).await;
        assert_eq!(got.status.as_u16(), 422, "{body}");
        assert!(got.pointers().contains(&pointer.to_owned()), "{body}: {}", got.text);
    }
}

#[tokio::test]
async fn domains_are_checked_before_they_are_made() {
    let world = World::new();
    let key = admin(&world);
    for (body, pointer) in [
        (json!({}), "/host"),
        (json!({"host": "localhost:9"}), "/host"),
        (json!({"host": "a b"}), "/host"),
        (json!({"host": "new.example", "redirect_status": 303}), "/redirect_status"),
        (json!({"host": "new.example", "caching": "never"}), "/caching"),
        (json!({"host": "new.example", "no": 7}), "/no"),
    ] {
        let got = world.post(&key, "/domains", body.clone()).await;
        assert_eq!((got.status.as_u16(), got.pointers()), (422, vec![pointer.to_owned()]), "{body}");
    }
    let got = world.post(&key, "/domains", json!({"host": "GO.example"})).await;
    assert_eq!(got.short(), "409 domain_taken");
}
