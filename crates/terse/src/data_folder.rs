//! What lies in the data folder beside the stores: the admin key and the note of a running server.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use backends::file::lock::FolderLock;
use chassis::config::Loaded;
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// Takes the folder for this process alone; makes it when it is not there.
pub(crate) fn take(loaded: &Loaded<Config>) -> anyhow::Result<FolderLock> {
    let lock = FolderLock::take(&loaded.settings.data).with_context(|| loaded.describe("data"))?;
    let unfinished = UnfinishedRestore::path(&loaded.settings.data);
    anyhow::ensure!(
        !unfinished.exists(),
        "{}\n  a restore into this folder was cut off (`{}`): empty it and restore again",
        loaded.describe("data"),
        unfinished.display()
    );
    Ok(lock)
}

/// Keeps anybody from starting on a data folder that is half restored, even if whoever restores it is killed.
pub(crate) struct UnfinishedRestore(PathBuf);

impl UnfinishedRestore {
    fn path(data: &Path) -> PathBuf {
        data.join("restore.unfinished")
    }

    pub(crate) fn begin(data: &Path) -> io::Result<Self> {
        let path = Self::path(data);
        write_private(&path, "")?;
        Ok(Self(path))
    }

    pub(crate) fn end(self) -> io::Result<()> {
        std::fs::remove_file(&self.0)?;
        self.0.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
    }
}

pub(crate) fn admin_key_path(data: &Path) -> PathBuf {
    data.join("admin.key")
}

/// Writes a file that only this user may read, whole or not at all.
pub(crate) fn write_private(path: &Path, contents: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(contents.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

/// Where a running server is found, for tools and tests on the same machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunNote {
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) role: String,
    /// Of `serve` and `gateway`.
    pub(crate) public: Option<SocketAddr>,
    /// Of the other services.
    pub(crate) grpc: Option<SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) public_url: Option<String>,
}

impl RunNote {
    fn path(data: &Path) -> PathBuf {
        data.join("run.json")
    }

    pub(crate) fn write(&self, data: &Path) -> io::Result<()> {
        write_private(&Self::path(data), &format!("{}\n", serde_json::to_string(self)?))
    }

    /// `None` when there is none, or none that can be read.
    pub(crate) fn read(data: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::path(data)).ok()?).ok()
    }

    pub(crate) fn remove(data: &Path) {
        // A note left behind is harmless: whoever reads it finds the folder unlocked.
        let _ = std::fs::remove_file(Self::path(data));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn private_files_are_private_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = admin_key_path(folder.path());
        for contents in ["first and longer", "second"] {
            write_private(&path, contents).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), contents);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_run_note_is_read_back_and_nonsense_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(RunNote::read(folder.path()).is_none());
        let note = RunNote {
            pid: 1,
            version: "0".into(),
            role: "serve".into(),
            public: Some(([127, 0, 0, 1], 1).into()),
            grpc: None,
            admin: ([127, 0, 0, 1], 2).into(),
            public_url: Some("http://localhost:1".into()),
        };
        note.write(folder.path()).unwrap();
        assert_eq!(RunNote::read(folder.path()).unwrap().admin.port(), 2);
        std::fs::write(RunNote::path(folder.path()), "{").unwrap();
        assert!(RunNote::read(folder.path()).is_none());
        RunNote::remove(folder.path());
        assert!(!RunNote::path(folder.path()).exists());
    }
}
