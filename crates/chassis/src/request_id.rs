//! The name of a request in answers, in logs and in traces, in every process that works on it.

use std::fmt;

use http::HeaderValue;

/// Longer ids of others are replaced by ours.
const LEN_MAX: usize = 64;
const LEN_MIN: usize = 8;

/// Letters, digits and `-_.` only, so that it can stand anywhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    length: u8,
    bytes: [u8; LEN_MAX],
}

impl RequestId {
    /// Somebody else's id, if it is one that can be repeated safely.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !(LEN_MIN..=LEN_MAX).contains(&text.len()) || !text.iter().all(allowed) {
            return None;
        }
        let mut bytes = [0; LEN_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Some(Self { length: u8::try_from(text.len()).ok()?, bytes })
    }

    /// Eight hexadecimal digits of a process, and ten of what it counts.
    #[inline]
    pub fn numbered(process: u64, count: u64) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [0; LEN_MAX];
        let mut at = 0;
        for (number, digits) in [(process, 8_u32), (count, 10)] {
            for digit in (0..digits).rev() {
                let nibble = (number >> (4 * digit)) & 0xf;
                bytes[at] = HEX[usize::try_from(nibble).unwrap_or(0)];
                at += 1;
            }
        }
        Self { length: 18, bytes }
    }

    #[inline]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }

    pub fn to_header(self) -> HeaderValue {
        HeaderValue::from_bytes(&self.bytes[..usize::from(self.length)]).unwrap_or(HeaderValue::from_static("-"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
