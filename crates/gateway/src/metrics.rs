//! What is measured here: names, units and help in one place, and the handles that hot paths keep.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::shedding::Class;

pub(crate) const REQUESTS: &str = "terse_gateway_requests_total";
pub(crate) const DURATION: &str = "terse_gateway_request_duration_seconds";
pub(crate) const CONNECTIONS: &str = "terse_gateway_connections";
pub(crate) const CONNECTIONS_CLOSED: &str = "terse_gateway_connections_closed_total";
pub(crate) const CONNECTIONS_REFUSED: &str = "terse_gateway_connections_refused_total";
pub(crate) const SHED: &str = "terse_gateway_shed_total";
pub(crate) const LIMITED: &str = "terse_gateway_limited_total";
pub(crate) const PANICS: &str = "terse_gateway_panics_total";

/// Registers units and help texts. Called once the recorder is installed.
fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "Requests answered, by kind and status class");
    describe_histogram!(DURATION, Unit::Seconds, "From the last header byte to the head of the answer, by kind");
    describe_gauge!(CONNECTIONS, Unit::Count, "Open client connections");
    describe_counter!(CONNECTIONS_CLOSED, Unit::Count, "Connections closed because the peer was too slow, by reason");
    describe_counter!(CONNECTIONS_REFUSED, Unit::Count, "Connections closed on accept, by reason");
    describe_counter!(SHED, Unit::Count, "Requests answered 503 to protect the others, by class");
    describe_counter!(LIMITED, Unit::Count, "Requests refused by a limit, by limit");
    describe_counter!(PANICS, Unit::Count, "Handlers that panicked; each one is a bug");
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Redirect,
    Page,
    Api,
}

impl RequestKind {
    const ALL: [Self; 3] = [Self::Redirect, Self::Page, Self::Api];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Page => "page",
            Self::Api => "api",
        }
    }
}

const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Handles of what is counted for each request.
pub(crate) struct RequestMetrics {
    answered: [[Counter; 5]; 3],
    duration: [Histogram; 3],
    pub(crate) connections: Gauge,
}

impl RequestMetrics {
    pub(crate) fn new() -> Self {
        describe();
        Self {
            answered: RequestKind::ALL
                .map(|kind| STATUS_CLASSES.map(|status| counter!(REQUESTS, "kind" => kind.as_str(), "status" => status))),
            duration: RequestKind::ALL.map(|kind| histogram!(DURATION, "kind" => kind.as_str())),
            connections: gauge!(CONNECTIONS),
        }
    }

    pub(crate) fn answered(&self, kind: RequestKind, status: http::StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1).min(4);
        self.answered[kind as usize][class].increment(1);
        self.duration[kind as usize].record(took);
    }
}

pub(crate) fn shed(class: Class) {
    counter!(SHED, "class" => class.as_str()).increment(1);
}

/// `limit`: `requests`, `misses`, `api`, `creations`.
pub(crate) fn limited(limit: &'static str) {
    counter!(LIMITED, "limit" => limit).increment(1);
}

pub(crate) fn connection_closed(reason: &'static str) {
    counter!(CONNECTIONS_CLOSED, "reason" => reason).increment(1);
}

pub(crate) fn connection_refused(reason: &'static str) {
    counter!(CONNECTIONS_REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn panicked() {
    counter!(PANICS).increment(1);
}
