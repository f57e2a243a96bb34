//! The REST API, `/api/v1`. One file per family of endpoints, with its documentation and tests.
//!
//! To add an endpoint: write the handler with its `#[utoipa::path]` in the family's file, add it to
//! the family's `routes`, name it in `openapi.rs`, run `terse openapi > docs/openapi.json`, and add
//! its line to the table of `tests/authz.rs`.

mod body;
pub(crate) mod bulk;
pub(crate) mod domains;
mod draft;
mod etag;
mod fields;
mod guard;
pub(crate) mod history;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod links;
mod listing;
pub(crate) mod me;
mod once;
mod request;
pub(crate) mod stats;
pub(crate) mod tags;
#[cfg(test)]
mod tests;
mod time;
mod view;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use domain::Reason;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::auth::Authenticator;
use crate::openapi;
use crate::problem::Problem;
use crate::state::Gateway;

/// What handlers share.
pub(crate) struct Api {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) keys: Authenticator,
}

/// What every handler answers.
pub(crate) type Answer = Result<Response, Problem>;

/// Serves `/api/v1/**`. Requests carry a [`crate::state::Peer`] in their extensions.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    let keys = Authenticator::new(gateway.services.keys.clone());
    let api = Arc::new(Api { gateway, keys });
    Router::new()
        .route("/api/v1/links", post(links::create).get(links::list))
        .route("/api/v1/links/bulk", post(bulk::create))
        .route("/api/v1/links/bulk-delete", post(bulk::delete))
        .route("/api/v1/links/lookup", get(links::lookup))
        .route("/api/v1/links/{id}", get(links::show).patch(links::update).delete(links::delete))
        .route("/api/v1/links/{id}/restore", post(links::restore))
        .route("/api/v1/links/{id}/block", post(links::block))
        .route("/api/v1/links/{id}/unblock", post(links::unblock))
        .route("/api/v1/links/{id}/history", post(history::import))
        .route("/api/v1/links/{id}/stats", get(stats::link_series))
        .route("/api/v1/links/{id}/stats/{dimension}", get(stats::link_breakdown))
        .route("/api/v1/stats", get(stats::series))
        .route("/api/v1/stats/links", get(stats::top_links))
        .route("/api/v1/stats/{dimension}", get(stats::breakdown))
        .route("/api/v1/jobs/{id}", get(jobs::show))
        .route("/api/v1/keys", post(keys::create).get(keys::list))
        .route("/api/v1/keys/{id}", delete(keys::revoke))
        .route("/api/v1/domains", post(domains::create).get(domains::list))
        .route("/api/v1/domains/{host}", get(domains::show).patch(domains::update).delete(domains::remove))
        .route("/api/v1/tags", get(tags::list))
        .route("/api/v1/me", get(me::show))
        .route("/api/v1/openapi.json", get(document))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(api.clone(), guard::guard))
        .with_state(api)
}

async fn unknown() -> Problem {
    Problem::new(Reason::NotFound, "there is no such endpoint; /api/v1/openapi.json lists them")
}

async fn wrong_method() -> Problem {
    Problem::new(Reason::MethodNotAllowed, "the Allow header lists what this endpoint takes")
}

/// The description of this API, needing no key.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "about", operation_id = "openapi", security(()),
    responses((status = 200, description = "This document")))]
pub(crate) async fn document() -> Response {
    let mut response = openapi::text().into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON answer.
fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let text = serde_json::to_string(body).map_err(|error| internal(&error.to_string()))?;
    Ok(json_text(status, text))
}

fn json_text(status: StatusCode, text: String) -> Response {
    let mut response = text.into_response();
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// A header made of our own numbers and percent-encoded text.
fn header(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(|error| internal(&error.to_string()))
}

fn internal(cause: &str) -> Problem {
    domain::Error::new(Reason::Internal, "an answer could not be written").with_source(cause).into()
}
