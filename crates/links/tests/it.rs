//! The shortening service on the real SQLite store and the real ID service.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "it/through.rs"]
mod through;
#[path = "it/versions.rs"]
mod versions;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use backends::memory::{LinkEvents, NoLinkCache};
use backends::sqlite::{self, Stores};
use backends::system::{SystemClock, SystemEntropy};
use chassis::Lifecycle;
use domain::api::{CodeBlock, Context, Created, Deadline, Ids, Links, contract};
use domain::port::{LeaseStore as _, LinkCache, LinkStore};
use domain::{Caller, Host, LinkDraft, LinkId, Owner, Scope, Strategy};
use links::{Deps, Options, Service};

struct World {
    stores: Stores,
    service: Arc<Service>,
    /// What `service` was made of, for more of them on the same stores.
    parts: (Options, Deps),
    life: Lifecycle,
    _folder: tempfile::TempDir,
}

/// `ids`: what hands out ids and blocks, made from the real one.
async fn world(wrap: impl FnOnce(Arc<dyn Ids>) -> Arc<dyn Ids>) -> World {
    world_with(wrap, |stores| stores.links.clone(), (Arc::new(NoLinkCache), Arc::new(LinkEvents::alone()))).await
}

async fn world_with(
    wrap: impl FnOnce(Arc<dyn Ids>) -> Arc<dyn Ids>,
    links: impl FnOnce(&Stores) -> Arc<dyn LinkStore>,
    (cache, events): (Arc<dyn LinkCache>, Arc<dyn domain::port::LinkEvents>),
) -> World {
    let folder = tempfile::TempDir::new().unwrap();
    let stores = sqlite::open_links(&folder.path().join("terse.db"), sqlite::Options::default(), &SystemEntropy).unwrap();
    domain::port::DomainStore::set_default(&*stores.domains, &Host::parse("sho.rt").unwrap()).await.unwrap();
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let key = stores.leases.ranges().await.unwrap()[0].key;
    let ids = ids::Service::new(ids::Options::default(), stores.leases.clone(), clock.clone(), entropy.clone(), key).unwrap();
    let life = Lifecycle::new(Duration::from_secs(10));
    let deps = Deps {
        ids: wrap(Arc::new(ids)),
        links: links(&stores),
        claims: stores.claims.clone(),
        budgets: stores.budgets.clone(),
        domains: stores.domains.clone(),
        jobs: stores.jobs.clone(),
        takedowns: stores.takedowns.clone(),
        cache,
        events,
        clock,
        entropy,
    };
    let options = Options { block_len: 64, ..Options::new(key) };
    let service = Service::start(options.clone(), deps.clone(), &life);
    World { stores, service, parts: (options, deps), life, _folder: folder }
}

fn alice() -> Context {
    let caller = Caller { owner: Owner::parse("alice").unwrap(), scopes: [Scope::LinksRead, Scope::LinksWrite].into_iter().collect() };
    Context { caller, deadline: Deadline::after(Instant::now(), Duration::from_mins(1)) }
}

fn draft(i: usize) -> LinkDraft {
    LinkDraft { target: format!("https://example.com/{i}"), ..LinkDraft::default() }
}

#[tokio::test]
async fn the_contract_of_links_holds() {
    let world = world(|ids| ids).await;
    contract::links::all(world.service.clone(), || tokio::time::sleep(Duration::from_millis(5))).await;
    world.life.drain_in_order().await;
    world.stores.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_unique_across_blocks_and_callers() {
    let world = world(|ids| ids).await;
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let service = world.service.clone();
        tasks.spawn(async move {
            let mut codes = Vec::new();
            for batch in 0..5 {
                let drafts = (0..50).map(|i| draft(caller * 1_000 + batch * 50 + i)).collect();
                let made = service.bulk_create(&alice(), drafts, None).await.unwrap();
                codes.extend(made.into_iter().map(|made| made.unwrap().link().code.to_string()));
            }
            codes
        });
    }
    let codes: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(codes.iter().collect::<HashSet<_>>().len(), 2_000);
}

/// Hands out the same block of counters again and again: what must never happen, and must not matter.
struct SameBlock(Arc<dyn Ids>, tokio::sync::OnceCell<CodeBlock>);

#[async_trait]
impl Ids for SameBlock {
    async fn next_ids(&self, count: u32, deadline: Deadline) -> domain::Result<Vec<LinkId>> {
        self.0.next_ids(count, deadline).await
    }

    async fn lease_codes(&self, count: u32, deadline: Deadline) -> domain::Result<CodeBlock> {
        self.1.get_or_try_init(|| self.0.lease_codes(count, deadline)).await.cloned()
    }
}

#[tokio::test]
async fn a_block_granted_twice_makes_no_code_twice() {
    let world = world(|ids| Arc::new(SameBlock(ids, tokio::sync::OnceCell::new()))).await;
    // A block of 64 counters has some 44 codes; all of them are used up, then met again.
    let mut ids = HashSet::new();
    let mut codes = HashSet::new();
    let mut refused = 0;
    for i in 0..60 {
        match world.service.create(&alice(), draft(i), None).await {
            Ok(Created::New(link)) => {
                assert!(ids.insert(link.id) && codes.insert(link.code.to_string()), "{} was given twice", link.code);
            }
            Ok(Created::Found(link)) => panic!("{} was found, not made", link.code),
            Err(error) => {
                assert_eq!(error.reason(), domain::Reason::AliasTaken);
                refused += 1;
            }
        }
    }
    assert!(codes.len() >= 20 && refused > 0, "{} made, {refused} refused", codes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hashed_code_is_one_link_for_one_target_however_many_ask() {
    let world = world(|ids| ids).await;
    let hashed = LinkDraft { strategy: Some(Strategy::Hash.as_str().into()), code_length: Some(7), ..draft(1) };
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (service, hashed) = (world.service.clone(), hashed.clone());
        tasks.spawn(async move { service.create(&alice(), hashed, None).await.unwrap() });
    }
    let made = tasks.join_all().await;
    assert_eq!(made.iter().filter(|made| matches!(made, Created::New(_))).count(), 1);
    assert_eq!(made.iter().map(|made| made.link().id).collect::<HashSet<_>>().len(), 1);
}
