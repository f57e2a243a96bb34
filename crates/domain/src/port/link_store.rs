//! Where links are kept, for ever: rows are never deleted, codes never reused.

use async_trait::async_trait;

use super::PortResult;
use crate::model::{DomainNo, Link, LinkId, Owner, Slug, Tag};

#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "short-lived answers; the row is needed as a value")]
pub enum Inserted {
    Stored,
    /// The code is taken, by this link. When its id is ours, an earlier attempt of ours had won.
    Taken(Link),
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "short-lived answers; the row is needed as a value")]
pub enum Replaced {
    Stored,
    /// The stored version is another one; `None` when there is no such link.
    Stale(Option<Link>),
}

/// Whose links to walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Walk {
    Owner(Owner),
    Everyone,
}

#[async_trait]
pub trait LinkStore: Send + Sync + 'static {
    /// Stores each link whose code is free, durably, each on its own; answers in order.
    async fn insert(&self, links: Vec<Link>) -> PortResult<Vec<Inserted>>;

    /// By code as typed; failing that, an alias by its lower case.
    async fn find(&self, domain: DomainNo, code: Slug<'_>) -> PortResult<Option<Link>>;

    async fn get(&self, id: LinkId) -> PortResult<Option<Link>>;

    /// Each of `ids` that exists, in no particular order.
    async fn get_many(&self, ids: &[LinkId]) -> PortResult<Vec<Link>>;

    /// Stores each link if the stored version is `link.version - 1`; answers in order.
    async fn replace(&self, links: Vec<Link>) -> PortResult<Vec<Replaced>>;

    /// At most `limit` links with ids below `before`, newest first, of any state.
    async fn walk(&self, whose: &Walk, before: Option<LinkId>, limit: usize) -> PortResult<Vec<Link>>;

    /// Tags in use with the number of links, not counting deleted ones; by name.
    async fn tags(&self, whose: &Walk) -> PortResult<Vec<(Tag, u64)>>;

    /// Whether any link, of any state, belongs to the domain.
    async fn any_in_domain(&self, domain: DomainNo) -> PortResult<bool>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
