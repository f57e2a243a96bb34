//! Redirects across processes.
//!
//! Requests for one replica travel in batches formed by those that wait: while fewer than
//! [`Options::batches_in_flight`] calls are under way, whatever waits is sent at once. The answer holds every
//! hit; what needs I/O is deferred, with nothing counted, and asked for by a call of its own, so that nobody
//! waits for somebody slower.

mod answers;
mod asks;
mod batch;
mod client;
mod server;
#[cfg(test)]
mod tests;

pub use batch::Options;
pub use client::Client;
pub(crate) use server::server;
