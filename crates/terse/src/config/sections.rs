//! The sections of the configuration. Each value's unit is the end of its name.

use std::path::PathBuf;
use std::time::Duration;

use chassis::config::{Millis, Seconds, Size, Text, Within};
use chassis::telemetry::{LogFormat, LogLevel};
use serde::{Deserialize, Serialize};

use super::places::{Collector, HeaderText};
use super::urls::{Cache, ClicksUrl};

type Conflict = (&'static str, String, String);

/// The public port.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gateway {
    /// Networks whose forwarding headers are believed, e.g. `["10.0.0.0/8"]`.
    pub(crate) trusted_proxies: Vec<Text<gateway::Network>>,
    pub(crate) forwarded_header: Forwarded,
    pub(crate) referrer_policy: Text<HeaderText>,
    /// How codes are spread over the replicas of the redirect service.
    pub(crate) balance: Balance,
    pub(crate) first_byte_timeout_ms: Millis,
    pub(crate) header_timeout_ms: Millis,
    pub(crate) body_timeout_ms: Millis,
    pub(crate) write_timeout_ms: Millis,
    pub(crate) idle_timeout_ms: Millis,
    /// How long idle connections are kept during a drain.
    pub(crate) linger_ms: Millis,
    /// 0 means no limit, here and below.
    pub(crate) connections_max: usize,
    pub(crate) connections_per_ip_max: usize,
    pub(crate) redirects_in_flight_max: usize,
    pub(crate) creates_in_flight_max: usize,
    pub(crate) stats_in_flight_max: usize,
    pub(crate) redirect_deadline_ms: Millis,
    pub(crate) api_deadline_ms: Millis,
    pub(crate) stats_deadline_ms: Millis,
    pub(crate) bulk_deadline_ms: Millis,
}

/// Which header trusted proxies write; the other one is never read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Forwarded {
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// Each code has replicas where it is likely to be in memory (`rendezvous`, `ring`), or has not (`p2c`, `round_robin`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Balance {
    #[default]
    Rendezvous,
    Ring,
    P2c,
    RoundRobin,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            forwarded_header: Forwarded::default(),
            balance: Balance::default(),
            referrer_policy: Text(HeaderText::from_static("strict-origin-when-cross-origin")),
            first_byte_timeout_ms: Millis::new(5_000),
            header_timeout_ms: Millis::new(5_000),
            body_timeout_ms: Millis::new(10_000),
            write_timeout_ms: Millis::new(10_000),
            idle_timeout_ms: Millis::new(60_000),
            linger_ms: Millis::new(500),
            connections_max: 16_384,
            connections_per_ip_max: 100,
            redirects_in_flight_max: 8_192,
            creates_in_flight_max: 2_048,
            stats_in_flight_max: 128,
            redirect_deadline_ms: Millis::new(250),
            api_deadline_ms: Millis::new(1_000),
            stats_deadline_ms: Millis::new(5_000),
            bulk_deadline_ms: Millis::new(30_000),
        }
    }
}

/// Rate limits; 0 means none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Of any kind, from anyone.
    pub(crate) requests_per_s: u32,
    /// Codes that lead nowhere, per IP.
    pub(crate) misses_per_ip_per_min: u32,
    /// API requests per IP.
    pub(crate) api_per_ip_per_min: u32,
    /// Links per ordinary key.
    pub(crate) creates_per_key_per_h: u32,
    /// The Redis that counts them and keeps the visitors' salts; best one that evicts nothing. By default `cache`.
    pub(crate) url: Option<Text<Cache>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_per_s: 50_000, misses_per_ip_per_min: 30, api_per_ip_per_min: 100, creates_per_key_per_h: 30, url: None }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redirect {
    /// Memory for cached links.
    pub(crate) cache_bytes: Size,
    /// A change is visible everywhere after this long at most; 5 s to 300 s.
    pub(crate) staleness_s: Seconds,
    /// How long cached links are served while the store does not answer.
    pub(crate) serve_stale_s: Seconds,
}

impl Default for Redirect {
    fn default() -> Self {
        Self { cache_bytes: Size(64 << 20), staleness_s: Seconds::new(60), serve_stale_s: Seconds::new(3_600) }
    }
}

impl Redirect {
    pub(super) fn conflicts(&self) -> Vec<Conflict> {
        let rules = [
            ("redirect.staleness_s", (5..=300).contains(&self.staleness_s.0.as_secs()), "set 5 to 300 seconds"),
            ("redirect.serve_stale_s", self.serve_stale_s.0 <= Duration::from_hours(24), "set at most 24h"),
            ("redirect.cache_bytes", self.cache_bytes.0 >= 1 << 20, "set at least 1MiB"),
        ];
        let broken = rules.into_iter().filter(|(_, holds, _)| !holds);
        broken.map(|(key, _, mend)| (key, "this is outside what is safe".to_owned(), mend.to_owned())).collect()
    }
}

/// How codes are made when a create does not say.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Codes {
    pub(crate) strategy: Strategy,
    /// Characters of `hash` and `random` codes.
    pub(crate) code_length: Within<7, 22>,
    /// Counters leased at once. What is left of a block is lost at a restart.
    pub(crate) block_len: Within<1, 1_048_576>,
}

impl Default for Codes {
    fn default() -> Self {
        Self { strategy: Strategy::default(), code_length: Within::new(10), block_len: Within::new(16_384) }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Strategy {
    #[default]
    Leased,
    Counter,
    Snowflake,
    Hash,
    Random,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Links {
    /// Whether links may lead to private, loopback and link-local addresses.
    pub(crate) allow_private_targets: bool,
    /// A file of hosts that links must not lead to, one a line.
    pub(crate) blocklist: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clicks {
    /// Where clicks are logged. By default `file:<data>/clicks`. `clicks = "…"` means the same.
    pub(crate) url: Option<Text<ClicksUrl>>,
    /// Clicks reach the disk within this; 0 syncs before each answer.
    pub(crate) sync_interval_ms: Millis,
    /// One file of the log, allocated beforehand.
    pub(crate) segment_bytes: Size,
    /// How long counted clicks are kept raw; statistics outlive them. 0 removes them as soon as they are counted.
    pub(crate) retention_days: u32,
}

impl Default for Clicks {
    fn default() -> Self {
        Self { url: None, sync_interval_ms: Millis::new(200), segment_bytes: Size(16 << 20), retention_days: 30 }
    }
}

impl Clicks {
    pub(super) fn conflicts(&self) -> Vec<Conflict> {
        let mut found = Vec::new();
        if self.sync_interval_ms.0 > Duration::from_mins(1) {
            let what = "a power cut would lose more than a minute of clicks".to_owned();
            found.push(("clicks.sync_interval_ms", what, "set 0 to 60000".to_owned()));
        }
        if !((64 << 10)..=(1 << 30)).contains(&self.segment_bytes.0) {
            let what = "a segment has 64 KiB to 1 GiB".to_owned();
            found.push(("clicks.segment_bytes", what, "set for example 16MiB".to_owned()));
        }
        found
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Analytics {
    /// How often counted clicks are written to the store.
    pub(crate) flush_interval_ms: Millis,
    /// How long quarter-hours are kept; days and months are kept for ever.
    pub(crate) quarter_hour_retention_days: Within<2, 36_500>,
}

impl Default for Analytics {
    fn default() -> Self {
        Self { flush_interval_ms: Millis::new(1_000), quarter_hour_retention_days: Within::new(400) }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GeoIp {
    /// A `.mmdb` file with countries; without one, countries are known only from a trusted CDN.
    pub(crate) path: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sqlite {
    pub(crate) readers: Within<1, 64>,
    /// Page cache of the writer, and of each reader.
    pub(crate) cache_bytes: Size,
    /// How long a commit may wait for writes that keep arriving.
    pub(crate) group_wait_ms: Millis,
}

impl Default for Sqlite {
    fn default() -> Self {
        Self { readers: Within::new(2), cache_bytes: Size(16 << 20), group_wait_ms: Millis::new(2) }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) level: LogLevel,
}

/// Where traces go; see `docs/tracing.md`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Traces {
    /// An OTLP/gRPC receiver, such as `http://127.0.0.1:4317`. Empty: nothing is traced.
    pub(crate) otlp_endpoint: Text<Collector>,
    /// One request in so many is traced whole.
    pub(crate) sample_one_in: Within<1, 1_000_000>,
    /// Whatever takes as long is kept in any case, and so is what fails.
    pub(crate) slow_ms: Millis,
    /// By default `terse-` and the role; `terse` for `terse serve`.
    pub(crate) service_name: Option<String>,
}

impl Default for Traces {
    fn default() -> Self {
        Self { otlp_endpoint: Text(Collector::None), sample_one_in: Within::new(1_000), slow_ms: Millis::new(250), service_name: None }
    }
}

/// PEM files; plain HTTP without them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// For the commands that talk to a server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Client {
    /// Where the API is. By default the public URL.
    pub(crate) server: Option<String>,
    /// By default what `<data>/admin.key` holds.
    pub(crate) key: Option<String>,
}
