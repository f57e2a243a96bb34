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
    /// The job is claimed by nobody yet.
    async fn insert(&self, job: Job) -> PortResult<()>;

    async fn get(&self, id: LinkId) -> PortResult<Option<Job>>;

    /// Takes a running job for this process until `until`, or keeps it. False when it does not run, or when
    /// another process has it and was heard of: a claim that ended before `now` is anyone's. Where store and
    /// runner are one process, nobody else can have it.
    async fn claim(&self, id: LinkId, now: UnixMs, until: UnixMs) -> PortResult<bool>;

    /// Replaces state, counts and cursor. False, and nothing is replaced, when another process has taken the job.
    async fn update(&self, job: &Job) -> PortResult<bool>;

    /// Jobs still running, oldest first: whoever can claim one goes on with it.
    async fn running(&self) -> PortResult<Vec<Job>>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
