//! Bytes from the network: what the reader of plain requests accepts means the same to a strict parser, and
//! forwarding headers are believed from trusted proxies only.
#![no_main]

use std::net::SocketAddr;

use gateway::{ForwardedHeader, Networks};
use libfuzzer_sys::fuzz_target;

fn head(bytes: &[u8]) {
    let Some(plain) = gateway::fuzz::head(bytes) else { return };
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else { panic!("accepted, but not a request") };
    assert_eq!((length, request.method, request.path), (plain.len, Some("GET"), Some(plain.target.as_str())));
    assert_eq!(request.headers.len(), plain.headers.len());
    let hosts: Vec<_> = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host")).collect();
    assert_eq!(hosts.len(), 1);
    assert_eq!(hosts[0].value, plain.host.as_bytes());
}

fn forwarded(bytes: &[u8]) {
    let trusted = Networks::new(vec!["10.0.0.0/8".parse().expect("a network")]);
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        let stranger: SocketAddr = "192.0.2.1:1".parse().expect("an address");
        assert_eq!(gateway::fuzz::client_ip(stranger, &trusted, header, &lines), stranger.ip());
        let proxy: SocketAddr = "10.0.0.1:1".parse().expect("an address");
        let client = gateway::fuzz::client_ip(proxy, &trusted, header, &lines);
        // Whatever a stranger wrote before the proxy's own entry changes nothing.
        let mut spoofed: Vec<&[u8]> = vec![b"for=198.51.100.9, 198.51.100.9"];
        spoofed.extend(&lines);
        if !trusted.contains(client) {
            assert_eq!(gateway::fuzz::client_ip(proxy, &trusted, header, &spoofed), client);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    head(bytes);
    forwarded(bytes);
});
