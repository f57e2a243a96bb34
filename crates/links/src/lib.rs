//! The shortening service: creates, reads, changes and deletes links, and runs mass deletes as jobs.
//! It deliberately does not know how links are stored, nor who asks beyond an owner and scopes.
//! Read `create.rs` first: the order of claim, code and insert is what keeps every promise.

mod blocklist;
mod caches;
mod change;
mod claims;
mod codes;
mod create;
mod jobs;
mod list;
mod metrics;
mod service;

pub use blocklist::Blocklist;
pub use metrics::METRICS;
pub use service::{Deps, Options, Service};
