//! What the services need (`domain::port`), built on real technology: one folder a technology, one
//! file a port; the only crate that knows `SQLite`, files, Redis, Kafka and the like.
//! It deliberately knows no service and no request: which store is used where is decided by `terse`.
//! Read `sqlite/mod.rs` first, then `sqlite/link_store.rs`.

mod calendar;
mod click_codec;
pub mod file;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod kafka;
mod link_events_both;
pub mod memory;
pub mod metrics;
pub mod mmdb;
pub mod otlp;
mod proto;
pub mod redis;
pub mod scylla;
pub mod sqlite;
mod stats_codec;
pub mod system;
mod traced;

pub use link_events_both::LinkEventsBoth;
