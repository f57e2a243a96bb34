//! What can fail: the three calls that need the disk. A trait, so that a test can make them fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

pub(super) trait Disk: Send + Sync + 'static {
    /// A new file of `len` zeros whose blocks are all allocated, and whose name is durable.
    fn create(&self, path: &Path, len: u64) -> io::Result<File>;

    /// Returns when all that was written to `file` is durable. After an error nothing is known of what
    /// was written since the last success, and a second call would lie about it.
    fn sync(&self, file: &File) -> io::Result<()>;
}

pub(super) struct OsDisk;

impl Disk for OsDisk {
    fn create(&self, path: &Path, len: u64) -> io::Result<File> {
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, len) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => write_zeros(&mut file, len)?,
            Err(error) => return Err(error.into()),
        }
        file.sync_all()?;
        sync_folder(path)?;
        Ok(file)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Makes the names in `path`'s folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// For file systems that cannot allocate without writing.
fn write_zeros(file: &mut File, len: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut left = len;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        file.write_all(&ZEROS[..part])?;
        left -= part as u64;
    }
    Ok(())
}
