use proptest::prelude::*;

use super::*;

type Pairs = Vec<(String, Vec<u8>)>;

fn fields_of(head: &Head<'_>) -> Pairs {
    head.fields().map(|f| (String::from_utf8(f.name.to_vec()).unwrap(), f.value.to_vec())).collect()
}

/// What the parser under the HTTP library makes of it: method, target, fields and length.
fn library(bytes: &[u8]) -> Option<(String, String, Pairs, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else { return None };
    assert_eq!(request.version, Some(1));
    let fields = request.headers.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
    Some((request.method.unwrap().to_owned(), request.path.unwrap().to_owned(), fields, length))
}

/// Whatever is accepted is read by the library in the same way.
fn agrees(bytes: &[u8]) -> bool {
    let Parsed::Plain(head) = parse(bytes) else { return false };
    let (method, target, fields, length) = library(bytes).unwrap();
    assert_eq!((method.as_str(), target.as_str(), length), ("GET", head.target, head.len));
    assert_eq!(fields, fields_of(&head));
    let uri: http::Uri = target.parse().unwrap();
    assert_eq!((uri.path(), uri.query().unwrap_or("")), (head.path, head.query));
    assert!(uri.authority().is_none());
    let parts = head.to_parts().unwrap();
    assert_eq!(parts.uri, uri);
    assert_eq!(parts.headers.len(), fields.len());
    assert_eq!(parts.headers.get_all(HOST).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>(), [head.host.as_bytes()]);
    for name in parts.headers.keys() {
        let last_first: Vec<_> = head.last_to_first(name).collect();
        assert_eq!(last_first, parts.headers.last_to_first(name).collect::<Vec<_>>());
        assert_eq!(head.first(name), parts.headers.first(name));
    }
    true
}

fn with(field: &str) -> String {
    format!("GET /abc HTTP/1.1\r\nHost: s.example\r\n{field}\r\n\r\n")
}

#[test]
fn what_browsers_and_tools_send_is_plain() {
    let browser = "GET /Ab3-_~/x?utm_source=a%20b&c=d+e HTTP/1.1\r\nHost: s.example:8080\r\nConnection: keep-alive\r\n\
        Cache-Control: max-age=0\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: text/html,*/*;q=0.8\r\n\
        Sec-Fetch-Mode: navigate\r\nReferer: https://e.x/?a=\"b\"\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: de\r\n\
        Cookie: a=b; c=d\r\nX-Empty:\r\nX-Text: t\u{e9}\t \r\n\r\nGET /next";
    for plain in [browser, "GET /a HTTP/1.1\r\nhOsT:s.example\r\n\r\n", &with("Connection: Keep-Alive"), &with("X:y")] {
        assert!(agrees(plain.as_bytes()), "{plain}");
    }
}

#[test]
fn whatever_could_be_read_in_two_ways_is_declined() {
    for field in [
        "Content-Length: 0",
        "content-length: 5",
        "Transfer-Encoding: chunked",
        "TRANSFER-ENCODING: identity",
        "Transfer-Encoding : chunked",
        "Expect: 100-continue",
        "Upgrade: h2c",
        "Connection: close",
        "Connection: keep-alive, upgrade",
        "Connection: ",
        "TE: trailers",
        "Host: s.example",
        "Host: evil.example",
        "X-Folded: a\r\n b",
        "X-Null: a\0b",
        "X-Bare: a\nContent-Length: 5",
        "X-Bare: a\rContent-Length: 5",
        "X-Del: \x7f",
        "X Space: a",
        " X-Indented: a",
        "X\u{e9}: a",
        ": no name",
        "no colon",
        "X(: a",
        "X\": a",
    ] {
        assert!(matches!(parse(with(field).as_bytes()), Parsed::Declined), "{field:?}");
    }
    let many = (0..FIELDS_MAX).fold(String::new(), |text, i| text + &format!("X-{i}: y\r\n"));
    assert!(matches!(parse(with(many.trim_end()).as_bytes()), Parsed::Declined));
}

#[test]
fn whatever_is_not_plainly_a_get_of_a_link_is_declined() {
    let line = |line: &str| format!("{line}\r\nHost: s.example\r\n\r\n");
    for first in [
        "POST /a HTTP/1.1",
        "HEAD /a HTTP/1.1",
        "get /a HTTP/1.1",
        "GET  /a HTTP/1.1",
        "GET\t/a HTTP/1.1",
        "GET /a  HTTP/1.1",
        "GET /a HTTP/1.0",
        "GET /a HTTP/1.1 ",
        "GET /a HTTP/2.0",
        "GET /a",
        "\r\nGET /a HTTP/1.1",
        "GET http://s.example/a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET / HTTP/1.1",
        "GET /api HTTP/1.1",
        "GET /api/v1/links HTTP/1.1",
        "GET /robots.txt HTTP/1.1",
        "GET /favicon.ico HTTP/1.1",
        "GET /a+ HTTP/1.1",
        "GET /a.qr HTTP/1.1",
        "GET /%61 HTTP/1.1",
        "GET //evil.example HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /a?b#c HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "PRI * HTTP/2.0",
        "\x16\x03\x01",
    ] {
        assert!(matches!(parse(line(first).as_bytes()), Parsed::Declined), "{first:?}");
    }
    for head in [
        "GET /a HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /a HTTP/1.1\nHost: a\n\n",
    ] {
        assert!(matches!(parse(head.as_bytes()), Parsed::Declined), "{head:?}");
    }
}

#[test]
fn every_beginning_of_a_plain_head_is_partial() {
    let whole = with("User-Agent: x");
    for length in 0..whole.len() {
        assert!(matches!(parse(&whole.as_bytes()[..length]), Parsed::Partial), "{:?}", &whole[..length]);
    }
}

fn nearly_plain() -> impl Strategy<Value = Vec<u8>> {
    let name =
        prop_oneof!["[A-Za-z-]{1,12}", "[ -~]{0,6}", Just("Content-Length".into()), Just("host".into()), Just("Transfer-Encoding".into())];
    let value = prop_oneof!["[ -~\t]{0,20}", "\\PC{0,8}", Just("keep-alive".into())];
    let separator = prop_oneof![8 => Just(": "), 1 => Just(":"), 1 => Just(" :"), 1 => Just("")];
    let end = prop_oneof![12 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\n ")];
    let field = (name, separator, value, end).prop_map(|(n, s, v, e)| format!("{n}{s}{v}{e}"));
    let target = prop_oneof!["/[a-zA-Z0-9_/.+%~-]{0,12}(\\?[ -~]{0,12})?", "[ -~]{0,10}"];
    let method = prop_oneof![8 => Just("GET"), 1 => Just("HEAD"), 1 => Just("GET ")];
    (method, target, proptest::collection::vec(field, 0..5), any::<(proptest::sample::Index, u8, bool)>()).prop_map(
        |(method, target, fields, (at, byte, spoiled))| {
            let head = format!("{method} {target} HTTP/1.1\r\nHost: s.example\r\n{}\r\nrest", fields.concat());
            let mut head = head.into_bytes();
            if spoiled {
                let at = at.index(head.len());
                head[at] = byte;
            }
            head
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn declines_or_reads_the_same_as_the_library(bytes in nearly_plain()) {
        agrees(&bytes);
    }

    #[test]
    fn plain_ones_are_not_declined(path in "/[a-zA-Z0-9_~-]{1,20}", fields in proptest::collection::vec(("X-[A-Za-z-]{1,12}", "[!-~]{0,20}"), 0..20)) {
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let fields = fields.concat();
        let head = format!("GET {path} HTTP/1.1\r\n{fields}Host: s.example\r\n\r\n");
        prop_assert_eq!(agrees(head.as_bytes()), !is_elsewhere(&path));
    }
}
