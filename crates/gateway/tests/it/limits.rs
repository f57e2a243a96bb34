//! Too much of anything.

use std::time::Duration;

use crate::client::{Client, ask};
use crate::world::World;

#[tokio::test]
async fn after_thirty_misses_every_code_is_429() {
    let world = World::start();
    for i in 0..30 {
        assert_eq!(ask(&world, &format!("GET /wrong{i}")).await.status, 404, "miss {i}");
    }
    for path in ["/known", "/wrong", "/known+", "/known.qr", "/gone"] {
        let reply = ask(&world, &format!("GET {path}")).await;
        assert_eq!(reply.status, 429, "{path}");
        assert_eq!(reply.json()["code"], "rate_limited");
        assert_eq!(reply.header("ratelimit-policy"), Some("\"misses\";q=30;w=60"));
        let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=20).contains(&seconds), "{seconds}");
    }
    assert_eq!(ask(&world, "GET /").await.status, 200, "pages go on");
    assert_eq!(ask(&world, "GET /api/v1/openapi.json").await.status, 200, "the API has limits of its own");
}

#[tokio::test]
async fn only_what_could_be_a_code_is_a_miss() {
    let world = World::start();
    for _ in 0..40 {
        assert_eq!(ask(&world, "GET /apple-touch-icon.png").await.status, 404);
        assert_eq!(ask(&world, "GET /gone").await.status, 410);
    }
    assert_eq!(ask(&world, "GET /known").await.status, 302);
}

#[tokio::test]
async fn misses_are_counted_per_client_and_only_proxies_may_name_one() {
    let trusting = World::with(|options| options.trusted_proxies = gateway::Networks::new(vec!["127.0.0.0/8".parse().unwrap()]));
    for _ in 0..31 {
        ask(&trusting, "GET /wrong\r\nX-Forwarded-For: 203.0.113.1").await;
    }
    assert_eq!(ask(&trusting, "GET /known\r\nX-Forwarded-For: 9.9.9.9, 203.0.113.1").await.status, 429);
    assert_eq!(ask(&trusting, "GET /known\r\nX-Forwarded-For: 203.0.113.1, 203.0.113.2").await.status, 302);

    let plain = World::start();
    for i in 0..30 {
        ask(&plain, &format!("GET /wrong\r\nX-Forwarded-For: 203.0.113.{i}\r\nForwarded: for=203.0.113.{i}")).await;
    }
    assert_eq!(ask(&plain, "GET /known\r\nX-Forwarded-For: 203.0.113.99").await.status, 429);
    assert!(plain.asked().iter().all(|asked| asked.ip.is_loopback()));
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_believed() {
    let world = World::with(|options| options.trusted_proxies = gateway::Networks::new(vec!["127.0.0.1".parse().unwrap()]));
    let reply = ask(&world, "GET /known\r\nX-Forwarded-For: 203.0.113.1\r\nCF-IPCountry: de\r\nX-Request-Id: from-the-edge").await;
    assert_eq!(reply.header("x-request-id"), Some("from-the-edge"));
    let odd = ask(&world, "GET /known\r\nX-Request-Id: <script>alert(1)").await;
    assert_eq!(odd.header("x-request-id").unwrap().len(), 18);
    let asked = world.asked();
    assert_eq!((asked[0].ip.to_string(), asked[0].country.as_deref()), ("203.0.113.1".into(), Some("DE")));

    let plain = World::start();
    let reply = ask(&plain, "GET /known\r\nX-Request-Id: from-somebody\r\nCF-IPCountry: de").await;
    assert_ne!(reply.header("x-request-id"), Some("from-somebody"));
    assert_eq!(plain.asked()[0].country, None);
}

#[tokio::test]
async fn more_requests_than_the_second_holds_are_503() {
    let world = World::with(|options| options.limits.requests_per_s = 5);
    let mut client = Client::connect(world.address).await;
    client.send("GET /known HTTP/1.1\r\nHost: s.example\r\n\r\n".repeat(60)).await;
    let mut refused = 0;
    for _ in 0..60 {
        let reply = client.reply().await.unwrap();
        if reply.status == 503 {
            assert_eq!((reply.header("retry-after"), reply.json()["code"].as_str()), (Some("1"), Some("unavailable")));
            refused += 1;
        }
    }
    assert!((30..=55).contains(&refused), "{refused}");
}

#[tokio::test]
async fn what_waits_for_io_is_bounded_and_what_does_not_goes_on() {
    let world = World::with(|options| {
        options.concurrency.redirect = 1;
        options.deadlines.redirect = Duration::from_secs(30);
    });
    let mut first = Client::connect(world.address).await;
    first.send("GET /slow HTTP/1.1\r\nHost: s.example\r\n\r\n").await;
    world.script.waiting.notified().await;
    let shed = ask(&world, "GET /later").await;
    assert_eq!((shed.status, shed.header("retry-after")), (503, Some("1")));
    assert_eq!(ask(&world, "GET /known").await.status, 302);
    world.script.release.notify_one();
    assert_eq!(first.reply().await.unwrap().status, 302);
    assert_eq!(ask(&world, "GET /later").await.status, 302);
}

#[tokio::test]
async fn connections_are_bounded_in_all() {
    let world = World::with(|options| options.connections.total = 1);
    let mut first = Client::connect(world.address).await;
    first.send("GET /known HTTP/1.1\r\nHost: s.example\r\n\r\n").await;
    assert_eq!(first.reply().await.unwrap().status, 302);
    assert!(Client::connect(world.address).await.is_closed().await);
    first.send("GET /known HTTP/1.1\r\nHost: s.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(first.reply().await.unwrap().status, 302);
    assert!(first.is_closed().await);
}
