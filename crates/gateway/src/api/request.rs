//! What a handler is given: who calls, the path's parts, the body.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::Bytes;
use domain::api::{Context, Idempotency};
use domain::port::{Allowed, Decision, Limit};
use domain::{ApiKey, Caller, KeyId, LinkId, Reason, Scope, limits};
use http::request::Parts;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Api, body, internal};
use crate::metrics;
use crate::problem::Problem;
use crate::request::RequestId;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Limits that a request was counted against, for the headers of its answer.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Vec<(Limit, Decision)>>>);

impl Tally {
    pub(crate) fn taken(&self) -> Vec<(Limit, Decision)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts `cost`. A limiter that fails lets everything through: it protects the service, and
    /// must not be what takes it down.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(crate) async fn take(&self, api: &Api, limit: Limit, subject: u64, cost: u32) -> Result<(), Problem> {
        if limit.max == 0 {
            return Ok(());
        }
        let decision = match api.gateway.services.limiter.take(&limit, subject, cost).await {
            Ok(decision) => decision,
            Err(error) => {
                tracing::debug!(limit = limit.name, %error, "the limiter failed; letting the request through");
                return Ok(());
            }
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((limit, decision));
        match decision.allowed {
            Allowed::Yes => Ok(()),
            Allowed::No => {
                metrics::limited(limit.name);
                Err(refusal(limit, decision, cost))
            }
        }
    }
}

fn refusal(limit: Limit, decision: Decision, cost: u32) -> Problem {
    let Limit { name, max, window } = limit;
    let detail = if cost > max {
        format!("{cost} at once can never fit the limit `{name}` of {max} per {} s", window.as_secs())
    } else if decision.remaining > 0 {
        format!(
            "{cost} at once are more than the {} that are left of the limit `{name}` of {max} per {} s",
            decision.remaining,
            window.as_secs()
        )
    } else {
        format!("the limit `{name}` of {max} per {} s is used up", window.as_secs())
    };
    Problem::new(Reason::RateLimited, detail).with_retry_after(decision.reset.max(Duration::from_secs(1)))
}

/// An authenticated call.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) key: Arc<ApiKey>,
    pub(crate) context: Context,
    pub(crate) tally: Tally,
    pub(crate) request_id: RequestId,
}

impl Call {
    pub(crate) fn caller(&self) -> &Caller {
        &self.context.caller
    }

    /// # Errors
    /// `forbidden`, naming the scope.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.caller().scopes.allows(scope) {
            return Ok(());
        }
        Err(Problem::new(Reason::Forbidden, format!("this needs a key with the scope `{}`", scope.as_str())))
    }

    /// Counts objects about to be made. Admin keys are exempt.
    ///
    /// # Errors
    /// `rate_limited`, with nothing counted.
    pub(crate) async fn charge_creations(&self, api: &Api, count: usize) -> Result<(), Problem> {
        if self.caller().is_admin() {
            return Ok(());
        }
        let cost = u32::try_from(count).unwrap_or(u32::MAX);
        self.tally.take(api, creations(api), self.key.id.get(), cost).await
    }
}

pub(crate) fn creations(api: &Api) -> Limit {
    Limit { name: "creations", max: api.gateway.options.limits.creations_per_h, window: Duration::from_hours(1) }
}

pub(crate) fn requests(api: &Api) -> Limit {
    Limit { name: "api", max: api.gateway.options.limits.api_requests_per_min, window: Duration::from_mins(1) }
}

impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or_else(|| internal("a handler ran without authentication"))
    }
}

/// Parts of the path, percent-decoded. What cannot be decoded names nothing.
pub(crate) struct Segments<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(segments)| Self(segments)).map_err(|_| Problem::new(Reason::NotFound, "not found"))
    }
}

/// # Errors
/// `not_found` for what no id looks like.
pub(crate) fn link_id(text: &str) -> Result<LinkId, Problem> {
    LinkId::parse(text).ok_or_else(|| Problem::new(Reason::NotFound, "link not found"))
}

pub(crate) fn key_id(text: &str) -> Result<KeyId, Problem> {
    KeyId::parse(text).ok_or_else(|| Problem::new(Reason::NotFound, "key not found"))
}

/// A body that was read, within its bound, but not looked at: who may not call learns nothing of it.
pub(crate) struct Payload {
    parts: Parts,
    bytes: Bytes,
}

impl<S: Sync> FromRequest<S> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.map_err(|error| internal(&error.to_string()))?.to_bytes();
        Ok(Self { parts, bytes })
    }
}

impl Payload {
    /// # Errors
    /// `unsupported_media_type`, `invalid_json`, `body_too_large`.
    pub(crate) fn json(&self) -> Result<Value, Problem> {
        body::check_type(&self.parts.method, &self.parts.headers)?;
        body::parse(&self.bytes)
    }

    pub(crate) fn headers(&self) -> &http::HeaderMap {
        &self.parts.headers
    }

    /// The `Idempotency-Key`, bound to what is asked.
    ///
    /// # Errors
    /// `invalid_field` for a key that is none.
    pub(crate) fn once(&self, body: &Value) -> Result<Option<Idempotency>, Problem> {
        let mut values = self.parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let key = value.to_str().ok().filter(|key| is_idempotency_key(key) && values.next().is_none());
        let wrong = || {
            let detail = format!("Idempotency-Key: one value of 1 to {} visible ASCII characters", limits::IDEMPOTENCY_KEY_LEN_MAX);
            Problem::new(Reason::InvalidField, detail)
        };
        let key = key.ok_or_else(wrong)?.to_owned();
        let mut hash = Sha256::new();
        for part in [self.parts.method.as_str(), self.parts.uri.path(), &body::canonical(body)] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        Ok(Some(Idempotency { key, digest: hash.finalize().into() }))
    }
}

fn is_idempotency_key(text: &str) -> bool {
    (1..=limits::IDEMPOTENCY_KEY_LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
