//! The salts that make visitors: one per UTC day, shared by all replicas, destroyed after 48 h.

use async_trait::async_trait;

use super::PortResult;

#[async_trait]
pub trait SaltStore: Send + Sync + 'static {
    /// The salt of a UTC day (days since 1970-01-01), made when there is none. Destroys those of days
    /// before `day - 1`.
    async fn salt(&self, day: u32) -> PortResult<[u8; 32]>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
