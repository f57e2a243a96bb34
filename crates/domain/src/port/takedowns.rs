//! Links taken down. Polled by every replica, so that a takedown overrides what is cached even while
//! the store is away.

use async_trait::async_trait;

use super::PortResult;
use crate::model::{BlockReason, LinkId};

#[async_trait]
pub trait Takedowns: Send + Sync + 'static {
    async fn put(&self, link: LinkId, reason: &BlockReason) -> PortResult<()>;

    async fn remove(&self, link: LinkId) -> PortResult<()>;

    async fn all(&self) -> PortResult<Vec<(LinkId, BlockReason)>>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
