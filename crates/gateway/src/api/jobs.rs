//! `/jobs`: how far long work has come.

use std::sync::Arc;

use axum::extract::State;
use domain::api::JobStatus;
use domain::{LinkId, Reason, Scope};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::request::{Call, Segments};
use super::{Answer, Api, json, time};
use crate::openapi::ProblemDoc;
use crate::problem::Problem;

/// Progress of long work. `total` grows while links are still being found.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobView {
    id: String,
    kind: &'static str,
    /// `running`, `done` or `failed`.
    state: &'static str,
    done: u64,
    total: u64,
    errors: u64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<&JobStatus> for JobView {
    fn from(job: &JobStatus) -> Self {
        Self {
            id: job.id.to_string(),
            kind: job.kind,
            state: job.state.as_str(),
            done: job.done,
            total: job.total,
            errors: job.errors,
            created_at: time::format(job.created_at),
            updated_at: time::format(job.updated_at),
        }
    }
}

/// One job.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "links", operation_id = "getJob", security(("key" = ["links:write"])),
    params(("id" = String, Path)),
    responses((status = 200, body = JobView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn show(State(api): State<Arc<Api>>, call: Call, Segments(id): Segments<String>) -> Answer {
    call.require(Scope::LinksWrite)?;
    let id = LinkId::parse(&id).ok_or_else(|| Problem::new(Reason::NotFound, "job not found"))?;
    let job = api.gateway.services.links.job(&call.context, id).await?;
    json(StatusCode::OK, &JobView::from(&job))
}
