//! A short text on the stack, so that cutting and cleaning what outsiders send allocates nothing.

use domain::limits::DIMENSION_VALUE_LEN_MAX as LEN_MAX;

/// At most [`LEN_MAX`] bytes of UTF-8 without control characters.
#[derive(Clone, Copy)]
pub(crate) struct Short {
    bytes: [u8; LEN_MAX],
    len: usize,
}

impl Short {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; LEN_MAX], len: 0 }
    }

    /// Appends `c` unless it is a control character; false when there is no more room.
    pub(crate) fn push(&mut self, c: char) -> bool {
        if c.is_control() {
            return true;
        }
        let end = self.len + c.len_utf8();
        if end > LEN_MAX {
            return false;
        }
        c.encode_utf8(&mut self.bytes[self.len..end]);
        self.len = end;
        true
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }

    /// Itself, or `other` when it is empty.
    pub(crate) fn or<'a>(&'a self, other: &'a str) -> &'a str {
        if self.len == 0 { other } else { self.as_str() }
    }
}
