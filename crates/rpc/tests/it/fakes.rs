//! Services that do as they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use domain::api::{Answer, Ask, CodeBlock, Deadline, Ids, Purpose, Resolver, Route, Visit};
use domain::{DomainNo, LinkId, Owner, Result, Target, UnixMs};
use tokio::sync::Semaphore;

/// Ids that count up; each call waits for a permit of `gate`.
pub(crate) struct CountedIds {
    pub(crate) gate: Semaphore,
    pub(crate) calls: AtomicUsize,
    /// What the service was given, in milliseconds.
    pub(crate) left_ms: AtomicUsize,
}

impl CountedIds {
    pub(crate) fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self { gate: Semaphore::new(permits), calls: AtomicUsize::new(0), left_ms: AtomicUsize::new(0) })
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Ids for CountedIds {
    async fn next_ids(&self, count: u32, deadline: Deadline) -> Result<Vec<LinkId>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let left = deadline.remaining(Instant::now()).as_millis();
        self.left_ms.store(usize::try_from(left).unwrap(), Ordering::SeqCst);
        let _permit = self.gate.acquire().await.unwrap();
        Ok((1..=u64::from(count)).map(LinkId::new).collect())
    }

    async fn lease_codes(&self, count: u32, _: Deadline) -> Result<CodeBlock> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Ok(CodeBlock { epoch: 0, key: [1; 16], start: 0, end: u64::from(count) })
    }
}

/// Codes that begin with `hot` are in memory; those that begin with `slow` wait for a permit of `gate`.
pub(crate) struct Codes {
    pub(crate) gate: Semaphore,
    pub(crate) tried: AtomicUsize,
    pub(crate) begun: AtomicUsize,
    pub(crate) resolved: AtomicUsize,
    route: Arc<Route>,
}

impl Codes {
    pub(crate) fn new(permits: usize) -> Arc<Self> {
        let zero = || AtomicUsize::new(0);
        Arc::new(Self { gate: Semaphore::new(permits), tried: zero(), begun: zero(), resolved: zero(), route: Arc::new(route()) })
    }
}

pub(crate) fn route() -> Route {
    Route {
        link: LinkId::new(7),
        domain: DomainNo::DEFAULT,
        code: "hot".into(),
        owner: Owner::parse("ann").unwrap(),
        version: 3,
        target: Target::from_stored("https://example.com/a"),
        title: None,
        redirect_status: None,
        caching: None,
        forward_query: true,
        starts_at: None,
        expires_at: Some(UnixMs::new(5)),
        max_clicks: None,
        created_at: UnixMs::new(4),
    }
}

#[async_trait]
impl Resolver for Codes {
    fn try_resolve(&self, ask: &Ask<'_>) -> Option<Answer> {
        self.tried.fetch_add(1, Ordering::SeqCst);
        ask.code.starts_with("hot").then(|| Answer::Redirect(self.route.clone()))
    }

    fn begin(&self, _: &Ask<'_>) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    async fn resolve(&self, ask: &Ask<'_>, _: Deadline) -> Result<Answer> {
        self.resolved.fetch_add(1, Ordering::SeqCst);
        if ask.code.starts_with("slow") {
            let _permit = self.gate.acquire().await.unwrap();
        }
        Ok(Answer::Redirect(self.route.clone()))
    }
}

pub(crate) fn ask(code: &str) -> Ask<'_> {
    let visit = Visit {
        ip: [192, 0, 2, 1].into(),
        user_agent: "curl/8",
        referrer: "",
        language: "",
        country: None,
        query: "",
        purpose: Purpose::Follow,
    };
    Ask { domain: DomainNo::DEFAULT, code, visit }
}
