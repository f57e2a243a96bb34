//! `/keys`: make, list and revoke API keys.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use domain::{ApiKey, KeyHash, KeyId, KeyName, Owner, Reason, Scope, Scopes, UnixMs};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::fields::{Fields, Params, STRING, TIME};
use super::once::{self, Begun};
use super::request::{Call, Payload, Segments, key_id};
use super::{Answer, Api, json, listing, no_content, time};
use crate::auth;
use crate::openapi::ProblemDoc;
use crate::problem::Problem;

/// A key to make.
#[derive(ToSchema)]
#[schema(as = NewKey)]
#[expect(dead_code, reason = "documents what `create` reads by hand")]
pub(crate) struct NewKeyDoc {
    #[schema(max_length = 128)]
    name: String,
    /// Of `links:read`, `links:write`, `stats:read`, `keys:write` and `admin`; none that the caller lacks.
    #[schema(min_items = 1)]
    scopes: Vec<String>,
    /// Whom the key acts for; the caller's owner when absent. Admin keys only.
    #[schema(max_length = 64)]
    owner: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A key, without its text.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    id: String,
    name: String,
    owner: String,
    scopes: Vec<&'static str>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
}

impl From<&ApiKey> for KeyView {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.to_string(),
            owner: key.owner.to_string(),
            scopes: key.scopes.iter().map(Scope::as_str).collect(),
            created_at: time::format(key.created_at),
            expires_at: key.expires_at.map(time::format),
            revoked_at: key.revoked_at.map(time::format),
        }
    }
}

/// A new key with its text, which is shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedKey)]
pub(crate) struct CreatedKeyView {
    #[serde(flatten)]
    about: KeyView,
    /// `null` when an `Idempotency-Key` repeats a request.
    #[schema(example = "tk_…")]
    key: Option<String>,
}

/// A page of keys.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents `PageView<KeyView>`")]
pub(crate) struct KeyPage {
    data: Vec<KeyView>,
    next_cursor: Option<String>,
}

/// Makes a key.
///
/// Its text is not kept: a request repeated with its `Idempotency-Key` is answered with the same key, but
/// not with its text again. Where that was lost, revoke the key and make another.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys", operation_id = "createKey", security(("key" = ["keys:write"])),
    request_body = NewKeyDoc,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    responses((status = 201, body = CreatedKeyView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn create(State(api): State<Arc<Api>>, call: Call, payload: Payload) -> Answer {
    call.require(Scope::KeysWrite)?;
    let body = payload.json()?;
    let once = payload.once(&body)?;
    let services = &api.gateway.services;
    let now = services.clock.now();
    let wanted = Wanted::read(body, now)?;
    let owner = wanted.owner(&call)?;
    call.charge_creations(&api, 1).await?;
    let turn = match once::begin(&api, &call, once).await? {
        Begun::First(turn) => turn,
        Begun::Again(id) => return repeated(&api, KeyId::new(id)).await,
    };
    let ids = services.ids.next_ids(1, call.context.deadline).await?;
    let id = ids.first().ok_or_else(|| super::internal("no id was given"))?.get();
    let (text, hash) = auth::generate_key(services.entropy.as_ref());
    let key = wanted.into_key(KeyId::new(id), hash, owner, now);
    services.keys.insert(key.clone()).await?;
    turn.settle(&api, id).await;
    json(StatusCode::CREATED, &CreatedKeyView { about: KeyView::from(&key), key: Some(text) })
}

async fn repeated(api: &Api, id: KeyId) -> Answer {
    let key = api.gateway.services.keys.get(id).await?.ok_or_else(missing)?;
    json(StatusCode::CREATED, &CreatedKeyView { about: KeyView::from(&key), key: None })
}

fn missing() -> Problem {
    Problem::new(Reason::NotFound, "key not found")
}

struct Wanted {
    name: KeyName,
    scopes: Scopes,
    owner: Option<Owner>,
    expires_at: Option<UnixMs>,
}

impl Wanted {
    fn read(body: Value, now: UnixMs) -> Result<Self, Problem> {
        let mut fields = Fields::new(body);
        let name = text(&mut fields, "name", Fields::required, KeyName::parse);
        let scopes = scopes(&mut fields);
        let owner = text(&mut fields, "owner", Fields::optional, Owner::parse);
        let expires_at = fields.optional("expires_at", &TIME);
        if expires_at.is_some_and(|at| at <= now) {
            fields.fail("/expires_at", Reason::InvalidField, "must lie in the future");
        }
        fields.finish()?;
        let name = name.ok_or_else(|| Problem::field("/name", Reason::InvalidField, "is required"))?;
        Ok(Self { name, scopes, owner, expires_at })
    }

    /// Whom the key will act for.
    ///
    /// # Errors
    /// `forbidden` for scopes the caller lacks and for owners the caller is not.
    fn owner(&self, call: &Call) -> Result<Owner, Problem> {
        let caller = call.caller();
        if !caller.scopes.covers(self.scopes) {
            let lacking: Vec<_> = self.scopes.iter().filter(|scope| !caller.scopes.allows(*scope)).map(Scope::as_str).collect();
            let detail = format!("nobody grants a scope they lack: {}", lacking.join(", "));
            return Err(Problem::field("/scopes", Reason::Forbidden, detail));
        }
        match &self.owner {
            Some(_) if !caller.is_admin() => Err(Problem::field("/owner", Reason::Forbidden, "only admin keys may set an owner")),
            Some(owner) => Ok(owner.clone()),
            None => Ok(caller.owner.clone()),
        }
    }

    fn into_key(self, id: KeyId, hash: KeyHash, owner: Owner, now: UnixMs) -> ApiKey {
        let Self { name, scopes, expires_at, .. } = self;
        ApiKey { id, name, hash, owner, scopes, created_at: now, expires_at, revoked_at: None }
    }
}

fn text<T>(
    fields: &mut Fields,
    name: &str,
    take: impl FnOnce(&mut Fields, &str, &super::fields::Kind<String>) -> Option<String>,
    parse: impl FnOnce(&str) -> Result<T, domain::TextError>,
) -> Option<T> {
    let text = take(fields, name, &STRING)?;
    parse(&text).map_err(|error| fields.fail(&format!("/{name}"), Reason::InvalidField, error.to_string())).ok()
}

fn scopes(fields: &mut Fields) -> Scopes {
    let before = fields.errors.len();
    let names = fields.strings("scopes").apply(None).unwrap_or_default();
    let mut scopes = Vec::with_capacity(Scope::ALL.len());
    for (i, name) in names.iter().enumerate() {
        let scope = Scope::parse(name);
        if scope.is_none() {
            let known = Scope::ALL.map(Scope::as_str).join(", ");
            fields.fail(&format!("/scopes/{i}"), Reason::InvalidField, format!("expected one of {known}"));
        }
        scopes.extend(scope);
    }
    if scopes.is_empty() && fields.errors.len() == before {
        fields.fail("/scopes", Reason::InvalidField, "expected a list of at least one scope");
    }
    scopes.into_iter().collect()
}

/// Lists the owner's keys, newest first, revoked ones too; everyone's for an admin.
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", operation_id = "listKeys", security(("key" = ["keys:write"])),
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "50 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, body = KeyPage), (status = "default", body = ProblemDoc)))]
pub(crate) async fn list(State(api): State<Arc<Api>>, call: Call, RawQuery(raw): RawQuery) -> Answer {
    call.require(Scope::KeysWrite)?;
    let mut params = Params::new(raw.as_deref());
    let (limit, after) = listing::window(&mut params);
    params.finish()?;
    let caller = call.caller();
    let owner = if caller.is_admin() { None } else { Some(&caller.owner) };
    let mut keys = api.gateway.services.keys.list(owner).await?;
    // Ids order by time, and two keys of one millisecond still have an order.
    keys.sort_unstable_by_key(|key| std::cmp::Reverse(key.id));
    keys.retain(|key| after.is_none_or(|after| key.id.get() < after));
    let more = keys.len() > limit;
    keys.truncate(limit);
    let next = keys.last().filter(|_| more).map(|key| key.id.get());
    listing::page("/api/v1/keys", raw.as_deref(), keys.iter().map(KeyView::from).collect(), next)
}

/// Revokes a key, for good. Other gateways refuse it within 5 seconds.
#[utoipa::path(delete, path = "/api/v1/keys/{id}", tag = "keys", operation_id = "revokeKey", security(("key" = ["keys:write"])),
    params(("id" = String, Path)),
    responses((status = 204, description = "Revoked, now or before"), (status = "default", body = ProblemDoc)))]
pub(crate) async fn revoke(State(api): State<Arc<Api>>, call: Call, Segments(id): Segments<String>) -> Answer {
    call.require(Scope::KeysWrite)?;
    let services = &api.gateway.services;
    let key = services.keys.get(key_id(&id)?).await?.filter(|key| call.caller().may_see(&key.owner)).ok_or_else(missing)?;
    if !call.caller().scopes.covers(key.scopes) {
        return Err(Problem::new(Reason::Forbidden, "a key is revoked by one that has its scopes"));
    }
    let revoked = services.keys.revoke(key.id, services.clock.now()).await;
    // Whatever became of it: what is believed from now on has been looked up anew.
    api.keys.forget(key.id);
    if revoked? { Ok(no_content()) } else { Err(missing()) }
}
