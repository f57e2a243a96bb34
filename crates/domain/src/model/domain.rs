//! Domains: the hosts that serve short links, with their defaults.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::{Caching, DomainNo, RedirectStatus, Target};
use crate::limits;
use crate::time::UnixMs;

/// A host name in lower case, as A-label, without a trailing dot; with `:port` where one was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Box<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host name: it takes letters, digits, dots and hyphens, at most 253, and an optional port")]
pub struct HostError;

impl Host {
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let (name, port) = split_port(text)?;
        let name = name.strip_suffix('.').unwrap_or(name);
        let name = if let Some(literal) = name.strip_prefix('[') {
            let literal = literal.strip_suffix(']').ok_or(HostError)?;
            format!("[{}]", literal.parse::<std::net::Ipv6Addr>().map_err(|_| HostError)?)
        } else {
            let ascii = idna::domain_to_ascii_strict(name).map_err(|_| HostError)?;
            if ascii.is_empty() || ascii.len() > limits::HOST_LEN_MAX {
                return Err(HostError);
            }
            ascii
        };
        Ok(Self(port.map_or_else(|| name.clone(), |port| format!("{name}:{port}")).into()))
    }

    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without its port.
    pub fn name(&self) -> &str {
        host_name(&self.0)
    }

    /// `localhost` and the loopback addresses, with any port: they mean the default domain.
    pub fn is_loopback(&self) -> bool {
        let name = self.name();
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
            || name == "[::1]"
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn host_name(text: &str) -> &str {
    if text.starts_with('[') {
        return text.find(']').map_or(text, |end| &text[..=end]);
    }
    text.split(':').next().unwrap_or(text)
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), HostError> {
    let name = host_name(text);
    match text[name.len()..].strip_prefix(':') {
        None if text.len() == name.len() => Ok((name, None)),
        Some(port) if port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()) => Ok((name, Some(port.parse().map_err(|_| HostError)?))),
        None | Some(_) => Err(HostError),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    pub no: DomainNo,
    pub host: Host,
    pub redirect_status: Option<RedirectStatus>,
    pub caching: Option<Caching>,
    /// Where `GET /` leads; the landing page when absent.
    pub landing_url: Option<Target>,
    /// Where browsers are sent for codes that lead nowhere; the 404 page when absent.
    pub not_found_url: Option<Target>,
    /// Set before the first code of the generated shape that the allocator did not make is written
    /// here: from then on "never issued" proves nothing on this domain.
    pub foreign_codes: bool,
    pub created_at: UnixMs,
}

impl Domain {
    pub fn is_default(&self) -> bool {
        self.no == DomainNo::DEFAULT
    }
}

/// All domains at one moment; cheap to share, never changed in place.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    by_host: HashMap<Box<str>, Arc<Domain>>,
    by_no: HashMap<DomainNo, Arc<Domain>>,
}

impl Directory {
    pub fn new(domains: impl IntoIterator<Item = Domain>) -> Self {
        let mut directory = Self::default();
        for domain in domains {
            let domain = Arc::new(domain);
            directory.by_host.insert(domain.host.as_str().into(), domain.clone());
            directory.by_no.insert(domain.no, domain);
        }
        directory
    }

    pub fn get(&self, no: DomainNo) -> Option<&Arc<Domain>> {
        self.by_no.get(&no)
    }

    pub fn default_domain(&self) -> Option<&Arc<Domain>> {
        self.get(DomainNo::DEFAULT)
    }

    /// The domain a request or a `domain` field means: by host with port, by host alone, or the
    /// default for loopback names. `host` must be in the form [`Host`] gives it.
    pub fn find(&self, host: &Host) -> Option<&Arc<Domain>> {
        self.by_host
            .get(host.as_str())
            .or_else(|| self.by_host.get(host.name()))
            .or_else(|| if host.is_loopback() { self.default_domain() } else { None })
    }

    /// The same for a raw `Host` header; allocates nothing when it is spelled as stored.
    pub fn find_raw(&self, host: &str) -> Option<&Arc<Domain>> {
        if let Some(domain) = self.by_host.get(host) {
            return Some(domain);
        }
        // What a user on the same machine types most: found without parsing, unless it is a domain of its own.
        if let "localhost" | "127.0.0.1" = host_name(host)
            && let Some(port) = host.get(host_name(host).len()..)
            && (port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()))
        {
            return self.by_host.get(host_name(host)).or_else(|| self.default_domain());
        }
        self.find(&Host::parse(host).ok()?)
    }

    /// Whether a target on this host would lead back to us, whatever the port.
    pub fn serves(&self, host: &str) -> bool {
        let Ok(host) = Host::parse(host) else { return false };
        self.by_no.values().any(|domain| domain.host.name() == host.name())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Domain>> {
        self.by_no.values()
    }
}
