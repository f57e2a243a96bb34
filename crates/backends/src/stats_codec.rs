//! How the dimensions of a tally are stored, in any store: a one-click row takes a dozen bytes.
//!
//! Per dimension one byte: its number in the high half, in the low half how many values follow (15: a varint
//! says), 0 meaning one value that has all the clicks. Per value its text, and then its clicks as a varint.
//! A text is a byte from 128 on for a known word, else its length and its bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use compact_str::CompactString;
use domain::Dimension;
use domain::port::Dimensions;
use foldhash::fast::RandomState;

/// Words that take one byte. Part of the stored format: only ever added to, at most 128.
const WORDS: &[&str] = &[
    "other",
    "unknown",
    "direct",
    "HEAD",
    "Prefetch",
    "Chrome",
    "Firefox",
    "Safari",
    "Edge",
    "Opera",
    "Internet Explorer",
    "Samsung Internet",
    "Vivaldi",
    "Yandex Browser",
    "In-app browser",
    "curl",
    "Wget",
    "HTTP library",
    "Brave",
    "DuckDuckGo",
    "UC Browser",
    "Other",
    "Windows",
    "macOS",
    "Linux",
    "Android",
    "iOS",
    "iPadOS",
    "ChromeOS",
    "BSD",
    "Game console",
    "TV",
    "Desktop",
    "Mobile",
    "Tablet",
    "Console",
    "en",
    "de",
    "fr",
    "es",
    "pt",
    "it",
    "nl",
    "pl",
    "ru",
    "uk",
    "tr",
    "ar",
    "hi",
    "id",
    "ja",
    "ko",
    "zh",
    "vi",
    "th",
    "sv",
    "US",
    "DE",
    "GB",
    "FR",
    "IN",
    "BR",
    "CA",
    "AU",
    "JP",
    "CN",
    "KR",
    "IT",
    "ES",
    "NL",
    "PL",
    "RU",
    "UA",
    "TR",
    "MX",
    "ID",
    "VN",
    "SE",
    "CH",
    "AT",
    "google.com",
    "bing.com",
    "facebook.com",
    "instagram.com",
    "t.co",
    "x.com",
    "linkedin.com",
    "youtube.com",
    "reddit.com",
    "github.com",
    "duckduckgo.com",
    "news.ycombinator.com",
    "wikipedia.org",
    "tiktok.com",
    "whatsapp.com",
    "telegram.org",
    "email",
    "newsletter",
    "social",
    "cpc",
    "organic",
    "referral",
    "Googlebot",
    "bingbot",
];
/// By word, its place among [`WORDS`].
static PLACES: LazyLock<HashMap<&str, u8, RandomState>> = LazyLock::new(|| WORDS.iter().copied().zip(0..).collect());

const WORD: u8 = 0x80;
const MANY: u8 = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

pub(crate) fn encode(dimensions: &Dimensions, clicks: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for (dimension, values) in dimensions.iter().filter(|(_, values)| !values.is_empty()) {
        let head = dimension.number() << 4;
        if let (1, Some((value, count))) = (values.len(), values.iter().next())
            && *count == clicks
        {
            out.push(head);
            put_text(&mut out, value);
            continue;
        }
        let few = u8::try_from(values.len()).ok().filter(|len| *len < MANY);
        out.push(head | few.unwrap_or(MANY));
        if few.is_none() {
            put_varint(&mut out, u64::try_from(values.len()).unwrap_or(u64::MAX));
        }
        for (value, count) in values {
            put_text(&mut out, value);
            put_varint(&mut out, *count);
        }
    }
    out
}

/// Only the values of `wanted`, or all.
pub(crate) fn decode(mut bytes: &[u8], clicks: u64, wanted: Option<Dimension>) -> Result<Dimensions, Damaged> {
    let mut dimensions = Dimensions::new();
    while let Some(head) = take(&mut bytes) {
        let dimension = Dimension::from_number(head >> 4).ok_or(Damaged)?;
        let len = match head & 0x0F {
            MANY => take_varint(&mut bytes)?,
            len => u64::from(len),
        };
        let mut values = BTreeMap::new();
        if len == 0 {
            values.insert(take_text(&mut bytes)?, clicks);
        }
        for _ in 0..len {
            let value = take_text(&mut bytes)?;
            values.insert(value, take_varint(&mut bytes)?);
        }
        if wanted.is_none_or(|wanted| wanted == dimension) {
            dimensions.insert(dimension, values);
        }
    }
    Ok(dimensions)
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    if let Some(word) = PLACES.get(text) {
        out.push(WORD | word);
        return;
    }
    let text = &text[..text.floor_char_boundary(usize::from(WORD - 1))];
    out.push(u8::try_from(text.len()).unwrap_or(0));
    out.extend_from_slice(text.as_bytes());
}

fn take_text(bytes: &mut &[u8]) -> Result<CompactString, Damaged> {
    let head = take(bytes).ok_or(Damaged)?;
    if head >= WORD {
        return WORDS.get(usize::from(head - WORD)).map(|word| CompactString::const_new(word)).ok_or(Damaged);
    }
    let (text, rest) = bytes.split_at_checked(usize::from(head)).ok_or(Damaged)?;
    *bytes = rest;
    CompactString::from_utf8(text).map_err(|_| Damaged)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7F).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Damaged> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes).ok_or(Damaged)?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Damaged)
}

fn take(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_distinct_and_fit_their_byte() {
        assert!(WORDS.len() <= 128);
        let distinct: std::collections::BTreeSet<_> = WORDS.iter().collect();
        assert_eq!(distinct.len(), WORDS.len());
    }

    #[test]
    fn a_click_takes_two_bytes_a_known_word() {
        let one = |value: &'static str| BTreeMap::from([(CompactString::const_new(value), 1)]);
        let dimensions = Dimensions::from([(Dimension::Country, one("DE")), (Dimension::Referrer, one("direct"))]);
        assert_eq!(encode(&dimensions, 1).len(), 4);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            dimensions in prop::collection::btree_map(1_u8..=10, prop::collection::btree_map("(direct|.{0,20})", any::<u64>(), 1..40), 0..10),
            clicks in any::<u64>(),
        ) {
            let dimensions: Dimensions = dimensions
                .into_iter()
                .map(|(number, values)| (Dimension::from_number(number).unwrap(), values.into_iter().map(|(value, count)| (value.into(), count)).collect()))
                .collect();
            let bytes = encode(&dimensions, clicks);
            prop_assert_eq!(&decode(&bytes, clicks, None).unwrap(), &dimensions);
            for (dimension, values) in &dimensions {
                let wanted = decode(&bytes, clicks, Some(*dimension)).unwrap();
                prop_assert_eq!(wanted, Dimensions::from([(*dimension, values.clone())]));
            }
        }

        #[test]
        fn damage_is_an_error_or_a_value_but_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(&bytes, 1, None);
        }
    }
}
