//! Pages that are not redirects.

use crate::client::ask;
use crate::world::{TARGET, World};

#[tokio::test]
async fn landing_robots_and_icons() {
    let world = World::start();
    for (path, kind, part) in [
        ("/", "text/html; charset=utf-8", "s.example"),
        ("/robots.txt", "text/plain; charset=utf-8", "Disallow: /api/"),
        ("/favicon.ico", "image/x-icon", "PNG"),
        ("/favicon.svg", "image/svg+xml", "<svg"),
    ] {
        let reply = ask(&world, &format!("GET {path}")).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)), "{path}");
        assert!(reply.body.contains(part) && reply.body.len() < 10_000, "{path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert!(reply.header("x-request-id").is_some());
        let head = ask(&world, &format!("HEAD {path}")).await;
        assert_eq!(head.header("content-length"), reply.header("content-length"));
    }
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn a_preview_tells_and_does_not_go() {
    let world = World::start();
    let page = ask(&world, "GET /known+\r\nAccept: text/html").await;
    assert_eq!((page.status, page.header("location")), (200, None));
    assert!(page.body.contains("<h1><bdi>example.com</bdi></h1>") && page.body.contains("A &amp; B"), "{}", page.body);
    let data = ask(&world, "GET /later+").await;
    assert_eq!(data.json(), serde_json::json!({"short_url": "http://s.example/later", "target": TARGET, "title": "A & B"}));
    for reply in [&page, &data] {
        assert_eq!((reply.header("vary"), reply.header("cache-control")), (Some("accept"), Some("no-store")));
    }
    assert_eq!(ask(&world, "GET /few+").await.json()["target"], serde_json::Value::Null);
    assert_eq!(ask(&world, "GET /gone+").await.status, 410);
    assert_eq!(ask(&world, "GET /unknown+").await.status, 404);
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let world = World::start();
    for path in ["/known+", "/known.qr", "/known.qr?format=png&size=100"] {
        let first = ask(&world, &format!("GET {path}")).await;
        let tag = first.header("etag").unwrap();
        for known in [tag.to_owned(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let again = ask(&world, &format!("GET {path}\r\nIf-None-Match: {known}")).await;
            assert_eq!((again.status, again.header("etag"), again.body.as_str()), (304, Some(tag), ""), "{path} {known}");
        }
        assert_eq!(ask(&world, &format!("GET {path}\r\nIf-None-Match: \"other\"")).await.status, 200);
    }
    let html = ask(&world, "GET /known+\r\nAccept: text/html").await;
    let json = ask(&world, "GET /known+").await;
    assert_ne!(html.header("etag"), json.header("etag"));
}

#[tokio::test]
async fn codes_as_pictures() {
    let world = World::start();
    for (query, kind) in [("", "image/svg+xml"), ("?format=svg&size=64", "image/svg+xml"), ("?format=png&size=2048", "image/png")] {
        let reply = ask(&world, &format!("GET /later.qr{query}")).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)), "{query}");
        assert_eq!(reply.header("cache-control"), Some("public, max-age=3600"));
    }
    for wrong in ["?size=63", "?size=2049", "?size=1e9", "?format=gif"] {
        assert_eq!(ask(&world, &format!("GET /known.qr{wrong}")).await.status, 422, "{wrong}");
    }
    assert_eq!(ask(&world, "GET /unknown.qr").await.status, 404);
    assert_eq!(ask(&world, "GET /blocked.qr").await.status, 451);
    assert_eq!(ask(&world, "GET /gone.qr").await.status, 410);
}

#[tokio::test]
async fn the_api_is_behind_the_same_door() {
    let world = World::start();
    let unknown = ask(&world, "GET /api/v1/nothing").await;
    assert_eq!(unknown.header("content-type"), Some("application/problem+json"));
    assert!(matches!(unknown.status, 401 | 404), "{unknown:?}");
    assert_eq!(ask(&world, "GET /api/v1/openapi.json").await.status, 200);
    assert_eq!(ask(&world, "GET /api/v1/links\r\nHost: evil.example").await.status, 421);
    assert_eq!(ask(&world, "GET /apiary").await.status, 404, "a code like any other");
    assert_eq!(world.asked().len(), 1);
}
