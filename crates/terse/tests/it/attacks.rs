//! What outsiders try at the public port, each with the answer that is promised.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::cluster::{Shape, both_shapes};

both_shapes!(
    targets_that_no_link_may_have,
    hosts_and_forwarded_headers_are_not_believed,
    bodies_that_are_not_what_they_should_be,
    logs_are_not_forged,
);

/// Sends bytes as they are and reads until the other side closes or is silent.
fn raw(server: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
    // The server may answer and close before everything is sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

async fn targets_that_no_link_may_have(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    let too_long = format!("https://example.com/{}", "a".repeat(8_192));
    for (target, code) in [
        // A1: other schemes, in every spelling.
        ("javascript:alert(1)", "invalid_target"),
        ("JaVaScRiPt:alert(1)", "invalid_target"),
        (" javascript:alert(1)", "invalid_target"),
        ("java\tscript:alert(1)", "invalid_target"),
        ("data:text/html,x", "invalid_target"),
        ("vbscript:x", "invalid_target"),
        ("file:///etc/passwd", "invalid_target"),
        ("blob:https://example.com/1", "invalid_target"),
        ("intent://x#Intent;end", "invalid_target"),
        ("mailto:a@example.com", "invalid_target"),
        ("//example.com/x", "invalid_target"),
        ("", "invalid_target"),
        ("https://", "invalid_target"),
        // A2: what could end a header.
        ("https://example.com/\r\nSet-Cookie: a=b", "invalid_target"),
        ("https://example.com/\u{0}", "invalid_target"),
        ("https://exa\nmple.com/", "invalid_target"),
        ("https://example.com/\u{2028}x", "invalid_target"),
        // A3: credentials.
        ("https://bank.com@evil.tld/", "invalid_target"),
        ("https://user:pass@example.com/", "invalid_target"),
        // A4: look-alike names.
        ("https://xn--example-.org/", "invalid_target"),
        ("https://\u{440}\u{430}ypal.com/", "invalid_target"),
        // A16.
        (too_long.as_str(), "invalid_target"),
        // A5: ourselves, in every spelling.
        ("http://localhost:8080/x", "target_not_allowed"),
        ("http://LOCALHOST/x", "target_not_allowed"),
        ("http://localhost./x", "target_not_allowed"),
        ("http://127.0.0.1/x", "target_not_allowed"),
        ("http://0x7f.1/x", "target_not_allowed"),
        ("http://2130706433/", "target_not_allowed"),
        ("http://[::1]/", "target_not_allowed"),
        ("http://[::ffff:7f00:1]/", "target_not_allowed"),
        ("http://169.254.169.254/latest", "target_not_allowed"),
        ("http://10.1.2.3/", "target_not_allowed"),
    ] {
        let reply = client.post("/api/v1/links", &json!({"target": target})).await.expect(422);
        assert_eq!(reply.problem(), code, "{target:?}");
        assert_eq!(reply.json()["errors"][0]["pointer"], "/target", "{target:?}");
    }
    let link = client.create(&json!({"target": "https://bücher.example/ä?q=ö#ü"})).await;
    assert_eq!(link["target"], "https://xn--bcher-kva.example/%C3%A4?q=%C3%B6#%C3%BC");
}

async fn hosts_and_forwarded_headers_are_not_believed(shape: Shape) {
    let cluster = shape.cluster().start();
    cluster.client().create(&json!({"target": "https://example.com/a", "alias": "there"})).await;
    let server = cluster.public();
    for (request, expected) in [
        ("GET /there HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 421),
        ("GET /there HTTP/1.1\r\nHost: localhost:8080\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 400),
        ("GET http://evil.example/there HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n\r\n", 421),
        ("GET /there HTTP/1.1\r\nHost: localhost:8080\r\nX-Forwarded-Host: evil.example\r\nConnection: close\r\n\r\n", 302),
        ("GET /there HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n\r\n", 302),
        ("GET /there HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        // A12: two ways to say where a request ends.
        ("POST /api/v1/links HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400),
        ("GET /there HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
    ] {
        let answer = raw(server, request.as_bytes());
        assert_eq!(status(&answer), expected, "{request:?}: {answer}");
        assert!(!answer.to_lowercase().contains("location: http://evil"), "{answer}");
    }
    let long_header = format!("GET /there HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "a".repeat(64 * 1024));
    assert!(matches!(status(&raw(server, long_header.as_bytes())), 431 | 400));
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "a".repeat(4_000));
    assert_eq!(status(&raw(server, long_path.as_bytes())), 404);
}

async fn bodies_that_are_not_what_they_should_be(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    let post = |body: Vec<u8>| client.send(http::Method::POST, "/api/v1/links", Some(body.into()));
    assert_eq!(post(b"{".to_vec()).await.expect(400).problem(), "invalid_json");
    assert_eq!(post(b"[]".to_vec()).await.status.as_u16() / 100, 4);
    assert_eq!(post(vec![0xff; 10]).await.expect(400).problem(), "invalid_json");
    assert_eq!(post(format!("{}{}", "[".repeat(100), "]".repeat(100)).into_bytes()).await.status.as_u16() / 100, 4);
    assert_eq!(post(vec![b' '; 64 * 1024 + 1]).await.expect(413).problem(), "body_too_large");
    let unknown = post(br#"{"target":"https://example.com","colour":"red","tags":5}"#.to_vec()).await.expect(422).json();
    let errors: Vec<_> =
        unknown["errors"].as_array().expect("errors").iter().map(|e| (e["pointer"].to_string(), e["code"].to_string())).collect();
    assert!(errors.contains(&("\"/colour\"".into(), "\"unknown_field\"".into())), "{errors:?}");
    assert!(errors.contains(&("\"/tags\"".into(), "\"invalid_field\"".into())), "{errors:?}");
    let text = client.clone().with("content-type", "text/plain").post("/api/v1/links", &json!({"target": "https://example.com"})).await;
    assert_eq!(text.expect(415).problem(), "unsupported_media_type");
    for path in ["/api/v1/nothing", "/api/v2/links", "/api"] {
        assert_eq!(client.get(path).await.expect(404).problem(), "not_found", "{path}");
    }
    let method = client.send(http::Method::PUT, "/api/v1/links", None).await.expect(405);
    assert_eq!(method.problem(), "method_not_allowed");
    assert!(method.header("allow").contains("POST"));
    for id in ["0", "abc", "99999999999999999999999", "%2e%2e", "1%00"] {
        client.get(&format!("/api/v1/links/{id}")).await.expect(404);
    }
}

async fn logs_are_not_forged(shape: Shape) {
    let mut cluster = shape.cluster().set("TERSE__LOG__LEVEL", &"debug").start();
    let server = cluster.public();
    for path in ["/%0d%0aFORGED", "/%1b[31mred", "/%E2%80%AEevil"] {
        raw(server, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a\x1b[2J\r\nConnection: close\r\n\r\n").as_bytes());
    }
    cluster.interrupt();
    let log = cluster.log();
    assert!(!log.contains('\u{1b}') && !log.contains('\u{202e}'));
    assert!(!log.lines().any(|line| line.starts_with("FORGED")));
}
