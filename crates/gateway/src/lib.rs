//! The only public door: redirects, pages and the REST API, with auth, limits and shedding.
//! It deliberately does not know how anything is stored, nor whether a service runs in this process.
//! Read `server.rs` (the accept loop), then `plain/mod.rs` and `redirects.rs` (the hot route), then `api/mod.rs`.

mod activity;
mod api;
pub mod auth;
pub mod balance;
mod body;
mod caching;
mod connection;
mod front;
#[cfg(fuzzing)]
pub mod fuzz;
mod limits;
mod location;
mod metrics;
mod network;
mod openapi;
mod options;
mod pages;
mod plain;
mod problem;
mod qr;
mod redirects;
mod refusal;
mod request;
mod server;
mod shedding;
mod state;
mod tls;
mod traced;

use std::sync::Arc;

use domain::api::{History, Ids, Links, Resolver, Stats};
use domain::port::{ClaimStore, Clock, DomainStore, Entropy, KeyStore, RateLimiter};

pub use limits::{FallbackLimiter, FallbackOptions};
pub use metrics::METRICS;
pub use network::{Network, NetworkError, Networks};
pub use openapi::openapi_json;
pub use options::{ConnectionLimits, Deadlines, ForwardedHeader, Limits, Options, Scheme, Timeouts, TlsFiles};
pub use server::Server;
pub use shedding::Concurrency;
pub use state::Gateway;

/// What the gateway calls.
#[derive(Clone)]
pub struct Services {
    pub links: Arc<dyn Links>,
    pub resolver: Arc<dyn Resolver>,
    pub stats: Arc<dyn Stats>,
    pub history: Arc<dyn History>,
    pub ids: Arc<dyn Ids>,
    pub claims: Arc<dyn ClaimStore>,
    pub keys: Arc<dyn KeyStore>,
    pub domains: Arc<dyn DomainStore>,
    pub limiter: Arc<dyn RateLimiter>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}
