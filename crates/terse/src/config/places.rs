//! Values that name a place: addresses, and header texts.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use domain::Host;

/// An address and port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen(SocketAddr);

impl Listen {
    pub(crate) const fn local(port: u16) -> Self {
        Self(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    pub(crate) fn address(self) -> SocketAddr {
        self.0
    }

    pub(crate) fn port(self) -> u16 {
        self.0.port()
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected ADDRESS:PORT, such as 127.0.0.1:8080, 0.0.0.0:80 or [::]:8080".to_owned();
        match text.strip_prefix("localhost:") {
            Some(port) => port.parse().map(Self::local).map_err(|_| wrong()),
            None => text.parse().map(Self).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn usual_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// `http://host[:port]` or `https://…`, without a path: what short links begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicUrl {
    scheme: Scheme,
    host: Host,
}

impl PublicUrl {
    pub(super) fn local(scheme: Scheme, port: u16) -> Self {
        let host = if port == scheme.usual_port() { "localhost".to_owned() } else { format!("localhost:{port}") };
        Self { scheme, host: Host::from_stored(&host) }
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// The port that a browser would go to.
    pub(crate) fn port(&self) -> u16 {
        let port = self.host.as_str()[self.host.name().len()..].strip_prefix(':');
        port.and_then(|port| port.parse().ok()).unwrap_or_else(|| self.scheme.usual_port())
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected http:// or https:// and a host without a path, such as https://go.example.com".to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(wrong()),
        };
        let host = Host::parse(rest.strip_suffix('/').unwrap_or(rest)).map_err(|_| wrong())?;
        let url = Self { scheme, host };
        // `https://x:443` and `https://x` are one host, and requests name it without the port.
        let host = if url.port() == scheme.usual_port() { Host::from_stored(url.host.name()) } else { url.host };
        Ok(Self { scheme, host })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)
    }
}

/// A receiver of traces, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Collector {
    None,
    At(http::Uri),
}

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::None);
        }
        let uri = text.parse::<http::Uri>().ok();
        let is_origin = |uri: &http::Uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && matches!(uri.path_and_query().map(http::uri::PathAndQuery::as_str), None | Some("/"))
        };
        let wrong = || "expected nothing, or http:// or https:// with a host and a port, such as http://127.0.0.1:4317".to_owned();
        uri.filter(is_origin).map(Self::At).ok_or_else(wrong)
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::At(uri) => f.write_str(uri.to_string().trim_end_matches('/')),
        }
    }
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderText(http::HeaderValue);

impl HeaderText {
    pub(crate) const fn from_static(text: &'static str) -> Self {
        Self(http::HeaderValue::from_static(text))
    }

    pub(crate) fn value(&self) -> http::HeaderValue {
        self.0.clone()
    }
}

impl FromStr for HeaderText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected printable ASCII, as headers are made of".to_owned();
        let value = http::HeaderValue::from_str(text).map_err(|_| wrong())?;
        if value.to_str().is_ok() { Ok(Self(value)) } else { Err(wrong()) }
    }
}

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}
