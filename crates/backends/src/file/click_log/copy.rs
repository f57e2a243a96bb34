//! A copy of the end of a log, while it is written to: what is not counted yet, from the start of its chunk.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use domain::port::LogId;

use super::header::{HEADER_LEN, Header};
use super::open::{ID_FILE, OpenError, list, read_id, unusable};
use super::walk::{Place, Walk};

/// A log as it lies in its folder.
#[derive(Debug)]
pub struct Found {
    pub id: LogId,
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    /// As it was found: one that is sealed meanwhile ends later than what is copied of it.
    header: [u8; HEADER_LEN],
    first: u64,
    len: u64,
}

/// What was copied.
#[derive(Debug)]
pub struct Copied {
    pub files: Vec<PathBuf>,
    /// The offset after the last record.
    pub end: u64,
}

/// Looks at the log in `folder`, and changes nothing; `None` when there is none. A segment that is removed meanwhile was counted.
pub fn find(folder: &Path) -> Result<Option<Found>, OpenError> {
    if !folder.exists() {
        return Ok(None);
    }
    let Some(id) = read_id(folder)? else { return Ok(None) };
    let mut segments = Vec::new();
    for (_, path) in list(folder)? {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(OpenError::Unusable { path, source }),
        };
        let len = file.metadata().map_err(unusable(&path))?.len();
        let mut bytes = [0; HEADER_LEN];
        // One that is being allocated has no header yet, and no record.
        if file.read_exact_at(&mut bytes, 0).is_ok()
            && let Header::Valid(head, _) = Header::read(&bytes)
            && head.log == id
        {
            segments.push(Segment { path, file, header: bytes, first: head.first, len });
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(Some(Found { id, segments }))
}

impl Found {
    /// Copies the log's name, and its records from `offset` on, to the folder `to`, which it makes. Opened there, the log goes
    /// on as the same log after the last record that was copied.
    ///
    /// # Errors
    /// The log cannot be read, or the copy not be written.
    pub fn copy(&self, offset: u64, to: &Path) -> Result<Copied, OpenError> {
        DirBuilder::new().mode(0o700).create(to).map_err(unusable(to))?;
        let id = to.join(ID_FILE);
        write(&id, format!("{:032x}\n", u128::from_be_bytes(self.id.0)).as_bytes())?;
        let mut copied = Copied { files: vec![id], end: 0 };
        // The segment that holds `offset`, and those after it; one at least, since it says where the log goes on.
        let after = self.segments.partition_point(|segment| segment.first <= offset);
        for segment in self.segments.iter().skip(after.saturating_sub(1)) {
            let mut walk = Walk::new(&segment.file, Place { offset: segment.first, byte: HEADER_LEN as u64 }, segment.len);
            while walk.next().map_err(unusable(&segment.path))?.is_some() {}
            let used = walk.place();
            let name = segment.path.file_name().unwrap_or_default();
            copied.files.push(copy_start(segment, used.byte, &to.join(name))?);
            copied.end = copied.end.max(used.offset);
        }
        Ok(copied)
    }
}

/// The bytes in use: the rest is room for what comes.
fn copy_start(segment: &Segment, used: u64, to: &Path) -> Result<PathBuf, OpenError> {
    let mut out = create(to)?;
    out.write_all(&segment.header).map_err(unusable(to))?;
    let mut from = &segment.file;
    from.seek(SeekFrom::Start(HEADER_LEN as u64)).map_err(unusable(&segment.path))?;
    io::copy(&mut from.take(used - HEADER_LEN as u64), &mut out).map_err(unusable(to))?;
    out.sync_all().map_err(unusable(to))?;
    Ok(to.to_owned())
}

fn create(path: &Path) -> Result<File, OpenError> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(unusable(path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let mut file = create(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(unusable(path))
}
