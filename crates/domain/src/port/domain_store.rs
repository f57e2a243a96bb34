//! The hosts that serve short links.

use std::sync::Arc;

use async_trait::async_trait;

use super::PortResult;
use crate::model::{Directory, Domain, DomainNo, Host};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainAdded {
    Added(Domain),
    Taken(Domain),
}

#[async_trait]
pub trait DomainStore: Send + Sync + 'static {
    /// All domains as last read; never waits. At most 2 s old, and exact where store and readers are
    /// one process.
    fn directory(&self) -> Arc<Directory>;

    /// Reads the domains again, where the directory may be behind the store: a domain made through another
    /// process a moment ago is there when this returns.
    async fn refresh(&self) -> PortResult<()> {
        Ok(())
    }

    /// Whether the directory is fresh enough for `foreign_codes` to be relied on (4 s).
    fn is_fresh(&self) -> bool;

    /// Whether [`Self::set_foreign_codes`] is known to every reader when it returns.
    fn flags_are_immediate(&self) -> bool;

    /// Whether everyone who relies on a fresh directory knows that this domain has `foreign_codes`: only then
    /// may the first such code be written. Where readers poll, 5 s after this process knew of it.
    fn foreign_codes_hold(&self, no: DomainNo) -> bool {
        self.flags_are_immediate() && self.directory().get(no).is_some_and(|domain| domain.foreign_codes)
    }

    /// Makes the default domain, or gives it another host. Its number and its links stay.
    async fn set_default(&self, host: &Host) -> PortResult<Domain>;

    /// `domain.no` is ignored: the store gives the next number.
    async fn insert(&self, domain: Domain) -> PortResult<DomainAdded>;

    /// Replaces the defaults of a domain; host and `foreign_codes` are kept. `None`: no such domain.
    async fn update(&self, domain: Domain) -> PortResult<Option<Domain>>;

    /// Durably sets `foreign_codes`; true when it was not set before.
    async fn set_foreign_codes(&self, no: DomainNo) -> PortResult<bool>;

    /// The caller has made sure that no links remain. Numbers are not given out again.
    async fn remove(&self, no: DomainNo) -> PortResult<()>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
