//! What an operator may choose of the gateway.

use std::time::Duration;

use http::HeaderValue;

use crate::network::Networks;
use crate::shedding::Concurrency;

#[derive(Clone, Debug)]
pub struct Options {
    /// `http` or `https`: how short URLs begin. Their host is the domain's.
    pub scheme: Scheme,
    /// Whose forwarding, country and request-id headers are believed.
    pub trusted_proxies: Networks,
    /// Which header those proxies write; the other one is never read.
    pub forwarded_header: ForwardedHeader,
    pub limits: Limits,
    /// Addresses are counted under it: the same in all gateways that count together, and nobody else's.
    pub limits_key: [u8; 16],
    pub deadlines: Deadlines,
    pub timeouts: Timeouts,
    pub connections: ConnectionLimits,
    pub concurrency: Concurrency,
    /// Sent with every redirect.
    pub referrer_policy: HeaderValue,
    /// Certificate and key; plain HTTP when absent.
    pub tls: Option<TlsFiles>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: std::path::PathBuf,
    pub key: std::path::PathBuf,
}

/// 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests of any kind.
    pub requests_per_s: u32,
    /// Codes that lead nowhere, per IP; then every code answers 429 until the budget refills.
    pub misses_per_min: u32,
    /// API requests per IP.
    pub api_requests_per_min: u32,
    /// Links created per ordinary key; a bulk counts its items.
    pub creations_per_h: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_per_s: 50_000, misses_per_min: 30, api_requests_per_min: 100, creations_per_h: 30 }
    }
}

/// One absolute deadline per request, by what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    pub redirect: Duration,
    pub api: Duration,
    pub stats: Duration,
    pub bulk: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            redirect: Duration::from_millis(250),
            api: Duration::from_secs(1),
            stats: Duration::from_secs(5),
            bulk: Duration::from_secs(30),
        }
    }
}

/// How long a peer may keep us waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accept (with TLS, handshake included) to the first byte.
    pub first_byte: Duration,
    /// From the first byte of a request to the last of its headers.
    pub header: Duration,
    /// From the headers to the last byte of the body.
    pub body: Duration,
    /// A peer that takes nothing of an answer.
    pub write: Duration,
    /// Between requests.
    pub idle: Duration,
    /// How long connections without a request are kept while draining: a request already on its way
    /// is still answered.
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(5),
            header: Duration::from_secs(5),
            body: Duration::from_secs(10),
            write: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            linger: Duration::from_millis(500),
        }
    }
}

/// 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub total: usize,
    /// Loopback and trusted proxies are not held to it.
    pub per_ip: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { total: 16_384, per_ip: 100 }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scheme: Scheme::Http,
            trusted_proxies: Networks::default(),
            forwarded_header: ForwardedHeader::default(),
            limits: Limits::default(),
            limits_key: [0; 16],
            deadlines: Deadlines::default(),
            timeouts: Timeouts::default(),
            connections: ConnectionLimits::default(),
            concurrency: Concurrency::default(),
            referrer_policy: HeaderValue::from_static("strict-origin-when-cross-origin"),
            tls: None,
        }
    }
}
