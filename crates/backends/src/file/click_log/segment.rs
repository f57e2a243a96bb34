//! A segment: one file of fixed size, allocated beforehand and written through a map.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::UnixMs;
use domain::port::LogId;
use memmap2::MmapMut;

use super::disk::Disk;
use super::frame::Frame;
use super::header::{HEADER_LEN, Head, Seal};
use super::map::map;
use super::walk::Place;

pub(super) const EXTENSION: &str = "clicks";

/// What the log and its source know of a segment, whether or not it is still written to.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Orders files; never used twice in a folder.
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) first: u64,
    /// `None` while it is written to.
    pub(super) end: Option<u64>,
    pub(super) bytes: u64,
    pub(super) sealed_at: Option<UnixMs>,
}

pub(super) fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.{EXTENSION}"))
}

/// A segment that is written to, or was until just now.
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    map: MmapMut,
    pub(super) first: u64,
    /// After the last record.
    pub(super) end: Place,
    /// After the last record that is durable.
    pub(super) synced: Place,
    /// A sync of it failed: what is not durable by now must go elsewhere.
    pub(super) failed: bool,
}

impl Segment {
    /// Allocates a segment that has no place in the log yet.
    pub(super) fn create(disk: &dyn Disk, folder: &Path, number: u64, len: usize) -> io::Result<Self> {
        let path = path_of(folder, number);
        let made = disk.create(&path, len as u64).and_then(|file| Ok((map(&file, len)?, file)));
        match made {
            Ok((map, file)) => {
                let start = Place { offset: 0, byte: HEADER_LEN as u64 };
                Ok(Self { number, path, file: Arc::new(file), map, first: 0, end: start, synced: start, failed: false })
            }
            Err(error) => {
                // Half a segment is of no use, and its bytes may be what the rest of the disk needs.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    pub(super) fn begin(&mut self, log: LogId, first: u64) {
        Head { log, first }.write(&mut self.map[..HEADER_LEN]);
        self.first = first;
        (self.end.offset, self.synced.offset) = (first, first);
    }

    /// Appends the record if there is room for it.
    pub(super) fn append(&mut self, frame: &Frame) -> bool {
        let Some(room) = usize::try_from(self.end.byte).ok().and_then(|byte| self.map.get_mut(byte..)) else {
            return false;
        };
        if room.len() < frame.len() {
            return false;
        }
        frame.put(room, self.end.offset);
        self.end = Place { offset: self.end.offset + 1, byte: self.end.byte + frame.len() as u64 };
        true
    }

    /// Takes over the records of `other` that are not durable. Both have the same size, so they fit.
    pub(super) fn adopt(&mut self, log: LogId, other: &Self) {
        self.begin(log, other.synced.offset);
        let bytes = other.unsynced();
        self.map[HEADER_LEN..HEADER_LEN + bytes.len()].copy_from_slice(bytes);
        self.end = Place { offset: other.end.offset, byte: (HEADER_LEN + bytes.len()) as u64 };
    }

    fn unsynced(&self) -> &[u8] {
        let [from, to] = [self.synced.byte, self.end.byte].map(|byte| usize::try_from(byte).unwrap_or(0));
        &self.map[from..to]
    }

    /// Makes all of it durable, says so in its header, and gives back the room it did not use.
    pub(super) fn settle(&mut self, disk: &dyn Disk, at: UnixMs) -> io::Result<Entry> {
        disk.sync(&self.file)?;
        self.synced = self.end;
        Ok(self.seal(disk, at))
    }

    /// Ends the segment after its last durable record. An error here loses nothing: a segment without
    /// a seal is read from start to end when the log is opened.
    pub(super) fn seal(&mut self, disk: &dyn Disk, at: UnixMs) -> Entry {
        let Place { offset: end, byte: used } = self.synced;
        let (from, seal) = Seal { end, used, at }.bytes();
        self.map[from..from + seal.len()].copy_from_slice(&seal);
        if let Err(error) = disk.sync(&self.file) {
            tracing::warn!(segment = %self.path.display(), %error, "a full segment of the click log could not be sealed");
        }
        Entry {
            number: self.number,
            path: self.path.clone(),
            first: self.first,
            end: Some(end),
            bytes: self.map.len() as u64,
            sealed_at: Some(at),
        }
    }

    /// Unmaps the segment and cuts what lies after `used` bytes.
    pub(super) fn close(self) -> u64 {
        let Self { file, map, synced, path, .. } = self;
        let len = map.len() as u64;
        drop(map);
        match file.set_len(synced.byte) {
            Ok(()) => synced.byte,
            Err(error) => {
                tracing::warn!(segment = %path.display(), %error, "a segment of the click log could not be cut");
                len
            }
        }
    }

    pub(super) fn entry(&self, end: Option<u64>) -> Entry {
        Entry { number: self.number, path: self.path.clone(), first: self.first, end, bytes: self.map.len() as u64, sealed_at: None }
    }
}
