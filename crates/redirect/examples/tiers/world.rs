//! Ports that know every code and forget every click.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::code::Issued;
use domain::limits::CODE_SPACE;
use domain::port::{
    Budget, Cached, ClickBudget, ClickLog, Clock, DomainAdded, DomainStore, Dropped, Geo, Inserted, IssuedBounds, LinkCache, LinkChanged,
    LinkEvents, LinkStore, Listener, PortResult, Rebuild, Remembered, Replaced, SaltStore, Takedowns, Walk,
};
use domain::{
    BlockReason, Click, Code, CodeKind, Country, Directory, Domain, DomainNo, Host, Link, LinkId, Owner, Slug, State, Tag, Target, UnixMs,
    code,
};
use redirect::Deps;
use tokio::time::Instant;

const NOW: UnixMs = UnixMs::new(1_800_000_000_000);

/// Spread over the space, and undone by `number_of`: its factor is odd and no multiple of 31.
pub(crate) fn code_of(number: u32) -> u64 {
    (u64::from(number) * 7_919 + 1) % CODE_SPACE
}

fn number_of(slug: Slug<'_>) -> u64 {
    code::decode_base62(slug.as_str().as_bytes()).map_or(0, |value| (value - 1) / 7_919)
}

pub(crate) struct World {
    started: Instant,
    n: Duration,
    store_reads: AtomicU64,
    /// Until when the shared cache may answer for a code, without room for anything else.
    shelf: Mutex<HashMap<u64, Instant>>,
}

impl World {
    pub(crate) fn new(n: Duration) -> Self {
        Self { started: Instant::now(), n, store_reads: AtomicU64::new(0), shelf: Mutex::default() }
    }

    pub(crate) fn store_reads(&self) -> u64 {
        self.store_reads.load(Ordering::Relaxed)
    }

    pub(crate) fn deps(self: &Arc<Self>) -> Deps {
        Deps {
            links: self.clone(),
            cache: self.clone(),
            budgets: self.clone(),
            issued: self.clone(),
            domains: self.clone(),
            clicks: self.clone(),
            takedowns: self.clone(),
            events: self.clone(),
            salts: self.clone(),
            geo: self.clone(),
            clock: self.clone(),
        }
    }
}

fn link(slug: Slug<'_>) -> Link {
    let number = number_of(slug);
    Link {
        id: LinkId::new(number + 1),
        domain: DomainNo::DEFAULT,
        code: Code::from_stored(slug.as_str(), if slug.has_generated_shape() { CodeKind::Generated } else { CodeKind::Foreign }),
        owner: Owner::from_stored("admin"),
        target: Target::from_stored(&format!("https://example.com/articles/{number:08}/some-page-of-it")),
        title: None,
        tags: Vec::new(),
        state: State::Active,
        blocked: None,
        redirect_status: None,
        caching: None,
        forward_query: false,
        starts_at: None,
        expires_at: None,
        max_clicks: None,
        created_at: NOW,
        updated_at: NOW,
        version: 1,
        change_id: number,
    }
}

impl Clock for World {
    fn now(&self) -> UnixMs {
        NOW.saturating_add(self.started.elapsed())
    }
}

#[async_trait]
impl LinkStore for World {
    async fn insert(&self, _: Vec<Link>) -> PortResult<Vec<Inserted>> {
        unreachable!("the redirect service only reads")
    }

    async fn find(&self, _: DomainNo, code: Slug<'_>) -> PortResult<Option<Link>> {
        self.store_reads.fetch_add(1, Ordering::Relaxed);
        Ok(Some(link(code)))
    }

    async fn get(&self, _: LinkId) -> PortResult<Option<Link>> {
        unreachable!("the redirect service reads by code")
    }

    async fn get_many(&self, _: &[LinkId]) -> PortResult<Vec<Link>> {
        unreachable!("the redirect service reads by code")
    }

    async fn replace(&self, _: Vec<Link>) -> PortResult<Vec<Replaced>> {
        unreachable!("the redirect service only reads")
    }

    async fn walk(&self, _: &Walk, _: Option<LinkId>, _: usize) -> PortResult<Vec<Link>> {
        unreachable!("the redirect service reads by code")
    }

    async fn tags(&self, _: &Walk) -> PortResult<Vec<(Tag, u64)>> {
        unreachable!("the redirect service reads by code")
    }

    async fn any_in_domain(&self, _: DomainNo) -> PortResult<bool> {
        unreachable!("the redirect service reads by code")
    }
}

#[async_trait]
impl LinkCache for World {
    async fn find(&self, _: DomainNo, code: Slug<'_>) -> PortResult<Option<Cached>> {
        let until = self.shelf.lock().unwrap_or_else(PoisonError::into_inner).get(&number_of(code)).copied();
        let fresh_for = until.map(|until| until.saturating_duration_since(Instant::now())).filter(|fresh_for| !fresh_for.is_zero());
        Ok(fresh_for.map(|fresh_for| Cached { what: Remembered::Link(Box::new(link(code))), fresh_for, delta: Duration::ZERO }))
    }

    async fn put(&self, link: &Link, age: Duration, _: Duration) -> PortResult<()> {
        let until = Instant::now() + self.n.saturating_sub(age);
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner).insert(link.id.get() - 1, until);
        Ok(())
    }

    async fn put_absent(&self, _: DomainNo, _: Slug<'_>, _: Duration) -> PortResult<()> {
        Ok(())
    }

    async fn rebuild(&self, _: DomainNo, _: Slug<'_>) -> PortResult<Rebuild> {
        Ok(Rebuild::Ours)
    }
}

#[async_trait]
impl ClickBudget for World {
    async fn set_max(&self, _: LinkId, _: Option<u64>) -> PortResult<()> {
        unreachable!("no link here has a budget")
    }

    async fn take(&self, _: LinkId, _: u64, _: u32) -> PortResult<u32> {
        unreachable!("no link here has a budget")
    }

    async fn get(&self, _: LinkId) -> PortResult<Option<Budget>> {
        unreachable!("no link here has a budget")
    }
}

impl IssuedBounds for World {
    fn issued(&self) -> Option<Arc<Issued>> {
        None
    }
}

#[async_trait]
impl DomainStore for World {
    fn directory(&self) -> Arc<Directory> {
        Arc::new(Directory::new([]))
    }

    fn is_fresh(&self) -> bool {
        false
    }

    fn flags_are_immediate(&self) -> bool {
        true
    }

    async fn set_default(&self, _: &Host) -> PortResult<Domain> {
        unreachable!("the redirect service only reads")
    }

    async fn insert(&self, _: Domain) -> PortResult<DomainAdded> {
        unreachable!("the redirect service only reads")
    }

    async fn update(&self, _: Domain) -> PortResult<Option<Domain>> {
        unreachable!("the redirect service only reads")
    }

    async fn set_foreign_codes(&self, _: DomainNo) -> PortResult<bool> {
        unreachable!("the redirect service only reads")
    }

    async fn remove(&self, _: DomainNo) -> PortResult<()> {
        unreachable!("the redirect service only reads")
    }
}

#[async_trait]
impl ClickLog for World {
    fn record(&self, _: &Click<'_>) -> Result<(), Dropped> {
        Ok(())
    }

    async fn flush(&self) -> PortResult<()> {
        Ok(())
    }
}

#[async_trait]
impl Takedowns for World {
    async fn put(&self, _: LinkId, _: &BlockReason) -> PortResult<()> {
        unreachable!("the redirect service only reads")
    }

    async fn remove(&self, _: LinkId) -> PortResult<()> {
        unreachable!("the redirect service only reads")
    }

    async fn all(&self) -> PortResult<Vec<(LinkId, BlockReason)>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl LinkEvents for World {
    async fn publish(&self, _: LinkChanged) -> PortResult<()> {
        unreachable!("the redirect service only listens")
    }

    fn subscribe(&self, _: Listener) {}

    /// As where several processes change links: nothing may be answered beyond N.
    fn are_certain(&self) -> bool {
        false
    }
}

#[async_trait]
impl SaltStore for World {
    async fn salt(&self, day: u32) -> PortResult<[u8; 32]> {
        Ok([u8::try_from(day % 251).unwrap_or(0); 32])
    }
}

impl Geo for World {
    fn country(&self, _: IpAddr) -> Option<Country> {
        None
    }
}
