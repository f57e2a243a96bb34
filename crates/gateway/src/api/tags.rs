//! `/tags`: the labels in use.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use domain::Scope;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::fields::Params;
use super::request::Call;
use super::{Answer, Api, json};
use crate::openapi::ProblemDoc;

#[derive(Serialize, ToSchema)]
#[schema(as = Tag)]
pub(crate) struct TagView {
    tag: String,
    /// How many links carry it, not counting deleted ones.
    links: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Tags)]
pub(crate) struct TagsView {
    /// By name.
    data: Vec<TagView>,
}

/// Tags in use.
#[utoipa::path(get, path = "/api/v1/tags", tag = "links", operation_id = "listTags", security(("key" = ["links:read"])),
    responses((status = 200, body = TagsView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn list(State(api): State<Arc<Api>>, call: Call, RawQuery(raw): RawQuery) -> Answer {
    call.require(Scope::LinksRead)?;
    Params::new(raw.as_deref()).finish()?;
    let tags = api.gateway.services.links.tags(&call.context).await?;
    let data = tags.into_iter().map(|(tag, links)| TagView { tag: tag.to_string(), links }).collect();
    json(StatusCode::OK, &TagsView { data })
}
