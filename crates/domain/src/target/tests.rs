use proptest::prelude::*;

use super::*;

fn own(host: &str) -> bool {
    matches!(host, "sho.rt" | "xn--mnchen-3ya.example" | "203.0.113.9" | "[2001:db8::9]")
}

const PUBLIC: TargetPolicy<'static> = TargetPolicy { is_own_host: &own, private_addresses: PrivateAddresses::Refused };
const ANY: TargetPolicy<'static> = TargetPolicy { is_own_host: &own, private_addresses: PrivateAddresses::Allowed };

fn parse(text: &str) -> Result<String, TargetError> {
    Target::parse(text, &PUBLIC).map(|target| target.as_str().to_owned())
}

#[track_caller]
fn assert_invalid(text: &str) {
    assert!(matches!(parse(text), Err(TargetError::Invalid(_))), "{text:?} gave {:?}", parse(text));
}

#[track_caller]
fn assert_not_allowed(text: &str) {
    assert!(matches!(parse(text), Err(TargetError::NotAllowed(_))), "{text:?} gave {:?}", parse(text));
}

#[test]
fn canonical_forms() {
    let table = [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.com:443/A", "https://example.com/A"),
        ("http://example.com:80/", "http://example.com/"),
        ("http://example.com:8080/a/../b/./c", "http://example.com:8080/b/c"),
        ("  https://example.com/a b  ", "https://example.com/a%20b"),
        ("https://example.com/ü?q=ü#ü", "https://example.com/%C3%BC?q=%C3%BC#%C3%BC"),
        ("https://example.com/%0d%0aX: y", "https://example.com/%0d%0aX:%20y"),
        ("https:\\\\example.com\\a", "https://example.com/a"),
        ("https://BÜCHER.example/", "https://xn--bcher-kva.example/"),
        ("https://ｅｘａｍｐｌｅ.com/", "https://example.com/"),
        ("https://россия.example/", "https://xn--h1alffa9f.example/"),
        ("https://example.com./", "https://example.com./"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
        ("https://_dmarc.example.com/", "https://_dmarc.example.com/"),
        ("https://example.com/@user", "https://example.com/@user"),
    ];
    for (typed, canonical) in table {
        assert_eq!(parse(typed).as_deref(), Ok(canonical), "{typed:?}");
    }
}

#[test]
fn only_http_and_https() {
    for text in [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://example.com/x",
        "intent://x#Intent;end",
        "ftp://example.com/",
        "mailto:a@example.com",
        "ws://example.com/",
        "example.com/a",
        "//example.com/a",
        "/a",
        "localhost:8080/a",
        "",
        "   ",
        "https://",
        "https:///",
        "http://?x",
    ] {
        assert_invalid(text);
    }
}

#[test]
fn nothing_is_stripped_in_silence() {
    for text in [
        "java\tscript:alert(1)",
        "https://example.com/\r\nSet-Cookie: a=b",
        "https://exam\nple.com/",
        "\u{1}https://example.com/",
        "https://example.com/\0",
        "https://example.com/\u{7f}",
        "https://example.com/\u{85}",
        "https://example.com/\u{2028}x",
        "https://example.com/\u{2029}x",
        "https://example.com/\n",
        "\thttps://example.com/",
    ] {
        assert_invalid(text);
    }
}

#[test]
fn no_userinfo() {
    for text in
        ["https://bank.com@evil.example/", "https://a:b@evil.example/", "https://:b@evil.example/", "https://bank.com%2F@evil.example/"]
    {
        assert_invalid(text);
    }
}

#[test]
fn hosts_that_are_no_names() {
    let long_label = format!("https://{}.example/", "a".repeat(64));
    let long_host = format!("https://{}example/", "abcdefghi.".repeat(25));
    for text in [
        "https://a..example/",
        "https://.example.com/",
        "https://exa!mple.com/",
        "https://exa'mple.com/",
        "https://example.com../",
        "https://exam ple.com/",
        "https://example.com:99999/",
        "https://1.2.3.256/",
        "https://[::1/",
        &long_label,
        &long_host,
    ] {
        assert_invalid(text);
    }
}

#[test]
fn deceptive_international_names() {
    for text in [
        // Cyrillic letters among Latin ones, as typed and as A-label; Greek and Cyrillic.
        "https://p\u{430}ypal.com/",
        "https://xn--pypal-4ve.com/",
        "https://\u{3b1}\u{431}\u{432}.example/",
        // A-labels that decode to ASCII, to nothing, or to something else than they were made from.
        "https://xn--example-.org/",
        "https://xn--.org/",
        "https://xn--a.org/",
        "https://xn--bcher-2pa.example/",
        "https://xn--uber-vwc.example/",
        "https://xn--a-eha669u.example/",
        "https://xn--sch--3ra93159a.example/",
    ] {
        assert_invalid(text);
    }
    for text in ["https://ヤフーmail.example/", "https://日本語.example/", "https://한국shop.example/", "https://παράδειγμα.example/"]
    {
        assert!(parse(text).is_ok_and(|url| url.starts_with("https://xn--")), "{text}");
    }
}

#[test]
fn every_spelling_of_an_own_host_is_refused() {
    for text in [
        "https://sho.rt/a",
        "https://SHO.rt/a",
        "http://sho.rt:8080/a",
        "https://sho.rt./a",
        "https:\\\\sho.rt/a",
        "https://ｓho.rt/",
        "https://münchen.example/",
        "https://xn--mnchen-3ya.example/",
        "https://203.0.113.9/",
        "https://0xcb.0.0x71.9/",
        "https://[::ffff:203.0.113.9]/",
        "https://[2001:db8:0::9]/",
        "https://%73ho.rt/",
    ] {
        assert_not_allowed(text);
        assert!(matches!(Target::parse(text, &ANY), Err(TargetError::NotAllowed(_))), "{text}");
    }
    assert!(parse("https://notsho.rt/").is_ok());
    assert!(parse("https://www.sho.rt/").is_ok());
}

#[test]
fn private_addresses_in_every_spelling() {
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "①②⑦.0.0.1",
        "[::]",
        "[::1]",
        "[fc00::1]",
        "[fdff::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[::ffff:7f00:1]",
        "[::ffff:10.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::a00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2002:c0a8:101::1]",
        "[::ffff:0:10.0.0.1]",
        "[2001:0:1:2:3:4:80ff:fffe]",
        "[fd00:ec2::254]",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "printer.local",
        "metadata.google.internal",
        "router.lan",
        "nas.home.arpa",
        "intranet",
        "redis",
    ];
    for host in hosts {
        let text = format!("http://{host}:8080/x");
        assert_not_allowed(&text);
        assert!(Target::parse(&text, &ANY).is_ok(), "{text}");
    }
    for host in [
        "172.15.0.1",
        "172.32.0.1",
        "100.128.0.1",
        "11.0.0.1",
        "192.0.1.1",
        "198.20.0.1",
        "223.255.255.255",
        "[2002:808:808::1]",
        "[64:ff9b::808:808]",
        "[2001:4860::1]",
        "notlocalhost.example",
        "local.example",
        "mylocal.com",
    ] {
        assert!(parse(&format!("http://{host}/")).is_ok(), "{host}");
    }
}

#[test]
fn length_counts_after_encoding() {
    let of_len = |len: usize| format!("https://example.com/{}", "a".repeat(len - "https://example.com/".len()));
    assert!(parse(&of_len(TARGET_LEN_MAX)).is_ok());
    assert_invalid(&of_len(TARGET_LEN_MAX + 1));
    assert_invalid(&format!("https://example.com/{}", "ü".repeat(TARGET_LEN_MAX / 4)));
}

#[test]
fn errors_echo_little() {
    for text in
        ["x".repeat(5_000), format!("{}:x", "y".repeat(5_000)), format!("https://{}.local/", "a.".repeat(100)), "\u{202e}".repeat(1_000)]
    {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.len() < 500 && error.chars().all(|c| c == '…' || c.is_ascii()), "{error}");
    }
}

fn check_accepted(text: &str) -> Result<(), TestCaseError> {
    let Ok(target) = Target::parse(text, &ANY) else { return Ok(()) };
    let url = target.as_str();
    prop_assert!(url.starts_with("http://") || url.starts_with("https://"));
    prop_assert!(url.len() <= TARGET_LEN_MAX && url.bytes().all(|b| b.is_ascii_graphic()), "{}", url);
    prop_assert_eq!(Target::parse(url, &ANY), Ok(target.clone()));
    Ok(())
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_safe(text in "\\PC{0,60}") {
        check_accepted(&text)?;
    }

    #[test]
    fn whatever_is_accepted_is_safe_also_near_urls(
        scheme in "(?i)https?", slashes in "[/\\\\]{0,3}", host in "[a-zA-Z0-9.\\-_%\\[\\]:@üа日]{0,20}", rest in "(?s)[/?#].{0,30}",
    ) {
        check_accepted(&format!("{scheme}:{slashes}{host}{rest}"))?;
    }

    #[test]
    fn ordinary_urls_are_accepted(host in "[a-z]{1,10}\\.(com|org|example)", path in "[a-zA-Z0-9/_~.-]{0,40}") {
        let url = format!("https://{host}/{path}");
        prop_assert!(parse(&url).is_ok(), "{}", url);
    }
}
