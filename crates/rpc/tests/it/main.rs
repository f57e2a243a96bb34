//! Clients and servers over real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod batching;
mod contracts;
mod deadlines;
mod fakes;
mod faults;
mod port;
mod raw;
mod redirects;
mod scopes;
mod security;
