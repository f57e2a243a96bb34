//! Clicks of traces that are kept, on their way into the statistics. Counting is no part of their traces, which ended long
//! ago and are many: it is a trace of its own, which links to each of them.

use std::time::Instant;

use chassis::trace::{Described, Description, Kind, Span, TraceContext, Value};
use domain::ClickTrace;

/// Links of one span; more clicks are counted without.
const LINKS_MAX: usize = 128;

/// Since the last flush.
#[derive(Default)]
pub(crate) struct Traced {
    first: Option<Instant>,
    links: Vec<TraceContext>,
}

impl Traced {
    pub(crate) fn add(&mut self, trace: ClickTrace) {
        if self.links.len() < LINKS_MAX
            && let Some(context) = TraceContext::new(trace.trace_id, trace.span_id, true)
        {
            self.first.get_or_insert_with(Instant::now);
            self.links.push(context);
        }
    }

    /// The span of what has been gathered, if that is anything.
    pub(crate) fn take<'a>(&mut self, counting: &'a Counting) -> Option<Span<'a>> {
        let Self { first, links } = std::mem::take(self);
        first.map(|first| Span::linked(counting, first, links))
    }
}

/// The counting of the clicks of one partition.
pub(crate) struct Counting {
    pub(crate) partition: u32,
    pub(crate) clicks: u64,
}

impl Described for Counting {
    fn describe(&self) -> Description {
        let attributes = vec![
            ("messaging.system", Value::Static("terse")),
            ("messaging.operation.name", Value::Static("process")),
            ("messaging.operation.type", Value::Static("process")),
            ("messaging.destination.name", Value::Static("clicks")),
            ("messaging.destination.partition.id", Value::Text(self.partition.to_string())),
            ("messaging.batch.message_count", Value::Int(i64::try_from(self.clicks).unwrap_or(i64::MAX))),
        ];
        Description { name: "process clicks".into(), kind: Kind::Consumer, attributes }
    }
}
