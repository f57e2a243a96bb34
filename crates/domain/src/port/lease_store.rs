//! The rows that code blocks and id windows are granted from, changed by compare-and-set only.

use std::sync::Arc;

use async_trait::async_trait;

use super::PortResult;
use crate::code::Issued;

/// The counters of one key epoch. `next ≤ open ≤ lim`: blocks are granted from `next`, below `open`;
/// no counter from `lim` on was ever granted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CodeRange {
    pub epoch: u32,
    pub key: [u8; 16],
    pub next: u64,
    pub open: u64,
    pub lim: u64,
}

impl std::fmt::Debug for CodeRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CodeRange(epoch {}, next {}, open {}, lim {})", self.epoch, self.next, self.open, self.lim)
    }
}

#[async_trait]
pub trait LeaseStore: Send + Sync + 'static {
    /// Every epoch's range, oldest first; the last is the one blocks are granted from.
    async fn ranges(&self) -> PortResult<Vec<CodeRange>>;

    /// Adds the range of a new epoch, unless that epoch exists. True when added.
    async fn add_range(&self, range: CodeRange) -> PortResult<bool>;

    /// Puts `new` in the place of `old` (same epoch) if the row still equals it. Only `Ok(true)` grants;
    /// an error of unknown outcome grants nothing and must not be retried with the same values.
    async fn swap_range(&self, old: &CodeRange, new: &CodeRange) -> PortResult<bool>;

    /// Up to which millisecond (since 1970) worker `worker` was granted; 0 when never.
    async fn worker_until(&self, worker: u16) -> PortResult<i64>;

    /// Moves it ahead if it still equals `old`. As with [`Self::swap_range`], only `Ok(true)` grants.
    async fn swap_worker(&self, worker: u16, old: i64, new: i64) -> PortResult<bool>;

    /// Whether a raised `lim` is known to everyone at once, so that `open` may follow without a wait:
    /// true where store and readers are one process.
    fn bounds_are_immediate(&self) -> bool;
}

/// What the never-issued proof may rely on at this moment.
pub trait IssuedBounds: Send + Sync + 'static {
    /// `None` while the last read began too long ago (4 s): then nothing is proved.
    fn issued(&self) -> Option<Arc<Issued>>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
