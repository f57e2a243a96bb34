//! One process needs no cache between its memory and its store.

use std::time::Duration;

use async_trait::async_trait;
use domain::port::{Cached, LinkCache, PortResult, Rebuild};
use domain::{DomainNo, Link, Slug};

/// Remembers nothing: every look-up is a miss, and whoever misses reads the store.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLinkCache;

#[async_trait]
impl LinkCache for NoLinkCache {
    async fn find(&self, _: DomainNo, _: Slug<'_>) -> PortResult<Option<Cached>> {
        Ok(None)
    }

    async fn put(&self, _: &Link, _: Duration, _: Duration) -> PortResult<()> {
        Ok(())
    }

    async fn put_absent(&self, _: DomainNo, _: Slug<'_>, _: Duration) -> PortResult<()> {
        Ok(())
    }

    async fn rebuild(&self, _: DomainNo, _: Slug<'_>) -> PortResult<Rebuild> {
        Ok(Rebuild::Ours)
    }
}
