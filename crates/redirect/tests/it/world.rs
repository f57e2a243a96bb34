//! Every port in memory, each with the switches that break it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use chassis::Lifecycle;
use domain::api::{Answer, Ask, Deadline, Purpose, Resolver, Visit, contract};
use domain::code::Issued;
use domain::port::{
    Budget, ClickBudget, ClickLog, Clock, DomainAdded, DomainStore, Dropped, Geo, Inserted, IssuedBounds, LinkChanged, LinkEvents,
    LinkNews, LinkStore, Listener, Outcome, PortError, PortErrorKind, PortResult, Replaced, SaltStore, Takedowns, Walk,
};
use domain::{
    BlockReason, Click, Code, CodeKind, Country, Directory, Domain, DomainNo, Host, Link, LinkId, LoggedClick, Owner, Result, Slug, State,
    Tag, Target, UnixMs,
};
use redirect::{Deps, Options, Service};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::shelf::Shelf;

pub(crate) const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";

/// How a port answers.
#[derive(Default)]
pub(crate) struct Switch {
    failing: AtomicBool,
    hanging: AtomicBool,
}

impl Switch {
    pub(crate) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    pub(crate) fn hang(&self, hanging: bool) {
        self.hanging.store(hanging, Ordering::SeqCst);
    }

    pub(crate) async fn pass(&self) -> PortResult<()> {
        if self.hanging.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.failing.load(Ordering::SeqCst) {
            return Err(PortError::new(PortErrorKind::Unavailable, "test", Outcome::Unknown));
        }
        Ok(())
    }
}

pub(crate) struct World {
    service: OnceLock<Arc<Service>>,
    pub(crate) lifecycle: Lifecycle,
    started: (Instant, i64),
    pub(crate) skew_ms: AtomicI64,
    links: Mutex<HashMap<String, Link>>,
    pub(crate) store: Switch,
    pub(crate) reads: AtomicU64,
    /// With no permit, reads wait after they have looked.
    pub(crate) gate: Semaphore,
    pub(crate) looked: Notify,
    budgets: Mutex<HashMap<LinkId, Budget>>,
    pub(crate) budget: Switch,
    pub(crate) takes: AtomicU64,
    pub(crate) issued: Mutex<Option<Arc<Issued>>>,
    pub(crate) directory: Mutex<Arc<Directory>>,
    pub(crate) directory_is_fresh: AtomicBool,
    pub(crate) clicks: Mutex<Vec<LoggedClick>>,
    pub(crate) log_is_full: AtomicBool,
    taken_down: Mutex<Vec<(LinkId, BlockReason)>>,
    pub(crate) takedowns: Switch,
    listeners: Mutex<Vec<Listener>>,
    pub(crate) events_are_lost: AtomicBool,
    events_are_certain: bool,
    pub(crate) l2: Arc<Shelf>,
}

pub(crate) fn domain(foreign_codes: bool) -> Domain {
    Domain {
        no: DomainNo::DEFAULT,
        host: Host::from_stored("localhost"),
        redirect_status: None,
        caching: None,
        landing_url: None,
        not_found_url: None,
        foreign_codes,
        created_at: UnixMs::new(0),
    }
}

pub(crate) fn link(number: u64, code: &str) -> Link {
    let at = UnixMs::new(1_800_000_000_000);
    Link {
        id: LinkId::new(number),
        domain: DomainNo::DEFAULT,
        code: Code::from_stored(code, if domain::code::has_generated_shape(code) { CodeKind::Generated } else { CodeKind::Alias }),
        owner: Owner::from_stored("ann"),
        target: Target::from_stored(&format!("https://example.com/{number}")),
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
        created_at: at,
        updated_at: at,
        version: 1,
        change_id: number,
    }
}

pub(crate) fn ask(code: &str) -> Ask<'_> {
    let visit = Visit {
        ip: IpAddr::from([192, 0, 2, 1]),
        user_agent: BROWSER,
        referrer: "https://www.example.org/page",
        language: "de-CH,de;q=0.9",
        country: None,
        query: "a=b&utm_source=letter",
        purpose: Purpose::Follow,
    };
    Ask { domain: DomainNo::DEFAULT, code, visit }
}

pub(crate) fn leads_to(answer: &Result<Answer>, target: &str) -> bool {
    matches!(answer, Ok(Answer::Redirect(route)) if route.target.as_str() == target)
}

impl World {
    pub(crate) async fn new() -> Arc<Self> {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Arc<Self> {
        Self::made(options, false).await
    }

    /// One process: nobody changes a link unheard.
    pub(crate) async fn alone(options: Options) -> Arc<Self> {
        Self::made(options, true).await
    }

    async fn made(options: Options, events_are_certain: bool) -> Arc<Self> {
        let world = Arc::new(Self {
            service: OnceLock::new(),
            lifecycle: Lifecycle::new(Duration::from_secs(5)),
            started: (Instant::now(), 1_800_000_000_000),
            skew_ms: AtomicI64::new(0),
            links: Mutex::default(),
            store: Switch::default(),
            reads: AtomicU64::new(0),
            gate: Semaphore::new(1_000_000),
            looked: Notify::new(),
            budgets: Mutex::default(),
            budget: Switch::default(),
            takes: AtomicU64::new(0),
            issued: Mutex::default(),
            directory: Mutex::new(Arc::new(Directory::new([domain(false)]))),
            directory_is_fresh: AtomicBool::new(true),
            clicks: Mutex::default(),
            log_is_full: AtomicBool::new(false),
            taken_down: Mutex::default(),
            takedowns: Switch::default(),
            listeners: Mutex::default(),
            events_are_lost: AtomicBool::new(false),
            events_are_certain,
            l2: Arc::default(),
        });
        let service = Service::new(options, world.deps(), &world.lifecycle).await.unwrap();
        assert!(world.service.set(service).is_ok());
        world
    }

    pub(crate) fn deps(self: &Arc<Self>) -> Deps {
        Deps {
            links: self.clone(),
            cache: self.l2.clone(),
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

    pub(crate) fn service(&self) -> &Arc<Service> {
        self.service.get().unwrap()
    }

    /// As the gateway asks: from memory first, then with 250 ms.
    pub(crate) async fn answer(&self, ask: &Ask<'_>) -> Result<Answer> {
        if let Some(answer) = self.service().try_resolve(ask) {
            return Ok(answer);
        }
        self.service().resolve(ask, Deadline::after(Instant::now().into_std(), Duration::from_millis(250))).await
    }

    pub(crate) async fn follow(&self, code: &str) -> Result<Answer> {
        self.answer(&ask(code)).await
    }

    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// Into the store, without news.
    pub(crate) fn write(&self, link: &Link) {
        self.links.lock().unwrap().insert(link.code.key().to_string(), link.clone());
    }

    pub(crate) fn publish_change(&self, link: &Link) {
        if self.events_are_lost.load(Ordering::SeqCst) {
            return;
        }
        let blocked = link.blocked.is_some();
        let news = LinkChanged { link: link.id, domain: link.domain, key: link.code.key(), version: link.version, blocked };
        self.tell(&LinkNews::Changed(news));
    }

    pub(crate) fn tell(&self, news: &LinkNews) {
        for listener in &*self.listeners.lock().unwrap() {
            listener(news);
        }
    }

    /// The next version of a stored link, with news unless they are lost.
    pub(crate) fn change(&self, code: &str, change: impl FnOnce(&mut Link)) -> Link {
        let mut link = self.links.lock().unwrap().get(code).unwrap().clone();
        link.version += 1;
        change(&mut link);
        self.write(&link);
        self.publish_change(&link);
        link
    }

    pub(crate) fn take_down(&self, link: LinkId, reason: &str) {
        self.taken_down.lock().unwrap().push((link, BlockReason::from_stored(reason)));
    }
}

#[async_trait]
impl contract::resolver::World for World {
    fn resolver(&self) -> Arc<dyn Resolver> {
        self.service().clone()
    }

    fn now(&self) -> UnixMs {
        Clock::now(self)
    }

    async fn store(&self, link: Link) {
        // A budget binds before the link says so, and a takedown is listed before it is told.
        if let Some(max) = link.max_clicks {
            self.set_max(link.id, Some(max)).await.unwrap();
        }
        self.write(&link);
        self.publish_change(&link);
    }

    async fn clicks(&self) -> Vec<LoggedClick> {
        self.clicks.lock().unwrap().clone()
    }
}

impl Clock for World {
    fn now(&self) -> UnixMs {
        let (at, ms) = self.started;
        UnixMs::new(ms + self.skew_ms.load(Ordering::SeqCst)).saturating_add(at.elapsed())
    }
}

#[async_trait]
impl LinkStore for World {
    async fn insert(&self, _: Vec<Link>) -> PortResult<Vec<Inserted>> {
        unreachable!("the redirect service only reads")
    }

    async fn find(&self, domain: DomainNo, code: Slug<'_>) -> PortResult<Option<Link>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let found = {
            let links = self.links.lock().unwrap();
            let as_typed =
                links.get(code.as_str()).filter(|link| link.code.kind() != CodeKind::Alias || *link.code.key() == *code.as_str());
            let alias = || links.get(&code.as_str().to_ascii_lowercase()).filter(|link| link.code.kind() == CodeKind::Alias);
            as_typed.or_else(alias).filter(|link| link.domain == domain).cloned()
        };
        self.looked.notify_one();
        let _permit = self.gate.acquire().await.unwrap();
        self.store.pass().await?;
        Ok(found)
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
impl ClickBudget for World {
    async fn set_max(&self, link: LinkId, max: Option<u64>) -> PortResult<()> {
        let mut budgets = self.budgets.lock().unwrap();
        let used = budgets.get(&link).map_or(0, |budget| budget.used);
        budgets.insert(link, Budget { max: max.unwrap_or(u64::MAX), used });
        Ok(())
    }

    async fn take(&self, link: LinkId, max: u64, count: u32) -> PortResult<u32> {
        self.takes.fetch_add(1, Ordering::SeqCst);
        // Applied before it fails: that is what an unknown outcome means.
        let granted = {
            let mut budgets = self.budgets.lock().unwrap();
            let budget = budgets.entry(link).or_insert(Budget { max, used: 0 });
            let granted = u64::from(count).min(budget.max.saturating_sub(budget.used));
            budget.used += granted;
            u32::try_from(granted).unwrap()
        };
        tokio::task::yield_now().await;
        self.budget.pass().await?;
        Ok(granted)
    }

    async fn get(&self, link: LinkId) -> PortResult<Option<Budget>> {
        self.budget.pass().await?;
        Ok(self.budgets.lock().unwrap().get(&link).copied())
    }
}

impl IssuedBounds for World {
    fn issued(&self) -> Option<Arc<Issued>> {
        self.issued.lock().unwrap().clone()
    }
}

#[async_trait]
impl DomainStore for World {
    fn directory(&self) -> Arc<Directory> {
        self.directory.lock().unwrap().clone()
    }

    fn is_fresh(&self) -> bool {
        self.directory_is_fresh.load(Ordering::SeqCst)
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
    fn record(&self, click: &Click<'_>) -> Result<(), Dropped> {
        if self.log_is_full.load(Ordering::SeqCst) {
            return Err(Dropped::DiskFull);
        }
        self.clicks.lock().unwrap().push(LoggedClick {
            link: click.link,
            domain: Some(click.domain),
            code: click.code.into(),
            owner: Owner::from_stored(click.owner),
            at: click.at,
            visitor: click.visitor,
            country: click.country,
            language: click.language,
            referrer: click.referrer.into(),
            browser: click.browser,
            system: click.system,
            device: click.device,
            bot: click.bot.into(),
            utm_source: click.utm_source.into(),
            utm_medium: click.utm_medium.into(),
            utm_campaign: click.utm_campaign.into(),
        });
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
        self.takedowns.pass().await?;
        Ok(self.taken_down.lock().unwrap().clone())
    }
}

#[async_trait]
impl LinkEvents for World {
    async fn publish(&self, _: LinkChanged) -> PortResult<()> {
        unreachable!("the redirect service only listens")
    }

    fn subscribe(&self, listener: Listener) {
        self.listeners.lock().unwrap().push(listener);
    }

    fn are_certain(&self) -> bool {
        self.events_are_certain
    }
}

#[async_trait]
impl SaltStore for World {
    async fn salt(&self, day: u32) -> PortResult<[u8; 32]> {
        Ok([u8::try_from(day % 251).unwrap(); 32])
    }
}

impl Geo for World {
    fn country(&self, _: IpAddr) -> Option<Country> {
        Country::parse("CH")
    }
}
