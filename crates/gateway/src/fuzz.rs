//! For the fuzz targets: the parsers of bytes from the network, which nothing else outside may call.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::network::Networks;
use crate::options::ForwardedHeader;
use crate::plain;
use crate::request::Remote;

/// The head of a plain request as it was understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    pub len: usize,
    /// Path and query.
    pub target: String,
    pub host: String,
    /// In the library's form.
    pub headers: HeaderMap,
}

/// `None` for what is declined, or not all there.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let head = plain::parse_head(bytes)?;
    let parts = head.to_parts().expect("a plain head is one that the library can express");
    Some(Head { len: head.len, target: parts.uri.to_string(), host: head.host.to_owned(), headers: parts.headers })
}

/// Whose address is believed of a request that came from `peer`.
pub fn client_ip(peer: SocketAddr, trusted: &Networks, header: ForwardedHeader, lines: &[&[u8]]) -> IpAddr {
    let name = match header {
        ForwardedHeader::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        ForwardedHeader::Forwarded => http::header::FORWARDED,
    };
    let mut headers = HeaderMap::new();
    for value in lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(name.clone(), value);
    }
    Remote::new(peer, trusted).client_ip(&headers, header, trusted)
}
