//! The redirect service: where a code leads, answered from memory wherever possible, and the click recorded.
//! It deliberately knows no HTTP and no backend: it sees stores, logs and events through `domain::port`,
//! and never turns a dependency's failure into "not found".
//! Read `service.rs` first (the order of the tiers), then `reader.rs` (memory, single
//! flight) and `fetch.rs` (one flight: the shared cache, the store).

mod budget;
mod dice;
mod entry;
mod errands;
mod fetch;
mod flights;
mod l1;
mod l2;
pub mod metrics;
mod options;
mod reader;
mod service;
mod store;
mod takedowns;
mod visit;

pub use options::{L2, Options, OptionsError};
pub use service::{Deps, Service};
