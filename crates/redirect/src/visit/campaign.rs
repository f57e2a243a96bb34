//! UTM values: what the link was shared with.

use super::short::Short;

/// The values of a link's target, read once when the link is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Campaign {
    pub(crate) source: Box<str>,
    pub(crate) medium: Box<str>,
    pub(crate) name: Box<str>,
}

impl Campaign {
    pub(crate) fn of_target(target: &str) -> Self {
        let before_fragment = target.split('#').next().unwrap_or("");
        let asked = Asked::of_query(before_fragment.split_once('?').map_or("", |(_, query)| query));
        Self { source: asked.source.as_str().into(), medium: asked.medium.as_str().into(), name: asked.name.as_str().into() }
    }

    pub(crate) fn size(&self) -> usize {
        self.source.len() + self.medium.len() + self.name.len()
    }
}

/// The values of one request. The first of each name counts.
pub(super) struct Asked {
    pub(super) source: Short,
    pub(super) medium: Short,
    pub(super) name: Short,
}

impl Asked {
    pub(super) fn of_query(query: &str) -> Self {
        let mut asked = Self { source: Short::new(), medium: Short::new(), name: Short::new() };
        if query.is_empty() {
            return asked;
        }
        for pair in query.split('&') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let slot = match name {
                "utm_source" => &mut asked.source,
                "utm_medium" => &mut asked.medium,
                "utm_campaign" => &mut asked.name,
                _ => continue,
            };
            if slot.as_str().is_empty() {
                decode(value, slot);
            }
        }
        asked
    }
}

/// Form decoding: `+` is a space, `%XX` a byte. What is not UTF-8 then is left out.
fn decode(text: &str, into: &mut Short) {
    let mut bytes = text.bytes();
    // At most one character of UTF-8 in the making.
    let mut pending = [0_u8; 4];
    let mut len = 0;
    while let Some(byte) = bytes.next() {
        pending[len] = match byte {
            b'+' => b' ',
            b'%' => unescape(&mut bytes).unwrap_or(b'%'),
            other => other,
        };
        len += 1;
        match std::str::from_utf8(&pending[..len]) {
            Ok(done) => {
                len = 0;
                if !done.chars().all(|c| into.push(c)) {
                    return;
                }
            }
            // The beginning of a character.
            Err(error) if error.error_len().is_none() && len < pending.len() => {}
            Err(_) => len = 0,
        }
    }
}

fn unescape(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let mut ahead = bytes.clone();
    let mut digit = || char::from(ahead.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = digit()? * 16 + digit()?;
    *bytes = ahead;
    Some(byte)
}

#[cfg(test)]
mod tests {
    use domain::limits::DIMENSION_VALUE_LEN_MAX;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_decoded_and_the_first_counts() {
        let asked =
            Asked::of_query("a=b&utm_source=news+letter&utm_medium=e%2Dmail&utm_campaign=fr%C3%BChling&utm_source=other&utm_medium");
        assert_eq!(asked.source.as_str(), "news letter");
        assert_eq!(asked.medium.as_str(), "e-mail");
        assert_eq!(asked.name.as_str(), "frühling");
    }

    #[test]
    fn targets_are_read_before_the_fragment_only() {
        let campaign = Campaign::of_target("https://example.com/?utm_source=x#?utm_medium=no");
        assert_eq!((&*campaign.source, &*campaign.medium), ("x", ""));
        assert_eq!(Campaign::of_target("https://example.com/"), Campaign::default());
    }

    #[test]
    fn broken_escapes_and_control_characters_do_no_harm() {
        for (query, expected) in [
            ("utm_source=100%", "100%"),
            ("utm_source=%4", "%4"),
            ("utm_source=%zz", "%zz"),
            ("utm_source=a%00b%0Ac", "abc"),
            ("utm_source=a%FFb", "ab"),
            ("utm_source=%C3", ""),
        ] {
            assert_eq!(Asked::of_query(query).source.as_str(), expected, "{query}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_comes_back_cut_to_length(value in "[^\\p{Cc}]{0,200}") {
            let encoded = value.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"));
            let asked = Asked::of_query(&format!("utm_campaign={encoded}"));
            let mut cut = value.as_str();
            while cut.len() > DIMENSION_VALUE_LEN_MAX {
                cut = &cut[..cut.char_indices().next_back().map_or(0, |(at, _)| at)];
            }
            prop_assert_eq!(asked.name.as_str(), cut);
        }
    }
}
