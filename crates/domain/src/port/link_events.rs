//! News of changed links: an accelerator for caches, never what correctness rests on.

use std::sync::Arc;

use async_trait::async_trait;
use compact_str::CompactString;

use super::PortResult;
use crate::model::{DomainNo, LinkId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkChanged {
    pub link: LinkId,
    pub domain: DomainNo,
    /// What the code is matched by: [`crate::model::Code::key`].
    pub key: CompactString,
    pub version: u32,
    /// Whether the change is a takedown.
    pub blocked: bool,
}

pub type Listener = Arc<dyn Fn(&LinkChanged) + Send + Sync>;

#[async_trait]
pub trait LinkEvents: Send + Sync + 'static {
    async fn publish(&self, event: LinkChanged) -> PortResult<()>;

    /// Calls `listener` for each event from now on, from whatever thread receives it. It must not block.
    fn subscribe(&self, listener: Listener);
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
