//! Changes that name the version they were made from: of many, one is made. They come to services of their own, and all have read
//! the same row before the first is written, so it rests on the store's comparison alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use domain::api::Links as _;
use domain::port::{Inserted, LinkStore, PortResult, Replaced, Walk};
use domain::{Change, DomainNo, Link, LinkId, PatchDraft, Reason, Slug, Tag};
use futures_util::future::join_all;
use links::Service;
use tokio::sync::Barrier;

use super::{World, alice, draft, world_with};

const MANY: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    /// Whoever writes last wins.
    NoComparison,
}

/// The real store, where nobody has read before all have. Those that lost read again, and wait for nobody.
struct Together {
    store: Arc<dyn LinkStore>,
    reads: AtomicUsize,
    all_have_read: Barrier,
    sabotage: Sabotage,
}

#[async_trait]
impl LinkStore for Together {
    async fn insert(&self, links: Vec<Link>) -> PortResult<Vec<Inserted>> {
        self.store.insert(links).await
    }

    async fn find(&self, domain: DomainNo, code: Slug<'_>) -> PortResult<Option<Link>> {
        self.store.find(domain, code).await
    }

    async fn get(&self, id: LinkId) -> PortResult<Option<Link>> {
        let row = self.store.get(id).await;
        if self.reads.fetch_add(1, Ordering::Relaxed) < MANY {
            self.all_have_read.wait().await;
        }
        row
    }

    async fn get_many(&self, ids: &[LinkId]) -> PortResult<Vec<Link>> {
        self.store.get_many(ids).await
    }

    async fn replace(&self, mut links: Vec<Link>) -> PortResult<Vec<Replaced>> {
        loop {
            let replaced = self.store.replace(links.clone()).await?;
            match &replaced[..] {
                [Replaced::Stale(Some(row))] if self.sabotage == Sabotage::NoComparison => links[0].version = row.version + 1,
                _ => return Ok(replaced),
            }
        }
    }

    async fn walk(&self, whose: &Walk, before: Option<LinkId>, limit: usize) -> PortResult<Vec<Link>> {
        self.store.walk(whose, before, limit).await
    }

    async fn tags(&self, whose: &Walk) -> PortResult<Vec<(Tag, u64)>> {
        self.store.tags(whose).await
    }

    async fn any_in_domain(&self, domain: DomainNo) -> PortResult<bool> {
        self.store.any_in_domain(domain).await
    }
}

/// How many of many changes of version 1 are made, and the link's version after them.
async fn made(sabotage: Sabotage) -> (usize, u32) {
    let store = |stores: &backends::sqlite::Stores| -> Arc<dyn LinkStore> {
        Arc::new(Together { store: stores.links.clone(), reads: AtomicUsize::new(0), all_have_read: Barrier::new(MANY), sabotage })
    };
    let World { stores, service, parts: (options, deps), life, _folder } =
        world_with(|ids| ids, store, (Arc::new(super::NoLinkCache), Arc::new(super::LinkEvents::alone()))).await;
    let link = service.create(&alice(), draft(0), None).await.unwrap().link().clone();
    // One service would make them one after the other.
    let services: Vec<_> = (0..MANY).map(|_| Service::start(options.clone(), deps.clone(), &life)).collect();
    let context = alice();
    let changes = services.iter().enumerate().map(|(i, service)| {
        let patch = PatchDraft { target: Change::Set(format!("https://example.com/changed/{i}")), ..PatchDraft::default() };
        service.update(&context, link.id, patch, Some(1))
    });
    let answers = join_all(changes).await;
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(error.reason(), Reason::VersionMismatch);
    }
    let version = stores.links.get(link.id).await.unwrap().unwrap().version;
    life.drain_in_order().await;
    stores.close().await;
    (answers.iter().filter(|answer| answer.is_ok()).count(), version)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_changes_of_one_version_one_is_made() {
    assert_eq!(made(Sabotage::None).await, (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn sabotage_without_the_comparison_more_are_made() {
    let (made, _) = made(Sabotage::NoComparison).await;
    assert!(made > 1, "{made}");
}
