//! The service and what it is made of; each family of calls has its own file.

use std::sync::Arc;

use async_trait::async_trait;
use chassis::Lifecycle;
use domain::api::{Context, Created, Idempotency, Ids, JobStatus, Links, ListQuery, Page, Selection};
use domain::port::{ClaimStore, ClickBudget, Clock, DomainStore, Entropy, JobStore, LinkCache, LinkEvents, LinkStore, Takedowns};
use domain::target::{PrivateAddresses, TargetPolicy};
use domain::{
    BlockReason, Domain, DomainNo, Error, FieldError, Host, Link, LinkDraft, LinkId, PatchDraft, Reason, Result, Slug, Strategy, Tag,
    limits,
};

use crate::blocklist::Blocklist;
use crate::caches::Caches;
use crate::codes::{CodeMaker, CodePool};
use crate::jobs::JobQueue;

/// Links changed at the same time without sharing a lock, but by chance.
const TURNS: usize = 256;

#[derive(Clone, Debug)]
pub struct Options {
    /// For links that do not name one.
    pub strategy: Strategy,
    /// Characters of `hash` and `random` codes that do not say.
    pub code_length: u8,
    /// Counters of one leased block.
    pub block_len: u32,
    pub private_addresses: PrivateAddresses,
    pub blocklist: Blocklist,
    /// Keys the `snowflake` and `hash` strategies: the store's first permutation key.
    pub key: [u8; 16],
}

impl Options {
    pub fn new(key: [u8; 16]) -> Self {
        Self {
            strategy: Strategy::default(),
            code_length: limits::CODE_LENGTH_DEFAULT,
            block_len: 16_384,
            private_addresses: PrivateAddresses::default(),
            blocklist: Blocklist::default(),
            key,
        }
    }
}

/// What the service needs.
#[derive(Clone)]
pub struct Deps {
    pub ids: Arc<dyn Ids>,
    pub links: Arc<dyn LinkStore>,
    pub claims: Arc<dyn ClaimStore>,
    pub budgets: Arc<dyn ClickBudget>,
    pub domains: Arc<dyn DomainStore>,
    pub jobs: Arc<dyn JobStore>,
    pub takedowns: Arc<dyn Takedowns>,
    /// Told of every row before the news of it goes out.
    pub cache: Arc<dyn LinkCache>,
    pub events: Arc<dyn LinkEvents>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

pub struct Service {
    pub(crate) options: Options,
    pub(crate) deps: Deps,
    pub(crate) caches: Arc<Caches>,
    pub(crate) life: Lifecycle,
    pub(crate) pool: Arc<CodePool>,
    pub(crate) maker: CodeMaker,
    pub(crate) queue: JobQueue,
    pub(crate) claim_turns: crate::claims::Turns,
    /// Changes of one link in this process wait for each other rather than make each other start again.
    pub(crate) turns: Vec<tokio::sync::Mutex<()>>,
}

impl Service {
    /// Also takes up the jobs that an earlier process left unfinished.
    pub fn start(options: Options, deps: Deps, life: &Lifecycle) -> Arc<Self> {
        let (queue, worker) = JobQueue::new();
        let service = Arc::new(Self {
            pool: Arc::new(CodePool::new(deps.ids.clone(), options.block_len, life.clone())),
            caches: Arc::new(Caches::new(deps.cache.clone(), deps.events.clone())),
            life: life.clone(),
            maker: CodeMaker::new(options.key, deps.entropy.clone()),
            options,
            deps,
            queue,
            claim_turns: crate::claims::Turns::new(),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect(),
        });
        worker.start(service.clone(), life);
        crate::claims::sweep(service.clone(), life);
        service
    }

    /// Runs `check` with what targets may be here.
    pub(crate) fn with_policy<T>(&self, check: impl FnOnce(&TargetPolicy<'_>) -> Result<T, Vec<FieldError>>) -> Result<T> {
        let directory = self.deps.domains.directory();
        let is_own_host = |host: &str| directory.serves(host);
        let policy = TargetPolicy { is_own_host: &is_own_host, private_addresses: self.options.private_addresses };
        check(&policy).map_err(Error::fields)
    }

    pub(crate) fn check_blocklist(&self, target: &domain::Target) -> Result<()> {
        if self.options.blocklist.blocks(target.as_str()) {
            return Err(Error::field("/target", Reason::TargetNotAllowed, "this host is on the blocklist of this server"));
        }
        Ok(())
    }

    /// The domain a request means; the default one when it names none.
    pub(crate) fn domain(&self, host: Option<&Host>) -> Result<Arc<Domain>> {
        let directory = self.deps.domains.directory();
        let found = match host {
            None => directory.default_domain(),
            Some(host) => directory.find(host),
        };
        found.cloned().ok_or_else(|| {
            let host = host.map_or("the default domain", Host::as_str);
            Error::field("/domain", Reason::InvalidField, format!("`{host}` is not a domain of this server"))
        })
    }

    /// The link, if the caller may see it; deleted ones too.
    pub(crate) async fn visible(&self, context: &Context, id: LinkId) -> Result<Link> {
        let link = self.deps.links.get(id).await?;
        link.filter(|link| context.caller.may_see(&link.owner)).ok_or_else(|| Error::not_found("link"))
    }
}

#[async_trait]
impl Links for Service {
    async fn create(&self, context: &Context, draft: LinkDraft, once: Option<Idempotency>) -> Result<Created> {
        let mut created = self.create_many(context, vec![draft], once).await?;
        created.pop().unwrap_or_else(|| Err(Error::new(Reason::Internal, "a create without an outcome")))
    }

    async fn bulk_create(&self, context: &Context, drafts: Vec<LinkDraft>, once: Option<Idempotency>) -> Result<Vec<Result<Created>>> {
        if drafts.is_empty() || drafts.len() > limits::BULK_LEN_MAX {
            let detail = format!("a bulk has 1 to {} links", limits::BULK_LEN_MAX);
            return Err(Error::field("/links", Reason::InvalidField, detail));
        }
        self.create_many(context, drafts, once).await
    }

    async fn get(&self, context: &Context, id: LinkId) -> Result<Link> {
        self.visible(context, id).await
    }

    async fn lookup(&self, context: &Context, domain: Option<&Host>, code: Slug<'_>) -> Result<Link> {
        if domain.is_some() && self.domain(domain).is_err() {
            self.deps.domains.refresh().await?;
        }
        let Ok(domain) = self.domain(domain) else { return Err(Error::not_found("link")) };
        let link = self.deps.links.find(domain.no, code).await?;
        link.filter(|link| context.caller.may_see(&link.owner)).ok_or_else(|| Error::not_found("link"))
    }

    async fn list(&self, context: &Context, query: ListQuery) -> Result<Page> {
        self.page(context, query).await
    }

    async fn update(&self, context: &Context, id: LinkId, patch: PatchDraft, if_version: Option<u32>) -> Result<Link> {
        self.patch(context, id, patch, if_version).await
    }

    async fn delete(&self, context: &Context, id: LinkId, if_version: Option<u32>) -> Result<()> {
        self.mark_deleted(context, id, if_version).await
    }

    async fn restore(&self, context: &Context, id: LinkId) -> Result<Link> {
        self.mark_restored(context, id).await
    }

    async fn block(&self, context: &Context, id: LinkId, reason: Option<BlockReason>) -> Result<Link> {
        self.set_blocked(context, id, reason).await
    }

    async fn bulk_delete(&self, context: &Context, selection: Selection) -> Result<JobStatus> {
        self.start_job(context, selection).await
    }

    async fn job(&self, context: &Context, id: LinkId) -> Result<JobStatus> {
        self.job_status(context, id).await
    }

    async fn tags(&self, context: &Context) -> Result<Vec<(Tag, u64)>> {
        Ok(self.deps.links.tags(&Self::whose(context)).await?)
    }

    async fn any_in_domain(&self, _context: &Context, domain: DomainNo) -> Result<bool> {
        Ok(self.deps.links.any_in_domain(domain).await?)
    }
}
