//! The ID service: Snowflake ids and leased blocks of counters, both granted by compare-and-set on rows
//! of the store, so that no clock and no process needs to be trusted.
//! It deliberately does not know what the ids and codes are for, nor which store keeps the rows.
//! Read `service.rs` first, then `grant.rs` for ids and `lease.rs` for codes.

mod grant;
mod lease;
pub mod metrics;
mod ranges;
pub mod restored;
mod retry;
mod service;
mod windows;

pub use ranges::first_range;
pub use service::{Options, Service};

#[cfg(test)]
mod tests;
