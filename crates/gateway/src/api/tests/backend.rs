//! Services in memory, good enough to tell every status apart.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::api::{
    Answer, Ask, Bucket, CodeBlock, Context, Created, Deadline, History, HistoryDay, Idempotency, Ids, JobState, JobStatus, Links,
    ListQuery, Page, Period, Resolver, Selection, Series, SeriesQuery, Share, Stats, TopLink,
};
use domain::port::{
    Allowed, Claim, ClaimKey, ClaimStore, Claimed, Clock, Decision, DomainAdded, DomainStore, Entropy, KeyStore, Limit, Outcome, PortError,
    PortErrorKind, PortResult, RateLimiter,
};
use domain::target::{PrivateAddresses, TargetPolicy};
use domain::*;

pub(super) const NOW: i64 = 1_795_464_000_000;

/// Owner and key to digest and link.
type Claims = HashMap<(String, String), ([u8; 32], LinkId)>;

/// Everything behind the gateway.
pub(super) struct Backend {
    pub(super) links: Mutex<Vec<Link>>,
    once: Mutex<Claims>,
    claims: Mutex<HashMap<ClaimKey, Claim>>,
    pub(super) keys: Mutex<Vec<ApiKey>>,
    domains: Mutex<Vec<Domain>>,
    pub(super) history: Mutex<Vec<(LinkId, Owner, HistoryDay)>>,
    counts: Mutex<HashMap<(&'static str, u64), u32>>,
    next: AtomicU64,
    now: AtomicI64,
    /// Calls of the links service never end.
    pub(super) stalled: AtomicBool,
    /// No store answers.
    pub(super) down: AtomicBool,
    /// No ids are given out.
    pub(super) no_ids: AtomicBool,
    pub(super) jobs_begun: AtomicU64,
    /// How often a key was looked up.
    pub(super) lookups: AtomicU64,
}

impl Backend {
    pub(super) fn new() -> Arc<Self> {
        let default = domain(1, "localhost:8080");
        Arc::new(Self {
            links: Mutex::default(),
            once: Mutex::default(),
            claims: Mutex::default(),
            keys: Mutex::default(),
            domains: Mutex::new(vec![default, domain(2, "go.example")]),
            history: Mutex::default(),
            counts: Mutex::default(),
            next: AtomicU64::new(100),
            now: AtomicI64::new(NOW),
            stalled: AtomicBool::new(false),
            down: AtomicBool::new(false),
            no_ids: AtomicBool::new(false),
            jobs_begun: AtomicU64::new(0),
            lookups: AtomicU64::new(0),
        })
    }

    pub(super) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn up(&self) -> PortResult<()> {
        let error = || PortError::new(PortErrorKind::Unavailable, "memory", Outcome::NotApplied).with_source("secret cause");
        if self.down.load(Ordering::Relaxed) { Err(error()) } else { Ok(()) }
    }

    async fn not_stalled(&self) -> Result<()> {
        if self.stalled.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(self.up()?)
    }

    pub(super) fn advance(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
    }

    fn change(&self, context: &Context, id: LinkId, change: impl FnOnce(&mut Link) -> Result<()>) -> Result<Link> {
        let mut links = self.links.lock().unwrap();
        let link = links.iter_mut().find(|link| link.id == id && context.caller.may_see(&link.owner));
        let link = link.ok_or_else(|| Error::not_found("link"))?;
        change(link)?;
        link.version += 1;
        Ok(link.clone())
    }

    fn build(&self, context: &Context, spec: LinkSpec) -> Result<Link> {
        let id = self.next();
        let no = match &spec.domain {
            Some(host) => self
                .directory()
                .find(host)
                .map(|domain| domain.no)
                .ok_or_else(|| Error::field("/domain", Reason::InvalidField, "no such domain"))?,
            None => DomainNo::DEFAULT,
        };
        let code = match spec.naming {
            Naming::Given(code) => code,
            Naming::Generated { .. } => Code::from_stored(&format!("Aa{id:05}"), CodeKind::Generated),
        };
        Ok(Link {
            id: LinkId::new(id),
            domain: no,
            code,
            owner: context.caller.owner.clone(),
            target: spec.target,
            title: spec.title,
            tags: spec.tags,
            state: State::Active,
            blocked: None,
            redirect_status: spec.redirect_status,
            caching: spec.caching,
            forward_query: spec.forward_query,
            starts_at: spec.starts_at,
            expires_at: spec.expires_at,
            max_clicks: spec.max_clicks,
            created_at: self.now(),
            updated_at: self.now(),
            version: 1,
            change_id: id,
        })
    }
}

fn domain(no: u32, host: &str) -> Domain {
    Domain {
        no: DomainNo::new(no),
        host: Host::from_stored(host),
        redirect_status: None,
        caching: None,
        landing_url: None,
        not_found_url: None,
        foreign_codes: false,
        created_at: UnixMs::new(NOW),
    }
}

const ANY: TargetPolicy<'static> = TargetPolicy { is_own_host: &|_| false, private_addresses: PrivateAddresses::Allowed };

#[async_trait]
impl Links for Backend {
    async fn create(&self, context: &Context, draft: LinkDraft, once: Option<Idempotency>) -> Result<Created> {
        self.not_stalled().await?;
        let spec = draft.check(&ANY).map_err(Error::fields)?;
        let claim = once.map(|once| ((context.caller.owner.to_string(), once.key), once.digest));
        if let Some((key, digest)) = &claim
            && let Some((stored, id)) = self.once.lock().unwrap().get(key)
        {
            if stored != digest {
                return Err(Error::new(Reason::IdempotencyMismatch, "another request"));
            }
            let links = self.links.lock().unwrap();
            return Ok(Created::Found(links.iter().find(|link| link.id == *id).unwrap().clone()));
        }
        if spec.find_or_create
            && let Some(link) = self.links.lock().unwrap().iter().find(|link| link.target == spec.target)
        {
            return Ok(Created::Found(link.clone()));
        }
        let link = self.build(context, spec)?;
        let mut links = self.links.lock().unwrap();
        if links.iter().any(|other| other.domain == link.domain && other.code.key() == link.code.key()) {
            return Err(Error::field("/alias", Reason::AliasTaken, "taken"));
        }
        if let Some((key, digest)) = claim {
            self.once.lock().unwrap().insert(key, (digest, link.id));
        }
        links.push(link.clone());
        Ok(Created::New(link))
    }

    async fn bulk_create(&self, context: &Context, drafts: Vec<LinkDraft>, _: Option<Idempotency>) -> Result<Vec<Result<Created>>> {
        let mut results = Vec::new();
        for draft in drafts {
            results.push(self.create(context, draft, None).await);
        }
        Ok(results)
    }

    async fn get(&self, context: &Context, id: LinkId) -> Result<Link> {
        self.not_stalled().await?;
        let links = self.links.lock().unwrap();
        let link = links.iter().find(|link| link.id == id && context.caller.may_see(&link.owner));
        link.cloned().ok_or_else(|| Error::not_found("link"))
    }

    async fn lookup(&self, context: &Context, host: Option<&Host>, code: Slug<'_>) -> Result<Link> {
        let directory = self.directory();
        let no = host.map_or(Some(DomainNo::DEFAULT), |host| directory.find(host).map(|domain| domain.no));
        let links = self.links.lock().unwrap();
        let link =
            links.iter().find(|link| Some(link.domain) == no && link.code.as_str() == code.as_str() && context.caller.may_see(&link.owner));
        link.cloned().ok_or_else(|| Error::not_found("link"))
    }

    async fn list(&self, context: &Context, query: ListQuery) -> Result<Page> {
        self.up()?;
        let links = self.links.lock().unwrap();
        let matches = |link: &&Link| {
            context.caller.may_see(&link.owner)
                && query.after.is_none_or(|after| link.id < after)
                && query.tag.as_ref().is_none_or(|tag| link.tags.contains(tag))
                && query.state.map_or(link.state != State::Deleted, |state| link.shown_state() == state)
                && query.text.as_ref().is_none_or(|text| link.target.as_str().contains(text.as_str()))
        };
        let mut found: Vec<Link> = links.iter().rev().filter(matches).take(query.limit + 1).cloned().collect();
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let next = found.last().filter(|_| more).map(|link| link.id);
        Ok(Page { links: found, next })
    }

    async fn update(&self, context: &Context, id: LinkId, patch: PatchDraft, if_version: Option<u32>) -> Result<Link> {
        let patch = patch.check(&ANY).map_err(Error::fields)?;
        self.change(context, id, |link| {
            if link.state == State::Deleted {
                return Err(Error::new(Reason::Gone, "deleted"));
            }
            if if_version.is_some_and(|version| version != link.version) {
                return Err(Error::new(Reason::VersionMismatch, "changed"));
            }
            link.title = patch.title.apply(link.title.take());
            link.max_clicks = patch.max_clicks.apply(link.max_clicks);
            link.state = patch.state.apply(Some(link.state)).unwrap_or_default();
            Ok(())
        })
    }

    async fn delete(&self, context: &Context, id: LinkId, if_version: Option<u32>) -> Result<()> {
        let change = |link: &mut Link| {
            if if_version.is_some_and(|version| version != link.version) {
                return Err(Error::new(Reason::VersionMismatch, "changed"));
            }
            link.state = State::Deleted;
            Ok(())
        };
        self.change(context, id, change).map(drop)
    }

    async fn restore(&self, context: &Context, id: LinkId) -> Result<Link> {
        self.change(context, id, |link| {
            link.state = State::Active;
            Ok(())
        })
    }

    async fn block(&self, context: &Context, id: LinkId, reason: Option<BlockReason>) -> Result<Link> {
        self.change(context, id, |link| {
            link.blocked = reason;
            Ok(())
        })
    }

    async fn bulk_delete(&self, context: &Context, selection: Selection) -> Result<JobStatus> {
        let total = if let Selection::Ids(ids) = &selection { ids.len() as u64 } else { 0 };
        let _ = context;
        self.jobs_begun.fetch_add(1, Ordering::Relaxed);
        Ok(job(LinkId::new(9), total))
    }

    async fn job(&self, context: &Context, id: LinkId) -> Result<JobStatus> {
        // Job 9 is the owner's whose name is `one`.
        let theirs = id == LinkId::new(9) && context.caller.may_see(&Owner::from_stored("one"));
        if theirs { Ok(job(id, 1)) } else { Err(Error::not_found("job")) }
    }

    async fn tags(&self, _: &Context) -> Result<Vec<(Tag, u64)>> {
        Ok(vec![(Tag::from_stored("a"), 2)])
    }
}

fn job(id: LinkId, total: u64) -> JobStatus {
    let at = UnixMs::new(NOW);
    JobStatus { id, kind: "bulk_delete", state: JobState::Running, done: 0, total, errors: 0, created_at: at, updated_at: at }
}

#[async_trait]
impl Stats for Backend {
    async fn series(&self, _: &Subject, query: &SeriesQuery, _: Deadline) -> Result<Series> {
        let now = UnixMs::new(NOW);
        let period = query.period.unwrap_or_else(|| Period { from: now.saturating_sub(std::time::Duration::from_hours(720)), to: now });
        let counts = Counts { clicks: 5, humans: 3 };
        Ok(Series {
            period,
            interval: query.interval,
            counts,
            visitors: 2,
            buckets: vec![Bucket { start: period.from, counts, visitors: 2 }],
        })
    }

    async fn breakdown(&self, _: &Subject, dimension: Dimension, _: Option<Period>, _: usize, _: Deadline) -> Result<Vec<Share>> {
        Ok(vec![Share { value: dimension.as_str().into(), clicks: 5, share: 1.0 }])
    }

    async fn top_links(&self, _: &Subject, _: Option<Period>, limit: usize, _: Deadline) -> Result<Vec<TopLink>> {
        let links = self.links.lock().unwrap();
        Ok(links.iter().take(limit).map(|link| TopLink { link: link.id, counts: Counts { clicks: 5, humans: 3 } }).collect())
    }
}

#[async_trait]
impl History for Backend {
    async fn import(&self, link: LinkId, owner: &Owner, days: &[HistoryDay], _: Deadline) -> Result<()> {
        if days.iter().any(|day| day.visitors > day.counts.humans) {
            return Err(Error::field("/days/0/visitors", Reason::InvalidField, "more visitors than humans"));
        }
        self.history.lock().unwrap().extend(days.iter().map(|day| (link, owner.clone(), *day)));
        Ok(())
    }
}

#[async_trait]
impl Ids for Backend {
    async fn next_ids(&self, count: u32, _: Deadline) -> Result<Vec<LinkId>> {
        if self.no_ids.load(Ordering::Relaxed) {
            return Err(Error::new(Reason::Unavailable, "no ids"));
        }
        Ok((0..count).map(|_| LinkId::new(self.next())).collect())
    }

    async fn lease_codes(&self, _: u32, _: Deadline) -> Result<CodeBlock> {
        Err(Error::new(Reason::Unavailable, "the API leases no codes"))
    }
}

#[async_trait]
impl Resolver for Backend {
    fn try_resolve(&self, _: &Ask<'_>) -> Option<Answer> {
        None
    }

    async fn resolve(&self, _: &Ask<'_>, _: Deadline) -> Result<Answer> {
        Ok(Answer::NotFound)
    }
}

#[async_trait]
impl ClaimStore for Backend {
    async fn get(&self, key: &ClaimKey) -> PortResult<Option<Claim>> {
        Ok(self.claims.lock().unwrap().get(key).cloned())
    }

    async fn claim(&self, claim: Claim) -> PortResult<Claimed> {
        let mut claims = self.claims.lock().unwrap();
        if let Some(earlier) = claims.get(&claim.key) {
            return Ok(Claimed::Theirs(earlier.clone()));
        }
        claims.insert(claim.key.clone(), claim);
        Ok(Claimed::Ours)
    }

    async fn replace(&self, old: &Claim, new: Claim) -> PortResult<Claimed> {
        let mut claims = self.claims.lock().unwrap();
        match claims.get(&old.key) {
            Some(stands) if stands.items != old.items => Ok(Claimed::Theirs(stands.clone())),
            Some(_) | None => {
                claims.insert(new.key.clone(), new);
                Ok(Claimed::Ours)
            }
        }
    }

    async fn sweep(&self, _: UnixMs, _: usize) -> PortResult<usize> {
        Ok(0)
    }
}

#[async_trait]
impl KeyStore for Backend {
    async fn insert(&self, key: ApiKey) -> PortResult<()> {
        self.up()?;
        self.keys.lock().unwrap().push(key);
        Ok(())
    }

    async fn find(&self, hash: &KeyHash) -> PortResult<Option<ApiKey>> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.up()?;
        Ok(self.keys.lock().unwrap().iter().find(|key| key.hash == *hash).cloned())
    }

    async fn get(&self, id: KeyId) -> PortResult<Option<ApiKey>> {
        Ok(self.keys.lock().unwrap().iter().find(|key| key.id == id).cloned())
    }

    async fn list(&self, owner: Option<&Owner>) -> PortResult<Vec<ApiKey>> {
        let keys = self.keys.lock().unwrap();
        Ok(keys.iter().filter(|key| owner.is_none_or(|owner| key.owner == *owner)).cloned().collect())
    }

    async fn revoke(&self, id: KeyId, at: UnixMs) -> PortResult<bool> {
        let mut keys = self.keys.lock().unwrap();
        let key = keys.iter_mut().find(|key| key.id == id);
        Ok(key.map(|key| key.revoked_at.get_or_insert(at)).is_some())
    }

    async fn any(&self) -> PortResult<bool> {
        Ok(true)
    }
}

#[async_trait]
impl DomainStore for Backend {
    fn directory(&self) -> Arc<Directory> {
        Arc::new(Directory::new(self.domains.lock().unwrap().iter().cloned()))
    }

    fn is_fresh(&self) -> bool {
        true
    }

    fn flags_are_immediate(&self) -> bool {
        true
    }

    async fn set_default(&self, _: &Host) -> PortResult<Domain> {
        Ok(self.domains.lock().unwrap()[0].clone())
    }

    async fn insert(&self, domain: Domain) -> PortResult<DomainAdded> {
        let mut domains = self.domains.lock().unwrap();
        if let Some(taken) = domains.iter().find(|other| other.host == domain.host) {
            return Ok(DomainAdded::Taken(taken.clone()));
        }
        let no = DomainNo::new(u32::try_from(domains.len() + 1).unwrap());
        domains.push(Domain { no, ..domain });
        Ok(DomainAdded::Added(domains.last().unwrap().clone()))
    }

    async fn update(&self, domain: Domain) -> PortResult<Option<Domain>> {
        let mut domains = self.domains.lock().unwrap();
        Ok(domains.iter_mut().find(|other| other.no == domain.no).map(|other| {
            *other = domain;
            other.clone()
        }))
    }

    async fn set_foreign_codes(&self, _: DomainNo) -> PortResult<bool> {
        Ok(false)
    }

    async fn remove(&self, no: DomainNo) -> PortResult<()> {
        self.domains.lock().unwrap().retain(|domain| domain.no != no);
        Ok(())
    }
}

#[async_trait]
impl RateLimiter for Backend {
    async fn take(&self, limit: &Limit, subject: u64, cost: u32) -> PortResult<Decision> {
        self.up()?;
        let mut counts = self.counts.lock().unwrap();
        let used = counts.entry((limit.name, subject)).or_default();
        let allowed = if *used + cost <= limit.max { Allowed::Yes } else { Allowed::No };
        if allowed == Allowed::Yes {
            *used += cost;
        }
        Ok(Decision { allowed, remaining: limit.max - *used, reset: std::time::Duration::from_millis(17_500) })
    }
}

impl Clock for Backend {
    fn now(&self) -> UnixMs {
        UnixMs::new(self.now.load(Ordering::Relaxed))
    }
}

impl Entropy for Backend {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next().wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}
