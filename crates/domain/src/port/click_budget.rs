//! How many clicks of a limited link are left.

use async_trait::async_trait;

use super::PortResult;
use crate::model::LinkId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub max: u64,
    pub used: u64,
}

#[async_trait]
pub trait ClickBudget: Send + Sync + 'static {
    /// Sets the limit, keeping what is used; makes the row when there is none. `None` lifts the limit.
    async fn set_max(&self, link: LinkId, max: Option<u64>) -> PortResult<()>;

    /// Takes up to `count` clicks, durably, and answers how many it got: 0 when none are left. A link
    /// without a row gets one with `max` first. An `Err` of unknown outcome counts as spent.
    async fn take(&self, link: LinkId, max: u64, count: u32) -> PortResult<u32>;

    async fn get(&self, link: LinkId) -> PortResult<Option<Budget>>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
