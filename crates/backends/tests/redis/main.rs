//! The ports on Redis, against real servers: a cluster, a single one, and such as do not answer.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod contracts;
mod faults;
mod limits;
mod link_cache;
mod link_events;
mod world;
