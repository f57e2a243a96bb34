//! What a link answers.

use domain::api::Purpose;

use crate::client::{Client, ask};
use crate::world::{TARGET, World};

const BROWSER: &str = "Accept: text/html,*/*;q=0.8";

#[tokio::test]
async fn a_redirect_and_its_headers() {
    let world = World::start();
    for code in ["known", "later", "team/docs", "team%2Fdocs", "kn%6fwn"] {
        let reply = ask(&world, &format!("GET /{code}")).await;
        assert_eq!(reply.status, 302, "{code}");
        assert_eq!(reply.header("location"), Some(TARGET));
        assert_eq!(reply.header("cache-control"), Some("private, no-store"));
        assert_eq!(reply.header("x-robots-tag"), Some("noindex"));
        assert_eq!(reply.header("referrer-policy"), Some("strict-origin-when-cross-origin"));
        assert_eq!(reply.header("content-length"), Some("0"));
        assert!(reply.header("date").is_some());
        let id = reply.header("x-request-id").unwrap();
        assert!(id.len() == 18 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{id}");
    }
}

#[tokio::test]
async fn who_has_said_all_is_still_answered() {
    let world = World::start();
    for (request, status) in [
        ("GET /later HTTP/1.1\r\nHost: s.example\r\n\r\n", 302),
        ("GET /later HTTP/1.0\r\nHost: s.example\r\n\r\n", 302),
        ("HEAD /later HTTP/1.1\r\nHost: s.example\r\nContent-Length: 0\r\n\r\n", 302),
        ("POST /api/v1/links HTTP/1.1\r\nHost: s.example\r\nContent-Length: 2\r\n\r\n{}", 401),
        ("POST /api/v1/links HTTP/1.1\r\nHost: s.example\r\nContent-Length: 2\r\n\r\n{", 401),
    ] {
        let mut client = Client::connect(world.address).await;
        client.send(request).await;
        client.say_no_more().await;
        assert_eq!(client.reply().await.map(|reply| reply.status), Some(status), "{request:?}");
        assert!(client.is_closed().await, "{request:?}");
    }
}

#[tokio::test]
async fn status_and_caching_by_link_then_domain() {
    let world = World::start();
    let fast = "public, max-age=60, s-maxage=3600, stale-while-revalidate=300";
    let balanced = "public, max-age=0, s-maxage=300, stale-while-revalidate=60";
    for (host, code, status, control) in [
        ("s.example", "permanent", 308, "private, no-store"),
        ("s.example", "fast", 302, fast),
        ("s.example", "ending", 302, "public, max-age=20, s-maxage=20"),
        ("s.example", "few", 302, "private, no-store"),
        ("go.example", "known", 301, balanced),
        ("go.example", "permanent", 308, balanced),
        ("go.example", "few", 301, "private, no-store"),
    ] {
        let reply = ask(&world, &format!("GET /{code}\r\nHost: {host}")).await;
        assert_eq!((reply.status, reply.header("cache-control").unwrap()), (status, control), "{host}/{code}");
    }
}

#[tokio::test]
async fn the_query_is_forwarded_where_the_link_wants_it() {
    let world = World::start();
    for (path, location) in [
        ("fwd?x=1&x=2", "https://example.com/a?b=1&x=1&x=2#c"),
        ("fwd?", TARGET),
        ("fwd?a=%0d%0aSet-Cookie:x", "https://example.com/a?b=1&a=%0d%0aSet-Cookie:x#c"),
        ("known?x=1", TARGET),
    ] {
        assert_eq!(ask(&world, &format!("GET /{path}")).await.header("location"), Some(location), "{path}");
    }
}

#[tokio::test]
async fn a_target_that_no_header_carries_is_encoded() {
    let world = World::start();
    let reply = ask(&world, "GET /odd").await;
    assert_eq!(reply.header("location"), Some("https://example.com/%0D%0AX-Evil:%201%E2%80%A8%C3%A9"));
    assert_eq!(reply.header("x-evil"), None);
}

#[tokio::test]
async fn what_leads_nowhere_says_why_to_people_and_programs() {
    let world = World::start();
    for (code, status, reason) in [
        ("unknown", 404, "not_found"),
        ("un%zzknown", 404, "not_found"),
        ("%ff", 404, "not_found"),
        ("apple-touch-icon.png", 404, "not_found"),
        ("gone", 410, "gone"),
        ("blocked", 451, "blocked"),
        ("down", 503, "unavailable"),
        ("late", 503, "unavailable"),
        ("panics", 500, "internal"),
        ("panics-later", 500, "internal"),
    ] {
        let page = ask(&world, &format!("GET /{code}\r\n{BROWSER}")).await;
        let data = ask(&world, &format!("GET /{code}")).await;
        assert_eq!((page.status, data.status), (status, status), "{code}");
        assert_eq!(data.json()["code"], reason);
        assert_eq!(data.json()["request_id"].as_str(), data.header("x-request-id"));
        for reply in [&page, &data] {
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{code}");
            assert_eq!(reply.header("x-robots-tag"), Some("noindex"));
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        }
        if !code.starts_with("panics") {
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
            assert_eq!((page.header("vary"), data.header("vary")), (Some("accept"), Some("accept")));
            assert!(page.body.contains("<!doctype html>") && page.body.len() < 10_000 && !page.body.contains("<script"));
            assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'; style-src 'sha256-"));
        }
    }
    let blocked = ask(&world, &format!("GET /blocked\r\n{BROWSER}")).await;
    assert!(blocked.body.contains("&lt;phishing&gt;"));
    assert_eq!(ask(&world, "GET /down").await.header("retry-after"), Some("7"));
    assert_eq!(ask(&world, "GET /late").await.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_store_that_never_answers_is_503_at_the_deadline() {
    let world = World::with(|options| options.deadlines.redirect = std::time::Duration::from_millis(20));
    let reply = ask(&world, "GET /stuck").await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
}

#[tokio::test]
async fn every_404_is_the_same_but_for_its_id() {
    let world = World::start();
    let mut bodies = Vec::new();
    for code in ["unknown", "deleted1", "x/y"] {
        let reply = ask(&world, &format!("GET /{code}")).await;
        let id = reply.header("x-request-id").unwrap().to_owned();
        let headers: Vec<_> = reply.headers.iter().filter(|(name, _)| name != "x-request-id" && name != "date").cloned().collect();
        bodies.push((reply.body.replace(&id, ""), headers));
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
}

#[tokio::test]
async fn a_domain_may_send_people_elsewhere() {
    let world = World::start();
    let page = ask(&world, &format!("GET /unknown\r\nHost: go.example\r\n{BROWSER}")).await;
    assert_eq!((page.status, page.header("location")), (302, Some("https://away.example/404")));
    assert_eq!((page.header("cache-control"), page.header("vary")), (Some("no-store"), Some("accept")));
    assert_eq!(ask(&world, "GET /unknown\r\nHost: go.example").await.status, 404);
    let landing = ask(&world, "GET /\r\nHost: go.example").await;
    assert_eq!((landing.status, landing.header("location")), (302, Some("https://away.example/")));
}

#[tokio::test]
async fn heads_and_prefetchers_are_told_apart() {
    let world = World::start();
    assert_eq!(ask(&world, "HEAD /known").await.status, 302);
    ask(&world, "GET /known\r\nSec-Purpose: prefetch").await;
    ask(&world, "GET /known+").await;
    let purposes: Vec<_> = world.asked().iter().map(|asked| asked.purpose).collect();
    assert_eq!(purposes, [Purpose::Head, Purpose::Prefetch, Purpose::Inspect]);

    for request in ["HEAD /few", "GET /few\r\nPurpose: prefetch", "GET /few\r\nPurpose: prefetch\r\nAccept: text/html"] {
        let reply = ask(&world, request).await;
        assert_eq!((reply.status, reply.header("location"), reply.header("cache-control")), (200, None, Some("no-store")), "{request}");
        assert!(!reply.body.contains("example.com"));
    }
}

#[tokio::test]
async fn other_methods_are_405() {
    let world = World::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let reply = ask(&world, &format!("{method} /known\r\nContent-Length: 0")).await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn a_connection_is_kept_and_answers_in_order() {
    let world = World::start();
    let mut client = Client::connect(world.address).await;
    let request = |code: &str| format!("GET /{code} HTTP/1.1\r\nHost: s.example\r\n\r\n");
    client.send(["known", "later", "gone", "known"].map(request).concat()).await;
    for status in [302, 302, 410, 302] {
        assert_eq!(client.reply().await.unwrap().status, status);
    }
}
