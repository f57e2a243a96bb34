//! The ID service: ids and codes that nobody else ever gets, in batches.

use async_trait::async_trait;

use super::Deadline;
use crate::error::Result;
use crate::model::LinkId;

/// Counters `start..end` of one key epoch, ours for ever. A counter becomes a code by
/// `Permutation::new(key, epoch)`; those whose code lacks a digit or an upper-case letter are skipped.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeBlock {
    pub epoch: u32,
    pub key: [u8; 16],
    pub start: u64,
    pub end: u64,
}

impl std::fmt::Debug for CodeBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CodeBlock(epoch {}, {}..{})", self.epoch, self.start, self.end)
    }
}

#[async_trait]
pub trait Ids: Send + Sync + 'static {
    /// `count` Snowflake ids (1 to [`crate::limits::IDS_BATCH_MAX`]), never handed out before by any
    /// process, ascending.
    ///
    /// # Errors
    /// `Unavailable` when no window can be granted; `Invalid` when `count` is out of range.
    async fn next_ids(&self, count: u32, deadline: Deadline) -> Result<Vec<LinkId>>;

    /// A block of `count` counters (1 to [`crate::limits::CODE_BLOCK_MAX`]).
    ///
    /// # Errors
    /// `Unavailable` when the store does not grant one; `Invalid` when `count` is out of range.
    async fn lease_codes(&self, count: u32, deadline: Deadline) -> Result<CodeBlock>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
