//! What happens around every call: who is it, how often, for how long, and what the answer carries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chassis::trace;
use domain::api::{Context, Deadline};
use domain::{ApiKey, Caller, Reason, limits};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::request::{Call, Tally, requests};
use super::{Api, body, internal};
use crate::options::Deadlines;
use crate::problem::{Problem, whole_seconds};
use crate::request::{RequestId, X_REQUEST_ID};
use crate::shedding::{Class, Permit};
use crate::state::Peer;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Kinds of calls, by what they may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Needs no key, and finds nothing out.
    Open,
    Plain,
    Bulk,
    Stats,
}

impl Work {
    fn of(request: &Request) -> Self {
        match request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) {
            None | Some("/api/v1/openapi.json") => Self::Open,
            Some("/api/v1/links/bulk" | "/api/v1/links/bulk-delete" | "/api/v1/links/{id}/history") => Self::Bulk,
            Some(path) if path.contains("/stats") => Self::Stats,
            Some(_) => Self::Plain,
        }
    }

    fn budget(self, deadlines: &Deadlines) -> Duration {
        match self {
            Self::Open | Self::Plain => deadlines.api,
            Self::Bulk => deadlines.bulk,
            Self::Stats => deadlines.stats,
        }
    }

    fn class(self) -> Class {
        match self {
            Self::Open | Self::Plain | Self::Bulk => Class::Create,
            Self::Stats => Class::Stats,
        }
    }

    fn body_len_max(self) -> usize {
        match self {
            Self::Bulk => limits::BULK_BODY_LEN_MAX,
            Self::Open | Self::Plain | Self::Stats => limits::BODY_LEN_MAX,
        }
    }
}

pub(crate) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return internal("a request came without its peer").into_response();
    };
    // For the span of the request: only the router knows its route.
    let route = request.extensions().get::<MatchedPath>().filter(|_| trace::is_on()).cloned();
    let tally = Tally::default();
    let response = match serve(&api, request, next, &tally, peer).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    let mut response = dress(response, &tally, peer.request_id);
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

/// One absolute deadline for all of it, which stands still while the client sends its body: the
/// server has a timeout of its own for that.
async fn serve(api: &Arc<Api>, request: Request, next: Next, tally: &Tally, peer: Peer) -> Result<Response, Problem> {
    let began = Instant::now();
    let work = Work::of(&request);
    let budget = work.budget(&api.gateway.options.deadlines);
    let admitted = within(began + budget, admit(api, work, request.headers(), tally, peer)).await??;

    let reading = Instant::now();
    let mut request = read(request, work.body_len_max()).await?;
    let deadline = Deadline::after(began, budget + reading.elapsed());

    let _permit = shed(api, work)?;
    if let Some(key) = admitted {
        let caller = Caller { owner: key.owner.clone(), scopes: key.scopes };
        request.extensions_mut().insert(Call {
            key,
            context: Context { caller, deadline },
            tally: tally.clone(),
            request_id: peer.request_id,
        });
    }
    within(deadline.at(), next.run(request)).await
}

/// Who calls, and whether they may call again so soon. Failures to authenticate count like calls.
async fn admit(api: &Api, work: Work, headers: &HeaderMap, tally: &Tally, peer: Peer) -> Result<Option<Arc<ApiKey>>, Problem> {
    let key = match work {
        Work::Open => Ok(None),
        Work::Plain | Work::Bulk | Work::Stats => api.keys.authenticate(headers, api.gateway.services.clock.now()).await.map(Some),
    };
    let exempt = matches!(&key, Ok(Some(key)) if key.scopes.has(domain::Scope::Admin));
    if !exempt {
        tally.take(api, requests(api), api.gateway.subjects.of(peer.ip), 1).await?;
    }
    key
}

async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Result<T, Problem> {
    let late = |_| Problem::new(Reason::DeadlineExceeded, "the answer took too long; a change may still have been made");
    tokio::time::timeout_at(deadline.into(), work).await.map_err(late)
}

async fn read(request: Request, max: usize) -> Result<Request, Problem> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE) {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let bytes = body::read(body, max).await?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn shed(api: &Api, work: Work) -> Result<Permit, Problem> {
    let busy = || Problem::new(Reason::Unavailable, "too busy for the moment").with_retry_after(Duration::from_secs(1));
    api.gateway.shed.try_acquire(work.class()).ok_or_else(busy)
}

/// What every answer carries.
fn dress(response: Response, tally: &Tally, request_id: RequestId) -> Response {
    let mut response = with_request_id(response, request_id.as_str());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_REQUEST_ID, request_id.to_header());
    rate_limits(headers, tally);
    response
}

/// A problem learns the id of its request, and is logged under it.
fn with_request_id(mut response: Response, request_id: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let mut answer = problem.respond(request_id);
    // Only the router knows what may be asked instead.
    if let Some(allow) = response.headers_mut().remove(ALLOW) {
        answer.headers_mut().insert(ALLOW, allow);
    }
    debug_assert!(answer.headers().contains_key(CONTENT_TYPE));
    answer
}

/// draft-ietf-httpapi-ratelimit-headers-11.
fn rate_limits(headers: &mut HeaderMap, tally: &Tally) {
    let taken = tally.taken();
    if taken.is_empty() {
        return;
    }
    let policies: Vec<_> =
        taken.iter().map(|(limit, _)| format!("\"{}\";q={};w={}", limit.name, limit.max, limit.window.as_secs())).collect();
    let left: Vec<_> = taken
        .iter()
        .map(|(limit, decision)| format!("\"{}\";r={};t={}", limit.name, decision.remaining, whole_seconds(decision.reset)))
        .collect();
    for (name, value) in [(RATE_LIMIT_POLICY, policies), (RATE_LIMIT, left)] {
        if let Ok(value) = HeaderValue::from_str(&value.join(", ")) {
            headers.insert(name, value);
        }
    }
}
