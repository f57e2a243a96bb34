//! The salts of visitors, shared by all replicas. They are kept in memory only: the server must neither save
//! nor append to a file.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use compact_str::{CompactString, format_compact};
use domain::port::{Entropy, Outcome, PortError, PortErrorKind, PortResult, SaltStore as Port};

use super::Redis;
use super::meters::Op;

const LIFE: Duration = Duration::from_hours(48);
/// Days before the day before that are destroyed with it, should their expiry have been lost.
const DESTROYED_DAYS: u32 = 7;

pub struct SaltStore {
    redis: Redis,
    entropy: Arc<dyn Entropy>,
}

impl SaltStore {
    pub fn new(redis: Redis, entropy: Arc<dyn Entropy>) -> Self {
        Self { redis, entropy }
    }

    /// All days share a slot, so that one request reads one and destroys others.
    fn key(&self, day: u32) -> CompactString {
        format_compact!("{}{{salt}}:{day}", self.redis.prefix())
    }

    async fn ask(&self, day: u32) -> PortResult<Option<Vec<u8>>> {
        let mut salt = [0; 32];
        self.entropy.fill(&mut salt);
        let key = self.key(day);
        let life_ms = u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX);
        let mut pipe = redis::pipe();
        pipe.cmd("SET").arg(key.as_str()).arg(&salt[..]).arg("NX").arg("PX").arg(life_ms).ignore();
        pipe.cmd("GET").arg(key.as_str());
        let newest = day.saturating_sub(1);
        let old: Vec<_> = (newest.saturating_sub(DESTROYED_DAYS)..newest).map(|day| self.key(day)).collect();
        if !old.is_empty() {
            // Not UNLINK: it is to be gone when this returns.
            pipe.cmd("DEL").arg(old.iter().map(CompactString::as_str).collect::<Vec<_>>()).ignore();
        }
        let mut connection = self.redis.connection();
        let (stored,) = self.redis.run(Op::Salt, key.as_bytes(), pipe.query_async::<(Option<Vec<u8>>,)>(&mut connection)).await?;
        Ok(stored)
    }

    async fn forget(&self, day: u32) -> PortResult<()> {
        let (key, mut connection) = (self.key(day), self.redis.connection());
        let mut cmd = redis::cmd("DEL");
        cmd.arg(key.as_str());
        self.redis.run(Op::Salt, key.as_bytes(), cmd.query_async::<u32>(&mut connection)).await.map(|_| ())
    }
}

#[async_trait]
impl Port for SaltStore {
    async fn salt(&self, day: u32) -> PortResult<[u8; 32]> {
        let malformed = match self.ask(day).await?.map(<[u8; 32]>::try_from) {
            Some(Ok(salt)) => return Ok(salt),
            malformed => malformed.is_some(),
        };
        if malformed {
            tracing::warn!(day, "the salt of visitors is no salt and begins anew");
            self.forget(day).await?;
        }
        let again = self.ask(day).await?.and_then(|salt| <[u8; 32]>::try_from(salt).ok());
        again.ok_or_else(|| PortError::new(PortErrorKind::Corrupt, Op::Salt.name(), Outcome::NotApplied))
    }
}
