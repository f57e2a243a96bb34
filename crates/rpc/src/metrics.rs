//! What is measured here: names, units and help in one place.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use crate::method::Method;

chassis::metrics! {
    /// Calls answered, by gRPC code.
    Counter SERVED = "terse_rpc_server_calls_total" in "calls" by ["service": "Ids|Links|Resolver|Stats", "method": "<method>", "code": "<gRPC code>"];
    /// From the decoded request to the answer.
    Histogram SERVED_DURATION = "terse_rpc_server_call_duration_seconds" in "seconds" by ["service": "Ids|Links|Resolver|Stats", "method": "<method>"];
    /// Calls made, by gRPC code; a retry is part of its call.
    Counter CALLED = "terse_rpc_client_calls_total" in "calls" by ["service": "Ids|Links|Resolver|Stats", "method": "<method>", "code": "<gRPC code>"];
    /// From the call to its outcome.
    Histogram CALLED_DURATION = "terse_rpc_client_call_duration_seconds" in "seconds" by ["service": "Ids|Links|Resolver|Stats", "method": "<method>"];
    /// Calls sent to another replica because the first never got them.
    Counter RETRIED = "terse_rpc_client_retries_total" in "calls" by ["service": "Ids|Links|Resolver|Stats"];
    /// Attempts to open a connection to another service.
    Counter CONNECTS = "terse_rpc_client_connects_total" in "attempts" by ["outcome": "ok|failed"];
    /// How far, at least, the clock of another service is ahead of this one's, or behind where it is negative: the worst of its replicas in
    /// the last minute.
    Gauge CLOCK_OFFSET = "terse_rpc_clock_offset_seconds" in "seconds" by ["service": "Ids|Links|Resolver|Stats"];
    /// Open connections of other services to this one.
    Gauge CONNECTIONS = "terse_rpc_server_connections" in "connections";
    /// Connections closed before their first call.
    Counter CONNECTIONS_REFUSED = "terse_rpc_server_connections_refused_total" in "connections" by ["reason": "handshake|limit|system"];
    /// Requests for a code that travelled in one call.
    Histogram BATCH_LEN = "terse_rpc_resolve_batch_length" in "requests";
    /// Requests for a code that needed I/O, and so a call of their own.
    Counter DEFERRED = "terse_rpc_resolve_deferred_total" in "requests";
    /// Addresses of another service.
    Gauge ADDRESSES = "terse_rpc_endpoint_addresses" in "addresses" by ["list": "<what the addresses were made of>"];
    /// DNS look-ups that failed; the last answer stays in use.
    Counter LOOKUPS_FAILED = "terse_rpc_endpoint_lookup_failures_total" in "look-ups";
}

pub(crate) fn served(method: &'static Method, code: tonic::Code, took: Duration) {
    counter!(SERVED, "service" => method.service, "method" => method.name, "code" => code_name(code)).increment(1);
    histogram!(SERVED_DURATION, "service" => method.service, "method" => method.name).record(took);
}

pub(crate) fn called(method: &'static Method, code: tonic::Code, took: Duration) {
    counter!(CALLED, "service" => method.service, "method" => method.name, "code" => code_name(code)).increment(1);
    histogram!(CALLED_DURATION, "service" => method.service, "method" => method.name).record(took);
}

pub(crate) fn retried(method: &'static Method) {
    counter!(RETRIED, "service" => method.service).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "beyond centuries")]
pub(crate) fn clock_offset(service: &'static str, offset_ms: i64) {
    gauge!(CLOCK_OFFSET, "service" => service).set(offset_ms as f64 / 1_000.0);
}

/// `outcome`: `ok`, `failed`.
pub(crate) fn connected(outcome: &'static str) {
    counter!(CONNECTS, "outcome" => outcome).increment(1);
}

/// `reason`: `handshake`, `limit`, `system`.
pub(crate) fn connection_refused(reason: &'static str) {
    counter!(CONNECTIONS_REFUSED, "reason" => reason).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "at most a few hundred")]
pub(crate) fn batched(len: usize) {
    histogram!(BATCH_LEN).record(len as f64);
}

pub(crate) fn deferred(items: u64) {
    if items > 0 {
        counter!(DEFERRED).increment(items);
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most a few hundred")]
pub(crate) fn addresses(list: &str, len: usize) {
    gauge!(ADDRESSES, "list" => list.to_owned()).set(len as f64);
}

pub(crate) fn lookup_failed() {
    counter!(LOOKUPS_FAILED).increment(1);
}

const fn code_name(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}
