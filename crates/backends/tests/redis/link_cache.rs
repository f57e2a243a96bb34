//! What the cache must do beyond the contract: staleness, damage, long links, concurrent writers.

use std::time::Duration;

use backends::redis::{LinkCache, LinkCacheOptions, Options, Reads};
use domain::port::{Cached, LinkCache as _, Remembered};
use domain::{Code, DomainNo, Link, LinkId, Owner, Slug, State, Target, snowflake};

use crate::world::{Server, World, cmd, eventually, patient, prefix};

const DOMAIN: DomainNo = DomainNo::DEFAULT;

pub(crate) fn link(number: u64) -> Link {
    let id = LinkId::new((40_000_000_000 << 22) + number);
    let code = (number * 7_919..).find_map(Code::generated).unwrap();
    Link {
        id,
        domain: DOMAIN,
        code,
        owner: Owner::parse("ann").unwrap(),
        target: Target::from_stored(&format!("https://example.com/{number}")),
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
        change_id: number,
    }
}

fn cache(world: &World) -> LinkCache {
    LinkCache::new(world.redis.clone(), LinkCacheOptions::default())
}

async fn find(cache: &LinkCache, link: &Link) -> Option<Cached> {
    cache.find(link.domain, Slug::parse(link.code.as_str()).unwrap()).await.unwrap()
}

async fn put(cache: &LinkCache, link: &Link) {
    cache.put(link, Duration::ZERO, Duration::ZERO).await.unwrap();
}

fn what(link: &Link) -> Remembered {
    Remembered::Link(Box::new(link.clone()))
}

#[tokio::test]
async fn a_link_grows_stale_then_is_gone() {
    for server in Server::BOTH {
        let world = World::new(server).await;
        let second = Duration::from_secs(1);
        let options = LinkCacheOptions { staleness: second, serve_stale: second, jitter: 0.0, ..LinkCacheOptions::default() };
        let (cache, link) = (LinkCache::new(world.redis.clone(), options), link(1));
        let began = std::time::Instant::now();
        put(&cache, &link).await;
        let fresh = find(&cache, &link).await.unwrap();
        assert!(fresh.fresh_for <= second && fresh.what == what(&link), "{fresh:?}");
        eventually("stale", async || find(&cache, &link).await.is_none_or(|cached| cached.fresh_for.is_zero())).await;
        eventually("gone", async || find(&cache, &link).await.is_none()).await;
        assert!(began.elapsed() + Duration::from_millis(300) >= 2 * second, "{:?}", began.elapsed());
        // A version that has run out stands in nobody's way.
        put(&cache, &Link { version: 9, ..link.clone() }).await;
        eventually("gone again", async || find(&cache, &link).await.is_none()).await;
        put(&cache, &link).await;
        assert_eq!(find(&cache, &link).await.unwrap().what, what(&link));
    }
}

#[tokio::test]
async fn the_newest_of_many_writers_stays() {
    for server in Server::BOTH {
        let world = World::new(server).await;
        let other = world.twin().await;
        let (one, two, link) = (cache(&world), cache(&other), link(1));
        let versions: Vec<_> = (1..=40_u32).map(|version| Link { version, change_id: version.into(), ..link.clone() }).collect();
        let puts = versions.iter().rev().enumerate().map(|(i, link)| {
            let cache = if i % 2 == 0 { &one } else { &two };
            cache.put(link, Duration::ZERO, Duration::ZERO)
        });
        for answer in domain::port::contract::join_all(puts).await {
            answer.unwrap();
        }
        assert_eq!(find(&one, &link).await.unwrap().what, what(&versions[39]));
        assert_eq!(find(&two, &link).await.unwrap().what, what(&versions[39]));
    }
}

#[tokio::test]
async fn many_links_share_buckets_and_stay_apart() {
    let world = World::new(Server::Cluster).await;
    let options = LinkCacheOptions { buckets: 4, ..LinkCacheOptions::default() };
    let cache = LinkCache::new(world.redis.clone(), options);
    let mut links: Vec<_> = (1..=60).map(link).collect();
    links.extend((1..=20).map(|n| Link { domain: DomainNo::new(2), ..link(n) }));
    links.extend((1..=20).map(|n| Link { code: Code::parse_alias(&format!("Alias-{n}")).unwrap(), ..link(1_000 + n) }));
    links.extend((1..=20).map(|n| Link {
        domain: DomainNo::new(DomainNo::MAX),
        code: Code::parse_foreign(&format!("f{n}")).unwrap(),
        ..link(2_000 + n)
    }));
    for link in &links {
        put(&cache, link).await;
    }
    for link in &links {
        assert_eq!(find(&cache, link).await.map(|cached| cached.what), Some(what(link)), "{}", link.code);
    }
    let unknown = Link { domain: DomainNo::new(3), ..link(1) };
    assert_eq!(find(&cache, &unknown).await, None);
    assert!(world.raw().await.keys(&world.prefix).await.len() <= 4);
}

#[tokio::test]
async fn long_links_have_keys_of_their_own() {
    for server in Server::BOTH {
        let world = World::new(server).await;
        let cache = cache(&world);
        let noise: String = (0..8_000_u32).map(|n| char::from(33 + u8::try_from(n.wrapping_mul(n) * 31 % 94).unwrap())).collect();
        let long = Link { target: Target::from_stored(&format!("https://{noise}")), ..link(1) };
        put(&cache, &long).await;
        assert_eq!(find(&cache, &long).await.unwrap().what, what(&long));
        let mut raw = world.raw().await;
        assert_eq!(raw.keys(&world.prefix).await.len(), 2);
        // Evicted apart from its bucket.
        let key = raw.keys(&world.prefix).await.into_iter().max_by_key(Vec::len).unwrap();
        assert_eq!(raw.ask::<u32>(&cmd(&[b"DEL", &key])).await, 1);
        assert_eq!(find(&cache, &long).await, None);
        put(&cache, &Link { version: 2, ..long.clone() }).await;
        assert_eq!(find(&cache, &long).await.unwrap().what, what(&Link { version: 2, ..long.clone() }));
        // It became short: the long value goes.
        let short = Link { version: 300, ..link(1) };
        put(&cache, &short).await;
        assert_eq!(find(&cache, &short).await.unwrap().what, what(&short));
        assert_eq!(raw.keys(&world.prefix).await.len(), 1);
    }
}

#[tokio::test]
async fn damage_is_a_miss_and_is_overwritten() {
    for server in Server::BOTH {
        let world = World::new(server).await;
        let (cache, link) = (cache(&world), link(1));
        let mut raw = world.raw().await;
        put(&cache, &link).await;
        let bucket = raw.keys(&world.prefix).await.pop().unwrap();
        let fields: Vec<Vec<u8>> = raw.ask(&cmd(&[b"HKEYS", &bucket])).await;
        let field = fields.into_iter().find(|field| field != b"\x82").unwrap();
        let value: Vec<u8> = raw.ask(&cmd(&[b"HGET", &bucket, &field])).await;
        let mut later_format = value.clone();
        later_format[0] = 0xF1;
        let mut no_link = value.clone();
        no_link.truncate(12);
        for damaged in [&b"https://example.com/"[..], b"", &later_format, &no_link, &[0xC4; 9], &value[..value.len() - 1]] {
            raw.ask::<u32>(&cmd(&[b"HSET", &bucket, &field, damaged])).await;
            assert_eq!(find(&cache, &link).await, None, "{damaged:02x?}");
            let newer = Link { version: 2, ..link.clone() };
            if damaged.first() != Some(&0xC4) {
                put(&cache, &newer).await;
                assert_eq!(find(&cache, &link).await.unwrap().what, what(&newer), "{damaged:02x?}");
            }
        }
        for header in [&b""[..], b"1", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\0\0\0\0\0\0\0\0"] {
            raw.ask::<u32>(&cmd(&[b"HSET", &bucket, b"\x82", header])).await;
            // Whatever it says, nothing is fresh for longer than it may be.
            assert!(find(&cache, &link).await.is_none_or(|cached| cached.fresh_for <= Duration::from_mins(1)));
            put(&cache, &Link { version: 3, ..link.clone() }).await;
        }
        raw.ask::<u32>(&cmd(&[b"DEL", &bucket])).await;
        raw.ask::<String>(&cmd(&[b"SET", &bucket, b"a string"])).await;
        assert!(cache.find(DOMAIN, Slug::parse(link.code.as_str()).unwrap()).await.is_err());
        raw.ask::<u32>(&cmd(&[b"DEL", &bucket])).await;
    }
}

#[tokio::test]
async fn what_has_run_out_is_swept_by_later_writes() {
    let world = World::new(Server::Single).await;
    let options = LinkCacheOptions {
        buckets: 1,
        staleness: Duration::from_millis(600),
        serve_stale: Duration::ZERO,
        jitter: 0.0,
        ..LinkCacheOptions::default()
    };
    let short = LinkCache::new(world.redis.clone(), options.clone());
    let lasting = LinkCache::new(world.redis.clone(), LinkCacheOptions { staleness: Duration::from_mins(1), ..options });
    for number in 1..=20 {
        put(&short, &link(number)).await;
    }
    let mut raw = world.raw().await;
    let bucket = raw.keys(&world.prefix).await.pop().unwrap();
    assert_eq!(raw.ask::<usize>(&cmd(&[b"HLEN", &bucket])).await, 21);
    eventually("run out", async || find(&short, &link(20)).await.is_none()).await;
    // The next sweep is due.
    let header: Vec<u8> = raw.ask(&cmd(&[b"HGET", &bucket, b"\x82"])).await;
    raw.ask::<u32>(&cmd(&[b"HSET", &bucket, b"\x82", &[&header[..4], &[0; 4]].concat()])).await;
    put(&lasting, &link(99)).await;
    assert_eq!(raw.ask::<usize>(&cmd(&[b"HLEN", &bucket])).await, 2);
    assert_eq!(find(&lasting, &link(99)).await.unwrap().what, what(&link(99)));
    let ttl: i64 = raw.ask(&cmd(&[b"PTTL", &bucket])).await;
    assert!((50_000..=121_000).contains(&ttl), "a bucket lives as long as the last of it: {ttl}");
}

#[tokio::test]
async fn the_rebuild_lock_ends_by_itself() {
    let world = World::new(Server::Cluster).await;
    let options = LinkCacheOptions { rebuild_for: Duration::from_millis(200), ..LinkCacheOptions::default() };
    let cache = LinkCache::new(world.redis.clone(), options);
    let slug = Slug::parse("hot").unwrap();
    assert_eq!(cache.rebuild(DOMAIN, slug).await.unwrap(), domain::port::Rebuild::Ours);
    eventually("free", async || cache.rebuild(DOMAIN, slug).await.unwrap() == domain::port::Rebuild::Ours).await;
}

/// Replicas serve reads, and what they do not know yet is never taken for an absence.
#[tokio::test]
async fn hot_keys_are_read_from_every_copy() {
    let prefix = prefix();
    let world = World::at(Server::Cluster.url(), Options { reads: Reads::AnyCopy, ..patient(&prefix) }).await;
    let (cache, hot) = (cache(&world), link(1));
    put(&cache, &hot).await;
    eventually("everywhere", async || {
        let found = domain::port::contract::join_all((0..50).map(|_| find(&cache, &hot))).await;
        found.iter().all(|cached| cached.as_ref().is_some_and(|cached| cached.what == what(&hot) && !cached.fresh_for.is_zero()))
    })
    .await;
    let absent = Slug::parse("nowhere").unwrap();
    cache.put_absent(DOMAIN, absent, Duration::ZERO).await.unwrap();
    for _ in 0..20 {
        assert_eq!(cache.find(DOMAIN, absent).await.unwrap(), None);
    }
    let mut from_replicas = 0_u64;
    let nodes: String = world.raw().await.ask(&cmd(&[b"CLUSTER", b"NODES"])).await;
    let replicas = nodes.lines().filter(|line| line.contains("slave"));
    for address in replicas.filter_map(|line| line.split_whitespace().nth(1)?.split('@').next()) {
        let client = redis::Client::open(format!("redis://{address}")).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
        let calls =
            stats.lines().find_map(|line| line.strip_prefix("cmdstat_hmget:calls=")).and_then(|rest| rest.split(',').next()?.parse().ok());
        from_replicas += calls.unwrap_or(0);
    }
    assert!(from_replicas > 0);
}
