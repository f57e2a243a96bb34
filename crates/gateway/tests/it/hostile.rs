//! Requests that nobody well-meaning sends.

use std::time::Duration;

use crate::client::{Client, ask};
use crate::world::World;

#[tokio::test]
async fn hosts_that_are_not_ours_are_refused_and_never_repeated() {
    let world = World::start();
    for (request, status) in [
        ("GET /known\r\nHost: evil.example", 421),
        ("GET /known+\r\nHost: evil.example", 421),
        ("GET /\r\nHost: evil.example", 421),
        ("GET /known\r\nHost: s.example.evil.example", 421),
        ("GET /known\r\nHost: s.example\r\nHost: evil.example", 400),
        ("GET /known\r\nHost: s.example\r\nHost: s.example", 400),
        ("GET http://evil.example/known\r\nHost: s.example", 421),
        ("GET http://s.example/known\r\nHost: evil.example", 302),
        ("GET http://s.example/known\r\nHost: s.example\r\nHost: evil.example", 400),
        ("GET http://evil.example/known\r\nHost: evil.example", 421),
        ("GET http://s.example/known\r\nHost: s.example", 302),
        ("GET /known\r\nHost: S.EXAMPLE.", 302),
        ("GET /known\r\nHost: s.example:8443", 302),
        ("GET /known\r\nHost: 127.0.0.1:1234", 302),
        ("GET /known\r\nHost: s.example\r\nX-Forwarded-Host: evil.example", 302),
        ("GET /known\r\nHost: s.example evil.example", 421),
        ("GET /known\r\nHost: \"><script>", 421),
    ] {
        let reply = ask(&world, request).await;
        assert_eq!(reply.status, status, "{request}");
        assert!(!format!("{reply:?}").contains("evil"), "{reply:?}");
    }
    let preview = ask(&world, "GET /known+\r\nHost: s.example:99\r\nX-Forwarded-Host: evil.example").await;
    assert_eq!(preview.json()["short_url"], "http://s.example/known");
}

#[tokio::test]
async fn a_request_without_a_host_is_400() {
    let world = World::start();
    for request in ["GET /known HTTP/1.1\r\n\r\n", "GET /known HTTP/1.0\r\n\r\n", "GET /known HTTP/1.1\r\nHost: \r\n\r\n"] {
        let mut client = Client::connect(world.address).await;
        client.send(request).await;
        assert_eq!(client.reply().await.unwrap().status, 400, "{request:?}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_told_so_under_an_id() {
    let world = World::start();
    let many = format!("GET /known HTTP/1.1\r\nHost: s.example\r\n{}\r\n", "A: b\r\n".repeat(100));
    let after_another = "GET /canary HTTP/1.1\r\nHost: s.example\r\nContent-Length: 0\r\n\r\n";
    for (request, status, code) in [
        ("PING s.example\r\n\r\n".to_owned(), 400, "bad_request"),
        ("GET /known HTTP/1.2\r\nHost: s.example\r\n\r\n".to_owned(), 400, "bad_request"),
        ("GET /known HTTP/1.1\r\nHost : s.example\r\n\r\n".to_owned(), 400, "bad_request"),
        ("POST /api/v1/links HTTP/1.1\r\nHost: s.example\r\nContent-Length: -1\r\n\r\n".to_owned(), 400, "bad_request"),
        (many, 431, "headers_too_large"),
    ] {
        for before in ["", after_another] {
            let mut client = Client::connect(world.address).await;
            if !before.is_empty() {
                client.send(before).await;
                assert_eq!(client.reply().await.unwrap().status, 404);
            }
            client.send(&request).await;
            let reply = client.reply().await.unwrap();
            assert_eq!((reply.status, reply.header("content-type")), (status, Some("application/problem+json")), "{request:.60}");
            assert_eq!((reply.json()["code"].as_str(), reply.json()["status"].as_u64()), (Some(code), Some(u64::from(status))));
            assert_eq!(reply.json()["request_id"].as_str(), reply.header("x-request-id"));
            assert!(reply.header("x-request-id").is_some_and(|id| id.len() == 18));
            assert_eq!(reply.header("connection"), Some("close"));
        }
    }
}

/// What follows a request of doubtful length must not be read as another one.
#[tokio::test]
async fn no_second_request_is_smuggled_behind_a_doubtful_first() {
    let world = World::start();
    let canary = "GET /canary HTTP/1.1\r\nHost: s.example\r\n\r\n";
    for (head, body) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "5;ext=\"\n\"\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"),
        ("Content-Length: 0\r\nContent-Length: 5", ""),
        ("Content-Length: +5", "hello"),
        ("Content-Length: 5, 5", "hello"),
        ("Content-Length: -1", ""),
        ("Content-Length: 99999999999999999999", ""),
        ("X-Folded: a\r\n b", ""),
        ("X-Null: a\0b", ""),
        ("X Space: a", ""),
        (": no name", ""),
    ] {
        for method in ["GET", "POST"] {
            let mut client = Client::connect(world.address).await;
            client.send(format!("{method} /known HTTP/1.1\r\nHost: s.example\r\n{head}\r\n\r\n{body}{canary}")).await;
            let mut statuses = Vec::new();
            while let Some(reply) = client.reply().await {
                statuses.push(reply.status);
            }
            assert!(statuses.len() <= 1, "{head:?} got {statuses:?}");
        }
    }
    let seen: Vec<_> = world.asked().into_iter().filter(|asked| asked.code == "canary").collect();
    assert!(seen.is_empty(), "{seen:?}");
}

#[tokio::test]
async fn heads_are_bounded() {
    let world = World::start();
    let many = |count: usize| (0..count).fold(String::new(), |text, i| text + &format!("\r\nX-{i}: y"));
    // Host is one of them.
    assert_eq!(ask(&world, &format!("GET /known{}", many(99))).await.status, 302);
    assert_eq!(ask(&world, &format!("GET /known{}", many(100))).await.status, 431);
    let large = |length: usize| format!("GET /known\r\nX-Large: {}", "y".repeat(length));
    assert_eq!(ask(&world, &large(15_000)).await.status, 302);
    assert_eq!(ask(&world, &large(17_000)).await.status, 431);
    assert_eq!(ask(&world, &format!("GET /{}", "y".repeat(8_000))).await.status, 404);
    assert_eq!(ask(&world, &format!("GET /{}", "y".repeat(17_000))).await.status, 431);
}

#[tokio::test]
async fn odd_paths_and_texts_are_answers_like_any_other() {
    let world = World::start();
    for path in [
        "/%0d%0aX-Evil:1",
        "/..%2f..%2fetc%2fpasswd",
        "/../../etc/passwd",
        "//evil.example",
        "/%2e%2e",
        "/%00",
        "/%E2%80%AE",
        "/a//b",
        "/\\",
    ] {
        let reply = ask(&world, &format!("GET {path}\r\nUser-Agent: \u{1b}[31m\u{202e}")).await;
        assert!(matches!(reply.status, 400 | 404), "{path}: {reply:?}");
        assert_eq!(reply.header("x-evil"), None);
        assert!(!reply.body.contains("evil"), "{path} is repeated");
    }
}

#[tokio::test]
async fn patience_has_an_end() {
    let short = Duration::from_millis(50);
    let long = Duration::from_mins(10);
    let request = "GET /known HTTP/1.1\r\nHost: s.example\r\n\r\n";

    let world = World::with(|o| (o.timeouts.first_byte, o.timeouts.header, o.timeouts.idle) = (short, long, long));
    assert!(Client::connect(world.address).await.is_closed().await, "silent");

    let world = World::with(|o| (o.timeouts.first_byte, o.timeouts.header, o.timeouts.idle) = (long, short, long));
    let mut half = Client::connect(world.address).await;
    half.send("GET /known HTTP/1.1\r\nHost: s.exam").await;
    assert!(half.is_closed().await, "half a first head");
    let mut second = Client::connect(world.address).await;
    second.send(request).await;
    assert_eq!(second.reply().await.unwrap().status, 302);
    second.send("GET /").await;
    assert!(second.is_closed().await, "half a second head");

    let world = World::with(|o| (o.timeouts.first_byte, o.timeouts.header, o.timeouts.idle) = (long, long, short));
    let mut idle = Client::connect(world.address).await;
    idle.send(request).await;
    assert_eq!(idle.reply().await.unwrap().status, 302);
    assert!(idle.is_closed().await, "idle");

    let world = World::with(|o| (o.timeouts.body, o.timeouts.idle) = (short, long));
    let mut slow = Client::connect(world.address).await;
    slow.send("POST /api/v1/links HTTP/1.1\r\nHost: s.example\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{").await;
    let reply = slow.reply().await.unwrap();
    assert!((400..500).contains(&reply.status), "{reply:?}");

    let world = World::with(|o| (o.timeouts.write, o.timeouts.idle, o.timeouts.header) = (short, long, long));
    let mut deaf = Client::connect(world.address).await;
    deaf.flood("GET / HTTP/1.1\r\nHost: s.example\r\n\r\n".repeat(100).as_bytes()).await;
}

/// Longer than any patience but the deadline: a request at work is not an idle connection.
#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let world = World::with(|o| {
        let short = Duration::from_millis(1);
        (o.timeouts.first_byte, o.timeouts.header, o.timeouts.idle) = (Duration::from_mins(10), Duration::from_mins(10), short);
        o.deadlines.redirect = Duration::from_millis(200);
    });
    assert_eq!(ask(&world, "GET /stuck").await.status, 503);
}
