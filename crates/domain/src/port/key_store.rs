//! API keys, by the hash of their text.

use async_trait::async_trait;

use super::PortResult;
use crate::model::{ApiKey, KeyHash, KeyId, Owner};
use crate::time::UnixMs;

#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    async fn insert(&self, key: ApiKey) -> PortResult<()>;

    async fn find(&self, hash: &KeyHash) -> PortResult<Option<ApiKey>>;

    async fn get(&self, id: KeyId) -> PortResult<Option<ApiKey>>;

    /// An owner's keys, or all; newest first; revoked ones too.
    async fn list(&self, owner: Option<&Owner>) -> PortResult<Vec<ApiKey>>;

    /// False when there is no such key. Revoking twice keeps the first time.
    async fn revoke(&self, id: KeyId, at: UnixMs) -> PortResult<bool>;

    /// Whether any key was ever made: the first start makes one.
    async fn any(&self) -> PortResult<bool>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
