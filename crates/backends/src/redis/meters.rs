//! The handles of the metrics of one Redis, kept so that counting is one addition.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::metrics::{REDIS_BROKEN, REDIS_REQUEST_SECONDS, REDIS_REQUESTS};

/// What is asked of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Find,
    Put,
    PutAbsent,
    Rebuild,
    Publish,
    Take,
    Salt,
    Count,
    Probe,
}

impl Op {
    const ALL: [Self; 9] =
        [Self::Find, Self::Put, Self::PutAbsent, Self::Rebuild, Self::Publish, Self::Take, Self::Salt, Self::Count, Self::Probe];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Find => "redis: find link",
            Self::Put => "redis: cache link",
            Self::PutAbsent => "redis: cache absence",
            Self::Rebuild => "redis: take rebuild lock",
            Self::Publish => "redis: publish link event",
            Self::Take => "redis: take from rate limit",
            Self::Salt => "redis: read salt",
            Self::Count => "redis: add live counts",
            Self::Probe => "redis: probe",
        }
    }

    /// The command that matters, for traces.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Find => "HMGET",
            Self::Put | Self::PutAbsent | Self::Take => "EVALSHA",
            Self::Rebuild => "SET",
            Self::Publish => "PUBLISH",
            Self::Salt => "GET",
            Self::Count => "INCRBY",
            Self::Probe => "EXISTS",
        }
    }

    /// The value of the label `op`.
    fn label(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Put => "put",
            Self::PutAbsent => "put_absent",
            Self::Rebuild => "rebuild",
            Self::Publish => "publish",
            Self::Take => "take",
            Self::Salt => "salt",
            Self::Count => "count",
            Self::Probe => "probe",
        }
    }
}

struct OpMeters {
    op: Op,
    answered: Counter,
    seconds: Histogram,
    refused: AtomicBool,
}

pub(super) struct Meters {
    server: &'static str,
    ops: [OpMeters; Op::ALL.len()],
    broken: Gauge,
}

impl Meters {
    pub(super) fn new(server: &'static str) -> Self {
        let of = |op: Op| OpMeters {
            op,
            answered: counter!(REDIS_REQUESTS, "server" => server, "op" => op.label(), "outcome" => "ok"),
            seconds: histogram!(REDIS_REQUEST_SECONDS, "server" => server, "op" => op.label()),
            refused: AtomicBool::new(false),
        };
        let broken = gauge!(REDIS_BROKEN, "server" => server);
        broken.set(0.0);
        Self { server, ops: Op::ALL.map(of), broken }
    }

    fn of(&self, op: Op) -> &OpMeters {
        // Found at once: the table is as small as its labels.
        self.ops.iter().find(|meters| meters.op == op).unwrap_or(&self.ops[0])
    }

    /// Whether that is a change: requests of this kind are refused now, or are not any more.
    pub(super) fn is_news(&self, op: Op, refused: bool) -> bool {
        let known = &self.of(op).refused;
        known.load(Ordering::Relaxed) != refused && known.swap(refused, Ordering::Relaxed) != refused
    }

    pub(super) fn answered(&self, op: Op, took: Duration) {
        let meters = self.of(op);
        meters.answered.increment(1);
        meters.seconds.record(took.as_secs_f64());
    }

    pub(super) fn failed(&self, op: Op, outcome: &'static str) {
        counter!(REDIS_REQUESTS, "server" => self.server, "op" => op.label(), "outcome" => outcome).increment(1);
    }

    /// `share` of the key space that is not asked for now.
    pub(super) fn broken(&self, share: f64) {
        self.broken.set(share);
    }
}
