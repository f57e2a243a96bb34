//! Links: the shape of an answer, statuses, tags, pages.

use domain::Scope;
use http::Method;
use serde_json::json;

use super::world::World;

const ALL: &[Scope] = &[Scope::LinksRead, Scope::LinksWrite, Scope::StatsRead];

#[tokio::test]
async fn a_link_has_this_shape() {
    let world = World::new();
    let key = world.key("me", ALL);
    let got = world.post(&key, "/links", json!({"target": "https://example.com/a"})).await;
    assert_eq!(got.short(), "201");
    let link = got.json();
    let (id, code) = (link["id"].as_str().unwrap(), link["code"].as_str().unwrap());
    let at = "2026-11-23T20:00:00Z";
    let expected = json!({
        "id": id, "domain": "localhost:8080", "code": code, "code_kind": "generated", "short_url": format!("http://localhost:8080/{code}"), "target": "https://example.com/a",
        "title": null, "tags": [], "state": "active", "redirect_status": 302, "caching": "exact", "forward_query": false,
        "starts_at": null, "expires_at": null, "max_clicks": null, "created_at": at, "updated_at": at, "version": 1, "owner": "me",
    });
    assert_eq!(got.text, expected.to_string());
    assert_eq!(got.header("location"), format!("/api/v1/links/{id}"));
    assert_eq!(got.header("content-type"), "application/json");
    assert!(got.header("etag").starts_with("\"v1-"), "{}", got.header("etag"));
}

#[tokio::test]
async fn domains_lend_their_defaults() {
    let world = World::new();
    let admin = world.key("root", &[Scope::Admin]);
    let got = world.post(&admin, "/links", json!({"target": "https://example.com/", "domain": "go.example", "alias": "Launch"})).await;
    let (id, before) = (got.json()["id"].as_str().unwrap().to_owned(), got.header("etag").to_owned());
    assert_eq!(got.json()["short_url"], "http://go.example/Launch");
    assert_eq!(world.patch(&admin, "/domains/go.example", json!({"redirect_status": 308, "caching": "fast"})).await.short(), "200");
    let got = world.get(&admin, &format!("/links/{id}")).await;
    assert_eq!((&got.json()["redirect_status"], &got.json()["caching"]), (&json!(308), &json!("fast")));
    assert_ne!(got.header("etag"), before, "another text, another tag");
    // A budget can only be kept by being asked.
    world.patch(&admin, &format!("/links/{id}"), json!({"max_clicks": 1})).await;
    assert_eq!(world.get(&admin, &format!("/links/{id}")).await.json()["caching"], "exact");
}

#[tokio::test]
async fn found_is_not_made() {
    let world = World::new();
    let key = world.key("me", ALL);
    let body = json!({"target": "https://example.com/", "find_or_create": true});
    let first = world.post(&key, "/links", body.clone()).await;
    let second = world.post(&key, "/links", body).await;
    assert_eq!((first.short(), second.short()), ("201".into(), "200".into()));
    assert_eq!(first.json(), second.json());
}

#[tokio::test]
async fn an_idempotency_key_answers_the_same_again() {
    let world = World::new();
    let key = world.key("me", ALL);
    let once = [("idempotency-key", "k1")];
    let post = |body: &'static str| world.ask(&key, Method::POST, "/links", &once, body);
    let first = post(r#"{"target":"https://example.com/","title":"t"}"#).await;
    let again = post(r#"{ "title": "t", "target": "https:\/\/example.com/" }"#).await;
    assert_eq!((first.short(), again.short()), ("201".into(), "201".into()));
    assert_eq!(first.text, again.text);
    assert_eq!(post(r#"{"target":"https://example.com/other"}"#).await.short(), "422 idempotency_mismatch");
}

#[tokio::test]
async fn a_taken_alias_is_a_conflict() {
    let world = World::new();
    let key = world.key("me", ALL);
    let body = |alias: &str| json!({"target": "https://example.com/", "alias": alias});
    assert_eq!(world.post(&key, "/links", body("Launch")).await.short(), "201");
    let got = world.post(&key, "/links", body("lAUNCH")).await;
    assert_eq!((got.short(), got.pointers()), ("409 alias_taken".into(), vec!["/alias".to_owned()]));
    assert_eq!(world.get(&key, "/links/lookup?code=Launch").await.json()["code"], "Launch");
}

#[tokio::test]
async fn a_code_is_for_admins() {
    let world = World::new();
    let body = json!({"target": "https://example.com/", "code": "4fK9aQz"});
    let got = world.post(&world.key("me", ALL), "/links", body.clone()).await;
    assert_eq!((got.short(), got.pointers()), ("403 forbidden".into(), vec!["/code".to_owned()]));
    assert_eq!(world.post(&world.key("root", &[Scope::Admin]), "/links", body).await.short(), "201");
}

#[tokio::test]
async fn tags_guard_reads_and_changes() {
    let world = World::new();
    let key = world.key("me", ALL);
    let path = format!("/links/{}", world.link(&key, "https://example.com/").await);
    let old = world.get(&key, &path).await.header("etag").to_owned();
    let known = world.ask(&key, Method::GET, &path, &[("if-none-match", &old)], "").await;
    assert_eq!((known.short(), known.text.as_str(), known.header("etag")), ("304".into(), "", old.as_str()));

    let change = |tag: String, body: &'static str| {
        let (world, key, path) = (&world, &key, &path);
        async move { world.ask(key, Method::PATCH, path, &[("if-match", &tag)], body).await }
    };
    let changed = change(old.clone(), r#"{"title":"new"}"#).await;
    assert_eq!((changed.short(), changed.json()["version"].as_u64()), ("200".into(), Some(2)));
    let new = changed.header("etag").to_owned();
    assert_ne!(new, old);
    assert_eq!(world.ask(&key, Method::GET, &path, &[("if-none-match", &old)], "").await.short(), "200");
    for stale in [old.clone(), "v2".into(), format!("W/{new}"), "\"v1\", \"v9\"".into()] {
        assert_eq!(change(stale.clone(), r#"{"title":"x"}"#).await.short(), "412 version_mismatch", "{stale}");
    }
    assert_eq!(change(format!("{old}, {new}"), r#"{"title":null}"#).await.json()["title"], json!(null));
    assert_eq!(change("*".into(), "{}").await.short(), "200");
    let delete = |tag: String| {
        let (world, key, path) = (&world, &key, &path);
        async move { world.ask(key, Method::DELETE, path, &[("if-match", &tag)], "").await.short() }
    };
    assert_eq!(delete(old).await, "412 version_mismatch");
    assert_eq!(delete("\"v4\"".into()).await, "204");
}

#[tokio::test]
async fn the_life_of_a_link() {
    let world = World::new();
    let (key, admin) = (world.key("me", ALL), world.key("root", &[Scope::Admin]));
    let path = format!("/links/{}", world.link(&key, "https://example.com/").await);
    assert_eq!(world.patch(&key, &path, json!({"state": "disabled"})).await.json()["state"], "disabled");
    assert_eq!(world.patch(&key, &path, json!({"state": "deleted"})).await.short(), "422 invalid_field");
    assert_eq!(world.delete(&key, &path).await.short(), "204");
    assert_eq!(world.delete(&key, &path).await.short(), "204");
    assert_eq!(world.get(&key, &path).await.json()["state"], "deleted");
    assert_eq!(world.patch(&key, &path, json!({"title": "t"})).await.short(), "410 gone");
    assert_eq!(world.get(&key, "/links").await.json()["data"], json!([]));
    assert_eq!(world.get(&key, "/links?state=deleted").await.json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(world.post(&key, &format!("{path}/restore"), json!(null)).await.json()["state"], "active");
    assert_eq!(world.post(&admin, &format!("{path}/block"), json!({"reason": "spam"})).await.json()["state"], "blocked");
    assert_eq!(world.post(&admin, &format!("{path}/block"), json!({"reason": ""})).await.pointers(), ["/reason"]);
    assert_eq!(world.post(&admin, &format!("{path}/block"), json!({})).await.pointers(), ["/reason"]);
    assert_eq!(world.post(&admin, &format!("{path}/unblock"), json!(null)).await.json()["state"], "active");
}

#[tokio::test]
async fn pages_lead_on_to_the_end() {
    let world = World::new();
    let key = world.key("me", ALL);
    let mut made = Vec::new();
    for i in 0..7 {
        made.push(world.link(&key, &format!("https://example.com/{i}")).await);
    }
    let (mut seen, mut path) = (Vec::new(), "/links?limit=3&q=example".to_owned());
    let mut pages = 0;
    loop {
        let got = world.get(&key, &path).await;
        let body = got.json();
        seen.extend(body["data"].as_array().unwrap().iter().map(|link| link["id"].as_str().unwrap().to_owned()));
        pages += 1;
        let link = got.header("link");
        let Some(cursor) = body["next_cursor"].as_str() else {
            assert_eq!(link, "");
            break;
        };
        assert_eq!(link, format!("</api/v1/links?limit=3&q=example&cursor={cursor}>; rel=\"next\""));
        path = link.trim_start_matches("</api/v1").split('>').next().unwrap().to_owned();
    }
    made.reverse();
    assert_eq!((seen, pages), (made, 3));
}

#[tokio::test]
async fn a_bulk_answers_item_by_item() {
    let world = World::new();
    let key = world.key("me", ALL);
    let body = json!({"links": [
        {"target": "https://example.com/1", "alias": "one"}, {"target": 1}, {"target": "https://example.com/2", "alias": "ONE"}, "no",
        {"target": "https://example.com/3", "code": "x"}, {"target": "https://example.com/4", "find_or_create": true},
        {"target": "https://example.com/4", "find_or_create": true}, {"target": "https://example.com/5", "alias": "api"},
    ]});
    let got = world.post(&key, "/links/bulk", body).await;
    assert_eq!(got.short(), "200");
    let results = got.json()["results"].as_array().unwrap().clone();
    let summary: Vec<_> = results
        .iter()
        .map(|result| {
            let problem = &result["problem"];
            assert_eq!(problem.is_null(), result["link"].is_object());
            (
                result["status"].as_u64().unwrap(),
                problem["code"].as_str().unwrap_or("-"),
                problem["errors"][0]["pointer"].as_str().unwrap_or("-"),
            )
        })
        .collect();
    let expected = [
        (201, "-", "-"),
        (422, "invalid_field", "/target"),
        (409, "alias_taken", "/alias"),
        (422, "invalid_field", ""),
        (403, "forbidden", "/code"),
        (201, "-", "-"),
        (200, "-", "-"),
        (422, "alias_reserved", "/alias"),
    ];
    assert_eq!(summary, expected);
}

#[tokio::test]
async fn a_mass_delete_is_a_job() {
    let world = World::new();
    let key = world.key("one", ALL);
    let got = world.post(&key, "/links/bulk-delete", json!({"ids": ["1", "2"]})).await;
    assert_eq!((got.short(), got.header("location")), ("202".into(), "/api/v1/jobs/9"));
    let job = world.get(&key, "/jobs/9").await.json();
    assert_eq!(
        (&job["id"], &job["kind"], &job["state"], &job["done"], &job["errors"]),
        (&json!("9"), &json!("bulk_delete"), &json!("running"), &json!(0), &json!(0))
    );
}
