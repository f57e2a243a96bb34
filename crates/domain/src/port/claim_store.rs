//! Claims make a request happen once: they say which links it makes before it makes them.

use async_trait::async_trait;
use compact_str::CompactString;

use super::PortResult;
use crate::model::{DomainNo, LinkId, Owner};
use crate::time::UnixMs;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimKey {
    /// `Idempotency-Key` of an owner.
    Request { owner: Owner, key: String },
    /// `find_or_create`: SHA-256 of the canonical target.
    Target { owner: Owner, domain: DomainNo, digest: [u8; 32] },
}

/// The link that an item of the request makes or found. `link` is `None` for an item that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimItem {
    pub link: LinkId,
    pub domain: DomainNo,
    /// As shown; empty for an item that was refused.
    pub code: CompactString,
    /// How `code` is matched: a [`crate::model::CodeKind`] as 0, 1 or 2.
    pub kind: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub key: ClaimKey,
    /// SHA-256 of the request; zeros for [`ClaimKey::Target`].
    pub digest: [u8; 32],
    pub items: Vec<ClaimItem>,
    pub created_at: UnixMs,
    /// Idempotency claims end; `None` never does.
    pub expires_at: Option<UnixMs>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    Ours,
    Theirs(Claim),
}

#[async_trait]
pub trait ClaimStore: Send + Sync + 'static {
    async fn get(&self, key: &ClaimKey) -> PortResult<Option<Claim>>;

    /// Durably, unless there is one that has not expired by `claim.created_at`.
    async fn claim(&self, claim: Claim) -> PortResult<Claimed>;

    /// Puts `new` in the place of `old`, if `old` still stands there with the same items.
    async fn replace(&self, old: &Claim, new: Claim) -> PortResult<Claimed>;

    /// Removes expired claims, at most `limit`; answers how many.
    async fn sweep(&self, now: UnixMs, limit: usize) -> PortResult<usize>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
