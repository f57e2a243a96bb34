//! Clicks are counted: each once, soon, and without an address anywhere on disk.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::{Shape, both_shapes};

both_shapes!(
    a_click_shows_within_two_seconds,
    every_dimension_is_counted,
    ten_thousand_clicks_are_counted_exactly,
    no_address_is_written_to_any_disk,
);

/// Reads the stats until `total` is reached; answers them with the time it took.
pub(crate) async fn until_counted(client: &Client, id: &str, total: u64) -> (Value, Duration) {
    let began = Instant::now();
    loop {
        let stats = client.get(&format!("/api/v1/links/{id}/stats")).await.expect(200).json();
        let counted = stats["total"].as_u64().expect("a number");
        assert!(counted <= total, "{counted} counted of {total} clicked");
        if counted == total {
            return (stats, began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{counted} of {total} clicks counted after 30 s");
        tokio::time::sleep(crate::cluster::POLL).await;
    }
}

async fn a_click_shows_within_two_seconds(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    let link = client.create(&json!({"target": "https://example.com/a", "alias": "watched"})).await;
    let id = link["id"].as_str().expect("an id");
    cluster.anonymous().get("/watched").await.expect(302);
    let (stats, took) = until_counted(&client, id, 1).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!((&stats["humans"], &stats["bots"], &stats["visitors"]), (&json!(1), &json!(0), &json!(1)));
    let series = stats["series"].as_array().expect("a series");
    assert!((30..=31).contains(&series.len()), "{} buckets", series.len());
    assert_eq!(series.iter().filter_map(|bucket| bucket["clicks"].as_u64()).sum::<u64>(), 1);
}

async fn every_dimension_is_counted(shape: Shape) {
    let cluster = shape.cluster().set("TERSE__GATEWAY__TRUSTED_PROXIES", &"127.0.0.1/32").start();
    let client = cluster.client();
    let link = client.create(&json!({"target": "https://example.com/a?utm_source=letter", "alias": "dims"})).await;
    let id = link["id"].as_str().expect("an id").to_owned();
    let visitor = cluster
        .anonymous()
        .with("user-agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0")
        .with("referer", "https://www.News.example/article?x=1")
        .with("accept-language", "de-AT,de;q=0.9,en;q=0.5")
        .with("cf-ipcountry", "AT");
    for i in 0..6 {
        visitor.clone().with("x-forwarded-for", &format!("203.0.113.{i}")).get("/dims?utm_medium=mail&utm_campaign=q4").await.expect(302);
    }
    for _ in 0..3 {
        cluster.anonymous().with("user-agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)").get("/dims").await.expect(302);
    }
    visitor.head("/dims").await.expect(302);
    let (stats, _) = until_counted(&client, &id, 10).await;
    assert_eq!((&stats["humans"], &stats["bots"], &stats["visitors"]), (&json!(6), &json!(4), &json!(6)));
    for (dimension, value, clicks) in [
        ("countries", "AT", 7),
        ("referrers", "news.example", 7),
        ("browsers", "Firefox", 7),
        ("systems", "Windows", 7),
        ("devices", "Desktop", 7),
        ("languages", "de", 7),
        ("utm_source", "letter", 10),
        ("utm_medium", "mail", 6),
        ("utm_campaign", "q4", 6),
    ] {
        let data = client.get(&format!("/api/v1/links/{id}/stats/{dimension}")).await.expect(200).json()["data"].clone();
        let row = data.as_array().and_then(|rows| rows.iter().find(|row| row["value"] == value));
        assert_eq!(row.and_then(|row| row["clicks"].as_u64()), Some(clicks), "{dimension}: {data}");
    }
    let bots = client.get(&format!("/api/v1/links/{id}/stats/bots")).await.expect(200).text();
    assert!(bots.contains("Slack") && bots.contains("HEAD"), "{bots}");
    let totals = client.get("/api/v1/stats").await.expect(200).json();
    assert_eq!(totals["total"], 10);
    let top = client.get("/api/v1/stats/links").await.expect(200).text();
    assert!(top.contains(&id), "{top}");
    client.get(&format!("/api/v1/links/{id}/stats/nonsense")).await.expect(404);
    client.get(&format!("/api/v1/links/{id}/stats?interval=hour&from=2020-01-01T00:00:00Z")).await.expect(422);
    client.get(&format!("/api/v1/links/{id}/stats?tz=Mars/Olympus")).await.expect(422);
    client
        .get(&format!("/api/v1/links/{id}/stats?interval=hour&tz=Asia/Kathmandu&from=2026-01-01T00:00:00Z&to=2026-01-03T00:00:00Z"))
        .await
        .expect(200);
}

async fn ten_thousand_clicks_are_counted_exactly(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    let mut ids = Vec::new();
    for i in 0..10 {
        let link = client.create(&json!({"target": "https://example.com/a", "alias": format!("many-{i}")})).await;
        ids.push(link["id"].as_str().expect("an id").to_owned());
    }
    let visitor = cluster.anonymous();
    for _ in 0..100 {
        let replies = join_all((0..100).map(|i| {
            let visitor = visitor.clone();
            async move { visitor.get(&format!("/many-{}", i % 10)).await }
        }))
        .await;
        assert!(replies.iter().all(|reply| reply.status == 302));
    }
    for id in &ids {
        until_counted(&client, id, 1_000).await;
    }
}

async fn no_address_is_written_to_any_disk(shape: Shape) {
    let mut cluster = shape.cluster().set("TERSE__GATEWAY__TRUSTED_PROXIES", &"127.0.0.1/32").set("TERSE__LOG__LEVEL", &"debug").start();
    let client = cluster.client();
    let link = client.create(&json!({"target": "https://example.com/a?token=canary-query", "alias": "private"})).await;
    let canaries = ["198.51.100.77", "2001:db8:77::1234"];
    for canary in canaries {
        let visitor = cluster.anonymous().with("x-forwarded-for", canary).with("user-agent", "CanaryAgent/7 Mozilla");
        visitor.get("/private").await.expect(302);
        visitor.get("/absent-code").await.expect(404);
        visitor.get("/api/v1/links").await.expect(401);
    }
    until_counted(&client, link["id"].as_str().expect("an id"), 2).await;
    let key = cluster.admin_key();
    assert_eq!(cluster.interrupt(), Some(0));
    let mut needles: Vec<Vec<u8>> = canaries.iter().map(|canary| canary.as_bytes().to_vec()).collect();
    needles.extend(canaries.iter().map(|canary| match canary.parse::<IpAddr>().expect("an address") {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets()[..8].to_vec(),
    }));
    let files = cluster.files();
    assert!(files.len() > 4, "{files:?}");
    for file in &files {
        let content = std::fs::read(file).expect("readable");
        for needle in &needles {
            assert!(!contains(&content, needle), "an address in {}", file.display());
        }
        if !file.ends_with("admin.key") && file.extension().is_none_or(|extension| extension != "log") {
            assert!(!contains(&content, key.as_bytes()), "the key in {}", file.display());
        }
    }
    let log = cluster.log();
    assert!(!log.contains("canary-query"), "a target's query in the log");
    assert_eq!(log.matches(key.as_str()).count(), log.lines().filter(|line| line.contains(key.as_str())).count());
}

fn contains(content: &[u8], needle: &[u8]) -> bool {
    content.windows(needle.len()).any(|window| window == needle)
}
