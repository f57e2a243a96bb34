//! The `Location` of a redirect: the target, with the request's query where the link wants it.

use std::borrow::Cow;

use http::HeaderValue;

/// `query` is what the request said after `?`, or empty when it is not forwarded. `None` never
/// happens for a stored target: whatever a header could not carry is percent-encoded.
pub(crate) fn location(target: &str, query: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&location_text(target, query)).ok()
}

/// The same as text: visible ASCII, whatever the target is.
pub(crate) fn location_text<'a>(target: &'a str, query: &str) -> Cow<'a, str> {
    let text = if query.is_empty() { Cow::Borrowed(target) } else { Cow::Owned(with_query(target, query)) };
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        return text;
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        push_encoded(&mut encoded, byte, byte.is_ascii_graphic());
    }
    Cow::Owned(encoded)
}

/// Appended after the target's own query, before its fragment; duplicates are kept.
fn with_query(target: &str, query: &str) -> String {
    let (base, fragment) = target.find('#').map_or((target, ""), |at| target.split_at(at));
    let mut url = String::with_capacity(target.len() + query.len() + 1);
    url.push_str(base);
    match base.find('?') {
        None => url.push('?'),
        Some(_) if base.ends_with(['?', '&']) => {}
        Some(_) => url.push('&'),
    }
    for byte in query.bytes() {
        // `#` would end the query, the others end attributes and headers in sloppy readers.
        let plain = byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'`' | b'\\');
        push_encoded(&mut url, byte, plain);
    }
    url.push_str(fragment);
    url
}

fn push_encoded(text: &mut String, byte: u8, plain: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if plain {
        text.push(char::from(byte));
    } else {
        text.push('%');
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_query_goes() {
        for (target, query, expected) in [
            ("https://e.x/a", "", "https://e.x/a"),
            ("https://e.x/a", "b=1", "https://e.x/a?b=1"),
            ("https://e.x/a?b=1", "b=2", "https://e.x/a?b=1&b=2"),
            ("https://e.x/a?", "b=2", "https://e.x/a?b=2"),
            ("https://e.x/a?b&", "c", "https://e.x/a?b&c"),
            ("https://e.x/a#top", "b=1", "https://e.x/a?b=1#top"),
            ("https://e.x/a?x#top?no", "b=1&b=1", "https://e.x/a?x&b=1&b=1#top?no"),
            ("https://e.x/a#?", "q", "https://e.x/a?q#?"),
            ("https://e.x/", "a=%0d%0aX: y", "https://e.x/?a=%0d%0aX:%20y"),
            ("https://e.x/", "a=\"<#>\u{e9}", "https://e.x/?a=%22%3C%23%3E%C3%A9"),
        ] {
            assert_eq!(location(target, query).unwrap(), expected, "{target} + {query}");
        }
    }

    proptest::proptest! {
        #[test]
        fn always_one_plain_header(target in "\\PC{0,40}[\r\n\0\u{2028}]?\\PC{0,20}", query in "\\PC{0,40}[\r\n\t]?\\PC{0,20}") {
            let value = location(&target, &query).unwrap();
            proptest::prop_assert!(value.as_bytes().iter().all(u8::is_ascii_graphic));
        }
    }
}
