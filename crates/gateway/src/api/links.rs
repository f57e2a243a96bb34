//! `/links`: create, read, change, delete, restore, take down.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use domain::api::{Created, ListQuery};
use domain::{Host, Link, LinkDraft, LinkId, Reason, Scope, ShownState, Slug, Strategy, Tag};
use http::header::{ETAG, LOCATION};
use http::{HeaderMap, StatusCode};
use utoipa::ToSchema;

use super::draft::{LinkPatchDoc, NewLinkDoc};
use super::etag::{self, Condition};
use super::fields::{Fields, Params, STRING};
use super::request::{Call, Payload, Segments, link_id};
use super::view::LinkView;
use super::{Answer, Api, draft, header, internal, json_text, listing, no_content};
use crate::openapi::ProblemDoc;
use crate::problem::Problem;

/// Characters of `q`.
const SEARCH_LEN_MAX: usize = 256;

/// Makes a link.
///
/// With `Idempotency-Key`, a repeated request answers the same link for 24 hours.
#[utoipa::path(post, path = "/api/v1/links", tag = "links", operation_id = "createLink", security(("key" = ["links:write"])),
    request_body = NewLinkDoc,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    responses(
        (status = 201, description = "Made", body = LinkView, headers(("Location" = String), ("ETag" = String))),
        (status = 200, description = "Found: `find_or_create`, or strategy `hash`", body = LinkView),
        (status = 409, description = "`alias_taken`, `idempotency_in_progress`", body = ProblemDoc),
        (status = 422, description = "One entry in `errors` for each wrong field", body = ProblemDoc),
        (status = "default", body = ProblemDoc)))]
pub(crate) async fn create(State(api): State<Arc<Api>>, call: Call, payload: Payload) -> Answer {
    call.require(Scope::LinksWrite)?;
    let body = payload.json()?;
    let once = payload.once(&body)?;
    let draft = draft::link(body, call.caller())?;
    let replay = if once.is_some() && !finds_by_content(&draft) { StatusCode::CREATED } else { StatusCode::OK };
    call.charge_creations(&api, 1).await?;
    match api.gateway.services.links.create(&call.context, draft, once).await? {
        Created::New(link) => created(&api, &link, StatusCode::CREATED),
        Created::Found(link) => created(&api, &link, replay),
    }
}

/// Whether a link may be found by what it leads to, rather than by its `Idempotency-Key`.
pub(crate) fn finds_by_content(draft: &LinkDraft) -> bool {
    draft.find_or_create || draft.strategy.as_deref() == Some(Strategy::Hash.as_str())
}

fn created(api: &Api, link: &Link, status: StatusCode) -> Answer {
    let mut response = shown(api, link, status)?;
    let location = header(&format!("/api/v1/links/{}", link.id))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// A link with its tag.
fn shown(api: &Api, link: &Link, status: StatusCode) -> Answer {
    let (text, tag) = rendered(api, link)?;
    let mut response = json_text(status, text);
    response.headers_mut().insert(ETAG, header(&tag)?);
    Ok(response)
}

fn rendered(api: &Api, link: &Link) -> Result<(String, String), Problem> {
    let text = serde_json::to_string(&LinkView::new(api, link)).map_err(|error| internal(&error.to_string()))?;
    let tag = etag::tag(link.version, &text);
    Ok((text, tag))
}

fn shown_unless_known(api: &Api, link: &Link, headers: &HeaderMap) -> Answer {
    let (text, tag) = rendered(api, link)?;
    let mut response = if etag::is_known(headers, &tag) {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        json_text(StatusCode::OK, text)
    };
    response.headers_mut().insert(ETAG, header(&tag)?);
    Ok(response)
}

/// Lists links, newest first.
///
/// Looks at no more than 10,000 links a call: with filters a page may be short, and `next_cursor` goes on.
#[utoipa::path(get, path = "/api/v1/links", tag = "links", operation_id = "listLinks", security(("key" = ["links:read"])),
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "50 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("tag" = Option<String>, Query),
        ("state" = Option<String>, Query, description = "`active`, `disabled`, `deleted` or `blocked`; all but deleted ones when absent"),
        ("q" = Option<String>, Query, max_length = 256, description = "A part of code, target or title, in any case")),
    responses(
        (status = 200, description = "A page", body = LinkPage, headers(("Link" = String, description = "`<…>; rel=\"next\"`"))),
        (status = "default", body = ProblemDoc)))]
pub(crate) async fn list(State(api): State<Arc<Api>>, call: Call, RawQuery(raw): RawQuery) -> Answer {
    call.require(Scope::LinksRead)?;
    let mut params = Params::new(raw.as_deref());
    let (limit, after) = listing::window(&mut params);
    let tag = params.parsed("tag", "a tag", |text| Tag::parse(text).ok());
    let state = params.parsed("state", "one of active, disabled, deleted, blocked", ShownState::parse);
    let short = |text: &str| (text.chars().count() <= SEARCH_LEN_MAX).then(|| text.to_owned());
    let text = params.parsed("q", "at most 256 characters", short);
    params.finish()?;
    let query = ListQuery { limit, after: after.map(LinkId::new), tag, state, text };
    let page = api.gateway.services.links.list(&call.context, query).await?;
    let data = page.links.iter().map(|link| LinkView::new(&api, link)).collect();
    listing::page("/api/v1/links", raw.as_deref(), data, page.next.map(LinkId::get))
}

/// A page of links.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents `PageView<LinkView>`")]
pub(crate) struct LinkPage {
    data: Vec<LinkView>,
    /// Where the next page begins; absent on the last.
    next_cursor: Option<String>,
}

/// Finds a link by its code.
#[utoipa::path(get, path = "/api/v1/links/lookup", tag = "links", operation_id = "lookupLink", security(("key" = ["links:read"])),
    params(
        ("domain" = Option<String>, Query, description = "The default domain when absent"),
        ("code" = String, Query, description = "As typed; an alias in any case")),
    responses((status = 200, body = LinkView), (status = 304, description = "As known"), (status = "default", body = ProblemDoc)))]
pub(crate) async fn lookup(State(api): State<Arc<Api>>, call: Call, headers: HeaderMap, RawQuery(raw): RawQuery) -> Answer {
    call.require(Scope::LinksRead)?;
    let mut params = Params::new(raw.as_deref());
    let domain = params.parsed("domain", "a host name", |text| Host::parse(text).ok());
    let code = params.text("code");
    if code.is_none() {
        params.fail("code", "is required");
    }
    params.finish()?;
    let code = code.unwrap_or_default();
    let slug = Slug::parse(&code).ok_or_else(|| Problem::new(Reason::NotFound, "link not found"))?;
    let link = api.gateway.services.links.lookup(&call.context, domain.as_ref(), slug).await?;
    shown_unless_known(&api, &link, &headers)
}

/// One link, a deleted one too.
#[utoipa::path(get, path = "/api/v1/links/{id}", tag = "links", operation_id = "getLink", security(("key" = ["links:read"])),
    params(("id" = String, Path), ("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, body = LinkView, headers(("ETag" = String))),
        (status = 304, description = "As known"),
        (status = "default", body = ProblemDoc)))]
pub(crate) async fn show(State(api): State<Arc<Api>>, call: Call, Segments(id): Segments<String>, headers: HeaderMap) -> Answer {
    call.require(Scope::LinksRead)?;
    let link = api.gateway.services.links.get(&call.context, link_id(&id)?).await?;
    shown_unless_known(&api, &link, &headers)
}

/// Changes a link (RFC 7396).
#[utoipa::path(patch, path = "/api/v1/links/{id}", tag = "links", operation_id = "updateLink", security(("key" = ["links:write"])),
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` that the change is based on")),
    request_body(content(
        (LinkPatchDoc = "application/json"),
        (LinkPatchDoc = "application/merge-patch+json"))),
    responses(
        (status = 200, body = LinkView, headers(("ETag" = String))),
        (status = 410, description = "The link is deleted", body = ProblemDoc),
        (status = 412, description = "The link has changed since", body = ProblemDoc),
        (status = "default", body = ProblemDoc)))]
pub(crate) async fn update(State(api): State<Arc<Api>>, call: Call, Segments(id): Segments<String>, payload: Payload) -> Answer {
    call.require(Scope::LinksWrite)?;
    let id = link_id(&id)?;
    let patch = draft::patch(payload.json()?)?;
    let version = expected_version(&api, &call, id, payload.headers()).await?;
    let link = api.gateway.services.links.update(&call.context, id, patch, version).await?;
    shown(&api, &link, StatusCode::OK)
}

/// Deletes a link. Its code leads nowhere from now on, and is never given out again.
#[utoipa::path(delete, path = "/api/v1/links/{id}", tag = "links", operation_id = "deleteLink", security(("key" = ["links:write"])),
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses(
        (status = 204, description = "Deleted, now or before"),
        (status = 412, description = "The link has changed since", body = ProblemDoc),
        (status = "default", body = ProblemDoc)))]
pub(crate) async fn delete(State(api): State<Arc<Api>>, call: Call, Segments(id): Segments<String>, headers: HeaderMap) -> Answer {
    call.require(Scope::LinksWrite)?;
    let id = link_id(&id)?;
    let version = expected_version(&api, &call, id, &headers).await?;
    api.gateway.services.links.delete(&call.context, id, version).await?;
    Ok(no_content())
}

/// The one version a change may be made to. Of several, the one that stands is as good as any: the
/// service compares it once more.
async fn expected_version(api: &Api, call: &Call, id: LinkId, headers: &HeaderMap) -> Result<Option<u32>, Problem> {
    let versions = match etag::if_match(headers)? {
        Condition::None => return Ok(None),
        Condition::Versions(versions) => versions,
    };
    if let [version] = versions[..] {
        return Ok(Some(version));
    }
    let link = api.gateway.services.links.get(&call.context, id).await?;
    let stands = versions.contains(&link.version);
    stands.then_some(Some(link.version)).ok_or_else(|| Problem::new(Reason::VersionMismatch, "the link has changed since"))
}

/// Brings a deleted link back.
#[utoipa::path(post, path = "/api/v1/links/{id}/restore", tag = "links", operation_id = "restoreLink", security(("key" = ["links:write"])),
    params(("id" = String, Path)),
    responses((status = 200, body = LinkView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn restore(State(api): State<Arc<Api>>, call: Call, Segments(id): Segments<String>) -> Answer {
    call.require(Scope::LinksWrite)?;
    let link = api.gateway.services.links.restore(&call.context, link_id(&id)?).await?;
    shown(&api, &link, StatusCode::OK)
}

/// Why a link is taken down.
#[derive(ToSchema)]
#[schema(as = Takedown)]
#[expect(dead_code, reason = "documents what `block` reads by hand")]
pub(crate) struct TakedownDoc {
    /// Shown on the link's 451 page.
    #[schema(max_length = 256)]
    reason: String,
}

/// Takes a link down: it answers 451 until unblocked.
#[utoipa::path(post, path = "/api/v1/links/{id}/block", tag = "links", operation_id = "blockLink", security(("key" = ["admin"])),
    params(("id" = String, Path)), request_body = TakedownDoc,
    responses((status = 200, body = LinkView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn block(State(api): State<Arc<Api>>, call: Call, Segments(id): Segments<String>, payload: Payload) -> Answer {
    call.require(Scope::Admin)?;
    let id = link_id(&id)?;
    let mut fields = Fields::new(payload.json()?);
    let reason = fields.required("reason", &STRING);
    fields.finish()?;
    let reason = domain::check_block_reason(&reason.unwrap_or_default()).map_err(Problem::fields)?;
    let link = api.gateway.services.links.block(&call.context, id, Some(reason)).await?;
    shown(&api, &link, StatusCode::OK)
}

/// Lifts a takedown.
#[utoipa::path(post, path = "/api/v1/links/{id}/unblock", tag = "links", operation_id = "unblockLink", security(("key" = ["admin"])),
    params(("id" = String, Path)),
    responses((status = 200, body = LinkView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn unblock(State(api): State<Arc<Api>>, call: Call, Segments(id): Segments<String>) -> Answer {
    call.require(Scope::Admin)?;
    let link = api.gateway.services.links.block(&call.context, link_id(&id)?, None).await?;
    shown(&api, &link, StatusCode::OK)
}
