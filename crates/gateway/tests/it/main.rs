//! The public port, over real sockets.
#![expect(clippy::unwrap_used, clippy::large_futures, reason = "a test fails by a panic, and its futures live once")]

mod client;
mod drain;
mod hostile;
mod limits;
mod pages;
mod plain;
mod protocols;
mod redirects;
mod world;
