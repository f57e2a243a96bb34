//! The host a visitor came from.

use super::short::Short;

/// The host of a `Referer` header in lower case, without `www.`, userinfo and port; empty when it has none.
pub(super) fn host(header: &str) -> Short {
    let mut host = Short::new();
    let Some((scheme, rest)) = header.split_once("://") else { return host };
    if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')) {
        return host;
    }
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or("");
    let name = authority.rsplit('@').next().unwrap_or("");
    let name = if name.starts_with('[') { name.split_inclusive(']').next() } else { name.split(':').next() }.unwrap_or("");
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = if name.get(..4).is_some_and(|www| www.eq_ignore_ascii_case("www.")) { &name[4..] } else { name };
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_whitespace() || !host.push(c) {
            break;
        }
    }
    host
}

#[cfg(test)]
mod tests {
    use domain::limits::DIMENSION_VALUE_LEN_MAX;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_of_referrers() {
        for (header, expected) in [
            ("https://www.Example.com/a?b#c", "example.com"),
            ("http://news.ycombinator.com", "news.ycombinator.com"),
            ("https://user:pw@example.com:8443/", "example.com"),
            ("https://example.com.?x", "example.com"),
            ("https://[2001:db8::1]:80/", "[2001:db8::1]"),
            ("android-app://com.google.android.gm/", "com.google.android.gm"),
            ("https://t.co/abc", "t.co"),
            ("https://www.", "www"),
            ("about:blank", ""),
            ("", ""),
            ("://x", ""),
            ("https://ex\u{0}am\u{7f}ple.com/", "example.com"),
        ] {
            assert_eq!(host(header).as_str(), expected, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_gives_a_short_clean_host(header in "\\PC{0,20}(://)?[\\PC\\n]{0,300}") {
            let host = host(&header);
            prop_assert!(host.as_str().len() <= DIMENSION_VALUE_LEN_MAX);
            prop_assert!(!host.as_str().contains(|c: char| c.is_control() || c == '/'));
        }
    }
}
