//! The first bytes of a segment: whose it is and where it begins; and, once it is full and durable,
//! where it ends (the seal), so that opening the log need not read it.

use domain::UnixMs;
use domain::port::LogId;

pub(super) const HEADER_LEN: usize = 128;
pub(super) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"TERSECLK";
const SEAL_AT: usize = 64;
const HEAD_LEN: usize = 36;
const SEAL_LEN: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) log: LogId,
    /// The offset of the first record.
    pub(super) first: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    /// The offset after the last record.
    pub(super) end: u64,
    /// Bytes in use, from the start of the file.
    pub(super) used: u64,
    pub(super) at: UnixMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Allocated and never begun.
    Unused,
    Damaged,
    /// Of this version of the format, which is later than ours.
    Newer(u32),
    Valid(Head, Option<Seal>),
}

impl Head {
    pub(super) fn write(&self, out: &mut [u8]) {
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..28].copy_from_slice(&self.log.0);
        out[28..36].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc32fast::hash(&out[..HEAD_LEN]);
        out[HEAD_LEN..HEAD_LEN + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

impl Seal {
    /// The bytes of the seal and where they go.
    pub(super) fn bytes(&self) -> (usize, [u8; SEAL_LEN + 4]) {
        let mut bytes = [0; SEAL_LEN + 4];
        bytes[..8].copy_from_slice(&self.end.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.used.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.at.get().to_le_bytes());
        let crc = crc32fast::hash(&bytes[..SEAL_LEN]);
        bytes[SEAL_LEN..].copy_from_slice(&crc.to_le_bytes());
        (SEAL_AT, bytes)
    }

    fn read(bytes: &[u8], first: u64) -> Option<Self> {
        let [end, used, at] = [0, 8, 16].map(|from| number(&bytes[SEAL_AT + from..]));
        let whole = word(&bytes[SEAL_AT + SEAL_LEN..]) == crc32fast::hash(&bytes[SEAL_AT..SEAL_AT + SEAL_LEN]);
        // Zeros are no seal: their checksum is not zero, but neither is it worth relying on that.
        (whole && used >= HEADER_LEN as u64 && end >= first).then(|| Self { end, used, at: UnixMs::new(at.cast_signed()) })
    }
}

impl Header {
    pub(super) fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        if bytes.iter().all(|byte| *byte == 0) {
            return Self::Unused;
        }
        if bytes[..8] != MAGIC || word(&bytes[HEAD_LEN..]) != crc32fast::hash(&bytes[..HEAD_LEN]) {
            return Self::Damaged;
        }
        let version = word(&bytes[8..]);
        if version != VERSION {
            return if version > VERSION { Self::Newer(version) } else { Self::Damaged };
        }
        let mut log = [0; 16];
        log.copy_from_slice(&bytes[12..28]);
        let first = number(&bytes[28..]);
        Self::Valid(Head { log: LogId(log), first }, Seal::read(bytes, first))
    }
}

fn number(bytes: &[u8]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(number)
}

fn word(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[..4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written_and_no_flipped_bit_of_it() {
        let (head, seal) = (Head { log: LogId([7; 16]), first: 42 }, Seal { end: 99, used: 4096, at: UnixMs::new(5) });
        let mut bytes = [0; HEADER_LEN];
        assert_eq!(Header::read(&bytes), Header::Unused);
        head.write(&mut bytes);
        assert_eq!(Header::read(&bytes), Header::Valid(head, None));
        let (at, sealed) = seal.bytes();
        bytes[at..at + sealed.len()].copy_from_slice(&sealed);
        assert_eq!(Header::read(&bytes), Header::Valid(head, Some(seal)));
        for bit in 0..(at + sealed.len()) * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = match bit / 8 {
                ..40 => Header::Damaged,
                40..64 => Header::Valid(head, Some(seal)),
                _ => Header::Valid(head, None),
            };
            assert_eq!(Header::read(&flipped), expected, "bit {bit}");
        }
    }

    #[test]
    fn a_later_version_is_named() {
        let mut bytes = [0; HEADER_LEN];
        Head { log: LogId([7; 16]), first: 42 }.write(&mut bytes);
        bytes[8] = 9;
        let crc = crc32fast::hash(&bytes[..HEAD_LEN]);
        bytes[HEAD_LEN..HEAD_LEN + 4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::read(&bytes), Header::Newer(9));
    }
}
