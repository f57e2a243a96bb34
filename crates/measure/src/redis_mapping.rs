//! What the link cache's buckets cost: memory per mapping against plain `SET code url`, and time per read
//! against plain keys, on a server of its own.
#![expect(clippy::unwrap_used, reason = "a measurement")]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backends::redis::{LinkCache, LinkCacheOptions, Options, Redis};
use chassis::Lifecycle;
use domain::port::LinkCache as _;
use domain::{Code, CodeKind, DomainNo, Link, LinkId, Owner, Slug, State, Target, snowflake};
use redis::aio::ConnectionManager;

use crate::figures::figure;

const PATHS: [&str; 8] = [
    "https://www.example.com/articles/2026/11/how-to-build-a-url-shortener-in-rust-",
    "https://shop.example.de/products/outdoor/tents/",
    "https://news.example.org/politics/2026/parliament-votes-on-the-new-budget-",
    "https://github.com/example/project/issues/",
    "https://docs.example.io/en/latest/reference/configuration.html#section-",
    "https://www.youtube.com/watch?v=dQw4w9Wg",
    "https://shop.example.com/p/4711?utm_source=newsletter&utm_medium=email&utm_campaign=spring-",
    "https://example.net/a/",
];

fn link(number: u64) -> Link {
    let id = LinkId::new(((40_000_000_000 + number * 17) << 22) + number % 4_096);
    // Spread over all codes, as the allocator's are.
    let code = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 3_500_000_000_000..).find_map(Code::generated).unwrap();
    let path = PATHS[usize::try_from(number % 8).unwrap()];
    Link {
        id,
        domain: DomainNo::DEFAULT,
        code: Code::from_stored(code.as_str(), CodeKind::Generated),
        owner: Owner::parse("acme").unwrap(),
        target: Target::from_stored(&format!("{path}{number}")),
        title: None,
        tags: Vec::new(),
        state: State::Active,
        blocked: None,
        redirect_status: None,
        caching: None,
        forward_query: false,
        starts_at: None,
        expires_at: None,
        max_clicks: None,
        created_at: snowflake::created_at(id),
        updated_at: snowflake::created_at(id),
        version: 1,
        change_id: number.wrapping_mul(0x2545_F491_4F6C_DD1D),
    }
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(listpack_value: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--hash-max-listpack-value", listpack_value]);
        Self { child: command.stdout(Stdio::null()).spawn().unwrap(), port }
    }

    async fn raw(&self) -> ConnectionManager {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}?protocol=resp3", self.port)).unwrap();
        let config = redis::aio::ConnectionManagerConfig::new().set_pipeline_buffer_size(1_024).set_response_timeout(None);
        ConnectionManager::new_with_config(client, config).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

async fn used(raw: &mut ConnectionManager) -> f64 {
    let info: String = redis::cmd("INFO").arg("memory").query_async(raw).await.unwrap();
    info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
}

/// What the server itself took.
async fn stats(raw: &mut ConnectionManager) {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(raw).await.unwrap();
    for line in info.lines().filter(|line| ["hmget", "pttl", "get:", "set:", "evalsha"].iter().any(|name| line.contains(name))) {
        println!("    {line}");
    }
    redis::cmd("CONFIG").arg("RESETSTAT").query_async::<()>(raw).await.unwrap();
}

/// Runs `each` for all numbers, `at_once` at a time, and prints the time.
async fn timed<F: Future<Output = ()> + Send>(what: &str, count: u64, at_once: u64, each: impl Fn(u64) -> F) {
    let began = Instant::now();
    let worker = |first: u64| {
        let each = &each;
        async move {
            let mut number = first;
            while number < count {
                each(number).await;
                number += at_once;
            }
        }
    };
    futures_util::future::join_all((0..at_once).map(worker)).await;
    let took = began.elapsed().as_secs_f64();
    let count = f64::from(u32::try_from(count).unwrap());
    println!(
        "{what:<34} {at_once:>4} at once  {:>9.0}/s  {:>8.1} µs each",
        count / took,
        took / count * f64::from(u32::try_from(at_once).unwrap()) * 1e6
    );
}

pub(crate) async fn run(count: &str) -> anyhow::Result<()> {
    let count: u64 = count.parse()?;
    let part = |bytes: f64| bytes / f64::from(u32::try_from(count).unwrap());
    let urls: usize = (0..count).map(|n| link(n).target.as_str().len()).sum();
    println!("{count} links, {:.0} bytes of URL each", part(f64::from(u32::try_from(urls).unwrap())));
    for listpack_value in ["512", "64"] {
        let server = Server::start(listpack_value);
        let url = format!("redis://127.0.0.1:{}", server.port).parse().unwrap();
        let options = Options { timeout: Duration::from_secs(10), ..Options::cache() };
        let handle = Redis::start(&url, options, &Lifecycle::new(Duration::ZERO)).unwrap();
        handle.connected().await;
        let mut raw = server.raw().await;
        let buckets = u32::try_from((count / 64).max(1)).unwrap().next_power_of_two();
        let cache = Arc::new(LinkCache::new(handle, LinkCacheOptions { buckets, ..LinkCacheOptions::default() }));
        let before = used(&mut raw).await;
        timed("put, packed", count, 64, |n| {
            let cache = cache.clone();
            async move { cache.put(&link(n), Duration::ZERO, Duration::from_micros(900)).await.unwrap() }
        })
        .await;
        let packed = part(used(&mut raw).await - before);
        println!("hash-max-listpack-value {listpack_value}: {packed:.1} bytes per link in {buckets} buckets");
        for at_once in [1, 64] {
            timed("find, packed", count.min(100_000), at_once, |n| {
                let cache = cache.clone();
                async move {
                    let wanted = link(n * 7 % count);
                    assert!(cache.find(wanted.domain, Slug::parse(wanted.code.as_str()).unwrap()).await.unwrap().is_some());
                }
            })
            .await;
        }
        stats(&mut raw).await;
        let before = used(&mut raw).await;
        timed("SET code url", count, 64, |n| {
            let (mut raw, link) = (raw.clone(), link(n));
            async move { redis::cmd("SET").arg(link.code.as_str()).arg(link.target.as_str()).query_async::<()>(&mut raw).await.unwrap() }
        })
        .await;
        let plain = part(used(&mut raw).await - before);
        println!("plain: {plain:.1} bytes per link; packed/plain {:.3}", packed / plain);
        // The first of the two settings is the one that the documentation asks for.
        let suffix = if listpack_value == "512" { "" } else { "_default_listpack" };
        figure(&format!("redis_ratio{suffix}"), packed / plain);
        figure(&format!("redis_bytes_per_link{suffix}"), packed);
        for at_once in [1, 64] {
            timed("GET + PTTL, plain", count.min(100_000), at_once, |n| {
                let (mut raw, link) = (raw.clone(), link(n * 7 % count));
                async move {
                    let mut pipe = redis::pipe();
                    pipe.cmd("PTTL").arg(link.code.as_str()).cmd("GET").arg(link.code.as_str());
                    let (_, url): (i64, Option<String>) = pipe.query_async(&mut raw).await.unwrap();
                    assert!(url.is_some());
                }
            })
            .await;
        }
        stats(&mut raw).await;
    }
    Ok(())
}
