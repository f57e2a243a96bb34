//! A request as a span: begun at the door, named when it is known what was asked for.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::MatchedPath;
use chassis::trace::{self, Arrival, Description, Kind, Scope, Value};
use http::{HeaderMap, Method, Response, StatusCode};

use crate::front::Front;
use crate::metrics::RequestKind;
use crate::plain::Head;
use crate::request::RequestId;
use crate::state::Gateway;

/// What is known of a request from its beginning to its end.
#[derive(Clone, Copy)]
pub(crate) struct Traced {
    pub(crate) id: RequestId,
    method: &'static str,
    /// `None`: traces are off, or it was not sampled and needed no I/O.
    arrival: Option<Arrival>,
}

impl Traced {
    pub(crate) fn new(front: &Front, method: &Method, headers: &HeaderMap) -> Self {
        let arrival = Arrival::new(front.remote.trace(headers));
        Self { id: front.request_id(headers), method: method_name(method), arrival }
    }

    /// A plain one, of which there are too many to do anything for one that is not sampled.
    pub(crate) fn plain(front: &Front, head: &Head<'_>) -> Self {
        let told = if front.remote.trusted && trace::is_on() { front.remote.trace(head) } else { None };
        let arrival = if told.is_some() { Arrival::new(told) } else { Arrival::sampled() };
        Self { id: front.request_id(head), method: "GET", arrival }
    }

    /// It is no redirect from memory: it has the time to be followed.
    pub(crate) fn followed(self) -> Self {
        Self { arrival: self.arrival.or_else(Arrival::unsampled), ..self }
    }

    pub(crate) fn is_sampled(&self) -> bool {
        self.arrival.is_some()
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope { trace: self.arrival.map(Arrival::context), request: Some(self.id) }
    }

    pub(crate) fn ended<B>(&self, gateway: &Gateway, kind: RequestKind, response: &Response<B>, took: Duration) {
        let route = || match kind {
            RequestKind::Redirect => Some("/{code}".into()),
            RequestKind::Page => None,
            RequestKind::Api => response.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned().into()),
        };
        self.ended_with(gateway, response.status(), took, route);
    }

    pub(crate) fn redirected(&self, gateway: &Gateway, status: StatusCode, took: Duration) {
        self.ended_with(gateway, status, took, || Some("/{code}".into()));
    }

    fn ended_with(&self, gateway: &Gateway, status: StatusCode, took: Duration, route: impl FnOnce() -> Option<Cow<'static, str>>) {
        Arrival::end(self.arrival, took, error_type(status), || {
            let route = route();
            let mut attributes = vec![
                ("http.request.method", Value::Static(self.method)),
                ("http.response.status_code", Value::Int(status.as_u16().into())),
                ("url.scheme", Value::Static(gateway.options.scheme.as_str())),
                ("terse.request_id", Value::Text(self.id.to_string())),
            ];
            let name = match &route {
                Some(route) => format!("{} {route}", self.method).into(),
                None => self.method.into(),
            };
            attributes.extend(route.map(|route| ("http.route", Value::Text(route.into_owned()))));
            Description { name, kind: Kind::Server, attributes }
        });
    }
}

/// What the conventions call an error of a server: its own.
fn error_type(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        ..500 => None,
        500 => Some("500"),
        503 => Some("503"),
        504 => Some("504"),
        _ => Some("5xx"),
    }
}

/// As the conventions have it: one of the known ones.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 9] = [
        (Method::GET, "GET"),
        (Method::HEAD, "HEAD"),
        (Method::POST, "POST"),
        (Method::PATCH, "PATCH"),
        (Method::PUT, "PUT"),
        (Method::DELETE, "DELETE"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::TRACE, "TRACE"),
        (Method::CONNECT, "CONNECT"),
    ];
    KNOWN.iter().find(|(known, _)| known == method).map_or("_OTHER", |(_, name)| name)
}
