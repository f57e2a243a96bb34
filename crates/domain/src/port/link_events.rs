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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkNews {
    Changed(LinkChanged),
    /// The connection was lost for a while: any link may have changed unheard.
    Missed,
}

pub type Listener = Arc<dyn Fn(&LinkNews) + Send + Sync>;

#[async_trait]
pub trait LinkEvents: Send + Sync + 'static {
    async fn publish(&self, event: LinkChanged) -> PortResult<()>;

    /// Calls `listener` for each event, and after each gap, from now on, from whatever thread receives it. It must not block.
    fn subscribe(&self, listener: Listener);

    /// Whether every listener has heard of a change when `publish` returns, and nobody changes a link
    /// without publishing here: true where everything is one process. Then what was read need not be
    /// read again because it has grown old.
    fn are_certain(&self) -> bool;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
