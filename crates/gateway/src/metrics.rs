//! What is measured here: names, units and help in one place, and the handles that hot paths keep.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::balance::{Fault, Outcome};
use crate::shedding::Class;

pub(crate) const REQUESTS: &str = "terse_gateway_requests_total";
pub(crate) const DURATION: &str = "terse_gateway_request_duration_seconds";
pub(crate) const CONNECTIONS: &str = "terse_gateway_connections";
pub(crate) const CONNECTIONS_CLOSED: &str = "terse_gateway_connections_closed_total";
pub(crate) const CONNECTIONS_REFUSED: &str = "terse_gateway_connections_refused_total";
pub(crate) const SHED: &str = "terse_gateway_shed_total";
pub(crate) const LIMITED: &str = "terse_gateway_limited_total";
pub(crate) const PANICS: &str = "terse_gateway_panics_total";
pub(crate) const BALANCE_REQUESTS: &str = "terse_balance_requests_total";
pub(crate) const BALANCE_RETRIES: &str = "terse_balance_retries_total";
pub(crate) const BALANCE_SPILLS: &str = "terse_balance_spills_total";
pub(crate) const BALANCE_EJECTIONS: &str = "terse_balance_ejections_total";
pub(crate) const BALANCE_PROBES: &str = "terse_balance_probes_total";
pub(crate) const BALANCE_REPLICAS: &str = "terse_balance_replicas";
pub(crate) const BALANCE_EJECTED: &str = "terse_balance_replicas_ejected";
pub(crate) const LIMITER_FALLBACK: &str = "terse_limiter_fallback_total";

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

/// What became of a request that never reached its first replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retried {
    Answered,
    Failed,
    OverBudget,
    TooLate,
    NoOther,
}

impl Retried {
    const ALL: [Self; 5] = [Self::Answered, Self::Failed, Self::OverBudget, Self::TooLate, Self::NoOther];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::OverBudget => "over_budget",
            Self::TooLate => "too_late",
            Self::NoOther => "no_other",
        }
    }
}

/// Handles of what is counted of the redirect replicas, together: addresses come and go.
pub(crate) struct BalanceMetrics {
    pub(crate) outcomes: [Counter; 5],
    pub(crate) spilled: Counter,
    retries: [Counter; 5],
    replicas: Gauge,
    ejected: Gauge,
}

impl BalanceMetrics {
    pub(crate) fn new() -> Self {
        describe_counter!(BALANCE_REQUESTS, Unit::Count, "Requests sent to redirect replicas, by outcome");
        describe_counter!(BALANCE_RETRIES, Unit::Count, "Requests that never reached their replica, by what became of them at another one");
        describe_counter!(BALANCE_SPILLS, Unit::Count, "Requests given to another replica than their code's because those were too busy");
        describe_counter!(BALANCE_EJECTIONS, Unit::Count, "Redirect replicas found faulty, by reason");
        describe_counter!(BALANCE_PROBES, Unit::Count, "Probes of silent or faulty redirect replicas, by outcome");
        describe_gauge!(BALANCE_REPLICAS, Unit::Count, "Redirect replicas known");
        describe_gauge!(BALANCE_EJECTED, Unit::Count, "Redirect replicas known and left out");
        Self {
            outcomes: Outcome::ALL.map(|outcome| counter!(BALANCE_REQUESTS, "outcome" => outcome.as_str())),
            spilled: counter!(BALANCE_SPILLS),
            retries: Retried::ALL.map(|retried| counter!(BALANCE_RETRIES, "outcome" => retried.as_str())),
            replicas: gauge!(BALANCE_REPLICAS),
            ejected: gauge!(BALANCE_EJECTED),
        }
    }

    pub(crate) fn retried(&self, retried: Retried) {
        self.retries[retried as usize].increment(1);
    }

    #[expect(clippy::unused_self, reason = "rare, so no handle is kept; counted where the others are")]
    pub(crate) fn ejected(&self, fault: Fault) {
        counter!(BALANCE_EJECTIONS, "reason" => fault.as_str()).increment(1);
    }

    #[expect(clippy::unused_self, reason = "rare, so no handle is kept; counted where the others are")]
    pub(crate) fn probed(&self, lives: bool) {
        counter!(BALANCE_PROBES, "outcome" => if lives { "answered" } else { "failed" }).increment(1);
    }

    pub(crate) fn replicas(&self, known: usize, ejected: usize) {
        let gauge = |replicas: usize| f64::from(u32::try_from(replicas).unwrap_or(u32::MAX));
        self.replicas.set(gauge(known));
        self.ejected.set(gauge(ejected));
    }
}

/// Registers the counter at zero.
pub(crate) fn limiter_fallback() -> Counter {
    describe_counter!(LIMITER_FALLBACK, Unit::Count, "Limits decided in this process because the shared limiter did not answer");
    counter!(LIMITER_FALLBACK)
}
