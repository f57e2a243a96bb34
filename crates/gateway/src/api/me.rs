//! `/me`: what the caller's key is, may do, and has left.

use std::sync::Arc;

use axum::extract::State;
use domain::port::Limit;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::keys::KeyView;
use super::request::Call;
use super::{Answer, Api, json};
use crate::openapi::ProblemDoc;
use crate::problem::whole_seconds;

#[derive(Serialize, ToSchema)]
#[schema(as = LimitLeft)]
pub(crate) struct LimitView {
    /// `api` (requests of this address) or `creations` (of this key).
    name: &'static str,
    max: u32,
    window_s: u64,
    remaining: u32,
    /// Until the oldest of what is counted leaves the window.
    reset_s: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
pub(crate) struct MeView {
    key: KeyView,
    owner: String,
    scopes: Vec<&'static str>,
    /// Empty for keys that no limit binds.
    limits: Vec<LimitView>,
}

/// The caller's own key. Any valid key will do.
#[utoipa::path(get, path = "/api/v1/me", tag = "keys", operation_id = "me", security(("key" = [])),
    responses((status = 200, body = MeView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn show(State(api): State<Arc<Api>>, call: Call) -> Answer {
    // Costs nothing, but asks; the limit on requests was asked on the way in. A limiter that
    // refuses even to be asked has told what is left all the same.
    call.charge_creations(&api, 0).await.ok();
    let limits = call.tally.taken().into_iter().map(|(limit, decision)| {
        let Limit { name, max, window } = limit;
        LimitView { name, max, window_s: window.as_secs(), remaining: decision.remaining, reset_s: whole_seconds(decision.reset) }
    });
    let body = MeView {
        key: KeyView::from(call.key.as_ref()),
        owner: call.caller().owner.to_string(),
        scopes: call.caller().scopes.iter().map(domain::Scope::as_str).collect(),
        limits: limits.collect(),
    };
    json(StatusCode::OK, &body)
}
