//! Calls as spans, on either side, and what tells the other side which request a call belongs to.
//!
//! On this port everybody is one of us: what a caller says of its trace is believed.

use std::net::SocketAddr;

use chassis::RequestId;
use chassis::trace::{self, Attribute, Described, Description, Kind, Scope, TraceContext, Value};
use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Code;
use tonic::metadata::MetadataMap;

use crate::method::Method;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How many headers [`write`] adds.
pub(crate) const HEADERS: usize = 2;

/// Adds what this thread works on to a request on its way out.
pub(crate) fn write(headers: &mut HeaderMap) {
    let Scope { trace, request } = trace::current();
    if let Some(value) = trace.and_then(|context| HeaderValue::try_from(context.to_string()).ok()) {
        headers.insert(TRACEPARENT, value);
    }
    if let Some(id) = request {
        headers.insert(X_REQUEST_ID, id.to_header());
    }
}

/// What the caller works on.
pub(crate) fn read(metadata: &MetadataMap) -> Scope {
    let headers = metadata.as_ref();
    let value = |name: HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    Scope { trace: value(TRACEPARENT).and_then(TraceContext::parse), request: value(X_REQUEST_ID).and_then(RequestId::parse) }
}

/// What is wrong with a service that answers so; nothing where the fault is the caller's.
pub(crate) const fn error_type(code: Code) -> Option<&'static str> {
    match code {
        Code::Unknown | Code::DeadlineExceeded | Code::Unimplemented | Code::Internal | Code::Unavailable | Code::DataLoss => {
            Some(name(code))
        }
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => None,
    }
}

/// As the conventions spell it.
const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

pub(crate) const fn status(code: Code) -> Attribute {
    ("rpc.response.status_code", Value::Static(name(code)))
}

/// A call made: of one replica, or of the batch that it travels in.
pub(crate) struct Calling<'a> {
    pub(crate) method: &'a Method,
    pub(crate) address: SocketAddr,
}

impl Described for Calling<'_> {
    fn describe(&self) -> Description {
        let server =
            [("server.address", Value::Text(self.address.ip().to_string())), ("server.port", Value::Int(self.address.port().into()))];
        describe(self.method, Kind::Client, server)
    }
}

/// A call answered.
pub(crate) struct Answering<'a>(pub(crate) &'a Method);

impl Described for Answering<'_> {
    fn describe(&self) -> Description {
        describe(self.0, Kind::Server, [])
    }
}

fn describe(method: &Method, kind: Kind, more: impl IntoIterator<Item = Attribute>) -> Description {
    // Without the slash that a path begins with.
    let path = method.path.get(1..).unwrap_or_default();
    let mut attributes = vec![("rpc.system.name", Value::Static("grpc")), ("rpc.method", Value::Static(path))];
    attributes.extend(more);
    Description { name: path.into(), kind, attributes }
}
