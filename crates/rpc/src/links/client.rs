//! The shortening service in another process.

use async_trait::async_trait;
use domain::api::{Context, Created, Idempotency, JobStatus, Links, ListQuery, Page, Selection};
use domain::limits::PAGE_LEN_MAX;
use domain::{BlockReason, DomainNo, Host, Link, LinkDraft, LinkId, PatchDraft, Result, Slug, Tag};
use prost::Message;

use super::convert::{self, to_caller};
use super::link::{created, job, link, page, results, tags};
use crate::method::links as methods;
use crate::method::{self, Method};
use crate::proto;
use crate::replicas::Replicas;

pub struct Client {
    replicas: Replicas,
}

impl Client {
    pub fn new(replicas: Replicas) -> Self {
        Self { replicas }
    }

    async fn call<T: Message + Default>(&self, method: &'static Method, context: &Context, request: &impl Message) -> Result<T> {
        self.replicas.call(method, method::LINKS, request, context.deadline).await
    }
}

#[async_trait]
impl Links for Client {
    async fn create(&self, context: &Context, draft: LinkDraft, once: Option<Idempotency>) -> Result<Created> {
        let draft = Some(convert::to_draft(draft));
        let request = proto::CreateRequest { caller: Some(to_caller(&context.caller)), draft, once: convert::to_once(once) };
        created(self.call(&methods::CREATE, context, &request).await?)
    }

    async fn bulk_create(&self, context: &Context, drafts: Vec<LinkDraft>, once: Option<Idempotency>) -> Result<Vec<Result<Created>>> {
        let asked = drafts.len();
        let drafts = drafts.into_iter().map(convert::to_draft).collect();
        let request = proto::BulkCreateRequest { caller: Some(to_caller(&context.caller)), drafts, once: convert::to_once(once) };
        results(self.call(&methods::BULK_CREATE, context, &request).await?, asked)
    }

    async fn get(&self, context: &Context, id: LinkId) -> Result<Link> {
        let request = proto::GetRequest { caller: Some(to_caller(&context.caller)), id: id.get() };
        link(&self.call(&methods::GET, context, &request).await?)
    }

    async fn lookup(&self, context: &Context, domain: Option<&Host>, code: Slug<'_>) -> Result<Link> {
        let domain = domain.map_or_else(String::new, |host| host.as_str().to_owned());
        let request = proto::LookupRequest { caller: Some(to_caller(&context.caller)), domain, code: code.as_str().to_owned() };
        link(&self.call(&methods::LOOKUP, context, &request).await?)
    }

    async fn list(&self, context: &Context, query: ListQuery) -> Result<Page> {
        let query = ListQuery { limit: query.limit.min(PAGE_LEN_MAX), ..query };
        page(&self.call(&methods::LIST, context, &convert::to_list(&context.caller, query)).await?)
    }

    async fn update(&self, context: &Context, id: LinkId, patch: PatchDraft, if_version: Option<u32>) -> Result<Link> {
        let request = proto::UpdateRequest {
            caller: Some(to_caller(&context.caller)),
            id: id.get(),
            patch: Some(convert::to_patch(patch)),
            if_version,
        };
        link(&self.call(&methods::UPDATE, context, &request).await?)
    }

    async fn delete(&self, context: &Context, id: LinkId, if_version: Option<u32>) -> Result<()> {
        let request = proto::DeleteRequest { caller: Some(to_caller(&context.caller)), id: id.get(), if_version };
        let proto::DeleteResponse {} = self.call(&methods::DELETE, context, &request).await?;
        Ok(())
    }

    async fn restore(&self, context: &Context, id: LinkId) -> Result<Link> {
        let request = proto::RestoreRequest { caller: Some(to_caller(&context.caller)), id: id.get() };
        link(&self.call(&methods::RESTORE, context, &request).await?)
    }

    async fn block(&self, context: &Context, id: LinkId, reason: Option<BlockReason>) -> Result<Link> {
        let reason = reason.map_or_else(String::new, |reason| reason.as_str().to_owned());
        let request = proto::BlockRequest { caller: Some(to_caller(&context.caller)), id: id.get(), reason };
        link(&self.call(&methods::BLOCK, context, &request).await?)
    }

    async fn bulk_delete(&self, context: &Context, selection: Selection) -> Result<JobStatus> {
        let selection = Some(convert::to_selection(selection));
        let request = proto::BulkDeleteRequest { caller: Some(to_caller(&context.caller)), selection };
        job(&self.call(&methods::BULK_DELETE, context, &request).await?)
    }

    async fn job(&self, context: &Context, id: LinkId) -> Result<JobStatus> {
        let request = proto::GetJobRequest { caller: Some(to_caller(&context.caller)), id: id.get() };
        job(&self.call(&methods::GET_JOB, context, &request).await?)
    }

    async fn tags(&self, context: &Context) -> Result<Vec<(Tag, u64)>> {
        let request = proto::TagsRequest { caller: Some(to_caller(&context.caller)) };
        tags(self.call(&methods::TAGS, context, &request).await?)
    }

    async fn any_in_domain(&self, context: &Context, domain: DomainNo) -> Result<bool> {
        let request = proto::AnyInDomainRequest { caller: Some(to_caller(&context.caller)), domain: domain.get() };
        let answer: proto::AnyInDomainResponse = self.call(&methods::ANY_IN_DOMAIN, context, &request).await?;
        Ok(answer.any)
    }
}
