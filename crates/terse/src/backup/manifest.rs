//! What a backup holds: written last, so that a folder without it is no backup.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use domain::UnixMs;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::data_folder::write_private;

/// Of the layout. A later one is refused.
const FORMAT: u32 = 1;
const FILE: &str = "manifest.json";

pub(crate) const LINKS: &str = "links.db";
pub(crate) const STATS: &str = "stats.db";
pub(crate) const CLICKS: &str = "clicks";
pub(crate) const ADMIN_KEY: &str = "admin.key";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    /// The Terse that made it.
    pub(crate) terse: String,
    /// Everything acknowledged before it is in the backup. In RFC 3339.
    pub(crate) begun_at: String,
    pub(crate) ended_at: String,
    pub(crate) schema: Schema,
    /// `None`: clicks are not logged in files.
    pub(crate) clicks: Option<Clicks>,
    pub(crate) files: Vec<Entry>,
}

/// Versions of the files.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Schema {
    pub(crate) links: i64,
    pub(crate) stats: i64,
}

/// The end of the click log: what the statistics of the backup have not counted is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Clicks {
    pub(crate) log: String,
    pub(crate) counted: u64,
    pub(crate) end: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Below the folder, with `/`.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Manifest {
    pub(crate) fn new(begun_at: UnixMs, ended_at: UnixMs, schema: Schema, clicks: Option<Clicks>, files: Vec<Entry>) -> Self {
        let terse = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, terse, begun_at: in_words(begun_at), ended_at: in_words(ended_at), schema, clicks, files }
    }

    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        write_private(&folder.join(FILE), &format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("`{}` is no backup: there is no {FILE} in it. Name the folder that `terse backup` made", folder.display())
            }
            Err(error) => return Err(error).with_context(|| format!("`{}` cannot be read", path.display())),
        };
        let value: serde_json::Value = serde_json::from_slice(&text).with_context(|| format!("`{}` is damaged", path.display()))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        let terse = value.get("terse").and_then(serde_json::Value::as_str).unwrap_or("a later one");
        ensure!(
            format.is_some_and(|format| format <= u64::from(FORMAT)),
            "`{}` was made by a newer Terse: restore it with Terse {terse} or later",
            folder.display()
        );
        serde_json::from_value(value).with_context(|| format!("`{}` is damaged", path.display()))
    }

    pub(crate) fn begun_at(&self) -> anyhow::Result<UnixMs> {
        parse_time(&self.begun_at).map_err(anyhow::Error::msg).context("the manifest is damaged: begun_at")
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

fn in_words(at: UnixMs) -> String {
    jiff::Timestamp::from_millisecond(at.get()).map_or_else(|_| at.get().to_string(), |at| at.to_string())
}

/// A moment in RFC 3339.
pub(crate) fn parse_time(text: &str) -> Result<UnixMs, String> {
    let time: jiff::Timestamp = text.parse().map_err(|_| "expected a time with its zone, such as 2027-01-31T18:00:00Z".to_owned())?;
    Ok(UnixMs::new(time.as_millisecond()))
}

impl Entry {
    /// Reads a file of a backup from start to end.
    pub(crate) fn of(folder: &Path, path: &Path, progress: &mut dyn FnMut(u64)) -> anyhow::Result<Self> {
        let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
        let mut file = File::open(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        let (bytes, sha256) = pour(&mut file, &mut io::sink(), progress).with_context(|| format!("`{}`", path.display()))?;
        Ok(Self { name, bytes, sha256 })
    }

    /// Copies it to `to`, which must not be there, and makes sure on the way that it is what it was.
    pub(crate) fn copy(&self, folder: &Path, to: &Path, progress: &mut dyn FnMut(u64)) -> anyhow::Result<()> {
        let from = folder.join(&self.name);
        let mut file = File::open(&from).with_context(|| format!("the backup is damaged: `{}` cannot be read", from.display()))?;
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
        let mut out = made.with_context(|| format!("`{}` cannot be made", to.display()))?;
        let (bytes, sha256) = pour(&mut file, &mut out, progress).with_context(|| format!("`{}` cannot be copied", from.display()))?;
        out.sync_all().with_context(|| format!("`{}` cannot be made durable", to.display()))?;
        ensure!(
            (bytes, &sha256) == (self.bytes, &self.sha256),
            "the backup is damaged: `{}` has {bytes} bytes and the checksum {sha256}, and not {} bytes and {}. Use another backup",
            from.display(),
            self.bytes,
            self.sha256
        );
        Ok(())
    }
}

/// From one to the other; answers how many bytes, and their checksum.
fn pour(from: &mut dyn Read, to: &mut dyn io::Write, progress: &mut dyn FnMut(u64)) -> io::Result<(u64, String)> {
    let (mut buffer, mut hash, mut bytes) = (vec![0; 1 << 20], Sha256::new(), 0);
    loop {
        let len = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..len]);
        to.write_all(&buffer[..len])?;
        bytes += len as u64;
        progress(len as u64);
    }
    to.flush()?;
    let hex = hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Ok((bytes, hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(files: Vec<Entry>) -> Manifest {
        let schema = Schema { links: 1, stats: 2 };
        Manifest::new(UnixMs::new(1_800_000_000_000), UnixMs::new(1_800_000_001_500), schema, None, files)
    }

    #[test]
    fn is_read_back_and_a_later_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Manifest::read(folder.path()).unwrap_err().to_string();
        assert!(missing.contains("is no backup"), "{missing}");
        manifest(Vec::new()).write(folder.path()).unwrap();
        let read = Manifest::read(folder.path()).unwrap();
        assert_eq!((read.begun_at.as_str(), read.ended_at.as_str()), ("2027-01-15T08:00:00Z", "2027-01-15T08:00:01.5Z"));
        assert_eq!(read.begun_at().unwrap(), UnixMs::new(1_800_000_000_000));
        let later = std::fs::read_to_string(folder.path().join(FILE)).unwrap().replace("\"format\": 1", "\"format\": 2");
        std::fs::write(folder.path().join(FILE), later).unwrap();
        let refused = Manifest::read(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("newer Terse"), "{refused}");
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(format!("{:#}", Manifest::read(folder.path()).unwrap_err()).contains("damaged"));
    }

    #[test]
    fn a_flipped_bit_is_found_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&from, "abc").unwrap();
        let entry = Entry::of(folder.path(), &from, &mut |_| {}).unwrap();
        assert_eq!((entry.name.as_str(), entry.bytes), ("a", 3));
        assert_eq!(entry.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "FIPS 180-2, B.1");
        entry.copy(folder.path(), &to, &mut |_| {}).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"abc");
        assert!(entry.copy(folder.path(), &to, &mut |_| {}).is_err(), "nothing is written over");
        std::fs::write(&from, "abx").unwrap();
        let damaged = entry.copy(folder.path(), &folder.path().join("c"), &mut |_| {}).unwrap_err().to_string();
        assert!(damaged.contains("the backup is damaged"), "{damaged}");
    }

    #[test]
    fn times_have_a_zone() {
        assert_eq!(parse_time("2027-01-15T09:00:00+01:00").unwrap(), UnixMs::new(1_800_000_000_000));
        for wrong in ["", "yesterday", "2027-01-15", "2027-01-15T09:00:00"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
