//! Keys, domains, statistics, and what is common to every call.

use std::sync::atomic::Ordering;

use axum::body::Body;
use domain::{Scope, UnixMs};
use http::{Method, Request};
use serde_json::json;

use super::backend::NOW;
use super::world::World;

#[tokio::test]
async fn a_key_is_shown_once_and_works_until_revoked() {
    let world = World::new();
    let admin = world.key("root", &[Scope::Admin]);
    let body = json!({"name": "ci", "scopes": ["links:read", "links:write"], "owner": "acme", "expires_at": "2026-12-01T00:00:00Z"});
    let got = world.post(&admin, "/keys", body).await;
    assert_eq!(got.short(), "201");
    let made = got.json();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let expected = json!({
        "id": id, "name": "ci", "owner": "acme", "scopes": ["links:read", "links:write"], "created_at": "2026-11-23T20:00:00Z",
        "expires_at": "2026-12-01T00:00:00Z", "revoked_at": null, "key": key,
    });
    assert_eq!(got.text, expected.to_string());
    assert_eq!(world.get(key, "/me").await.json()["owner"], "acme");
    let listed = world.get(&admin, "/keys").await;
    assert!(!listed.text.contains(key) && listed.text.contains(id), "{}", listed.text);
    // It was believed a moment ago; revoked here, it is refused at once.
    assert_eq!(world.delete(&admin, &format!("/keys/{id}")).await.short(), "204");
    assert_eq!(world.get(key, "/me").await.short(), "401 unauthenticated");
    assert_eq!(world.delete(&admin, &format!("/keys/{id}")).await.short(), "204");
}

#[tokio::test]
async fn a_key_ends_when_it_was_said_to() {
    let world = World::new();
    let (key, _) = world.key_until("me", &[Scope::LinksRead], Some(UnixMs::new(NOW + 1)));
    assert_eq!(world.get(&key, "/me").await.short(), "200");
    world.backend.advance(1);
    let got = world.get(&key, "/me").await;
    assert_eq!((got.short(), got.header("www-authenticate")), ("401 unauthenticated".into(), "Bearer error=\"invalid_token\""));
}

#[tokio::test]
async fn nobody_grants_what_they_lack() {
    let world = World::new();
    let key = world.key("me", &[Scope::KeysWrite, Scope::LinksRead]);
    let post = |body| world.post(&key, "/keys", body);
    assert_eq!(post(json!({"name": "n", "scopes": ["links:read"]})).await.json()["owner"], "me");
    for (body, pointer) in [
        (json!({"name": "n", "scopes": ["admin"]}), "/scopes"),
        (json!({"name": "n", "scopes": ["links:read", "links:write"]}), "/scopes"),
        (json!({"name": "n", "scopes": ["links:read"], "owner": "me"}), "/owner"),
        (json!({"name": "n", "scopes": ["links:read"], "owner": "you"}), "/owner"),
    ] {
        let got = post(body.clone()).await;
        assert_eq!((got.short(), got.pointers()), ("403 forbidden".into(), vec![pointer.to_owned()]), "{body}");
    }
    // Nor takes them away from those who have them.
    let (_, admin) = world.key_until("me", &[Scope::Admin], None);
    assert_eq!(world.delete(&key, &format!("/keys/{admin}")).await.short(), "403 forbidden");
}

#[tokio::test]
async fn a_key_is_looked_up_once_in_a_while_and_garbage_never() {
    let world = World::new();
    let key = world.key("root", &[Scope::Admin]);
    for _ in 0..5 {
        assert_eq!(world.get(&key, "/me").await.short(), "200");
    }
    for garbage in ["tk_", "tk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x", &"a".repeat(5_000)] {
        assert_eq!(world.get(garbage, "/me").await.short(), "401 unauthenticated");
    }
    assert_eq!(world.backend.lookups.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_missing_key_is_asked_for() {
    let world = World::new();
    let got = world.send(Request::get("/api/v1/me").body(Body::empty()).unwrap()).await;
    assert_eq!((got.short(), got.header("www-authenticate")), ("401 unauthenticated".into(), "Bearer"));
    let got = world.send(Request::get("/api/v1/me?key=tk_x").header("authorization", "Basic eDp5").body(Body::empty()).unwrap()).await;
    assert_eq!(got.short(), "401 unauthenticated");
}

#[tokio::test]
async fn domains_come_and_go() {
    let world = World::new();
    let admin = world.key("root", &[Scope::Admin]);
    let body = json!({"host": "New.Example.", "redirect_status": 301, "not_found_url": "https://example.com/404"});
    let got = world.post(&admin, "/domains", body).await;
    let expected = json!({
        "host": "new.example", "default": false, "redirect_status": 301, "caching": "exact", "landing_url": null,
        "not_found_url": "https://example.com/404", "created_at": "2026-11-23T20:00:00Z",
    });
    assert_eq!(
        (got.short(), got.text.clone(), got.header("location")),
        ("201".into(), expected.to_string(), "/api/v1/domains/new.example")
    );
    let got =
        world.patch(&admin, "/domains/new.example", json!({"redirect_status": null, "not_found_url": null, "caching": "balanced"})).await;
    assert_eq!(
        (&got.json()["redirect_status"], &got.json()["not_found_url"], &got.json()["caching"]),
        (&json!(302), &json!(null), &json!("balanced"))
    );
    assert_eq!(world.patch(&admin, "/domains/new.example", json!({"host": "x.example"})).await.short(), "422 unknown_field");
    assert_eq!(world.patch(&admin, "/domains/other.example", json!({})).await.short(), "404 not_found");
    let hosts = world.get(&admin, "/domains").await.json();
    let hosts: Vec<_> = hosts["data"].as_array().unwrap().iter().map(|domain| domain["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, ["localhost:8080", "go.example", "new.example"]);

    let link = world.post(&admin, "/links", json!({"target": "https://example.com/", "domain": "new.example"})).await.json();
    assert_eq!(world.delete(&admin, "/domains/new.example").await.short(), "409 domain_in_use");
    // The code of a deleted link stays taken, and so does its domain.
    world.delete(&admin, &format!("/links/{}", link["id"].as_str().unwrap())).await;
    assert_eq!(world.delete(&admin, "/domains/new.example").await.short(), "409 domain_in_use");
    assert_eq!(world.delete(&admin, "/domains/localhost:8080").await.short(), "409 domain_in_use");
    assert_eq!(world.delete(&admin, "/domains/go.example").await.short(), "204");
    assert_eq!(world.get(&admin, "/domains/go.example").await.short(), "404 not_found");
}

#[tokio::test]
async fn a_repeated_domain_is_the_same_domain() {
    let world = World::new();
    let admin = world.key("root", &[Scope::Admin]);
    let post = |body: &'static str| world.ask(&admin, Method::POST, "/domains", &[("idempotency-key", "k")], body);
    assert_eq!(post(r#"{"host":"new.example"}"#).await.short(), "201");
    assert_eq!(post(r#"{"host":"new.example"}"#).await.short(), "201");
    assert_eq!(post(r#"{"host":"new.example","caching":"fast"}"#).await.short(), "422 idempotency_mismatch");
    let other = world.ask(&admin, Method::POST, "/domains", &[("idempotency-key", "k2")], r#"{"host":"new.example","caching":"fast"}"#);
    assert_eq!(other.await.short(), "409 domain_taken");
}

#[tokio::test]
async fn a_repeated_key_is_the_same_key_and_stays_shown_once() {
    let world = World::new();
    let admin = world.key("root", &[Scope::Admin]);
    let post = |body: &'static str| world.ask(&admin, Method::POST, "/keys", &[("idempotency-key", "k")], body);
    let first = post(r#"{"name":"ci","scopes":["links:read"]}"#).await;
    let again = post(r#"{"scopes":["links:read"],"name":"ci"}"#).await;
    assert_eq!((first.short(), again.short()), ("201".into(), "201".into()));
    assert!(first.json()["key"].as_str().is_some_and(|key| key.starts_with("tk_")));
    assert_eq!((&again.json()["id"], &again.json()["key"]), (&first.json()["id"], &json!(null)));
    assert_eq!(post(r#"{"name":"ci","scopes":["admin"]}"#).await.short(), "422 idempotency_mismatch");
    assert_eq!(world.backend.keys.lock().unwrap().len(), 2, "the admin's and one more");
    // Another owner's keys are apart.
    let other = world.key("me", &[Scope::KeysWrite, Scope::LinksRead]);
    let theirs = world.ask(&other, Method::POST, "/keys", &[("idempotency-key", "k")], r#"{"name":"ci","scopes":["links:read"]}"#).await;
    assert!(theirs.json()["key"].is_string(), "{}", theirs.text);
}

#[tokio::test]
async fn a_repeated_mass_delete_is_the_same_job() {
    let world = World::new();
    let key = world.key("one", &[Scope::LinksWrite]);
    let post = async |idempotency: &str| {
        world.ask(&key, Method::POST, "/links/bulk-delete", &[("idempotency-key", idempotency)], r#"{"tag":"old"}"#).await
    };
    let (first, again) = (post("k").await, post("k").await);
    assert_eq!((first.short(), again.short()), ("202".into(), "202".into()));
    assert_eq!((&first.json()["id"], first.header("location")), (&again.json()["id"], again.header("location")));
    assert_eq!(world.backend.jobs_begun.load(Ordering::Relaxed), 1);
    assert_eq!(post("k2").await.short(), "202");
    assert_eq!(world.backend.jobs_begun.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_request_that_was_cut_off_is_made_again_after_a_while() {
    let world = World::new();
    let admin = world.key("root", &[Scope::Admin]);
    let post = || world.ask(&admin, Method::POST, "/keys", &[("idempotency-key", "k")], r#"{"name":"ci","scopes":["links:read"]}"#);
    world.backend.no_ids.store(true, Ordering::Relaxed);
    assert_eq!(post().await.short(), "503 unavailable");
    world.backend.no_ids.store(false, Ordering::Relaxed);
    let waiting = post().await;
    assert_eq!((waiting.short(), waiting.header("retry-after")), ("409 idempotency_in_progress".into(), "1"));
    world.backend.advance(60_000);
    let made = post().await;
    assert_eq!(made.short(), "201", "{}", made.text);
    assert_eq!(post().await.json()["id"], made.json()["id"]);
}

#[tokio::test]
async fn statistics_have_these_shapes() {
    let world = World::new();
    let key = world.key("me", &[Scope::LinksWrite, Scope::StatsRead]);
    let id = world.link(&key, "https://example.com/").await;
    let expected = json!({
        "from": "2026-11-01T00:00:00Z", "to": "2026-11-23T20:00:00Z", "interval": "month", "total": 5, "humans": 3, "bots": 2, "visitors": 2,
        "series": [{"start": "2026-11-01T00:00:00Z", "clicks": 5, "humans": 3, "visitors": 2}],
    });
    for path in [format!("/links/{id}/stats"), "/stats".into()] {
        let got = world.get(&key, &format!("{path}?from=2026-11-01T01:00:00%2B01:00&interval=month&tz=Europe/Berlin")).await;
        assert_eq!(got.text, expected.to_string(), "{path}");
        assert_eq!(world.get(&key, &path).await.json()["from"], "2026-10-24T20:00:00Z", "30 days by default");
    }
    for path in [format!("/links/{id}/stats/utm_source"), "/stats/utm_source".into()] {
        assert_eq!(world.get(&key, &path).await.json(), json!({"data": [{"value": "utm_source", "clicks": 5, "share": 1.0}]}), "{path}");
    }
    let top = world.get(&key, "/stats/links?limit=1").await.json();
    assert_eq!((&top["data"][0]["link"]["id"], &top["data"][0]["clicks"]), (&json!(id), &json!(5)));
    assert_eq!(world.get(&world.key("me", &[Scope::LinksRead]), "/tags").await.json(), json!({"data": [{"tag": "a", "links": 2}]}));
}

#[tokio::test]
async fn the_document_needs_no_key_and_says_what_is_served() {
    let world = World::new();
    let got = world.send(Request::get("/api/v1/openapi.json").body(Body::empty()).unwrap()).await;
    assert_eq!((got.short(), got.header("content-type")), ("200".into(), "application/json"));
    assert_eq!(got.json()["openapi"], "3.1.0");
    assert_eq!(got.text, crate::openapi::openapi_json());
}

#[tokio::test]
async fn heads_are_answered_like_gets() {
    let world = World::new();
    let key = world.key("me", &[Scope::LinksRead]);
    let got = world.ask(&key, Method::HEAD, "/tags", &[], "").await;
    assert_eq!((got.status.as_u16(), got.text.as_str()), (200, ""));
}
