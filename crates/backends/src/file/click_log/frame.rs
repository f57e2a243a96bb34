//! One record in a segment: `length + 1` as a varint of one or two bytes, a checksum, the click.
//!
//! The checksum is the CRC-32 of the click, xor the low half of the record's offset, xor a constant. So
//! zeros are no record, a torn record is none, and neither is a whole one in a wrong place.

use domain::{Click, ClickTrace};

use crate::click_codec::{CLICK_LEN_MAX, Keep, encode};

const LENGTH_LEN_MAX: usize = 2;
const CRC_LEN: usize = 4;
const HEAD_LEN_MAX: usize = LENGTH_LEN_MAX + CRC_LEN;
pub(super) const FRAME_LEN_MAX: usize = HEAD_LEN_MAX + CLICK_LEN_MAX;
pub(super) const FRAME_LEN_MIN: usize = 1 + CRC_LEN;
/// The CRC of nothing is zero: without this, a one and a small number would be an empty record.
const MARK: u32 = 0xC11C_5EED;

const _: () = assert!(CLICK_LEN_MAX + 1 < 1 << 14, "the length fits two bytes of varint");

/// Where a click is made into a frame before the log is locked.
pub(super) struct Frame {
    /// The head ends where the payload begins; a short one begins at 1.
    head: [u8; HEAD_LEN_MAX],
    head_start: usize,
    crc: u32,
    payload: [u8; CLICK_LEN_MAX],
    payload_len: usize,
}

impl Frame {
    pub(super) const EMPTY: Self = Self { head: [0; HEAD_LEN_MAX], head_start: 0, crc: 0, payload: [0; CLICK_LEN_MAX], payload_len: 0 };

    pub(super) fn fill(&mut self, click: &Click<'_>, trace: Option<ClickTrace>) {
        self.payload_len = encode(click, Keep::Statistics, trace, &mut self.payload);
        self.crc = crc32fast::hash(&self.payload[..self.payload_len]);
        let [low, high, ..] = (self.payload_len + 1).to_le_bytes();
        if high == 0 && low < 0x80 {
            self.head_start = 1;
            self.head[1] = low;
        } else {
            self.head_start = 0;
            self.head[0] = low | 0x80;
            self.head[1] = high << 1 | low >> 7;
        }
    }

    pub(super) fn len(&self) -> usize {
        HEAD_LEN_MAX - self.head_start + self.payload_len
    }

    /// Writes the frame to the front of `out` as record `offset`.
    pub(super) fn put(&self, out: &mut [u8], offset: u64) {
        let mut head = self.head;
        head[LENGTH_LEN_MAX..].copy_from_slice(&(self.crc ^ MARK ^ low_half(offset)).to_le_bytes());
        let head = &head[self.head_start..];
        let payload = &self.payload[..self.payload_len];
        out[..head.len()].copy_from_slice(head);
        out[head.len()..head.len() + payload.len()].copy_from_slice(payload);
    }
}

/// What stands at the front of `bytes`, if it has the form of a frame.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) payload: &'a [u8],
    pub(super) frame_len: usize,
    /// The low half of the offset at which this frame would be whole.
    offset_low: u32,
}

impl<'a> Found<'a> {
    pub(super) fn at(bytes: &'a [u8]) -> Option<Self> {
        let (length_len, length) = match *bytes {
            [0, ..] | [] => return None,
            [low, ..] if low < 0x80 => (1, usize::from(low)),
            [low, high, ..] if (1..0x80).contains(&high) => (2, usize::from(low & 0x7f) | usize::from(high) << 7),
            _ => return None,
        };
        let payload_len = length.checked_sub(1).filter(|len| *len <= CLICK_LEN_MAX)?;
        let (crc, rest) = bytes[length_len..].split_first_chunk::<CRC_LEN>()?;
        let payload = rest.get(..payload_len)?;
        let offset_low = u32::from_le_bytes(*crc) ^ MARK ^ crc32fast::hash(payload);
        Some(Self { payload, frame_len: length_len + CRC_LEN + payload_len, offset_low })
    }

    pub(super) fn is(&self, offset: u64) -> bool {
        self.offset_low == low_half(offset)
    }

    /// How many records after `offset` this one would be.
    pub(super) fn distance(&self, offset: u64) -> u32 {
        self.offset_low.wrapping_sub(low_half(offset))
    }
}

fn low_half(offset: u64) -> u32 {
    let [a, b, c, d, ..] = offset.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_no_record() {
        for length in 1..=255 {
            for number in 0..=255 {
                let bytes = [length, number, 0, 0, 0, 0, 0, 0, 0];
                let taken = Found::at(&bytes).is_some_and(|found| found.distance(0) < 1 << 20);
                assert!(!taken, "{bytes:?}");
            }
        }
    }
}
