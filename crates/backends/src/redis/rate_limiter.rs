//! Sliding-window logs in sorted sets: exact over all gateways, by the server's clock, one script a call.

use std::time::Duration;

use async_trait::async_trait;
use compact_str::format_compact;
use domain::port::{Allowed, Decision, Limit, PortResult, RateLimiter as Port};

use super::Redis;
use super::meters::Op;
use super::script::Script;

/// Up to this `max` each instant has an entry of its own. Beyond it a window has about so many, each as long
/// as a thousandth of the window: what was taken then counts up to that much longer, never shorter, so that
/// no window ever has more than `max` and a log stays below 100 KB.
const ENTRIES_MAX: u32 = 1_000;

pub struct RateLimiter {
    redis: Redis,
    script: Script,
}

impl RateLimiter {
    pub fn new(redis: Redis) -> Self {
        Self { redis, script: Script::new(include_str!("scripts/sliding_log.lua")) }
    }
}

#[async_trait]
impl Port for RateLimiter {
    async fn take(&self, limit: &Limit, subject: u64, cost: u32) -> PortResult<Decision> {
        let key = format_compact!("{}q:{}:{subject:x}", self.redis.prefix(), limit.name);
        let window_us = u64::try_from(limit.window.as_micros()).unwrap_or(u64::MAX);
        let granule_us = if limit.max > ENTRIES_MAX { window_us / u64::from(ENTRIES_MAX) } else { 0 };
        let mut connection = self.redis.connection();
        let keys = [key.as_bytes()];
        let request = self.script.run::<(u8, u64, u64)>(&mut connection, &keys, |cmd| {
            cmd.arg(limit.max).arg(window_us).arg(cost).arg(granule_us);
        });
        let (allowed, sum, reset_us) = self.redis.run(Op::Take, key.as_bytes(), request).await?;
        Ok(Decision {
            allowed: if allowed == 1 { Allowed::Yes } else { Allowed::No },
            remaining: u32::try_from(u64::from(limit.max).saturating_sub(sum)).unwrap_or(u32::MAX),
            reset: Duration::from_micros(reset_us).min(limit.window),
        })
    }
}
