//! Redis that is not there, freezes, resets connections, is full, or comes back.

use std::time::{Duration, Instant};

use backends::redis::{LinkCache, LinkCacheOptions, Options, Redis, RedisUrl};
use backends::system::SystemEntropy;
use chassis::Lifecycle;
use domain::port::{LinkCache as _, PortErrorKind, SaltStore as _};
use domain::{DomainNo, Slug};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::link_cache::link;
use crate::world::{OwnServer, World, arc, eventually, patient, prefix};

/// As in production, but for the first connections, which may take long on a busy machine.
fn strict() -> Options {
    Options { prefix: prefix(), ..Options::cache() }
}

fn cache(redis: &Redis) -> LinkCache {
    LinkCache::new(redis.clone(), LinkCacheOptions::default())
}

async fn answers(cache: &LinkCache) -> bool {
    cache.find(DomainNo::DEFAULT, Slug::parse("nowhere").unwrap()).await.is_ok()
}

/// Accepts, then does with each connection what `then` says.
async fn listener(then: fn(tokio::net::TcpStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(then(stream));
        }
    });
    (port, tasks)
}

fn silent(mut stream: tokio::net::TcpStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let mut sink = [0; 1_024];
        while stream.read(&mut sink).await.is_ok_and(|len| len > 0) {}
    })
}

fn resetting(stream: tokio::net::TcpStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        #[expect(deprecated, reason = "a linger of zero does not block: it makes the close a reset")]
        let _ = stream.set_linger(Some(Duration::ZERO));
    })
}

#[tokio::test]
async fn one_that_hangs_or_resets_costs_a_few_budgets_and_then_nothing() {
    for cluster in [false, true] {
        for then in [silent, resetting] {
            let (port, _tasks) = listener(then).await;
            let scheme = if cluster { "redis-cluster" } else { "redis" };
            let url: RedisUrl = format!("{scheme}://127.0.0.1:{port}").parse().unwrap();
            let world = World::start(url, strict());
            let cache = cache(&world.redis);
            let mut slow = 0;
            let began = Instant::now();
            for _ in 0..1_000 {
                let asked = Instant::now();
                assert!(!answers(&cache).await);
                slow += u32::from(asked.elapsed() >= Duration::from_millis(5));
            }
            // Some budgets, at most one more each time the machine looked away; the rest were not even tried.
            assert!(slow <= 40, "{slow} of 1,000 waited, {:?} in all", began.elapsed());
            let put = cache.put(&link(1), Duration::ZERO, Duration::ZERO).await.unwrap_err();
            assert_eq!(put.kind, PortErrorKind::Unavailable);
        }
    }
}

#[tokio::test]
async fn starts_without_redis_and_finds_it_later() {
    let mut server = OwnServer::reserve(&[]);
    let world = World::start(server.url(), Options { timeout: Duration::from_secs(1), ..strict() });
    let cache = cache(&world.redis);
    assert!(!answers(&cache).await);
    server.run();
    eventually("answers", async || answers(&cache).await).await;
    world.redis.connected().await;
    world.lifecycle.drain_in_order().await;
}

#[tokio::test]
async fn recovers_by_itself_from_a_restart_and_a_freeze() {
    let mut server = OwnServer::reserve(&[]);
    server.run();
    let options = Options { timeout: Duration::from_millis(100), ..strict() };
    let world = World::at(server.url(), options).await;
    let (cache, link) = (cache(&world.redis), link(1));
    let slug = Slug::parse(link.code.as_str()).unwrap();
    eventually("cached", async || cache.put(&link, Duration::ZERO, Duration::ZERO).await.is_ok()).await;
    server.kill();
    eventually("an error", async || !answers(&cache).await).await;
    server.run();
    eventually("answers", async || answers(&cache).await).await;
    // It came back empty, and does not know the script any more.
    assert_eq!(cache.find(DomainNo::DEFAULT, slug).await.unwrap(), None);
    eventually("cached", async || cache.put(&link, Duration::ZERO, Duration::ZERO).await.is_ok()).await;
    assert!(cache.find(DomainNo::DEFAULT, slug).await.unwrap().is_some());
    server.signal("-STOP");
    eventually("an error", async || !answers(&cache).await).await;
    // Long enough for the connections to be made anew, in vain.
    let since = Instant::now();
    eventually("a while later", async || since.elapsed() > Duration::from_secs(3)).await;
    assert!(!answers(&cache).await);
    server.signal("-CONT");
    eventually("answers", async || answers(&cache).await).await;
    assert!(cache.find(DomainNo::DEFAULT, slug).await.unwrap().is_some());
}

#[tokio::test]
async fn a_full_one_takes_no_writes_and_still_answers() {
    let mut server = OwnServer::reserve(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    server.run();
    let world = World::at(server.url(), patient(&prefix())).await;
    let cache = cache(&world.redis);
    let error = cache.put(&link(1), Duration::ZERO, Duration::ZERO).await.unwrap_err();
    assert_eq!((error.kind, error.outcome), (PortErrorKind::Full, domain::port::Outcome::NotApplied));
    assert!(answers(&cache).await);
    let salts = backends::redis::SaltStore::new(world.redis.clone(), arc(SystemEntropy));
    assert_eq!(salts.salt(20_780).await.unwrap_err().kind, PortErrorKind::Full);
}

#[tokio::test]
async fn users_need_their_password() {
    let users = ["--requirepass", "other", "--user", "ann", "on", ">p@ss/word", "~*", "&*", "+@all"];
    let mut server = OwnServer::reserve(&users);
    server.run();
    let at = |credentials: &str| -> RedisUrl { format!("redis://{credentials}127.0.0.1:{}/3", server.port).parse().unwrap() };
    let known = World::at(at("ann:p%40ss%2Fword@"), patient(&prefix())).await;
    assert!(answers(&cache(&known.redis)).await);
    for wrong in ["", "ann:wrong@", ":wrong@"] {
        let world = World::start(at(wrong), patient(&prefix()));
        assert!(!answers(&cache(&world.redis)).await, "{wrong}");
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_named() {
    let url: RedisUrl = "rediss://127.0.0.1:1?ca=/nowhere/ca.pem".parse().unwrap();
    let error = Redis::start(&url, Options::cache(), &Lifecycle::new(Duration::ZERO)).err().unwrap();
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}

#[tokio::test]
async fn a_damaged_salt_begins_anew() {
    let world = World::new(crate::world::Server::Cluster).await;
    let mut raw = world.raw().await;
    let key = format!("{}{{salt}}:20780", world.prefix);
    raw.ask::<String>(&crate::world::cmd(&[b"SET", key.as_bytes(), b"short"])).await;
    let salts = backends::redis::SaltStore::new(world.redis.clone(), arc(SystemEntropy));
    let salt = salts.salt(20_780).await.unwrap();
    assert_eq!(salts.salt(20_780).await.unwrap(), salt);
    let left: i64 = raw.ask(&crate::world::cmd(&[b"PTTL", key.as_bytes()])).await;
    assert!((1..=48 * 3_600_000).contains(&left), "it is destroyed by itself: {left}");
}
