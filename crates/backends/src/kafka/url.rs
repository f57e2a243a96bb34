//! `kafka://[user:password@]host[:port][,…]/topic[?…]`: where the log of clicks is.

use std::fmt;
use std::str::FromStr;

const PORT: u16 = 9092;
const LINK_EVENTS: &str = "terse.link-events";
const GROUP: &str = "terse.analytics";
/// Characters of a topic's name; Kafka's own limit.
const TOPIC_LEN_MAX: usize = 249;

/// How the consumers of a group agree on who reads what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// [`Self::Consumer`] where the brokers offer it, else [`Self::Classic`].
    #[default]
    Auto,
    /// The brokers decide (KIP-848, Kafka 4).
    Consumer,
    /// The consumers decide, cooperatively.
    Classic,
}

/// Brokers, topics and the group of the consumers.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    pub(super) brokers: String,
    pub(super) topic: String,
    pub(super) link_events: String,
    pub(super) group: String,
    pub(super) protocol: GroupProtocol,
    pub(super) login: Option<(String, String)>,
}

/// Why a text is no Kafka URL; each message says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("it begins with `kafka://`, as in `kafka://host:9092,other:9092/terse.clicks`")]
    Scheme,
    #[error("`{0}` is no broker; write `host` or `host:port`, several with commas")]
    Broker(String),
    #[error("it names a topic after the brokers, as in `kafka://host:9092/terse.clicks`")]
    NoTopic,
    #[error("`{0}` is no topic: 1 to {TOPIC_LEN_MAX} letters, digits, `.`, `_` and `-`")]
    Topic(String),
    #[error("the login is `user:password`, with `@`, `:`, `/` and `%` written as `%40`, `%3A`, `%2F` and `%25`")]
    Login,
    #[error("`{0}` is no option; there are `link_events` (a topic), `group`, and `protocol` (`auto`, `consumer` or `classic`)")]
    Option(String),
}

impl Url {
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix("kafka://").ok_or(UrlError::Scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, name) = rest.split_once('/').ok_or(UrlError::NoTopic)?;
        let (user, hosts) = authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
        if name.is_empty() {
            return Err(UrlError::NoTopic);
        }
        let mut url = Self {
            brokers: hosts.split(',').map(broker).collect::<Result<Vec<_>, _>>()?.join(","),
            topic: topic(name)?,
            link_events: LINK_EVENTS.into(),
            group: GROUP.into(),
            protocol: GroupProtocol::Auto,
            login: user.map(login).transpose()?,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            url.set(pair)?;
        }
        Ok(url)
    }

    fn set(&mut self, pair: &str) -> Result<(), UrlError> {
        match pair.split_once('=') {
            Some(("link_events", name)) => self.link_events = topic(name)?,
            Some(("group", name)) if !name.is_empty() && name.len() <= TOPIC_LEN_MAX => self.group = name.into(),
            Some(("protocol", "auto")) => self.protocol = GroupProtocol::Auto,
            Some(("protocol", "consumer")) => self.protocol = GroupProtocol::Consumer,
            Some(("protocol", "classic")) => self.protocol = GroupProtocol::Classic,
            _ => return Err(UrlError::Option(pair.into())),
        }
        Ok(())
    }

    /// How its consumers are to agree.
    pub fn protocol(&self) -> GroupProtocol {
        self.protocol
    }

    /// `host:port,…`, without the login.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The topic of clicks.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic of changed links.
    pub fn link_events(&self) -> &str {
        &self.link_events
    }

    /// The group that shares the partitions of clicks.
    pub fn group(&self) -> &str {
        &self.group
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

/// Without the password.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.login.as_ref().map_or(String::new(), |(user, _)| format!("{user}:***@"));
        write!(f, "kafka://{user}{}/{}", self.brokers, self.topic)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn broker(text: &str) -> Result<String, UrlError> {
    let wrong = || UrlError::Broker(text.into());
    // A colon within brackets belongs to an IPv6 address.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (text, PORT),
    };
    let is_v6 = host.starts_with('[') && host.ends_with(']');
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_') || is_v6 && matches!(b, b':' | b'[' | b']');
    if host.is_empty() || !host.bytes().all(fits) || port == 0 {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

fn topic(name: &str) -> Result<String, UrlError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let is_one = (1..=TOPIC_LEN_MAX).contains(&name.len()) && name.bytes().all(fits) && !matches!(name, "." | "..");
    is_one.then(|| name.into()).ok_or_else(|| UrlError::Topic(name.into()))
}

fn login(text: &str) -> Result<(String, String), UrlError> {
    let (user, password) = text.split_once(':').ok_or(UrlError::Login)?;
    let (user, password) = (unescape(user)?, unescape(password)?);
    if user.is_empty() { Err(UrlError::Login) } else { Ok((user, password)) }
}

fn unescape(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
            let [Some(high), Some(low)] = digits else { return Err(UrlError::Login) };
            bytes.push(u8::try_from(high * 16 + low).map_err(|_| UrlError::Login)?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Login)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_and_topic_are_read_and_the_rest_has_defaults() {
        let url = Url::parse("kafka://a,b:19092,[::1]:7/terse.clicks").unwrap();
        assert_eq!((url.brokers(), url.topic()), ("a:9092,b:19092,[::1]:7", "terse.clicks"));
        assert_eq!((url.link_events(), url.group(), url.protocol), ("terse.link-events", "terse.analytics", GroupProtocol::Auto));
        let url = Url::parse("kafka://a/t?group=g&link_events=e&protocol=classic").unwrap();
        assert_eq!((url.link_events(), url.group(), url.protocol), ("e", "g", GroupProtocol::Classic));
    }

    #[test]
    fn the_password_is_kept_and_never_shown() {
        let url = Url::parse("kafka://me:p%40ss%3A@a/t").unwrap();
        assert_eq!(url.login, Some(("me".into(), "p@ss:".into())));
        assert_eq!((url.to_string(), format!("{url:?}")), ("kafka://me:***@a:9092/t".into(), "kafka://me:***@a:9092/t".into()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, error) in [
            ("redis://a/t", UrlError::Scheme),
            ("kafka://a", UrlError::NoTopic),
            ("kafka://a/", UrlError::NoTopic),
            ("kafka:///t", UrlError::Broker(String::new())),
            ("kafka://a,,b/t", UrlError::Broker(String::new())),
            ("kafka://a:x/t", UrlError::Broker("a:x".into())),
            ("kafka://a:0/t", UrlError::Broker("a:0".into())),
            ("kafka://a b/t", UrlError::Broker("a b".into())),
            ("kafka://a/t/u", UrlError::Topic("t/u".into())),
            ("kafka://me@a/t", UrlError::Login),
            ("kafka://me:%4@a/t", UrlError::Login),
            ("kafka://a/t?acks=0", UrlError::Option("acks=0".into())),
            ("kafka://a/t?group=", UrlError::Option("group=".into())),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }
}
