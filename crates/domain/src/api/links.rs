//! The shortening service: create, read, change and delete links.

use async_trait::async_trait;

use super::Deadline;
use crate::error::Result;
use crate::limits;
use crate::model::{BlockReason, Caller, DomainNo, Host, Link, LinkDraft, LinkId, PatchDraft, ShownState, Slug, Tag};
use crate::time::UnixMs;

/// On whose behalf, until when.
#[derive(Clone, Debug)]
pub struct Context {
    pub caller: Caller,
    pub deadline: Deadline,
}

/// `Idempotency-Key` of a create, with the SHA-256 of what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    pub key: String,
    pub digest: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    New(Link),
    /// `find_or_create`, strategy `hash` or a repeated `Idempotency-Key` found it.
    Found(Link),
}

impl Created {
    pub fn link(&self) -> &Link {
        match self {
            Self::New(link) | Self::Found(link) => link,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    pub limit: usize,
    /// Links older than this one.
    pub after: Option<LinkId>,
    pub tag: Option<Tag>,
    /// `None`: all but deleted ones.
    pub state: Option<ShownState>,
    /// A part of code, target or title, in any case.
    pub text: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub links: Vec<Link>,
    /// Where the next page begins; a page may be short although there is one.
    pub next: Option<LinkId>,
}

/// Which links a mass delete takes, all of them the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    Ids(Vec<LinkId>),
    Tag(Tag),
    Domain(Host),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    Running,
    Done,
    Failed,
}

impl JobState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// Progress of long work. `total` grows while links are still being found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    pub id: LinkId,
    pub kind: &'static str,
    pub state: JobState,
    pub done: u64,
    pub total: u64,
    pub errors: u64,
    pub created_at: UnixMs,
    pub updated_at: UnixMs,
}

/// Links of other owners are `NotFound`, unless the caller is an admin.
#[async_trait]
pub trait Links: Send + Sync + 'static {
    /// # Errors
    /// `Invalid` with every wrong field; `AliasTaken`; `IdempotencyMismatch` and `IdempotencyInProgress`;
    /// `Unavailable` when the store does not answer.
    async fn create(&self, context: &Context, draft: LinkDraft, once: Option<Idempotency>) -> Result<Created>;

    /// Each item on its own, in order; the outer error is for the call as a whole.
    async fn bulk_create(&self, context: &Context, drafts: Vec<LinkDraft>, once: Option<Idempotency>) -> Result<Vec<Result<Created>>>;

    async fn get(&self, context: &Context, id: LinkId) -> Result<Link>;

    /// `domain`: `None` is the default domain. `code`: as typed, then in lower case.
    async fn lookup(&self, context: &Context, domain: Option<&Host>, code: Slug<'_>) -> Result<Link>;

    async fn list(&self, context: &Context, query: ListQuery) -> Result<Page>;

    /// # Errors
    /// `VersionMismatch` when `if_version` is not the current one; `Gone` for deleted links.
    async fn update(&self, context: &Context, id: LinkId, patch: PatchDraft, if_version: Option<u32>) -> Result<Link>;

    /// Deleting a deleted link succeeds.
    async fn delete(&self, context: &Context, id: LinkId, if_version: Option<u32>) -> Result<()>;

    async fn restore(&self, context: &Context, id: LinkId) -> Result<Link>;

    /// Takes a link down, or lifts the takedown with `None`. Admins only.
    async fn block(&self, context: &Context, id: LinkId, reason: Option<BlockReason>) -> Result<Link>;

    async fn bulk_delete(&self, context: &Context, selection: Selection) -> Result<JobStatus>;

    async fn job(&self, context: &Context, id: LinkId) -> Result<JobStatus>;

    /// The caller's tags with how many links, not counting deleted ones, carry each; by name.
    async fn tags(&self, context: &Context) -> Result<Vec<(Tag, u64)>>;

    /// Whether any link, of any state, belongs to the domain: it cannot be removed then. For admins;
    /// others are told of their own links only. This walks all links: a service that can ask its
    /// store does better.
    async fn any_in_domain(&self, context: &Context, domain: DomainNo) -> Result<bool> {
        for state in [None, Some(ShownState::Deleted)] {
            let mut after = None;
            loop {
                let query = ListQuery { limit: limits::PAGE_LEN_MAX, after, state, ..ListQuery::default() };
                let page = self.list(context, query).await?;
                if page.links.iter().any(|link| link.domain == domain) {
                    return Ok(true);
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(false)
    }
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
