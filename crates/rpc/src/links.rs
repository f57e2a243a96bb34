//! The shortening service across processes.

mod client;
mod convert;
mod link;
mod server;
#[cfg(test)]
mod tests;

pub use client::Client;
pub(crate) use convert::domain_no;
pub(crate) use link::{caching, owner, redirect_status, target, title, to_caching, to_redirect_status};
pub(crate) use server::server;
