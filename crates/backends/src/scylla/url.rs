//! `scylla://[user:password@]host[:port],host…/keyspace[?dc=…&replication=N]`

use std::fmt;

/// The port of CQL where none is said.
const PORT: u16 = 9042;
const NODES_MAX: usize = 64;
const KEYSPACE_LEN_MAX: usize = 48;

/// Where a keyspace is. Printing it hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    pub(super) nodes: Vec<String>,
    pub(super) login: Option<Login>,
    pub(super) keyspace: String,
    /// The data centre to talk to; needed where there are several.
    pub(super) dc: Option<String>,
    /// Copies in that data centre, when the keyspace is made.
    pub(super) replication: Option<u8>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("does not begin with `scylla://`")]
    Scheme,
    #[error("names no keyspace: it ends in `/keyspace`, as in `scylla://a,b,c/terse`")]
    NoKeyspace,
    #[error(
        "`{0}` is no name of a keyspace: it takes a lower-case letter, then lower-case letters, digits and `_`, at most {KEYSPACE_LEN_MAX}"
    )]
    Keyspace(String),
    #[error("names no host, or more than {NODES_MAX}")]
    Hosts,
    #[error("`{0}` is no `host` or `host:port`")]
    Host(String),
    #[error("takes `user:password@`, both percent-encoded where they contain `:`, `@`, `/` or `%`")]
    Login,
    #[error("`{0}` is not known here; there are `dc` and `replication`")]
    Unknown(String),
    #[error("`replication` takes 1 to 9")]
    Replication,
    #[error("`dc` takes the name of a data centre")]
    Dc,
}

impl Url {
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix("scylla://").ok_or(UrlError::Scheme)?;
        let (rest, options) = rest.split_once('?').map_or((rest, ""), |(rest, options)| (rest, options));
        let (authority, keyspace) = rest.split_once('/').ok_or(UrlError::NoKeyspace)?;
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(parse_login(login)?), hosts),
            None => (None, authority),
        };
        let nodes: Vec<String> = hosts.split(',').map(parse_node).collect::<Result<_, _>>()?;
        if nodes.len() > NODES_MAX {
            return Err(UrlError::Hosts);
        }
        let mut url = Self { nodes, login, keyspace: parse_keyspace(keyspace)?, dc: None, replication: None };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            url.set(option)?;
        }
        Ok(url)
    }

    /// The same servers, another keyspace.
    pub fn with_keyspace(&self, keyspace: &str) -> Result<Self, UrlError> {
        Ok(Self { keyspace: parse_keyspace(keyspace)?, ..self.clone() })
    }

    /// `host:port` each.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    pub fn keyspace(&self) -> &str {
        &self.keyspace
    }

    fn set(&mut self, option: &str) -> Result<(), UrlError> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "dc" => self.dc = Some(parse_dc(value)?),
            "replication" => {
                let number = value.parse().ok().filter(|number| (1..=9).contains(number));
                self.replication = Some(number.ok_or(UrlError::Replication)?);
            }
            _ => return Err(UrlError::Unknown(name.to_owned())),
        }
        Ok(())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scylla://")?;
        if let Some(login) = &self.login {
            write!(f, "{}:…@", login.user)?;
        }
        write!(f, "{}/{}", self.nodes.join(","), self.keyspace)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn parse_keyspace(name: &str) -> Result<String, UrlError> {
    if name.is_empty() {
        return Err(UrlError::NoKeyspace);
    }
    let allowed = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let fits = allowed && name.len() <= KEYSPACE_LEN_MAX && name.starts_with(|c: char| c.is_ascii_lowercase());
    if fits { Ok(name.to_owned()) } else { Err(UrlError::Keyspace(name.to_owned())) }
}

/// Data centres are quoted in CQL, so that only what needs no escape is taken.
fn parse_dc(name: &str) -> Result<String, UrlError> {
    let allowed = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if allowed && !name.is_empty() { Ok(name.to_owned()) } else { Err(UrlError::Dc) }
}

fn parse_node(text: &str) -> Result<String, UrlError> {
    if text.is_empty() {
        return Err(UrlError::Hosts);
    }
    let wrong = || UrlError::Host(text.to_owned());
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            (format!("[{address}]"), port.strip_prefix(':').or_else(|| port.is_empty().then_some("")).ok_or_else(wrong)?)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host.to_owned(), if port.is_empty() { return Err(wrong()) } else { port }),
            None => (text.to_owned(), ""),
        },
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'[' | b']' | b':');
    if host.is_empty() || !host.bytes().all(allowed) {
        return Err(wrong());
    }
    let port = if port.is_empty() { PORT } else { port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)? };
    Ok(format!("{host}:{port}"))
}

fn parse_login(text: &str) -> Result<Login, UrlError> {
    let (user, password) = text.split_once(':').ok_or(UrlError::Login)?;
    let login = Login { user: percent_decode(user)?, password: percent_decode(password)? };
    if login.user.is_empty() { Err(UrlError::Login) } else { Ok(login) }
}

fn percent_decode(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, more @ ..] = more else { return Err(UrlError::Login) };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(UrlError::Login);
        bytes.push(digit(*high)? << 4 | digit(*low)?);
        rest = more;
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Login)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_there_is() {
        let url = Url::parse("scylla://ann:p%40ss@a,b.example:9043,[::1],[::2]:1/terse_1?dc=eu-west&replication=3").unwrap();
        assert_eq!(url.nodes, ["a:9042", "b.example:9043", "[::1]:9042", "[::2]:1"]);
        assert_eq!(url.login, Some(Login { user: "ann".into(), password: "p@ss".into() }));
        assert_eq!((url.keyspace(), url.dc.as_deref(), url.replication), ("terse_1", Some("eu-west"), Some(3)));
        assert_eq!(format!("{url:?}"), "scylla://ann:…@a:9042,b.example:9043,[::1]:9042,[::2]:1/terse_1");
        assert_eq!(Url::parse("scylla://a/t").unwrap(), url_of("a:9042", "t"));
    }

    fn url_of(node: &str, keyspace: &str) -> Url {
        Url { nodes: vec![node.into()], login: None, keyspace: keyspace.into(), dc: None, replication: None }
    }

    #[test]
    fn each_mistake_has_its_sentence() {
        for (text, error) in [
            ("cassandra://a/t", UrlError::Scheme),
            ("scylla://a", UrlError::NoKeyspace),
            ("scylla://a/", UrlError::NoKeyspace),
            ("scylla://a/Terse", UrlError::Keyspace("Terse".into())),
            ("scylla://a/t; DROP", UrlError::Keyspace("t; DROP".into())),
            ("scylla:///t", UrlError::Hosts),
            ("scylla://a,,b/t", UrlError::Hosts),
            ("scylla://a:/t", UrlError::Host("a:".into())),
            ("scylla://a:0/t", UrlError::Host("a:0".into())),
            ("scylla://a:65536/t", UrlError::Host("a:65536".into())),
            ("scylla://[::1/t", UrlError::Host("[::1".into())),
            ("scylla://[::1]x/t", UrlError::Host("[::1]x".into())),
            ("scylla://a b/t", UrlError::Host("a b".into())),
            ("scylla://ann@a/t", UrlError::Login),
            ("scylla://ann:%4@a/t", UrlError::Login),
            ("scylla://:x@a/t", UrlError::Login),
            ("scylla://a/t?rf=3", UrlError::Unknown("rf".into())),
            ("scylla://a/t?replication=0", UrlError::Replication),
            ("scylla://a/t?dc=a'b", UrlError::Dc),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }
}
