//! Codes: what stands after the slash. Shapes, Base62, and the proof that a code was never issued.

use std::fmt;
use std::ops::Range;

use compact_str::CompactString;

use crate::api::CodeBlock;
use crate::limits::{ALIAS_LEN_MAX, ALIAS_LEN_MIN, CODE_LEN, CODE_SPACE, FOREIGN_CODE_LEN_MAX};
use crate::permutation::Permutation;

/// First path segments that are ours, in lower case.
pub const RESERVED: &[&str] = &[
    "_",
    "about",
    "abuse",
    "account",
    "admin",
    "api",
    "app",
    "apple-touch-icon.png",
    "assets",
    "auth",
    "dashboard",
    "docs",
    "favicon.ico",
    "favicon.svg",
    "healthz",
    "health",
    "help",
    "livez",
    "login",
    "logout",
    "metrics",
    "openapi.json",
    "privacy",
    "readyz",
    "register",
    "report",
    "robots.txt",
    "settings",
    "signup",
    "sitemap.xml",
    "static",
    "status",
    "terms",
    "well-known",
    ".well-known",
    "www",
];

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Seven Base62 characters, most significant first. `None` from `62^7` on.
pub fn encode_base62(mut value: u64) -> Option<[u8; CODE_LEN]> {
    if value >= CODE_SPACE {
        return None;
    }
    let mut text = [b'0'; CODE_LEN];
    for slot in text.iter_mut().rev() {
        *slot = ALPHABET[usize::try_from(value % 62).unwrap_or(0)];
        value /= 62;
    }
    Some(text)
}

/// The value of exactly seven Base62 characters.
pub fn decode_base62(text: &[u8]) -> Option<u64> {
    if text.len() != CODE_LEN {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return None,
        };
        Some(value * 62 + u64::from(digit))
    })
}

/// Characters that any 64-bit number fits: `62^11 > 2^64`.
const CODE_LEN_64: usize = 11;

/// Eleven Base62 characters, most significant first.
pub fn encode_base62_u64(mut value: u64) -> CompactString {
    let mut text = [b'0'; CODE_LEN_64];
    for slot in text.iter_mut().rev() {
        *slot = ALPHABET[usize::try_from(value % 62).unwrap_or(0)];
        value /= 62;
    }
    text.iter().copied().map(char::from).collect()
}

/// Seven Base62 characters with at least one digit and one upper-case letter.
pub fn has_generated_shape(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == CODE_LEN
        && bytes.iter().all(u8::is_ascii_alphanumeric)
        && bytes.iter().any(u8::is_ascii_digit)
        && bytes.iter().any(u8::is_ascii_uppercase)
}

/// Whether some spelling of `text` would have the generated shape: such aliases are refused.
pub fn may_be_respelled_as_generated(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == CODE_LEN
        && bytes.iter().all(u8::is_ascii_alphanumeric)
        && bytes.iter().any(u8::is_ascii_digit)
        && bytes.iter().any(u8::is_ascii_alphabetic)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeKind {
    /// Made by the allocator; always of the generated shape.
    Generated,
    /// Chosen by the user; shown as typed, matched in any case.
    Alias,
    /// Made elsewhere or by another strategy; matched as typed.
    Foreign,
}

impl CodeKind {
    /// As JSON shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Alias => "alias",
            Self::Foreign => "foreign",
        }
    }
}

/// A code as shown, with how it is matched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    text: CompactString,
    kind: CodeKind,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    #[error("an alias has {ALIAS_LEN_MIN} to {ALIAS_LEN_MAX} letters, digits, `-` or `_`, with single `/` between segments")]
    Alias,
    #[error("seven letters and digits, with at least one of each, are kept for generated codes")]
    GeneratedShape,
    #[error("`{0}` is reserved")]
    Reserved(String),
    #[error("a code has 1 to {FOREIGN_CODE_LEN_MAX} URL-safe characters, no empty segment, and does not end in `.qr`")]
    Foreign,
}

impl Code {
    /// The code of a permuted counter; `None` when it lacks a digit or an upper-case letter, so
    /// that the counter must be skipped, or is out of range.
    pub fn generated(permuted: u64) -> Option<Self> {
        let bytes = encode_base62(permuted)?;
        let text = std::str::from_utf8(&bytes).ok()?;
        has_generated_shape(text).then(|| Self { text: text.into(), kind: CodeKind::Generated })
    }

    pub fn parse_alias(text: &str) -> Result<Self, CodeError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/');
        let length = text.len();
        if !(ALIAS_LEN_MIN..=ALIAS_LEN_MAX).contains(&length) || !text.bytes().all(allowed) || text.split('/').any(str::is_empty) {
            return Err(CodeError::Alias);
        }
        if may_be_respelled_as_generated(text) {
            return Err(CodeError::GeneratedShape);
        }
        check_reserved(text)?;
        Ok(Self { text: text.into(), kind: CodeKind::Alias })
    }

    /// A code made elsewhere, of any shape that a path can carry.
    pub fn parse_foreign(text: &str) -> Result<Self, CodeError> {
        if Slug::parse(text).is_none() || text.strip_suffix(".qr").is_some() || text.ends_with('+') {
            return Err(CodeError::Foreign);
        }
        check_reserved(text)?;
        Ok(Self { text: text.into(), kind: CodeKind::Foreign })
    }

    /// A code this type once accepted, read back from our own store.
    pub fn from_stored(text: &str, kind: CodeKind) -> Self {
        Self { text: text.into(), kind }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn kind(&self) -> CodeKind {
        self.kind
    }

    /// What the code is stored and matched by: an alias in lower case, all others as they are.
    pub fn key(&self) -> CompactString {
        match self.kind {
            CodeKind::Alias => self.text.to_ascii_lowercase(),
            CodeKind::Generated | CodeKind::Foreign => self.text.clone(),
        }
    }

    /// Whether the row is keyed by its decoded number rather than by its text.
    pub fn has_generated_shape(&self) -> bool {
        has_generated_shape(&self.text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn check_reserved(text: &str) -> Result<(), CodeError> {
    let first = text.split('/').next().unwrap_or(text).to_ascii_lowercase();
    if RESERVED.contains(&first.as_str()) { Err(CodeError::Reserved(first)) } else { Ok(()) }
}

/// Something typed after the slash: the characters and length of a code, nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slug<'a>(&'a str);

impl<'a> Slug<'a> {
    /// `None`: no link can have this code, whatever its kind. Allocates nothing.
    pub fn parse(text: &'a str) -> Option<Self> {
        let allowed = |b: u8| {
            b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'-' | b'_' | b'/' | b'.' | b'~' | b'!' | b'$' | b'\'' | b'(' | b')' | b'*' | b',' | b';' | b'=' | b':' | b'@' | b'&'
                )
        };
        let fits = !text.is_empty() && text.len() <= FOREIGN_CODE_LEN_MAX && text.bytes().all(allowed);
        let segments = fits && text.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
        segments.then_some(Self(text))
    }

    pub fn as_str(self) -> &'a str {
        self.0
    }

    pub fn has_generated_shape(self) -> bool {
        has_generated_shape(self.0)
    }
}

/// The codes of a leased block, in the order of their counters. Not `Clone`: two copies would hand
/// out every code twice.
#[derive(Debug)]
pub struct BlockCodes {
    permutation: Permutation,
    counters: Range<u64>,
}

impl BlockCodes {
    pub fn new(block: &CodeBlock) -> Self {
        Self { permutation: Permutation::new(block.key, block.epoch), counters: block.start..block.end }
    }

    /// Counters not yet used; about 69 of 100 become codes.
    pub fn counters_left(&self) -> u64 {
        self.counters.end.saturating_sub(self.counters.start)
    }
}

impl Iterator for BlockCodes {
    type Item = Code;

    fn next(&mut self) -> Option<Code> {
        let permutation = &self.permutation;
        self.counters.find_map(|counter| Code::generated(permutation.encode(counter)))
    }
}

/// Upper bounds of what the allocator can have issued, one per key epoch.
///
/// The proof holds only while the bounds are fresh: whoever hands them out says since when
/// (see [`crate::port::IssuedBounds`]).
#[derive(Clone, Debug, Default)]
pub struct Issued {
    epochs: Vec<(Permutation, u64)>,
}

impl Issued {
    /// Each epoch's permutation with its `lim`: no counter from `lim` on was ever granted.
    pub fn new(epochs: Vec<(Permutation, u64)>) -> Self {
        Self { epochs }
    }

    /// True when `slug` has the generated shape and its counter lies beyond every epoch's bound.
    pub fn never_issued(&self, slug: Slug<'_>) -> bool {
        if !slug.has_generated_shape() || self.epochs.is_empty() {
            return false;
        }
        let Some(value) = decode_base62(slug.as_str().as_bytes()) else { return false };
        self.epochs.iter().all(|(permutation, lim)| permutation.decode(value) >= *lim)
    }
}

#[cfg(test)]
mod tests;
