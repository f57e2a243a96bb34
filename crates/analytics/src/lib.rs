//! The analytics service: a consumer that counts every click of the log exactly once, the roll-ups of what
//! it counted, and the answers to questions about it.
//! It deliberately knows no log and no store, only their ports, and never who may see what.
//! Read `fold.rs` first, then `consumer.rs` and `service.rs`.

mod calendar;
pub mod consumer;
pub mod feed;
mod fold;
pub mod history;
pub mod live;
pub mod metrics;
mod read;
pub mod rollup;
mod service;
mod traced;

pub use service::Service;

#[cfg(test)]
mod testing;
