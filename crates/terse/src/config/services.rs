//! Services in other processes: where this one listens for them, and where it finds them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use chassis::config::{Millis, Seconds, Text, Within};
use rpc::Endpoints;
use serde::{Deserialize, Serialize};

use super::places::Listen;

/// Endpoints as they were written, and as they are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointList {
    text: String,
    endpoints: Endpoints,
}

impl EndpointList {
    fn local(port: u16) -> Self {
        let text = format!("127.0.0.1:{port}");
        // An address and a port are always understood.
        let endpoints = Endpoints::parse(&text).unwrap_or_else(|_| unreachable!("{text} is an endpoint"));
        Self { text, endpoints }
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }
}

impl FromStr for EndpointList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let endpoints = Endpoints::parse(text).map_err(|error| error.to_string())?;
        Ok(Self { text: text.to_owned(), endpoints })
    }
}

impl fmt::Display for EndpointList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

type Conflict = (&'static str, String, String);

/// The port for other services, of `ids`, `links`, `redirect` and `analytics`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grpc {
    /// By default port 7001 of this machine for `ids`, 7002 for `links`, 7003 for `redirect`, 7004 for `analytics`.
    pub(crate) listen: Option<Text<Listen>>,
    /// PEM files; plain text without them.
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Callers must show a certificate signed by one of these.
    pub(crate) client_ca: Option<PathBuf>,
    /// Connections are closed, gently, at this age, so that callers spread over new replicas.
    pub(crate) connection_age_s: Seconds,
}

impl Default for Grpc {
    fn default() -> Self {
        Self { listen: None, cert: None, key: None, client_ca: None, connection_age_s: Seconds::new(600) }
    }
}

/// Where the other services are: `host:port`, several with commas. Names are looked up again every 5 s, and each
/// of their addresses is a replica.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Services {
    pub(crate) ids: Text<EndpointList>,
    pub(crate) links: Text<EndpointList>,
    pub(crate) redirect: Text<EndpointList>,
    pub(crate) analytics: Text<EndpointList>,
    /// Whose certificates they must show, as a PEM file; plain text without it.
    pub(crate) ca: Option<PathBuf>,
    /// The certificate that is shown to them, where they ask for one.
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// The name in their certificates, one for all.
    pub(crate) tls_name: String,
}

impl Default for Services {
    fn default() -> Self {
        let local = |port: u16| Text(EndpointList::local(port));
        Self {
            ids: local(7001),
            links: local(7002),
            redirect: local(7003),
            analytics: local(7004),
            ca: None,
            cert: None,
            key: None,
            tls_name: "terse.internal".into(),
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ids {
    /// Processes with different numbers do not wait for each other. By default any, chosen at each start.
    pub(crate) worker: Option<Within<0, 1_023>>,
}

/// The topics that `terse migrate` makes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kafka {
    /// Of the clicks; as many analytics processes can share the work.
    pub(crate) partitions: Within<1, 1_024>,
}

impl Default for Kafka {
    fn default() -> Self {
        Self { partitions: Within::new(16) }
    }
}

/// What statements may take. A statement that takes longer has failed, or its outcome is found out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the unit is the end of each name, and all are timeouts so far")]
pub(crate) struct Scylla {
    /// One read that a redirect waits for.
    pub(crate) read_timeout_ms: Millis,
    /// One attempt at a write.
    pub(crate) write_timeout_ms: Millis,
    /// All attempts at a conditional write, and finding out what became of them.
    pub(crate) settle_timeout_ms: Millis,
}

impl Default for Scylla {
    fn default() -> Self {
        Self { read_timeout_ms: Millis::new(150), write_timeout_ms: Millis::new(600), settle_timeout_ms: Millis::new(900) }
    }
}

/// What all processes of one product share, and no other product does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redis {
    /// What every key begins with, but those of live counts (`clicks:…`).
    pub(crate) prefix: String,
}

impl Default for Redis {
    fn default() -> Self {
        Self { prefix: "terse:".into() }
    }
}

impl Grpc {
    pub(super) fn conflicts(&self) -> Vec<Conflict> {
        let mut found = pair(("grpc.cert", &self.cert), ("grpc.key", &self.key));
        if self.client_ca.is_some() && self.cert.is_none() {
            let mend = "set grpc.cert and grpc.key too".to_owned();
            found.push(("grpc.client_ca", "callers can only be asked for a certificate over TLS".into(), mend));
        }
        found
    }
}

impl Services {
    pub(super) fn conflicts(&self) -> Vec<Conflict> {
        let mut found = pair(("services.cert", &self.cert), ("services.key", &self.key));
        if self.ca.is_none() && self.cert.is_some() {
            let mend = "set services.ca to the PEM file that signed the services' certificates".to_owned();
            found.push(("services.ca", "without it the services are called in plain text".into(), mend));
        }
        found
    }
}

/// A certificate and its key stand together or not at all.
pub(super) fn pair(cert: (&'static str, &Option<PathBuf>), key: (&'static str, &Option<PathBuf>)) -> Vec<Conflict> {
    match (cert.1, key.1) {
        (Some(_), None) => vec![(cert.0, "a certificate needs its key".into(), format!("set {} to its PEM file", key.0))],
        (None, Some(_)) => vec![(key.0, "a key needs its certificate".into(), format!("set {} to its PEM file", cert.0))],
        (Some(_), Some(_)) | (None, None) => Vec::new(),
    }
}
