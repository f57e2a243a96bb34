//! Spans: a piece of work from its beginning to its end, described only if it is kept.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use super::TraceContext;
use super::recorder::{Kept, Recorder, recorder};
use super::scope::{Scope, current};

/// Which side of what a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Server,
    Client,
    Producer,
    Consumer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Static(&'static str),
    Text(String),
    Int(i64),
    Bool(bool),
}

/// A name of the OpenTelemetry semantic conventions, or one of ours, and its value. Never an address of anybody, a
/// code, a target or a key: traces are read by more people than the store is.
pub type Attribute = (&'static str, Value);

/// What a span says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub name: Cow<'static, str>,
    pub kind: Kind,
    pub attributes: Vec<Attribute>,
}

/// What can be traced.
pub trait Described: Sync {
    /// Called only for a span that is kept.
    fn describe(&self) -> Description;
}

/// A span on its way out.
#[derive(Clone, Debug)]
pub struct Finished {
    pub context: TraceContext,
    /// The span it is a part of.
    pub parent: Option<u64>,
    pub what: Description,
    pub began: SystemTime,
    pub took: Duration,
    /// What it came of, in other traces.
    pub links: Vec<TraceContext>,
    pub error: Option<&'static str>,
}

/// Work under way. Dropped without an end, it was given up.
#[must_use]
pub struct Span<'a>(Option<Open<'a>>);

struct Open<'a> {
    what: &'a dyn Described,
    recorder: &'static Recorder,
    context: TraceContext,
    parent: Option<u64>,
    began: Instant,
    links: Vec<TraceContext>,
}

impl<'a> Span<'a> {
    /// Part of what this thread works on; of nothing, where that is no request.
    pub fn begin(what: &'a dyn Described) -> Self {
        Self::below(what, current().trace)
    }

    /// Part of a span of another process.
    pub fn below(what: &'a dyn Described, parent: Option<TraceContext>) -> Self {
        Self(recorder().map(|recorder| Open {
            what,
            recorder,
            context: parent.map_or_else(|| TraceContext::root(false), TraceContext::child),
            parent: parent.map(TraceContext::span_id),
            began: Instant::now(),
            links: Vec::new(),
        }))
    }

    /// A trace of its own, kept whole, of work that came of `links` and began at `began`.
    pub fn linked(what: &'a dyn Described, began: Instant, links: Vec<TraceContext>) -> Self {
        Self(recorder().map(|recorder| Open { what, recorder, context: TraceContext::root(true), parent: None, began, links }))
    }

    /// `None` when traces are off.
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|open| open.context)
    }

    /// For what is done as part of it; with traces off, of what it would have been a part of.
    pub fn scope(&self) -> Scope {
        let around = current();
        Scope { trace: self.context().or(around.trace), ..around }
    }

    /// `error`: its kind, of which there are few.
    pub fn end(self, error: Option<&'static str>) {
        self.end_with(error, &[]);
    }

    /// The same, with what is known only now.
    pub fn end_with(mut self, error: Option<&'static str>, more: &[Attribute]) {
        if let Some(open) = self.0.take() {
            open.end(error, more);
        }
    }
}

impl Drop for Span<'_> {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open.end(None, &[("terse.given_up", Value::Bool(true))]);
        }
    }
}

impl Open<'_> {
    fn end(self, error: Option<&'static str>, more: &[Attribute]) {
        let took = self.began.elapsed();
        let Some(kept) = self.recorder.keeps(Some(self.context), error.is_some(), took) else { return };
        let mut what = self.what.describe();
        what.attributes.extend_from_slice(more);
        finish(self.recorder, kept, Ended { context: self.context, parent: self.parent, took, error }, what, self.links);
    }
}

#[derive(Clone, Copy)]
struct Ended {
    context: TraceContext,
    parent: Option<u64>,
    took: Duration,
    error: Option<&'static str>,
}

fn finish(recorder: &Recorder, kept: Kept, ended: Ended, mut what: Description, links: Vec<TraceContext>) {
    let Ended { context, parent, took, error } = ended;
    if let Some(error) = error {
        what.attributes.push(("error.type", Value::Static(error)));
    }
    // Where only some of a kind are kept, their share says nothing.
    match kept {
        Kept::Sampled => {}
        Kept::Failed => what.attributes.push(("terse.kept", Value::Static("failed"))),
        Kept::Slow => what.attributes.push(("terse.kept", Value::Static("slow"))),
    }
    #[expect(clippy::disallowed_methods, reason = "a span that is kept is the only thing here that has a date")]
    let now = SystemTime::now();
    recorder.keep(Finished { context, parent, what, began: now.checked_sub(took).unwrap_or(now), took, links, error });
}

/// A request at the door. Small and without an end of its own, because most are answered before it would be worth one.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    context: TraceContext,
    parent: Option<u64>,
}

impl Arrival {
    /// Part of the trace that somebody trusted began, kept if that one is; without one, one in so many is sampled.
    /// `None` when traces are off.
    pub fn new(parent: Option<TraceContext>) -> Option<Self> {
        let recorder = recorder()?;
        Some(match parent {
            Some(parent) => Self { context: parent.child(), parent: Some(parent.span_id()) },
            None => Self { context: TraceContext::root(recorder.samples()), parent: None },
        })
    }

    /// One in so many. For requests that are answered too quickly to look at each.
    #[inline]
    pub fn sampled() -> Option<Self> {
        recorder()?.samples().then(|| Self { context: TraceContext::root(true), parent: None })
    }

    /// For one that was not sampled and takes longer than expected.
    pub fn unsampled() -> Option<Self> {
        recorder().map(|_| Self { context: TraceContext::root(false), parent: None })
    }

    pub fn context(self) -> TraceContext {
        self.context
    }

    /// The end of a request, which took until now. `None`: it was not sampled, and may still be worth keeping.
    #[inline]
    pub fn end(arrival: Option<Self>, took: Duration, error: Option<&'static str>, describe: impl FnOnce() -> Description) {
        let Some(recorder) = recorder() else { return };
        let Some(kept) = recorder.keeps(arrival.map(Self::context), error.is_some(), took) else { return };
        let Self { context, parent } = arrival.unwrap_or_else(|| Self { context: TraceContext::root(false), parent: None });
        finish(recorder, kept, Ended { context, parent, took, error }, describe(), Vec::new());
    }
}
