//! Traces: what a request did, in every process that worked on it.
//!
//! One request in so many is sampled at the door, and all its spans are kept. Of every other, a span that failed or was
//! slow is kept when it ends. Until then a span is a few numbers: what it was is described only if it is kept. Kept spans
//! wait in a bounded queue for whoever exports them; no protocol is known here.
//!
//! Read `span.rs` for how work is traced, `scope.rs` for how spans find their parents, `recorder.rs` for what is kept.

mod context;
mod dice;
mod recorder;
mod scope;
mod span;

pub use context::TraceContext;
pub use recorder::{METRICS, Options, install, is_on, spans};
pub use scope::{Scope, current, in_scope, sampled, within};
pub use span::{Arrival, Attribute, Described, Description, Finished, Kind, Span, Value};
