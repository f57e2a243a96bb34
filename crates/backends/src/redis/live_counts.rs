//! Live counts of clicks under `clicks:<domain number>:<code>`: plain integers for whoever wants to watch them.

use async_trait::async_trait;
use compact_str::{CompactString, format_compact};
use domain::port::{LiveClicks, LiveCounts as Port, PortResult};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Redis;
use super::meters::Op;

/// Counts of one request, where one node has them all.
const BATCH_LEN: usize = 512;
/// Requests at one time, where each count has its own.
const AT_ONCE: usize = 128;

pub struct LiveCounts {
    redis: Redis,
    /// What stands before `clicks:`; nothing, but for tests that share a server.
    prefix: String,
}

impl LiveCounts {
    pub fn new(redis: Redis) -> Self {
        Self { redis, prefix: String::new() }
    }

    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    fn key(&self, clicks: &LiveClicks) -> CompactString {
        format_compact!("{}clicks:{}:{}", self.prefix, clicks.domain.get(), clicks.code)
    }

    async fn add_batch(&self, counts: &[LiveClicks]) -> PortResult<()> {
        let mut pipe = redis::pipe();
        for clicks in counts {
            pipe.cmd("INCRBY").arg(self.key(clicks).as_str()).arg(clicks.clicks).ignore();
        }
        let Some(first) = counts.first() else { return Ok(()) };
        let mut connection = self.redis.connection();
        self.redis.run(Op::Count, self.key(first).as_bytes(), pipe.query_async::<()>(&mut connection)).await
    }
}

#[async_trait]
impl Port for LiveCounts {
    async fn add(&self, counts: &[LiveClicks]) -> PortResult<()> {
        // A pipeline goes to one node; the driver merges single requests that meet on a connection.
        let (batch_len, at_once) = if self.redis.url().is_cluster() { (1, AT_ONCE) } else { (BATCH_LEN, 1) };
        let batches: Vec<_> = counts.chunks(batch_len).map(|batch| self.add_batch(batch)).collect();
        stream::iter(batches).buffer_unordered(at_once).try_collect::<()>().await
    }
}
