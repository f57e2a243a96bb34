//! What is asked of stores and caches, and what is handed to logs, as spans.

use std::borrow::Cow;

use chassis::trace::{self, Attribute, Described, Description, Kind, Span, TraceContext, Value};
use domain::ClickTrace;
use domain::port::{PortError, PortErrorKind};

/// One request of a database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    /// By the name that the conventions give it: `cassandra`, `redis`, `sqlite`.
    pub(crate) system: &'static str,
    pub(crate) operation: &'a str,
    /// A table, where there is one.
    pub(crate) collection: Option<&'a str>,
    /// As errors and metrics call it.
    pub(crate) op: &'static str,
}

impl Described for Query<'_> {
    fn describe(&self) -> Description {
        let summary = match self.collection {
            Some(collection) => format!("{} {collection}", self.operation),
            None => self.operation.to_owned(),
        };
        let mut attributes: Vec<Attribute> = vec![
            ("db.system.name", Value::Static(self.system)),
            ("db.operation.name", Value::Text(self.operation.to_owned())),
            ("db.query.summary", Value::Text(summary.clone())),
            ("terse.op", Value::Static(self.op)),
        ];
        attributes.extend(self.collection.map(|collection| ("db.collection.name", Value::Text(collection.to_owned()))));
        Description { name: Cow::Owned(summary), kind: Kind::Client, attributes }
    }
}

/// Ends the span of a request with what came of it.
pub(crate) fn end<T>(span: Span<'_>, answer: &Result<T, PortError>) {
    span.end(answer.as_ref().err().map(|error| match error.kind {
        PortErrorKind::Unavailable => "unavailable",
        PortErrorKind::Full => "full",
        PortErrorKind::Corrupt => "corrupt",
    }));
}

/// The making of a record of the click log.
#[derive(Clone, Debug)]
pub(crate) struct ClickCreation {
    pub(crate) system: &'static str,
    pub(crate) topic: Box<str>,
}

impl ClickCreation {
    /// `None` for a click whose trace is not kept: such a one costs nothing and says nothing.
    pub(crate) fn begin(&self) -> Option<Span<'_>> {
        trace::sampled().map(|parent| Span::below(self, Some(parent)))
    }
}

impl Described for ClickCreation {
    fn describe(&self) -> Description {
        let attributes = vec![
            ("messaging.system", Value::Static(self.system)),
            ("messaging.operation.name", Value::Static("create")),
            ("messaging.operation.type", Value::Static("create")),
            ("messaging.destination.name", Value::Text(self.topic.to_string())),
        ];
        Description { name: format!("create {}", self.topic).into(), kind: Kind::Producer, attributes }
    }
}

/// As a record carries it.
pub(crate) fn click_trace(span: Option<&Span<'_>>) -> Option<ClickTrace> {
    span.and_then(Span::context)
        .filter(|context| context.is_sampled())
        .map(|context: TraceContext| ClickTrace { trace_id: context.trace_id(), span_id: context.span_id() })
}
