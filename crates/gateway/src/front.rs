//! What stands between a connection and what answers: which host, which route, and that whatever
//! happens there is an answer.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::Router;
use chassis::trace;
use domain::Domain;
use domain::api::{Answer, Ask, Route};
use futures_util::FutureExt as _;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::Service;
use tower::ServiceExt as _;

use crate::activity::{Activity, InFlight};
use crate::body::{Body, TimedBody};
use crate::location::location;
use crate::metrics::{self, RequestKind};
use crate::pages::{self, Failure};
use crate::plain::Head;
use crate::redirects::{self, Begun, CodeRequest, View};
use crate::request::{self, Fields, HostProblem, Remote, RequestId, X_REQUEST_ID, for_log};
use crate::state::{Gateway, Peer};
use crate::traced::Traced;

/// What all connections share.
pub(crate) struct Door {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) api: Router,
}

/// Answers the requests of one connection.
pub(crate) struct Front {
    pub(crate) door: Arc<Door>,
    pub(crate) remote: Remote,
    pub(crate) activity: Arc<Activity>,
}

type Later = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// An answer that is there, or one that is being worked on.
pub(crate) enum Answering {
    Now(Option<Response<Body>>),
    Later(Box<Unfinished>),
}

/// What becomes of a plain GET of a link.
pub(crate) enum Plainly {
    Leads(Arc<Route>),
    Step(Step),
}

pub(crate) struct Unfinished {
    work: Later,
    front: FinishedBy,
    _in_flight: InFlight,
}

/// What is needed to send an answer off.
struct FinishedBy {
    door: Arc<Door>,
    activity: Arc<Activity>,
    kind: RequestKind,
    framing: Framing,
    began: Instant,
    traced: Traced,
}

/// How the connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Http1,
    /// Where this request ends may be seen otherwise by a proxy before us: what follows it on the
    /// connection is not read as a request.
    Http1Chunked,
    Http2,
}

impl Framing {
    fn of(request: &Request<Incoming>) -> Self {
        match request.version() {
            Version::HTTP_2 => Self::Http2,
            _ if request.headers().contains_key(TRANSFER_ENCODING) => Self::Http1Chunked,
            _ => Self::Http1,
        }
    }
}

pub(crate) enum Step {
    Now(RequestKind, Response<Body>),
    Later(RequestKind, Later),
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let began = Instant::now();
        let in_flight = InFlight::begin(&self.activity);
        let framing = Framing::of(&request);
        let traced = Traced::new(self, request.method(), request.headers());
        let step = trace::within(traced.scope(), || {
            let step = catch_unwind(AssertUnwindSafe(|| self.dispatch(request, traced.id, began)));
            step.unwrap_or_else(|panic| Step::Now(RequestKind::Page, panicked(traced.id, panic.as_ref())))
        });
        self.answering(step, in_flight, (framing, began), traced)
    }
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(response) => Poll::Ready(Ok(response.take().unwrap_or_else(|| Response::new(Body::Empty)))),
            Self::Later(unfinished) => {
                let mut response = ready!(unfinished.work.as_mut().poll(cx));
                unfinished.front.finish(&mut response);
                Poll::Ready(Ok(response))
            }
        }
    }
}

impl FinishedBy {
    fn finish(&self, response: &mut Response<Body>) {
        let Self { door, activity, kind, framing, began, traced } = self;
        finish(door, activity, (*kind, *framing, *began), traced, response);
    }
}

fn finish(
    door: &Door,
    activity: &Activity,
    (kind, framing, began): (RequestKind, Framing, Instant),
    traced: &Traced,
    response: &mut Response<Body>,
) {
    let took = began.elapsed();
    door.gateway.metrics.answered(kind, response.status(), took);
    traced.ended(&door.gateway, kind, response, took);
    let last = match framing {
        Framing::Http1 => activity.is_draining(),
        Framing::Http1Chunked => true,
        Framing::Http2 => false,
    };
    if last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

pub(crate) fn is_api(path: &str) -> bool {
    path.strip_prefix("/api").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(crate) fn panicked(id: RequestId, panic: &(dyn std::any::Any + Send)) -> Response<Body> {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(request_id = id.as_str(), panic = %for_log(text.unwrap_or("without a message")), "a handler panicked");
    metrics::panicked();
    Failure::Internal.answer(&HeaderMap::new(), "", id)
}

impl Front {
    pub(crate) fn request_id(&self, headers: &impl Fields) -> RequestId {
        self.remote.request_id(headers).unwrap_or_else(|| self.door.gateway.request_ids.next())
    }

    pub(crate) fn answering(&self, step: Step, in_flight: InFlight, (framing, began): (Framing, Instant), traced: Traced) -> Answering {
        match step {
            Step::Now(kind, mut response) => {
                finish(&self.door, &self.activity, (kind, framing, began), &traced, &mut response);
                Answering::Now(Some(response))
            }
            Step::Later(kind, work) => {
                let work = AssertUnwindSafe(work).catch_unwind();
                let work = async move { work.await.unwrap_or_else(|panic| panicked(traced.id, panic.as_ref())) };
                let work = Box::pin(trace::in_scope(traced.scope(), work));
                let front = FinishedBy { door: self.door.clone(), activity: self.activity.clone(), kind, framing, began, traced };
                Answering::Later(Box::new(Unfinished { work, front, _in_flight: in_flight }))
            }
        }
    }

    /// The same as [`Self::dispatch`] for a request of which host and path are known to be a link's.
    pub(crate) fn plainly(&self, head: &Head<'_>, domain: &Arc<Domain>, id: RequestId, began: Instant) -> Plainly {
        let gateway = &self.door.gateway;
        let in_full = |go_on: &dyn Fn(CodeRequest) -> Step| {
            let request = head.to_parts().map(|parts| CodeRequest { parts, domain: domain.clone(), remote: self.remote, id });
            let broken = || Step::Now(RequestKind::Page, Failure::Internal.answer(&HeaderMap::new(), "", id));
            Plainly::Step(request.map_or_else(broken, go_on))
        };
        if !gateway.rate.admits(began) {
            metrics::limited("requests");
            return in_full(&|request| Step::Now(RequestKind::Page, Failure::TooManyRequests.answer(&request.parts.headers, "", id)));
        }
        let ip = self.remote.client_ip(head, gateway.options.forwarded_header, &gateway.options.trusted_proxies);
        if let Some(exhausted) = gateway.misses.check(began, || gateway.subjects.of(ip)) {
            return in_full(&|request| Step::Now(RequestKind::Redirect, request.too_many_misses(gateway, exhausted)));
        }
        let purpose = redirects::purpose(View::Redirect, &Method::GET, head);
        let visit = redirects::visit(head, (self.remote, ip), head.query, purpose);
        match gateway.services.resolver.try_resolve(&Ask { domain: domain.no, code: head.code(), visit }) {
            Some(Answer::Redirect(route)) => Plainly::Leads(route),
            answer => in_full(&|request| self.begun(request.begun(gateway, answer.clone(), View::Redirect), began)),
        }
    }

    fn begun(&self, begun: Begun, began: Instant) -> Step {
        match begun {
            Begun::Answered(response) => Step::Now(RequestKind::Redirect, response),
            Begun::Unfinished(request, known) => {
                Step::Later(RequestKind::Redirect, Box::pin(request.finish(self.door.gateway.clone(), known, began)))
            }
        }
    }

    fn dispatch(&self, request: Request<Incoming>, id: RequestId, began: Instant) -> Step {
        let gateway = &self.door.gateway;
        let fail = |failure: Failure<'_>, host: &str| Step::Now(RequestKind::Page, failure.answer(request.headers(), host, id));
        if !gateway.rate.admits(began) {
            metrics::limited("requests");
            return fail(Failure::TooManyRequests, "");
        }
        let host = match request::host(request.version(), request.uri(), request.headers()) {
            Ok(host) => host,
            Err(HostProblem::Missing) => return fail(Failure::NoSingleHost("The request names no host."), ""),
            Err(HostProblem::Ambiguous) => {
                return fail(Failure::NoSingleHost("The request names more than one host, or a broken one."), "");
            }
        };
        let directory = gateway.services.domains.directory();
        let Some(domain) = directory.find_raw(host) else {
            return fail(Failure::WrongHost, "");
        };
        let path = request.uri().path();
        if is_api(path) {
            return Step::Later(RequestKind::Api, self.api(request, id));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return fail(Failure::MethodNotAllowed, domain.host.as_str());
        }
        let (parts, _) = request.into_parts();
        self.public(parts, domain, id, began)
    }

    fn public(&self, parts: Parts, domain: &Arc<Domain>, id: RequestId, began: Instant) -> Step {
        let page = match parts.uri.path() {
            "/" => landing(domain),
            "/robots.txt" => pages::cacheable("text/plain; charset=utf-8", pages::robots()),
            "/favicon.ico" => pages::cacheable("image/x-icon", pages::ico()),
            "/favicon.svg" => pages::cacheable("image/svg+xml", pages::svg()),
            _ => {
                let request = CodeRequest { parts, domain: domain.clone(), remote: self.remote, id };
                return self.begun(request.begin(&self.door.gateway, began), began);
            }
        };
        let mut page = page;
        page.headers_mut().insert(X_REQUEST_ID, id.to_header());
        Step::Now(RequestKind::Page, page)
    }

    fn api(&self, request: Request<Incoming>, id: RequestId) -> Later {
        let options = &self.door.gateway.options;
        let ip = self.remote.client_ip(request.headers(), options.forwarded_header, &options.trusted_proxies);
        let (mut parts, body) = request.into_parts();
        request::strip_internal(&mut parts.headers);
        parts.extensions.insert(Peer { ip, request_id: id });
        let body = axum::body::Body::new(TimedBody::new(body, options.timeouts.body));
        let api = self.door.api.clone();
        Box::pin(async move {
            let Ok(response) = api.oneshot(Request::from_parts(parts, body)).await;
            response.map(Body::Api)
        })
    }
}

/// The domain's own landing place, or the page that says what this is.
fn landing(domain: &Domain) -> Response<Body> {
    let elsewhere = domain.landing_url.as_ref().and_then(|url| location(url.as_str(), ""));
    match elsewhere {
        Some(location) => pages::elsewhere(location),
        None => pages::landing(domain.host.as_str()),
    }
}
