//! Clicks of each link up to now, for whoever wants to watch them: written behind, never relied on.

use async_trait::async_trait;
use compact_str::CompactString;

use super::PortResult;
use crate::model::DomainNo;

/// Clicks to add to a link's live count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveClicks {
    pub domain: DomainNo,
    /// As shown.
    pub code: CompactString,
    pub clicks: u64,
}

/// A crash may count some clicks twice or not at all here; the statistics are exact.
#[async_trait]
pub trait LiveCounts: Send + Sync + 'static {
    async fn add(&self, counts: &[LiveClicks]) -> PortResult<()>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
