//! The machine and how it is reached: clock, open files, public URL.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use backends::system::SystemClock;
use chassis::Finding;
use domain::UnixMs;
use domain::port::Clock as _;

use crate::config::{Config, Scheme};

/// 2025-01-01, when ids begin, and 2094, when they end.
const CLOCK_MIN: UnixMs = UnixMs::new(1_735_689_600_000);
const CLOCK_MAX: UnixMs = UnixMs::new(1_735_689_600_000 + (1 << 41));
/// A file written later than now by more than this was written under another clock.
const AHEAD_MAX: Duration = Duration::from_mins(1);

pub(super) fn clock(config: &Config) -> Finding {
    let now = SystemClock.now();
    let newest = ["terse.db-wal", "terse.db", "run.json"].iter().filter_map(|name| written_at(&config.data.join(name))).max();
    judge_clock(now, newest)
}

fn judge_clock(now: UnixMs, newest_file: Option<UnixMs>) -> Finding {
    const MEND: &str = "set the clock: timedatectl set-ntp true";
    if now < CLOCK_MIN || now > CLOCK_MAX {
        return Finding::fail("clock", "the clock is not between 2025 and 2094; no ids can be made", MEND);
    }
    match newest_file.map(|newest| newest.since(now)) {
        Some(ahead) if ahead > AHEAD_MAX => {
            Finding::warn("clock", format!("the data was written {} s in the future: the clock went back", ahead.as_secs()), MEND)
        }
        _ => Finding::ok("clock", "plausible"),
    }
}

fn written_at(path: &Path) -> Option<UnixMs> {
    let since = std::fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(UnixMs::new(i64::try_from(since.as_millis()).ok()?))
}

/// Beside connections: stores, log segments, the runtime.
const OTHER_FILES: u64 = 200;

/// Raises the number of files this process may open as far as it is allowed to by itself.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

pub(super) fn open_files(config: &Config) -> Finding {
    let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    judge_open_files(allowed, u64::try_from(config.gateway.connections_max).unwrap_or(u64::MAX))
}

/// `None`: no limit.
fn judge_open_files(allowed: Option<u64>, connections: u64) -> Finding {
    let needed = connections.saturating_add(OTHER_FILES);
    match allowed {
        None => Finding::ok("open files", "unlimited"),
        Some(allowed) if allowed >= needed => Finding::ok("open files", format!("{allowed} allowed, {needed} needed at most")),
        Some(allowed) => {
            let mend = format!("ulimit -Hn {needed} (systemd: LimitNOFILE={needed}), or lower gateway.connections_max");
            Finding::warn("open files", format!("{allowed} allowed, but {connections} connections need {needed}"), mend)
        }
    }
}

/// While no server runs, its ports must be free.
pub(super) fn ports(config: &Config) -> Vec<Finding> {
    let ports = [("listen", config.listen.0.address()), ("admin_listen", config.admin_listen.0.address())];
    ports
        .into_iter()
        .map(|(key, address)| match std::net::TcpListener::bind(address) {
            Ok(_) => Finding::ok(key, format!("{address} is free")),
            Err(error) => {
                let mend = format!("stop what listens there (ss -ltnp), or choose another with --{}", key.replace('_', "-"));
                Finding::fail(key, format!("cannot listen on {address}: {error}"), mend)
            }
        })
        .collect()
}

pub(super) fn public_url(config: &Config) -> Finding {
    let listen = config.listen.0.address();
    let Some(url) = config.public_url.as_ref().map(|url| &url.0) else {
        return Finding::ok("public url", "localhost with whatever port is free");
    };
    let warn = |detail: String, mend: &str| Finding::warn("public url", detail, mend);
    if url.host().is_loopback() {
        if !listen.ip().is_loopback() {
            return warn(
                format!("{url} works on this machine only, while {listen} is open to others"),
                "set public_url to what others type",
            );
        }
        if url.port() != listen.port() {
            return warn(format!("links say {url}, but the server listens on {listen}"), "use the same port in public_url and listen");
        }
    } else if url.scheme() == Scheme::Https && config.tls.cert.is_none() && config.gateway.trusted_proxies.is_empty() {
        let detail = format!("{url} needs a proxy for HTTPS, and none is trusted: every visitor would have the proxy's address");
        return warn(detail, "set gateway.trusted_proxies to the proxy's network, or tls.cert and tls.key");
    } else if listen.ip().is_loopback() && config.gateway.trusted_proxies.is_empty() {
        let detail = format!("{url} is public, but {listen} is reached from this machine only, and no proxy is trusted");
        return warn(detail, "listen on 0.0.0.0, or set gateway.trusted_proxies to the proxy's address");
    }
    Finding::ok("public url", url.to_string())
}

#[cfg(test)]
mod tests {
    use chassis::Status;
    use chassis::config::{Flag, Loaded, Sources, load};

    use super::*;

    #[test]
    fn clocks() {
        let now = UnixMs::new(1_800_000_000_000);
        for (now, newest, status) in [
            (now, None, Status::Ok),
            (now, Some(now), Status::Ok),
            (now, Some(now.saturating_add(Duration::from_hours(1))), Status::Warn),
            (UnixMs::new(0), None, Status::Fail),
            (UnixMs::new(i64::MAX), None, Status::Fail),
        ] {
            assert_eq!(judge_clock(now, newest).status, status, "{now:?} {newest:?}");
        }
    }

    #[test]
    fn open_files_for_every_connection() {
        for (allowed, connections, status) in
            [(None, u64::MAX, Status::Ok), (Some(20_200), 20_000, Status::Ok), (Some(1_024), 20_000, Status::Warn)]
        {
            assert_eq!(judge_open_files(allowed, connections).status, status, "{allowed:?}");
        }
    }

    #[test]
    fn a_port_in_use_is_found() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let flag = |key: &str, value: String| Flag { key: key.into(), name: key.into(), value };
        let flags = vec![flag("listen", taken.local_addr().unwrap().to_string()), flag("admin_listen", "127.0.0.1:0".into())];
        let loaded: Loaded<Config> = load(&Sources { flags, ..Sources::default() }).unwrap();
        let found: Vec<Status> = ports(&loaded.settings).iter().map(|finding| finding.status).collect();
        assert_eq!(found, [Status::Fail, Status::Ok]);
    }

    #[test]
    fn public_urls_that_lead_elsewhere() {
        for (listen, url, trusted, status) in [
            ("127.0.0.1:8080", "http://localhost:8080", "", Status::Ok),
            ("127.0.0.1:8080", "http://localhost:9090", "", Status::Warn),
            ("0.0.0.0:8080", "http://localhost:8080", "", Status::Warn),
            ("127.0.0.1:8080", "https://go.example.com", "", Status::Warn),
            ("127.0.0.1:8080", "https://go.example.com", "127.0.0.1", Status::Ok),
            ("127.0.0.1:8080", "http://go.example.com", "", Status::Warn),
            ("0.0.0.0:80", "http://go.example.com", "", Status::Ok),
        ] {
            let flag = |key: &str, value: &str| Flag { key: key.into(), name: key.into(), value: value.into() };
            let flags = vec![flag("listen", listen), flag("public_url", url), flag("gateway.trusted_proxies", trusted)];
            let loaded: Loaded<Config> = load(&Sources { flags, ..Sources::default() }).unwrap();
            assert_eq!(public_url(&loaded.settings).status, status, "{listen} {url} {trusted}");
        }
    }
}
