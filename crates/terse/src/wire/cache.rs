//! What processes share beside the stores: cached links, news of them, limits, salts, live counts. Redis, or the memory of one process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backends::file::salt_store::FileSaltStore;
use backends::{kafka, memory, redis};
use chassis::config::Loaded;
use chassis::{Check, Lifecycle};
use domain::port::{LinkCache, LinkEvents, LiveCounts, RateLimiter, SaltStore};
use domain::{DomainNo, Slug};

use super::{check, entropy, options};
use crate::config::{Cache, ClicksUrl, Config, Store};

/// How long a start waits for Redis.
const FIRST_ANSWER: Duration = Duration::from_secs(2);

pub(super) struct Shared {
    pub(super) links: Arc<dyn LinkCache>,
    pub(super) events: Arc<dyn LinkEvents>,
    pub(super) limiter: Arc<dyn RateLimiter>,
    pub(super) salts: Arc<dyn SaltStore>,
    pub(super) live: Arc<dyn LiveCounts>,
    /// Whether there is a cache between this process and the store.
    pub(super) has_cache: bool,
}

impl Shared {
    /// What `doctor` asks.
    pub(super) fn check(&self) -> Option<(&'static str, Check)> {
        let links = self.links.clone();
        let look = check("cache", "answers", move || {
            let links = links.clone();
            async move {
                let Some(code) = Slug::parse("doctor") else { return Ok(()) };
                links.find(DomainNo::DEFAULT, code).await.map(|_| ())
            }
        });
        self.has_cache.then_some(look)
    }
}

/// Nothing here has to answer for a process to start.
pub(super) async fn connect(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Shared> {
    let config = &loaded.settings;
    let redis = match &config.cache.0 {
        Cache::Memory => None,
        Cache::Redis(url) => Some(
            redis::Redis::start(url, options::redis(config, &redis::Options::cache()), lifecycle)
                .with_context(|| loaded.describe("cache"))?,
        ),
    };
    let counting = match config.limits_cache() {
        Cache::Memory => None,
        // Of its own, even on the same servers: what limits may take, redirects may not.
        Cache::Redis(url) => Some(
            redis::Redis::start(&url, options::redis(config, &redis::Options::limits()), lifecycle)
                .with_context(|| loaded.describe("limits.url"))?,
        ),
    };
    for redis in redis.iter().chain(&counting) {
        // It need not be there. If it is, nothing begins without it: no visitor is counted under a makeshift salt.
        let _ = tokio::time::timeout(FIRST_ANSWER, redis.connected()).await;
    }
    Ok(Shared {
        links: redis.as_ref().map_or_else(|| Arc::new(memory::NoLinkCache) as _, |redis| link_cache(config, redis)),
        events: events(loaded, redis.as_ref(), lifecycle)?,
        limiter: limiter(counting.as_ref()),
        salts: salts(loaded, counting.as_ref())?,
        live: redis
            .as_ref()
            .map_or_else(|| Arc::new(memory::NoLiveCounts) as _, |redis| Arc::new(redis::LiveCounts::new(redis.clone())) as _),
        has_cache: redis.is_some(),
    })
}

fn link_cache(config: &Config, redis: &redis::Redis) -> Arc<dyn LinkCache> {
    Arc::new(redis::LinkCache::new(redis.clone(), options::link_cache(config)))
}

/// Redis is fast, Kafka remembers: what both carry is heard twice and changes nothing the second time.
fn events(loaded: &Loaded<Config>, redis: Option<&redis::Redis>, lifecycle: &Lifecycle) -> anyhow::Result<Arc<dyn LinkEvents>> {
    let config = &loaded.settings;
    let fast = redis.map(|redis| {
        Arc::new(redis::LinkEvents::start(redis.clone(), redis::LinkEventsOptions::default(), lifecycle)) as Arc<dyn LinkEvents>
    });
    let durable = match config.clicks() {
        ClicksUrl::File(_) => None,
        ClicksUrl::Kafka(url) => {
            let events = kafka::LinkEvents::start(&url, kafka::LinkEventsOptions::default(), lifecycle)
                .with_context(|| loaded.describe("clicks.url"))?;
            Some(events as Arc<dyn LinkEvents>)
        }
    };
    Ok(match (fast, durable, config.store()) {
        (Some(fast), Some(durable), _) => Arc::new(backends::LinkEventsBoth::new(fast, durable)),
        (Some(one), None, _) | (None, Some(one), _) => one,
        (None, None, Store::Sqlite(_)) => Arc::new(memory::LinkEvents::alone()),
        (None, None, Store::Scylla(_)) => Arc::new(memory::LinkEvents::among_others()),
    })
}

fn limiter(redis: Option<&redis::Redis>) -> Arc<dyn RateLimiter> {
    let local = Arc::new(memory::RateLimiter::new(&memory::RateLimiterOptions::default()));
    match redis {
        None => local,
        Some(redis) => Arc::new(gateway::FallbackLimiter::new(
            Arc::new(redis::RateLimiter::new(redis.clone())),
            local,
            gateway::FallbackOptions::default(),
        )),
    }
}

fn salts(loaded: &Loaded<Config>, redis: Option<&redis::Redis>) -> anyhow::Result<Arc<dyn SaltStore>> {
    match redis {
        Some(redis) => Ok(Arc::new(redis::SaltStore::new(redis.clone(), entropy()))),
        None => Ok(Arc::new(FileSaltStore::open(&loaded.settings.data, entropy()).with_context(|| loaded.describe("data"))?)),
    }
}
