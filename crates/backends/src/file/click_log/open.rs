//! Opening a log that ended in whatever way: finds its end and goes on from there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use domain::UnixMs;
use domain::port::{Entropy, LogId};

use super::disk::{Disk, sync_folder};
use super::header::{HEADER_LEN, Head, Header, Seal, VERSION};
use super::log::Past;
use super::segment::{EXTENSION, Entry};
use super::walk::{Place, Walk};
use crate::file::lock::{FolderLock, LockError};

/// The name of the file with the log's id, in hexadecimal digits.
pub(super) const ID_FILE: &str = "log.id";

/// Why a click log could not be opened. Each message names the place and the mend.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Locked(#[from] LockError),
    #[error("the click log's file `{}` cannot be used: {source}. Make it a file that this user may read and write", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("the click log's file `{}` has format {found}, and this version knows {VERSION}. Start the version that wrote it, or a later one", path.display())]
    Newer { path: PathBuf, found: u32 },
    #[error("`{}` belongs to another click log. Move it out of this folder", path.display())]
    Foreign { path: PathBuf },
    #[error("`{}` does not hold the id of a click log. Restore it, or move the whole folder away to begin a new log", path.display())]
    DamagedId { path: PathBuf },
}

pub(super) fn unusable(path: &Path) -> impl FnOnce(io::Error) -> OpenError + '_ {
    |source| OpenError::Unusable { path: path.to_owned(), source }
}

/// A segment as it lies on the disk.
struct Found {
    number: u64,
    path: PathBuf,
    file: File,
    len: u64,
    head: Head,
    seal: Option<Seal>,
}

/// Takes the folder's lock, and reads headers only, but for segments that were not sealed: the last
/// one, or after a crash the last few.
pub(super) fn open(folder: &Path, disk: &dyn Disk, entropy: &dyn Entropy, now: UnixMs) -> Result<Past, OpenError> {
    let lock = FolderLock::take(folder)?;
    let mut next_number = 1;
    let mut found = Vec::new();
    for (number, path) in list(folder)? {
        next_number = next_number.max(number + 1);
        found.extend(examine(number, path)?);
    }
    let id = match (read_id(folder)?, found.first()) {
        (Some(id), Some(_)) => id,
        // The file is lost, but every segment repeats what it said.
        (None, Some(segment)) => write_id(folder, segment.head.log)?,
        // Nothing is left of that log. Offsets begin again, so it must not have the old name.
        (_, None) => {
            let mut id = [0; 16];
            entropy.fill(&mut id);
            write_id(folder, LogId(id))?
        }
    };
    if let Some(foreign) = found.iter().find(|segment| segment.head.log != id) {
        return Err(OpenError::Foreign { path: foreign.path.clone() });
    }
    found.sort_by_key(|segment| (segment.head.first, segment.number));
    let mut entries: Vec<Entry> = Vec::with_capacity(found.len());
    for at in 0..found.len() {
        let next = found.get(at + 1).map(|next| next.head.first);
        let entry = recover(&found[at], next, disk, now)?;
        // Begun and never used. One is kept even so when it alone says where the log goes on.
        if entry.end == Some(entry.first) && (next.is_some() || entries.last().is_some_and(|last| last.end == entry.end)) {
            fs::remove_file(&entry.path).map_err(unusable(&entry.path))?;
        } else {
            entries.push(entry);
        }
    }
    let offset = entries.last().and_then(|last| last.end).unwrap_or(0);
    Ok(Past { id, entries, next_number, offset, lock })
}

pub(super) fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>, OpenError> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder).map_err(unusable(folder))? {
        let path = entry.map_err(unusable(folder))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == EXTENSION)) {
            segments.push((number, path));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// `None` for a file that holds no records; one that was never begun is removed, a damaged one put aside.
fn examine(number: u64, path: PathBuf) -> Result<Option<Found>, OpenError> {
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(unusable(&path))?;
    let len = file.metadata().map_err(unusable(&path))?.len();
    let mut bytes = [0; HEADER_LEN];
    let header = match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Header::read(&bytes),
        // Killed before it was allocated.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Header::Unused,
        Err(error) => return Err(OpenError::Unusable { path, source: error }),
    };
    match header {
        Header::Valid(head, seal) => Ok(Some(Found { number, path, file, len, head, seal })),
        Header::Newer(found) => Err(OpenError::Newer { path, found }),
        Header::Unused => {
            fs::remove_file(&path).map_err(unusable(&path))?;
            Ok(None)
        }
        Header::Damaged => {
            let aside = path.with_extension("damaged");
            fs::rename(&path, &aside).map_err(unusable(&path))?;
            tracing::error!(segment = %aside.display(), "a segment of the click log cannot be read and was put aside; its clicks are not counted");
            Ok(None)
        }
    }
}

/// Finds the end of a segment; makes it durable, cuts and seals it if that was not done.
fn recover(segment: &Found, next: Option<u64>, disk: &dyn Disk, now: UnixMs) -> Result<Entry, OpenError> {
    let (seal, sealed) = match segment.seal {
        Some(seal) => (seal, true),
        None => (scan(segment, now).map_err(unusable(&segment.path))?, false),
    };
    let mut len = segment.len;
    if !sealed {
        let write = || {
            segment.file.set_len(seal.used)?;
            let (at, bytes) = seal.bytes();
            segment.file.write_all_at(&bytes, at as u64)?;
            disk.sync(&segment.file)
        };
        write().map_err(unusable(&segment.path))?;
        len = seal.used;
    }
    // Where a sync failed, what was not durable went to the next segment, which overlaps.
    let end = next.map_or(seal.end, |next| seal.end.min(next));
    Ok(Entry {
        number: segment.number,
        path: segment.path.clone(),
        first: segment.head.first,
        end: Some(end),
        bytes: len,
        sealed_at: Some(seal.at),
    })
}

fn scan(segment: &Found, now: UnixMs) -> io::Result<Seal> {
    let start = Place { offset: segment.head.first, byte: HEADER_LEN as u64 };
    let mut walk = Walk::new(&segment.file, start, segment.len);
    while walk.next()?.is_some() {}
    let end = walk.place();
    Ok(Seal { end: end.offset, used: end.byte, at: now })
}

pub(super) fn read_id(folder: &Path) -> Result<Option<LogId>, OpenError> {
    let path = folder.join(ID_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(OpenError::DamagedId { path }),
        Err(error) => return Err(OpenError::Unusable { path, source: error }),
    };
    let text = text.trim();
    let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
    number.map(|number| Some(LogId(number.to_be_bytes()))).ok_or(OpenError::DamagedId { path })
}

fn write_id(folder: &Path, id: LogId) -> Result<LogId, OpenError> {
    let path = folder.join(ID_FILE);
    let fresh = folder.join("log.id.new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        writeln!(file, "{:032x}", u128::from_be_bytes(id.0))?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        sync_folder(&path)
    };
    write().map_err(unusable(&path))?;
    Ok(id)
}
