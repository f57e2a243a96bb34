//! Reads a segment record by record, over whatever is damaged.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::frame::{FRAME_LEN_MAX, FRAME_LEN_MIN, Found};

/// Bytes read at once.
const BUFFER_LEN: usize = 256 * 1024;
const _: () = assert!(BUFFER_LEN > 4 * FRAME_LEN_MAX, "a frame and its successor are always seen whole");

/// A place in a segment: the next record's offset, and the byte where it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) byte: u64,
}

pub(super) struct Walk<'a> {
    file: &'a File,
    place: Place,
    buffer: Vec<u8>,
    /// Of the buffer's first byte, and of the first byte that is not the segment's.
    buffer_start: u64,
    end: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) offset: u64,
    pub(super) payload: &'a [u8],
}

impl<'a> Walk<'a> {
    /// Reads `file` from `place` up to byte `end`.
    pub(super) fn new(file: &'a File, place: Place, end: u64) -> Self {
        Self { file, place, buffer: Vec::new(), buffer_start: place.byte, end }
    }

    /// After the last record that was read.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// The next record that can be read; its offset tells how many could not. `None`: there is none
    /// left, and [`Self::place`] stays after the last one.
    pub(super) fn next(&mut self) -> io::Result<Option<Item<'_>>> {
        let Place { offset, byte } = self.place;
        let here = Found::at(self.window(byte)?).is_some_and(|found| found.is(offset));
        let place = if here { Some(self.place) } else { self.resume()? };
        let Some(place) = place else { return Ok(None) };
        let start = self.fill(place.byte)?;
        let Some(found) = Found::at(&self.buffer[start..]) else { return Ok(None) };
        self.place = Place { offset: place.offset + 1, byte: place.byte + found.frame_len as u64 };
        Ok(Some(Item { offset: place.offset, payload: found.payload }))
    }

    /// Looks for the first whole record after a damaged one. Its checksum says which offset it has; it
    /// is believed when as many records as that leaves out could stand in between, and when another
    /// record, or nothing, follows it.
    fn resume(&mut self) -> io::Result<Option<Place>> {
        let damaged = self.place;
        let mut byte = damaged.byte;
        loop {
            // The rest of a segment is mostly zeros; they are passed over quickly.
            let zeros = self.window(byte)?.iter().take_while(|byte| **byte == 0).count();
            byte += zeros as u64;
            let window = self.window(byte)?;
            if window.is_empty() {
                return Ok(None);
            }
            if zeros > 0 && window[0] == 0 {
                continue;
            }
            if let Some(found) = Found::at(window) {
                let distance = found.distance(damaged.offset);
                let fits = distance > 0 && u64::from(distance) <= (byte - damaged.byte) / FRAME_LEN_MIN as u64;
                let offset = damaged.offset + u64::from(distance);
                if fits && Self::is_followed(&window[found.frame_len..], offset) {
                    return Ok(Some(Place { offset, byte }));
                }
            }
            byte += 1;
        }
    }

    fn is_followed(rest: &[u8], offset: u64) -> bool {
        rest.first().is_none_or(|byte| *byte == 0) || Found::at(rest).is_some_and(|next| next.is(offset + 1))
    }

    /// What the segment holds from `byte` on: at least two frames' length, unless it ends before.
    fn window(&mut self, byte: u64) -> io::Result<&[u8]> {
        let start = self.fill(byte)?;
        Ok(&self.buffer[start..])
    }

    /// Answers where `byte` stands in the buffer.
    fn fill(&mut self, byte: u64) -> io::Result<usize> {
        let left = self.end.saturating_sub(byte);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(2 * FRAME_LEN_MAX);
        if let Some(start) = byte.checked_sub(self.buffer_start).and_then(|start| usize::try_from(start).ok())
            && self.buffer.len() >= start.saturating_add(want)
        {
            return Ok(start);
        }
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER_LEN);
        self.buffer.resize(len, 0);
        self.buffer_start = byte;
        let mut filled = 0;
        while filled < len {
            match self.file.read_at(&mut self.buffer[filled..], byte + filled as u64) {
                // Shorter than it should be: somebody cut it.
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.truncate(filled);
        if filled < len {
            self.end = byte + filled as u64;
        }
        Ok(0)
    }
}
