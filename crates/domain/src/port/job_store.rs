//! Long work that survives a restart.

use async_trait::async_trait;

use super::PortResult;
use crate::api::{JobState, Selection};
use crate::model::{DomainNo, LinkId, Owner};
use crate::time::UnixMs;

/// A mass delete and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: LinkId,
    pub owner: Owner,
    /// Whose links may be touched: an admin's job everyone's, others only their owner's.
    pub everyone: bool,
    pub selection: Selection,
    /// The number behind [`Selection::Domain`].
    pub domain: Option<DomainNo>,
    pub state: JobState,
    pub done: u64,
    pub total: u64,
    pub errors: u64,
    /// Where to go on: the last link looked at, or the number of ids done.
    pub cursor: Option<u64>,
    pub created_at: UnixMs,
    pub updated_at: UnixMs,
}

#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    async fn insert(&self, job: Job) -> PortResult<()>;

    async fn get(&self, id: LinkId) -> PortResult<Option<Job>>;

    /// Replaces state, counts and cursor.
    async fn update(&self, job: &Job) -> PortResult<()>;

    /// Jobs still running, oldest first: taken up again at start.
    async fn running(&self) -> PortResult<Vec<Job>>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
