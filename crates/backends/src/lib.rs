//! What the services need (`domain::port`), built on real technology: one folder a technology, one
//! file a port; the only crate that knows `SQLite`, files, Redis, Kafka and the like.
//! It deliberately knows no service and no request: which store is used where is decided by `terse`.
//! Read `sqlite/mod.rs` first, then `sqlite/link_store.rs`.

mod click_codec;
pub mod file;
pub mod memory;
pub mod metrics;
pub mod mmdb;
mod proto;
pub mod sqlite;
pub mod system;
