//! Who asks, for which host, under which id. Headers that speak of others are believed from trusted
//! proxies only.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use chassis::trace::TraceContext;
use domain::Country;
use domain::port::Entropy;
use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};

use crate::network::Networks;
use crate::options::ForwardedHeader;

pub(crate) use chassis::RequestId;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const COUNTRY_HEADERS: [HeaderName; 3] =
    [HeaderName::from_static("cf-ipcountry"), HeaderName::from_static("cloudfront-viewer-country"), HeaderName::from_static("x-country")];

/// Hops looked at; a longer chain is somebody's invention.
const HOPS_MAX: usize = 32;

/// Header fields, whoever read them.
pub(crate) trait Fields {
    fn first(&self, name: &HeaderName) -> Option<&[u8]>;

    fn last_to_first<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]>;
}

impl Fields for HeaderMap {
    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get(name).map(HeaderValue::as_bytes)
    }

    fn last_to_first<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).iter().rev().map(HeaderValue::as_bytes)
    }
}

/// A value as text. `None`: not all of it is visible ASCII.
fn visible(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~')))
}

/// Makes ids: a random prefix for the process, then a counter.
pub(crate) struct RequestIds {
    prefix: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        Self { prefix: entropy.u64() & 0xffff_ffff, next: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> RequestId {
        RequestId::numbered(self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote {
    pub(crate) ip: IpAddr,
    pub(crate) trusted: bool,
}

impl Remote {
    pub(crate) fn new(address: SocketAddr, trusted_proxies: &Networks) -> Self {
        let ip = address.ip().to_canonical();
        Self { ip, trusted: trusted_proxies.contains(ip) }
    }

    /// The client's address: the nearest one that is not a trusted proxy's.
    pub(crate) fn client_ip(self, headers: &impl Fields, header: ForwardedHeader, trusted_proxies: &Networks) -> IpAddr {
        if !self.trusted {
            return self.ip;
        }
        let name = match header {
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => FORWARDED,
        };
        let mut nearest = self.ip;
        let lines = headers.last_to_first(&name);
        let hops = lines.flat_map(|line| visible(line).unwrap_or("?").rsplit(','));
        for hop in hops.take(HOPS_MAX) {
            let hop = match header {
                ForwardedHeader::XForwardedFor => Some(hop.trim()),
                ForwardedHeader::Forwarded => forwarded_for(hop),
            };
            // What a trusted proxy could not name was not written by one: nothing before it counts.
            let Some(ip) = hop.and_then(parse_hop) else { break };
            nearest = ip;
            if !trusted_proxies.contains(ip) {
                break;
            }
        }
        nearest
    }

    /// The country a trusted CDN found the client in.
    pub(crate) fn country(self, headers: &impl Fields) -> Option<Country> {
        if !self.trusted {
            return None;
        }
        COUNTRY_HEADERS.iter().find_map(|name| Country::parse(visible(headers.first(name)?)?))
    }

    /// The id a trusted proxy gave the request.
    pub(crate) fn request_id(self, headers: &impl Fields) -> Option<RequestId> {
        if self.trusted { RequestId::parse(headers.first(&X_REQUEST_ID)?) } else { None }
    }

    /// The trace a trusted proxy made the request part of. A stranger's would let anybody choose what is kept.
    pub(crate) fn trace(self, headers: &impl Fields) -> Option<TraceContext> {
        if self.trusted { TraceContext::parse(headers.first(&TRACEPARENT)?) } else { None }
    }
}

/// `for=` of one element of a `Forwarded` header.
fn forwarded_for(element: &str) -> Option<&str> {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    })?;
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// An address, with or without port and brackets.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let ip = text.parse::<IpAddr>().ok();
    let ip = ip.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    let ip = ip.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    ip.map(|ip| ip.to_canonical())
}

/// Why no single host was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostProblem {
    Missing,
    Ambiguous,
}

/// The one host a request is for: `Host`, `:authority` or an absolute target. On HTTP/1 an absolute
/// target is believed rather than `Host` (RFC 9112, 3.2.2); on HTTP/2 the two must be the same.
pub(crate) fn host<'a>(version: Version, uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, HostProblem> {
    let mut hosts = headers.get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err(HostProblem::Ambiguous);
    }
    let header = header.map(|host| host.to_str().map_err(|_| HostProblem::Ambiguous)).transpose()?;
    match (uri.authority(), header) {
        (Some(authority), Some(header)) if version == Version::HTTP_2 && !authority.as_str().eq_ignore_ascii_case(header) => {
            Err(HostProblem::Ambiguous)
        }
        (Some(authority), _) => Ok(authority.as_str()),
        (None, Some(header)) if !header.is_empty() => Ok(header),
        (None, _) => Err(HostProblem::Missing),
    }
}

/// What only our own proxies and processes may say; taken out before others read the headers.
pub(crate) fn strip_internal(headers: &mut HeaderMap) {
    const INTERNAL: [&str; 11] = [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-real-ip",
        "forwarded",
        "grpc-timeout",
        "x-request-id",
        "traceparent",
        "tracestate",
    ];
    for name in INTERNAL {
        headers.remove(name);
    }
}

/// Text of others as it may stand in a log: bounded, nothing that moves a cursor or turns text around.
pub(crate) fn for_log(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    let mut shown = String::new();
    for c in text.chars().take(CHARS_MAX) {
        if c == ' ' || c.is_ascii_graphic() && c != '\\' {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn proxies() -> Networks {
        Networks::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn client(peer: &str, lines: &[(&'static str, &str)], header: ForwardedHeader) -> String {
        let remote = Remote::new(SocketAddr::new(peer.parse().unwrap(), 1), &proxies());
        remote.client_ip(&headers(lines), header, &proxies()).to_string()
    }

    #[test]
    fn the_client_is_the_nearest_address_not_trusted() {
        let xff = |value: &str, peer: &str| client(peer, &[("x-forwarded-for", value)], ForwardedHeader::XForwardedFor);
        for (peer, value, expected) in [
            ("203.0.113.1", "198.51.100.9", "203.0.113.1"),
            ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
            ("10.0.0.1", "1.2.3.4, 198.51.100.9", "198.51.100.9"),
            ("10.0.0.1", "1.2.3.4, 198.51.100.9, 10.9.9.9", "198.51.100.9"),
            ("10.0.0.1", "10.3.3.3,10.2.2.2", "10.3.3.3"),
            ("10.0.0.1", "1.2.3.4, nonsense, 10.2.2.2", "10.2.2.2"),
            ("10.0.0.1", "unknown", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "1.2.3.4:5678", "1.2.3.4"),
            ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
            ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
            ("10.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
            ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
            ("fd00::1", "203.0.113.7", "203.0.113.7"),
        ] {
            assert_eq!(xff(value, peer), expected, "{value} from {peer}");
        }
    }

    #[test]
    fn lines_are_one_list_and_the_other_header_is_never_read() {
        let lines = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "198.51.100.9"), ("forwarded", "for=5.6.7.8")];
        assert_eq!(client("10.0.0.1", &lines, ForwardedHeader::XForwardedFor), "198.51.100.9");
        assert_eq!(client("10.0.0.1", &lines, ForwardedHeader::Forwarded), "5.6.7.8");
        for (value, expected) in [
            ("for=1.2.3.4, for=198.51.100.9;proto=https", "198.51.100.9"),
            ("proto=https;For=\"[2001:db8::7]:4711\"", "2001:db8::7"),
            ("for=_hidden", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[("forwarded", value)], ForwardedHeader::Forwarded), expected, "{value}");
        }
    }

    #[test]
    fn country_id_and_trace_only_from_the_trusted() {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let lines = headers(&[("cf-ipcountry", "XX"), ("x-country", "de"), ("x-request-id", "abc-12345"), ("traceparent", traceparent)]);
        let remote = |ip: &str| Remote::new(SocketAddr::new(ip.parse().unwrap(), 1), &proxies());
        assert_eq!(remote("10.0.0.1").country(&lines).unwrap().as_str(), "DE");
        assert_eq!(remote("10.0.0.1").request_id(&lines).unwrap().as_str(), "abc-12345");
        assert_eq!(remote("10.0.0.1").trace(&lines).unwrap().to_string(), traceparent);
        assert_eq!(remote("1.1.1.1").country(&lines), None);
        assert_eq!(remote("1.1.1.1").trace(&lines), None);
        assert_eq!(remote("1.1.1.1").request_id(&lines), None);
        for wrong in ["short", "has space 1", "new\tline-123", &"a".repeat(65)] {
            assert_eq!(RequestId::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn one_host_or_none() {
        let host_in = |version, uri: &str, lines: &[_]| host(version, &uri.parse().unwrap(), &headers(lines)).map(str::to_owned);
        let host_of = |uri: &str, lines: &[_]| host_in(Version::HTTP_11, uri, lines);
        assert_eq!(host_of("/a", &[("host", "t.example")]), Ok("t.example".into()));
        assert_eq!(host_of("/a", &[]), Err(HostProblem::Missing));
        assert_eq!(host_of("/a", &[("host", "")]), Err(HostProblem::Missing));
        assert_eq!(host_of("/a", &[("host", "a"), ("host", "a")]), Err(HostProblem::Ambiguous));
        assert_eq!(host_of("http://t.example/a", &[("host", "T.example")]), Ok("t.example".into()));
        assert_eq!(host_of("http://t.example/a", &[("host", "evil")]), Ok("t.example".into()));
        assert_eq!(host_in(Version::HTTP_2, "http://t.example/a", &[("host", "evil")]), Err(HostProblem::Ambiguous));
        assert_eq!(host_of("http://t.example/a", &[("host", "t.example"), ("host", "evil")]), Err(HostProblem::Ambiguous));
        assert_eq!(host_of("/a", &[("host", "t\u{e9}")]), Err(HostProblem::Ambiguous));
    }

    #[test]
    fn ids_count_up_after_a_prefix() {
        struct Ones;
        impl Entropy for Ones {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(0x1f);
            }
        }
        let ids = RequestIds::new(&Ones);
        assert_eq!(ids.next().as_str(), "1f1f1f1f0000000000");
        assert_eq!(ids.next().to_header(), "1f1f1f1f0000000001");
    }

    #[test]
    fn logs_show_no_control_characters() {
        assert_eq!(for_log("/a\r\n\u{1b}[31m\u{202e}x\\"), "/a\\u{d}\\u{a}\\u{1b}[31m\\u{202e}x\\u{5c}");
        assert!(for_log(&"y".repeat(10_000)).len() < 220);
    }
}
