//! The backends against real files: the contracts of the ports, and what a file must survive.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod contracts;
mod sabotage;
mod sqlite_copy;
mod sqlite_faults;
mod sqlite_open;
mod stats_store;
