//! Addresses that nobody else has, and e-mail addresses, come with requests of every kind: none of them is in the topic of
//! clicks, in the store, in the cache, in a log or in any file afterwards.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::cluster::{Cluster, Role};
use crate::plan::Plan;
use crate::{Made, until};

/// The bytes of the first are `~q!Z`, so that they would show in a dump of text as well.
const ADDRESSES: [&str; 2] = ["126.113.33.90", "2a0d:7e71:215a:7e51::77"];
const EMAIL: &str = "nobody@canary-post.example";

#[tokio::test(flavor = "multi_thread")]
async fn no_address_of_a_visitor_is_kept_anywhere() {
    let plan = Plan::of("canary", 1);
    let mut cluster = Cluster::services()
        .set("TERSE__GATEWAY__TRUSTED_PROXIES", &"127.0.0.1/32")
        .set("TERSE__LOG__LEVEL", &"debug")
        .set("TERSE__LIMITS__MISSES_PER_IP_PER_MIN", &5)
        .set("TERSE__LIMITS__API_PER_IP_PER_MIN", &50)
        .start();
    let client = cluster.client();
    let marker = format!("canary-{:x}-{}", std::process::id(), plan.dice.clone().below(1 << 40));
    let link = Made::read(&client.create(&json!({"target": format!("https://example.com/{marker}"), "alias": marker})).await);
    let mut clicks = 0;
    for address in ADDRESSES {
        let visitor = cluster
            .anonymous()
            .with("x-forwarded-for", address)
            .with("user-agent", &format!("Mozilla/5.0 ({EMAIL}; {address}) Firefox/130.0"))
            .with("referer", &format!("https://post.example/{EMAIL}/{address}"))
            .with("cookie", &format!("me={EMAIL}"));
        for _ in 0..5 {
            visitor.get(&format!("{}?mail={EMAIL}&ip={address}", link.path)).await.expect(302);
            clicks += 1;
        }
        // Refused in the end, so that the shared limits have heard of the address.
        let mut status = 0;
        for _ in 0..20 {
            status = visitor.get("/zzzzzz9").await.status.as_u16();
        }
        assert_eq!(status, 429);
        visitor.get("/api/v1/links").await.expect(401);
    }
    until("the clicks are counted", async || client.get(&format!("{}/stats", link.api())).await.expect(200).json()["total"] == clicks)
        .await;
    assert!(cluster.metric_of(Role::Gateway, "terse_gateway_limited_total", &[]).await > 0.0);

    let (topic, prefix) = (topic(&cluster), cluster.setting("TERSE__REDIS__PREFIX").to_owned());
    let cached = redis(&prefix);
    is_clean("Redis", &cached, &marker);
    assert_eq!(tokio::task::block_in_place(|| cluster.interrupt()), Some(0));
    is_clean("the topic of clicks", &dump(&topic), &marker);
    let store = stack_dir().join("cassandra-1");
    let mut is_stored = false;
    for file in files_below(&store) {
        // Some come and go.
        let Ok(content) = std::fs::read(&file) else { continue };
        is_stored |= contains(&content, marker.as_bytes());
        assert_eq!(kept(&content, Needles::Rare), [""; 0], "in {}", file.display());
    }
    assert!(is_stored, "the target of the link is not in {}: this looked in the wrong place", store.display());
    for file in cluster.files() {
        assert_eq!(kept(&std::fs::read(&file).expect("readable"), Needles::All), [""; 0], "in {}", file.display());
    }
    println!("soak canary: {clicks} clicks; topic, store, cache and logs hold no address");
}

#[track_caller]
fn is_clean(place: &str, content: &[u8], marker: &str) {
    assert!(contains(content, marker.as_bytes()), "nothing of the link is in {place}: this looked in the wrong place");
    assert_eq!(kept(content, Needles::All), [""; 0], "in {place}");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needles {
    All,
    /// Without those of four bytes, which gigabytes of compressed files have by chance.
    Rare,
}

/// What there is in `content` that should be nowhere.
fn kept(content: &[u8], which: Needles) -> Vec<String> {
    let mut needles: Vec<(String, Vec<u8>)> = vec![(EMAIL.into(), EMAIL.into())];
    for address in ADDRESSES {
        needles.push((address.into(), address.into()));
        match address.parse().expect("an address") {
            IpAddr::V4(ip) if which == Needles::All => needles.push((format!("the bytes of {address}"), ip.octets().to_vec())),
            IpAddr::V4(_) => {}
            IpAddr::V6(ip) => needles.push((format!("the bytes of {address}"), ip.octets()[..8].to_vec())),
        }
    }
    needles.into_iter().filter(|(_, needle)| contains(content, needle)).map(|(name, _)| name).collect()
}

fn contains(content: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let starts = content.iter().enumerate().filter(|(_, byte)| **byte == first);
    starts.map(|(at, _)| &content[at..]).any(|rest| rest.starts_with(needle))
}

fn topic(cluster: &Cluster) -> String {
    let url = cluster.setting("TERSE__CLICKS__URL");
    let path = url.rsplit_once('/').and_then(|(_, path)| path.split('?').next());
    path.expect("a topic").to_owned()
}

#[expect(clippy::disallowed_methods, reason = "where the servers are is said to the tests by environment alone")]
fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: this looks into the servers' files, run scripts/test"))
}

fn stack_dir() -> PathBuf {
    environment("TERSE_TEST_STACK_DIR").into()
}

fn output(command: &mut Command) -> Vec<u8> {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// Every record of the topic, unpacked by Kafka's own tool.
fn dump(topic: &str) -> Vec<u8> {
    let segments: Vec<String> = files_below(&stack_dir().join("kafka/data"))
        .into_iter()
        .filter(|file| file.parent().and_then(Path::file_name).is_some_and(|name| name.to_string_lossy().starts_with(topic)))
        .filter(|file| file.extension().is_some_and(|extension| extension == "log"))
        .map(|file| file.display().to_string())
        .collect();
    assert!(!segments.is_empty(), "no segments of {topic}");
    let java = std::fs::read_dir("/usr/lib/jvm").ok().into_iter().flatten().flatten().map(|entry| entry.path().join("bin/java"));
    let java = java.filter(|java| java.exists()).max().unwrap_or_else(|| "java".into());
    let jars = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/stack/lib"));
    let jars: Vec<String> =
        std::fs::read_dir(jars).expect("the servers' jars").flatten().map(|entry| format!("{}/kafka/*", entry.path().display())).collect();
    let mut command = Command::new(java);
    command.args(["-cp", &jars.join(":"), "kafka.tools.DumpLogSegments", "--print-data-log", "--files", &segments.join(",")]);
    output(&mut command)
}

/// Keys and values of the cluster that begin with `prefix`.
fn redis(prefix: &str) -> Vec<u8> {
    let first = environment("TERSE_TEST_REDIS_CLUSTER");
    let cli = |address: &str| {
        let (host, port) = address.rsplit_once(':').expect("host:port");
        let mut command = Command::new("redis-cli");
        command.args(["-h", host, "-p", port]);
        command
    };
    let nodes = String::from_utf8(output(cli(&first).args(["cluster", "nodes"]))).expect("text");
    let mut all = Vec::new();
    for node in nodes.lines().filter(|line| line.contains("master")) {
        let address = node.split_whitespace().nth(1).and_then(|at| at.split('@').next()).expect("an address");
        let keys = String::from_utf8_lossy(&output(cli(address).args(["--scan", "--pattern", &format!("*{prefix}*")]))).into_owned();
        for key in keys.lines() {
            all.extend(key.as_bytes());
            let kind = String::from_utf8(output(cli(address).args(["type", key]))).expect("text");
            let read: &[&str] = match kind.trim() {
                "string" => &["get", key],
                "zset" => &["zrange", key, "0", "-1"],
                "hash" => &["hgetall", key],
                "set" => &["smembers", key],
                // Gone meanwhile.
                "none" => continue,
                other => panic!("{key} is a {other}, which this does not look into"),
            };
            all.extend(output(cli(address).args(read)));
        }
    }
    all
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).ok().into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn sabotage_an_address_that_is_kept_is_noticed() {
    assert!(kept(b"{\"visitor\":12345}", Needles::All).is_empty());
    assert_eq!(kept(b"visitor 126.113.33.90", Needles::Rare), ["126.113.33.90"]);
    assert_eq!(kept(b"\x08\x04~q!Z\x10", Needles::All), ["the bytes of 126.113.33.90"]);
    assert_eq!(kept(&[1, 0x2a, 0x0d, 0x7e, 0x71, 0x21, 0x5a, 0x7e, 0x51, 9], Needles::Rare), ["the bytes of 2a0d:7e71:215a:7e51::77"]);
    assert_eq!(kept(b"to=nobody@canary-post.example", Needles::Rare), [EMAIL]);
}
