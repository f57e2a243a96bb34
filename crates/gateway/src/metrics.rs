//! What is measured here: names, units and help in one place, and the handles that hot paths keep.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::balance::{Fault, Outcome};
use crate::shedding::Class;

chassis::metrics! {
    /// Requests answered.
    Counter REQUESTS = "terse_gateway_requests_total" in "requests" by ["kind": "redirect|page|api", "status": "1xx|2xx|3xx|4xx|5xx"];
    /// From the last header byte to the head of the answer.
    Histogram DURATION = "terse_gateway_request_duration_seconds" in "seconds" by ["kind": "redirect|page|api"];
    /// Requests at work, by what they are worth when not all can be served.
    Gauge AT_WORK = "terse_gateway_requests_at_work" in "requests" by ["class": "redirect|create|stats"];
    /// Open client connections.
    Gauge CONNECTIONS = "terse_gateway_connections" in "connections";
    /// Connections closed because the peer was too slow.
    Counter CONNECTIONS_CLOSED = "terse_gateway_connections_closed_total" in "connections" by ["reason": "handshake|header|body|write|idle"];
    /// Connections closed on accept: too many of all, too many of one network, no descriptor or memory left.
    Counter CONNECTIONS_REFUSED = "terse_gateway_connections_refused_total" in "connections" by ["reason": "total|per_ip|system"];
    /// Requests answered 503 to protect the others.
    Counter SHED = "terse_gateway_shed_total" in "requests" by ["class": "redirect|create|stats"];
    /// Requests refused by a limit.
    Counter LIMITED = "terse_gateway_limited_total" in "requests" by ["limit": "requests|misses|api|creations"];
    /// Handlers that panicked; each one is a bug.
    Counter PANICS = "terse_gateway_panics_total" in "panics";
    /// Requests sent to redirect replicas.
    Counter BALANCE_REQUESTS = "terse_balance_requests_total" in "requests" by ["outcome": "answered|refused|unreachable|too_late|broken_off"];
    /// Requests that never reached their replica, by what became of them at another one.
    Counter BALANCE_RETRIES = "terse_balance_retries_total" in "requests" by ["outcome": "answered|failed|over_budget|too_late|no_other"];
    /// Requests given to another replica than their code's because those were too busy.
    Counter BALANCE_SPILLS = "terse_balance_spills_total" in "requests";
    /// Redirect replicas found faulty.
    Counter BALANCE_EJECTIONS = "terse_balance_ejections_total" in "ejections" by ["reason": "failures|rate|silent"];
    /// Probes of silent or faulty redirect replicas.
    Counter BALANCE_PROBES = "terse_balance_probes_total" in "probes" by ["outcome": "answered|failed"];
    /// Redirect replicas known.
    Gauge BALANCE_REPLICAS = "terse_balance_replicas" in "replicas";
    /// Redirect replicas known and left out.
    Gauge BALANCE_EJECTED = "terse_balance_replicas_ejected" in "replicas";
    /// Limits decided in this process because the shared limiter did not answer.
    Counter LIMITER_FALLBACK = "terse_limiter_fallback_total" in "decisions";
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
    at_work: [Gauge; 3],
    pub(crate) connections: Gauge,
}

impl RequestMetrics {
    pub(crate) fn new() -> Self {
        Self {
            answered: RequestKind::ALL
                .map(|kind| STATUS_CLASSES.map(|status| counter!(REQUESTS, "kind" => kind.as_str(), "status" => status))),
            duration: RequestKind::ALL.map(|kind| histogram!(DURATION, "kind" => kind.as_str())),
            at_work: Class::ALL.map(|class| gauge!(AT_WORK, "class" => class.as_str())),
            connections: gauge!(CONNECTIONS),
        }
    }

    pub(crate) fn answered(&self, kind: RequestKind, status: http::StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1).min(4);
        self.answered[kind as usize][class].increment(1);
        self.duration[kind as usize].record(took);
    }

    pub(crate) fn at_work(&self, class: Class, requests: usize) {
        self.at_work[class as usize].set(f64::from(u32::try_from(requests).unwrap_or(u32::MAX)));
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
    counter!(LIMITER_FALLBACK)
}
