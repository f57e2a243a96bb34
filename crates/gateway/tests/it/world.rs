//! A real server on a real port, before services that answer as a test tells them to.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chassis::lifecycle::Lifecycle;
use domain::api::{
    Answer, Ask, CodeBlock, Context, Created, Deadline, History, HistoryDay, Idempotency, Ids, JobStatus, Links, ListQuery, Page, Period,
    Purpose, Resolver, Route, Selection, Series, SeriesQuery, Share, Stats, TopLink,
};
use domain::port::{
    Allowed, Claim, ClaimKey, ClaimStore, Claimed, Clock, Decision, DomainAdded, DomainStore, Entropy, KeyStore, Limit, PortResult,
    RateLimiter,
};
use domain::{
    ApiKey, BlockReason, Caching, Dimension, Directory, Domain, DomainNo, Error, Host, KeyHash, KeyId, Link, LinkDraft, LinkId, Owner,
    PatchDraft, Reason, RedirectStatus, Result, Slug, Subject, Tag, Target, Title, UnixMs,
};
use gateway::{Gateway, Options, Server, Services};
use tokio::sync::Notify;

pub(crate) const NOW: UnixMs = UnixMs::new(1_800_000_000_000);
pub(crate) const TARGET: &str = "https://example.com/a?b=1#c";

/// What somebody asked the resolver.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) code: String,
    pub(crate) ip: IpAddr,
    pub(crate) country: Option<String>,
    pub(crate) purpose: Purpose,
}

/// Answers by code; see [`Script::scripted`].
pub(crate) struct Script {
    pub(crate) asked: Mutex<Vec<Asked>>,
    /// `slow` waits for it.
    pub(crate) release: Notify,
    /// Told when `slow` waits.
    pub(crate) waiting: Notify,
}

pub(crate) fn route(code: &str) -> Route {
    Route {
        link: LinkId::new(77),
        domain: DomainNo::DEFAULT,
        code: code.into(),
        owner: Owner::from_stored("o"),
        version: 3,
        target: Target::from_stored(TARGET),
        title: Some(Title::from_stored("A & B")),
        redirect_status: None,
        caching: None,
        forward_query: false,
        starts_at: None,
        expires_at: None,
        max_clicks: None,
        created_at: NOW,
    }
}

impl Script {
    fn scripted(ask: &Ask<'_>) -> Answer {
        let mut route = route(ask.code);
        match ask.code {
            "fwd" => route.forward_query = true,
            "permanent" => route.redirect_status = Some(RedirectStatus::Permanent308),
            "fast" => route.caching = Some(Caching::Fast),
            "ending" => {
                route.caching = Some(Caching::Fast);
                route.expires_at = Some(NOW.saturating_add(Duration::from_secs(20)));
            }
            "few" => {
                route.caching = Some(Caching::Fast);
                route.max_clicks = Some(3);
            }
            "odd" => route.target = Target::from_stored("https://example.com/\r\nX-Evil: 1\u{2028}é"),
            "known" | "later" | "slow" | "team/docs" => {}
            "gone" => return Answer::Gone,
            "blocked" => return Answer::Blocked { reason: "<phishing>".into() },
            "panics" => panic!("as scripted"),
            _ => return Answer::NotFound,
        }
        let route = Arc::new(route);
        match ask.visit.purpose {
            Purpose::Inspect => Answer::Found(route),
            Purpose::Head | Purpose::Prefetch if ask.code == "few" => Answer::Withheld(route),
            Purpose::Follow | Purpose::Head | Purpose::Prefetch => Answer::Redirect(route),
        }
    }

    fn record(&self, ask: &Ask<'_>) {
        self.asked.lock().unwrap().push(Asked {
            code: ask.code.into(),
            ip: ask.visit.ip,
            country: ask.visit.country.map(|country| country.as_str().to_owned()),
            purpose: ask.visit.purpose,
        });
    }
}

#[async_trait]
impl Resolver for Script {
    fn try_resolve(&self, ask: &Ask<'_>) -> Option<Answer> {
        self.record(ask);
        if matches!(ask.code, "later" | "slow" | "down" | "late" | "stuck" | "panics-later") { None } else { Some(Self::scripted(ask)) }
    }

    async fn resolve(&self, ask: &Ask<'_>, _: Deadline) -> Result<Answer> {
        match ask.code {
            "slow" => {
                self.waiting.notify_one();
                self.release.notified().await;
            }
            "down" => return Err(Error::new(Reason::Unavailable, "the store does not answer").with_retry_after(Duration::from_secs(7))),
            "late" => return Err(Error::new(Reason::DeadlineExceeded, "no answer within the time the caller gave")),
            "stuck" => std::future::pending().await,
            "panics-later" => panic!("as scripted"),
            _ => {}
        }
        Ok(Self::scripted(ask))
    }
}

pub(crate) struct Hosts(Mutex<Arc<Directory>>);

fn domain(no: u32, host: &str) -> Domain {
    Domain {
        no: DomainNo::new(no),
        host: Host::parse(host).unwrap(),
        redirect_status: None,
        caching: None,
        landing_url: None,
        not_found_url: None,
        foreign_codes: false,
        created_at: NOW,
    }
}

impl Hosts {
    fn new() -> Self {
        let away = Domain {
            redirect_status: Some(RedirectStatus::Moved301),
            caching: Some(Caching::Balanced),
            landing_url: Some(Target::from_stored("https://away.example/")),
            not_found_url: Some(Target::from_stored("https://away.example/404")),
            ..domain(2, "go.example")
        };
        Self(Mutex::new(Arc::new(Directory::new([domain(1, "s.example"), away]))))
    }
}

#[async_trait]
impl DomainStore for Hosts {
    fn directory(&self) -> Arc<Directory> {
        self.0.lock().unwrap().clone()
    }
    fn is_fresh(&self) -> bool {
        true
    }
    fn flags_are_immediate(&self) -> bool {
        true
    }
    async fn set_default(&self, _: &Host) -> PortResult<Domain> {
        not_part_of_these_tests()
    }
    async fn insert(&self, _: Domain) -> PortResult<DomainAdded> {
        not_part_of_these_tests()
    }
    async fn update(&self, _: Domain) -> PortResult<Option<Domain>> {
        not_part_of_these_tests()
    }
    async fn set_foreign_codes(&self, _: DomainNo) -> PortResult<bool> {
        not_part_of_these_tests()
    }
    async fn remove(&self, _: DomainNo) -> PortResult<()> {
        not_part_of_these_tests()
    }
}

/// Counts for ever: no window passes within a test.
#[derive(Default)]
pub(crate) struct Counting(Mutex<HashMap<(&'static str, u64), u32>>);

#[async_trait]
impl RateLimiter for Counting {
    async fn take(&self, limit: &Limit, subject: u64, cost: u32) -> PortResult<Decision> {
        let mut counts = self.0.lock().unwrap();
        let count = counts.entry((limit.name, subject)).or_default();
        let allowed = if *count + cost <= limit.max { Allowed::Yes } else { Allowed::No };
        if allowed == Allowed::Yes {
            *count += cost;
        }
        Ok(Decision { allowed, remaining: limit.max - *count, reset: Duration::from_secs(20) })
    }
}

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> UnixMs {
        NOW
    }
}

/// Different bytes each time, which is all that is needed here.
struct Counter(AtomicU32);

impl Entropy for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes()[0];
        }
    }
}

fn not_part_of_these_tests() -> ! {
    panic!("not part of these tests")
}

/// Services behind the API: not what is tested here, beyond that a panic in one is an answer.
struct Absent;

#[async_trait]
impl Links for Absent {
    async fn create(&self, _: &Context, _: LinkDraft, _: Option<Idempotency>) -> Result<Created> {
        not_part_of_these_tests()
    }
    async fn bulk_create(&self, _: &Context, _: Vec<LinkDraft>, _: Option<Idempotency>) -> Result<Vec<Result<Created>>> {
        not_part_of_these_tests()
    }
    async fn get(&self, _: &Context, _: LinkId) -> Result<Link> {
        not_part_of_these_tests()
    }
    async fn lookup(&self, _: &Context, _: Option<&Host>, _: Slug<'_>) -> Result<Link> {
        not_part_of_these_tests()
    }
    async fn list(&self, _: &Context, _: ListQuery) -> Result<Page> {
        not_part_of_these_tests()
    }
    async fn update(&self, _: &Context, _: LinkId, _: PatchDraft, _: Option<u32>) -> Result<Link> {
        not_part_of_these_tests()
    }
    async fn delete(&self, _: &Context, _: LinkId, _: Option<u32>) -> Result<()> {
        not_part_of_these_tests()
    }
    async fn restore(&self, _: &Context, _: LinkId) -> Result<Link> {
        not_part_of_these_tests()
    }
    async fn block(&self, _: &Context, _: LinkId, _: Option<BlockReason>) -> Result<Link> {
        not_part_of_these_tests()
    }
    async fn bulk_delete(&self, _: &Context, _: Selection) -> Result<JobStatus> {
        not_part_of_these_tests()
    }
    async fn job(&self, _: &Context, _: LinkId) -> Result<JobStatus> {
        not_part_of_these_tests()
    }
    async fn tags(&self, _: &Context) -> Result<Vec<(Tag, u64)>> {
        not_part_of_these_tests()
    }
}

#[async_trait]
impl Stats for Absent {
    async fn series(&self, _: &Subject, _: &SeriesQuery, _: Deadline) -> Result<Series> {
        not_part_of_these_tests()
    }
    async fn breakdown(&self, _: &Subject, _: Dimension, _: Option<Period>, _: usize, _: Deadline) -> Result<Vec<Share>> {
        not_part_of_these_tests()
    }
    async fn top_links(&self, _: &Subject, _: Option<Period>, _: usize, _: Deadline) -> Result<Vec<TopLink>> {
        not_part_of_these_tests()
    }
}

#[async_trait]
impl History for Absent {
    async fn import(&self, _: LinkId, _: &Owner, _: &[HistoryDay], _: Deadline) -> Result<()> {
        not_part_of_these_tests()
    }
}

#[async_trait]
impl Ids for Absent {
    async fn next_ids(&self, _: u32, _: Deadline) -> Result<Vec<LinkId>> {
        not_part_of_these_tests()
    }
    async fn lease_codes(&self, _: u32, _: Deadline) -> Result<CodeBlock> {
        not_part_of_these_tests()
    }
}

#[async_trait]
impl ClaimStore for Absent {
    async fn get(&self, _: &ClaimKey) -> PortResult<Option<Claim>> {
        not_part_of_these_tests()
    }
    async fn claim(&self, _: Claim) -> PortResult<Claimed> {
        not_part_of_these_tests()
    }
    async fn replace(&self, _: &Claim, _: Claim) -> PortResult<Claimed> {
        not_part_of_these_tests()
    }
    async fn sweep(&self, _: UnixMs, _: usize) -> PortResult<usize> {
        not_part_of_these_tests()
    }
}

#[async_trait]
impl KeyStore for Absent {
    async fn insert(&self, _: ApiKey) -> PortResult<()> {
        not_part_of_these_tests()
    }
    async fn find(&self, _: &KeyHash) -> PortResult<Option<ApiKey>> {
        not_part_of_these_tests()
    }
    async fn get(&self, _: KeyId) -> PortResult<Option<ApiKey>> {
        not_part_of_these_tests()
    }
    async fn list(&self, _: Option<&Owner>) -> PortResult<Vec<ApiKey>> {
        not_part_of_these_tests()
    }
    async fn revoke(&self, _: KeyId, _: UnixMs) -> PortResult<bool> {
        not_part_of_these_tests()
    }
    async fn any(&self) -> PortResult<bool> {
        not_part_of_these_tests()
    }
}

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) life: Lifecycle,
    pub(crate) script: Arc<Script>,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(choose: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::default();
        choose(&mut options);
        let life = Lifecycle::new(Duration::from_secs(30));
        Self::listen(([127, 0, 0, 1], 0).into(), options, &life).unwrap()
    }

    pub(crate) fn listen(address: SocketAddr, options: Options, life: &Lifecycle) -> std::io::Result<Self> {
        let script = Arc::new(Script { asked: Mutex::default(), release: Notify::new(), waiting: Notify::new() });
        let absent = Arc::new(Absent);
        let services = Services {
            links: absent.clone(),
            resolver: script.clone(),
            stats: absent.clone(),
            history: absent.clone(),
            ids: absent.clone(),
            claims: absent.clone(),
            keys: absent,
            domains: Arc::new(Hosts::new()),
            limiter: Arc::new(Counting::default()),
            clock: Arc::new(Fixed),
            entropy: Arc::new(Counter(AtomicU32::new(0))),
        };
        let address = Server::bind(Gateway::new(services, options), address, life)?;
        Ok(Self { address, life: life.clone(), script })
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().unwrap().clone()
    }
}
