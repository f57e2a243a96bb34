//! Addresses of Redis as operators write them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub(super) const PORT_DEFAULT: u16 = 6379;
const FORM: &str =
    "redis://[user:password@]host[:port][/db], rediss://…, redis-cluster://[user:password@]host[:port],host[:port]… or rediss-cluster://…";

/// One Redis, or several nodes of one cluster; `rediss` speaks TLS.
///
/// After a `?`: `ca=FILE` (the certificates that servers are checked against, else those of the system),
/// `cert=FILE` and `key=FILE` (what the client shows of itself). All are PEM files.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub(super) kind: Kind,
    pub(super) nodes: Vec<Node>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) tls: Option<TlsFiles>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Single { db: u16 },
    Cluster,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// What is wrong with an address, as a sentence for whoever wrote it. Never contains the password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RedisUrlError(String);

fn wrong<T>(what: impl Into<String>) -> Result<T, RedisUrlError> {
    Err(RedisUrlError(what.into()))
}

impl RedisUrl {
    /// The schemes that [`str::parse`] takes.
    pub const SCHEMES: [&'static str; 4] = ["redis", "rediss", "redis-cluster", "rediss-cluster"];

    pub fn is_cluster(&self) -> bool {
        self.kind == Kind::Cluster
    }
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        let Some((scheme, rest)) = text.split_once("://") else { return wrong(format!("expected {FORM}")) };
        let (cluster, tls) = match scheme {
            "redis" => (false, false),
            "rediss" => (false, true),
            "redis-cluster" => (true, false),
            "rediss-cluster" => (true, true),
            _ => return wrong(format!("`{}://` is not a known scheme; expected {FORM}", scheme.escape_debug())),
        };
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (rest, user, password) = split_credentials(rest)?;
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let kind = match (cluster, path) {
            (true, "") => Kind::Cluster,
            (true, _) => return wrong("a cluster has one database: leave out what follows the `/`"),
            (false, "") => Kind::Single { db: 0 },
            (false, db) => Kind::Single { db: db.parse().or_else(|_| wrong("the database after the `/` is a number, usually 0 to 15"))? },
        };
        let nodes = hosts.split(',').map(parse_node).collect::<Result<Vec<_>, _>>()?;
        if !cluster && nodes.len() > 1 {
            return wrong("redis:// takes one host; several belong to redis-cluster://");
        }
        Ok(Self { kind, nodes, user, password, tls: parse_query(query, tls)? })
    }
}

/// The userinfo may contain anything percent-encoded, and an `@` as it is.
fn split_credentials(text: &str) -> Result<(&str, Option<String>, Option<String>), RedisUrlError> {
    let Some((credentials, rest)) = text.rsplit_once('@') else { return Ok((text, None, None)) };
    let (user, password) = credentials.split_once(':').map_or((credentials, None), |(user, password)| (user, Some(password)));
    let decode = |part: &str| decode(part).map_or_else(|| wrong("the user or password is not percent-encoded UTF-8"), Ok);
    let user = if user.is_empty() { None } else { Some(decode(user)?) };
    let password = password.map(decode).transpose()?;
    if password.is_none() {
        return wrong("a user comes with a password: write user:password@host, or :password@host");
    }
    Ok((rest, user, password))
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

fn parse_node(text: &str) -> Result<Node, RedisUrlError> {
    let named = |host: &str, port: Option<&str>| {
        let fits = !host.is_empty() && host.len() <= 253 && host.bytes().all(|byte| byte.is_ascii_graphic());
        let port = port.map_or(Some(PORT_DEFAULT), |port| port.parse().ok().filter(|port| *port > 0));
        match (fits, port) {
            (true, Some(port)) => Ok(Node { host: host.to_owned(), port }),
            _ => wrong(format!("`{}` is not host:port", text.escape_debug())),
        }
    };
    if let Some((host, after)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return named(host, after.strip_prefix(':'));
    }
    let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    named(host, port)
}

fn parse_query(query: Option<&str>, tls: bool) -> Result<Option<TlsFiles>, RedisUrlError> {
    let mut files = TlsFiles::default();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match name {
            "ca" => &mut files.ca,
            "cert" => &mut files.cert,
            "key" => &mut files.key,
            _ => return wrong(format!("`{}` is not a known option; known: ca, cert, key", name.escape_debug())),
        };
        let path = decode(value).filter(|path| !path.is_empty());
        *slot = Some(path.map_or_else(|| wrong(format!("`{name}` takes the path of a PEM file")), Ok)?.into());
    }
    if files.cert.is_some() != files.key.is_some() {
        return wrong("`cert` and `key` come together");
    }
    if !tls && files != TlsFiles::default() {
        return wrong("certificates are for rediss:// and rediss-cluster://");
    }
    Ok(tls.then_some(files))
}

/// Without the credentials: it is what logs show.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.tls.is_some() { "s" } else { "" };
        let cluster = if self.is_cluster() { "-cluster" } else { "" };
        write!(f, "redis{s}{cluster}://")?;
        for (i, Node { host, port }) in self.nodes.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            if host.contains(':') { write!(f, "{comma}[{host}]:{port}")? } else { write!(f, "{comma}{host}:{port}")? }
        }
        match self.kind {
            Kind::Single { db } if db > 0 => write!(f, "/{db}"),
            Kind::Single { .. } | Kind::Cluster => Ok(()),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> RedisUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(parse("redis://cache").to_string(), "redis://cache:6379");
        assert_eq!(parse("redis://cache/").to_string(), "redis://cache:6379");
        assert_eq!(parse("redis://127.0.0.1:7000/3").to_string(), "redis://127.0.0.1:7000/3");
        assert_eq!(parse("redis://[::1]:7000").nodes, [Node { host: "::1".into(), port: 7000 }]);
        let cluster = parse("redis-cluster://ann:p%40s%2Fs@a:1,b,[::1]:3");
        assert!(cluster.is_cluster());
        assert_eq!((cluster.user.as_deref(), cluster.password.as_deref()), (Some("ann"), Some("p@s/s")));
        assert_eq!(format!("{cluster} {cluster:?}"), ["redis-cluster://a:1,b:6379,[::1]:3"; 2].join(" "), "no password in logs");
        let only_password = parse("redis://:sesame@host");
        assert_eq!((only_password.user, only_password.password.as_deref()), (None, Some("sesame")));
        let tls = parse("rediss-cluster://a,b?ca=/etc/ca.pem&cert=c.pem&key=k.pem");
        assert_eq!(tls.tls.unwrap().ca.unwrap(), PathBuf::from("/etc/ca.pem"));
        assert_eq!(parse("rediss://a").tls, Some(TlsFiles::default()));
    }

    #[test]
    fn mistakes_are_named_without_the_password() {
        for (text, says) in [
            ("cache:6379", "expected redis://"),
            ("valkey://a", "not a known scheme"),
            ("redis://a,b", "redis-cluster://"),
            ("redis-cluster://a/1", "one database"),
            ("redis://a/x", "number"),
            ("redis://", "host:port"),
            ("redis://a:0", "host:port"),
            ("redis://a:99999", "host:port"),
            ("redis-cluster://a,,b", "host:port"),
            ("redis://sesame@a", "user:password@host"),
            ("redis://u:sesame%zz@a", "percent-encoded"),
            ("redis://a?ca=x", "rediss://"),
            ("rediss://a?cert=x", "together"),
            ("rediss://a?ca=", "PEM file"),
            ("rediss://a?tls=no", "known: ca, cert, key"),
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("sesame"), "{error}");
        }
    }
}
