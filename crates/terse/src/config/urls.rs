//! Backends by URL: the scheme chooses the technology.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use backends::{kafka, redis, scylla};

/// Where links, keys, statistics and all else are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Sqlite(PathBuf),
    Scylla(scylla::Url),
}

/// The second cache tier; the first is always in process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    Memory,
    Redis(redis::RedisUrl),
}

/// Where clicks are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClicksUrl {
    File(PathBuf),
    Kafka(kafka::Url),
}

/// The scheme and what follows its colon.
fn split<'a>(text: &'a str, forms: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once(':').ok_or_else(|| format!("expected {forms}"))
}

fn unknown(scheme: &str, forms: &str) -> String {
    let scheme: String = scheme.chars().take(32).collect();
    format!("`{}:` is not a known scheme; known: {forms}", scheme.escape_debug())
}

fn path_of(rest: &str, form: &str) -> Result<PathBuf, String> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() { Err(format!("expected {form}")) } else { Ok(path.into()) }
}

impl Store {
    const FORMS: &'static str = "sqlite:PATH, scylla://HOST,HOST/KEYSPACE";
}

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match split(text, Self::FORMS)? {
            ("sqlite", rest) => path_of(rest, "sqlite:PATH").map(Self::Sqlite),
            ("scylla", _) => scylla::Url::parse(text).map(Self::Scylla).map_err(|error| error.to_string()),
            (scheme, _) => Err(unknown(scheme, Self::FORMS)),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Scylla(url) => url.fmt(f),
        }
    }
}

impl Cache {
    const FORMS: &'static str = "memory:, redis://HOST:PORT, redis-cluster://HOST:PORT,HOST:PORT (rediss and rediss-cluster with TLS)";
}

impl FromStr for Cache {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match split(text, Self::FORMS)? {
            ("memory", "") => Ok(Self::Memory),
            ("memory", _) => Err("expected memory:".into()),
            ("redis" | "rediss" | "redis-cluster" | "rediss-cluster", _) => {
                text.parse().map(Self::Redis).map_err(|error: redis::RedisUrlError| error.to_string())
            }
            (scheme, _) => Err(unknown(scheme, Self::FORMS)),
        }
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Redis(url) => url.fmt(f),
        }
    }
}

impl ClicksUrl {
    const FORMS: &'static str = "file:FOLDER, kafka://HOST:PORT,HOST:PORT/TOPIC";
}

impl FromStr for ClicksUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match split(text, Self::FORMS)? {
            ("file", rest) => path_of(rest, "file:FOLDER").map(Self::File),
            ("kafka", _) => text.parse().map(Self::Kafka).map_err(|error: kafka::UrlError| error.to_string()),
            (scheme, _) => Err(unknown(scheme, Self::FORMS)),
        }
    }
}

impl fmt::Display for ClicksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Kafka(url) => url.fmt(f),
        }
    }
}
