//! Answers for the shortening service in this process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::api::{Context, Deadline, Links};
use domain::{Caller, LinkId, Result, Slug};
use tonic::{Request, Response, Status};

use super::convert::{self, caller, wrong};
use super::link::{to_created, to_job, to_link, to_page, to_result};
use crate::answer::answer;
use crate::method;
use crate::method::links as methods;
use crate::proto::links_server::{self, LinksServer};
use crate::proto::{
    AnyInDomainRequest, AnyInDomainResponse, BlockRequest, BulkCreateRequest, BulkCreateResponse, BulkDeleteRequest, CreateRequest,
    CreateResponse, DeleteRequest, DeleteResponse, GetJobRequest, GetRequest, Job, Link, ListRequest, ListResponse, LookupRequest,
    RestoreRequest, TagCount, TagsRequest, TagsResponse, UpdateRequest,
};

type Answer<T> = Result<Response<T>, Status>;

pub(crate) fn server(service: Arc<dyn Links>, timeout_max: Duration) -> LinksServer<Server> {
    LinksServer::new(Server { service, timeout_max })
        .max_decoding_message_size(method::LINKS.request_len_max)
        .max_encoding_message_size(method::LINKS.response_len_max)
}

pub(crate) struct Server {
    service: Arc<dyn Links>,
    timeout_max: Duration,
}

fn context(caller: Caller, deadline: Deadline) -> Context {
    Context { caller, deadline }
}

#[async_trait]
impl links_server::Links for Server {
    async fn create(&self, request: Request<CreateRequest>) -> Answer<CreateResponse> {
        answer(&methods::CREATE, self.timeout_max, request, async |request: CreateRequest, deadline| {
            let context = context(caller(request.caller)?, deadline);
            let draft = request.draft.ok_or_else(|| wrong("/draft", "is missing"))?;
            let created = self.service.create(&context, convert::draft(draft), convert::once(request.once)?).await?;
            Ok(to_created(created))
        })
        .await
    }

    async fn bulk_create(&self, request: Request<BulkCreateRequest>) -> Answer<BulkCreateResponse> {
        answer(&methods::BULK_CREATE, self.timeout_max, request, async |request: BulkCreateRequest, deadline| {
            let context = context(caller(request.caller)?, deadline);
            let (drafts, once) = (convert::drafts(request.drafts)?, convert::once(request.once)?);
            let results = self.service.bulk_create(&context, drafts, once).await?;
            Ok(BulkCreateResponse { results: results.into_iter().map(to_result).collect() })
        })
        .await
    }

    async fn get(&self, request: Request<GetRequest>) -> Answer<Link> {
        answer(&methods::GET, self.timeout_max, request, async |request: GetRequest, deadline| {
            let context = context(caller(request.caller)?, deadline);
            self.service.get(&context, LinkId::new(request.id)).await.map(to_link)
        })
        .await
    }

    async fn lookup(&self, request: Request<LookupRequest>) -> Answer<Link> {
        answer(&methods::LOOKUP, self.timeout_max, request, async |request: LookupRequest, deadline| {
            let context = context(caller(request.caller)?, deadline);
            let domain = (!request.domain.is_empty()).then(|| convert::host(&request.domain)).transpose()?;
            let code = Slug::parse(&request.code).ok_or_else(|| domain::Error::not_found("link"))?;
            self.service.lookup(&context, domain.as_ref(), code).await.map(to_link)
        })
        .await
    }

    async fn list(&self, request: Request<ListRequest>) -> Answer<ListResponse> {
        answer(&methods::LIST, self.timeout_max, request, async |mut request: ListRequest, deadline| {
            let context = context(caller(request.caller.take())?, deadline);
            self.service.list(&context, convert::list(request)?).await.map(to_page)
        })
        .await
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Answer<Link> {
        answer(&methods::UPDATE, self.timeout_max, request, async |request: UpdateRequest, deadline| {
            let context = context(caller(request.caller)?, deadline);
            let (id, patch) = (LinkId::new(request.id), convert::patch(request.patch));
            self.service.update(&context, id, patch, request.if_version).await.map(to_link)
        })
        .await
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Answer<DeleteResponse> {
        answer(&methods::DELETE, self.timeout_max, request, async |request: DeleteRequest, deadline| {
            let context = context(caller(request.caller)?, deadline);
            self.service.delete(&context, LinkId::new(request.id), request.if_version).await?;
            Ok(DeleteResponse {})
        })
        .await
    }

    async fn restore(&self, request: Request<RestoreRequest>) -> Answer<Link> {
        answer(&methods::RESTORE, self.timeout_max, request, async |request: RestoreRequest, deadline| {
            let context = context(caller(request.caller)?, deadline);
            self.service.restore(&context, LinkId::new(request.id)).await.map(to_link)
        })
        .await
    }

    async fn block(&self, request: Request<BlockRequest>) -> Answer<Link> {
        answer(&methods::BLOCK, self.timeout_max, request, async |request: BlockRequest, deadline| {
            let context = context(caller(request.caller)?, deadline);
            let reason = convert::block_reason(&request.reason)?;
            self.service.block(&context, LinkId::new(request.id), reason).await.map(to_link)
        })
        .await
    }

    async fn bulk_delete(&self, request: Request<BulkDeleteRequest>) -> Answer<Job> {
        answer(&methods::BULK_DELETE, self.timeout_max, request, async |request: BulkDeleteRequest, deadline| {
            let context = context(caller(request.caller)?, deadline);
            let job = self.service.bulk_delete(&context, convert::selection(request.selection)?).await?;
            Ok(to_job(&job))
        })
        .await
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Answer<Job> {
        answer(&methods::GET_JOB, self.timeout_max, request, async |request: GetJobRequest, deadline| {
            let context = context(caller(request.caller)?, deadline);
            let job = self.service.job(&context, LinkId::new(request.id)).await?;
            Ok(to_job(&job))
        })
        .await
    }

    async fn tags(&self, request: Request<TagsRequest>) -> Answer<TagsResponse> {
        answer(&methods::TAGS, self.timeout_max, request, async |request: TagsRequest, deadline| {
            let tags = self.service.tags(&context(caller(request.caller)?, deadline)).await?;
            let count = |(tag, links): (domain::Tag, u64)| TagCount { tag: tag.as_str().to_owned(), links };
            Ok(TagsResponse { tags: tags.into_iter().map(count).collect() })
        })
        .await
    }

    async fn any_in_domain(&self, request: Request<AnyInDomainRequest>) -> Answer<AnyInDomainResponse> {
        answer(&methods::ANY_IN_DOMAIN, self.timeout_max, request, async |request: AnyInDomainRequest, deadline| {
            let context = context(caller(request.caller)?, deadline);
            let domain = convert::domain_no(request.domain).ok_or_else(|| wrong("/domain", "is the number of no domain"))?;
            let any = self.service.any_in_domain(&context, domain).await?;
            Ok(AnyInDomainResponse { any })
        })
        .await
    }
}
