//! What is measured here: names, units and help in one place.

use std::sync::Once;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::method::Method;

pub(crate) const SERVED: &str = "terse_rpc_server_calls_total";
pub(crate) const SERVED_DURATION: &str = "terse_rpc_server_call_duration_seconds";
pub(crate) const CALLED: &str = "terse_rpc_client_calls_total";
pub(crate) const CALLED_DURATION: &str = "terse_rpc_client_call_duration_seconds";
pub(crate) const RETRIED: &str = "terse_rpc_client_retries_total";
pub(crate) const CONNECTS: &str = "terse_rpc_client_connects_total";
pub(crate) const CONNECTIONS: &str = "terse_rpc_server_connections";
pub(crate) const CONNECTIONS_REFUSED: &str = "terse_rpc_server_connections_refused_total";
pub(crate) const BATCH_LEN: &str = "terse_rpc_resolve_batch_length";
pub(crate) const DEFERRED: &str = "terse_rpc_resolve_deferred_total";
pub(crate) const ADDRESSES: &str = "terse_rpc_endpoint_addresses";
pub(crate) const LOOKUPS_FAILED: &str = "terse_rpc_endpoint_lookup_failures_total";

/// Registers units and help texts.
pub(crate) fn describe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        describe_counter!(SERVED, Unit::Count, "Calls answered, by service, method and gRPC code");
        describe_histogram!(SERVED_DURATION, Unit::Seconds, "From the decoded request to the answer, by service and method");
        describe_counter!(CALLED, Unit::Count, "Calls made, by service, method and gRPC code; a retry is part of its call");
        describe_histogram!(CALLED_DURATION, Unit::Seconds, "From the call to its outcome, by service and method");
        describe_counter!(RETRIED, Unit::Count, "Calls sent to another replica because the first never got them, by service");
        describe_counter!(CONNECTS, Unit::Count, "Connections opened to other services, by outcome");
        describe_gauge!(CONNECTIONS, Unit::Count, "Open connections of other services to this one");
        describe_counter!(CONNECTIONS_REFUSED, Unit::Count, "Connections closed before their first call, by reason");
        describe_histogram!(BATCH_LEN, Unit::Count, "Requests for a code that travelled in one call");
        describe_counter!(DEFERRED, Unit::Count, "Requests for a code that needed I/O, and so a call of their own");
        describe_gauge!(ADDRESSES, Unit::Count, "Addresses of another service, by list");
        describe_counter!(LOOKUPS_FAILED, Unit::Count, "DNS look-ups that failed; the last answer stays in use");
    });
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
