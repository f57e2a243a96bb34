//! The lock of a data folder: one process at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Held until it is dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
    folder: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("the data folder `{}` is in use by {holder}. Stop it first, or name another folder", folder.display())]
    Held { folder: PathBuf, holder: String },
    #[error("the data folder `{}` cannot be used: {source}. Make it a folder that this user may write", folder.display())]
    Unusable { folder: PathBuf, source: io::Error },
}

impl FolderLock {
    /// Makes the folder, readable by this user only, when it is not there.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let unusable = |source| LockError::Unusable { folder: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        let path = folder.join("lock");
        // Never truncated on open: it may be another process's.
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LockError::Held { folder: folder.to_owned(), holder: holder(&mut file) }),
            Err(error) => return Err(unusable(error.into())),
        }
        // The lock is what counts; the number is only for the message, so a full disk does not matter.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file, folder: folder.to_owned() })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let held = FolderLock::take(&folder).unwrap();
        let message = FolderLock::take(&folder).unwrap_err().to_string();
        assert!(message.contains(&format!("in use by process {}", std::process::id())), "{message}");
        assert!(message.contains(folder.to_str().unwrap()), "{message}");
        drop(held);
        assert_eq!(FolderLock::take(&folder).unwrap().folder(), folder);
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("file");
        std::fs::write(&folder, "").unwrap();
        let error = FolderLock::take(&folder).unwrap_err();
        assert!(matches!(error, LockError::Unusable { .. }), "{error}");
    }
}
