//! The salts of visitors in one file that only this user may read.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use domain::port::{Entropy, Outcome, PortError, PortErrorKind, PortResult, SaltStore};

type Salts = BTreeMap<u32, [u8; 32]>;

/// The file lies in the folder as `salts`: a line a day, its number and 64 hexadecimal digits.
pub struct FileSaltStore(Arc<Inner>);

struct Inner {
    path: PathBuf,
    entropy: Arc<dyn Entropy>,
    salts: Mutex<Salts>,
}

#[derive(Debug, thiserror::Error)]
#[error("the salts of visitors in `{}` cannot be used: {source}. Make it a file that this user may read and write", path.display())]
pub struct OpenError {
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl FileSaltStore {
    /// A file that cannot be understood is begun anew: that counts the visitors of its days twice, and
    /// nothing else.
    pub fn open(folder: &Path, entropy: Arc<dyn Entropy>) -> Result<Self, OpenError> {
        let path = folder.join("salts");
        let salts = read(folder, &path).map_err(|source| OpenError { path: path.clone(), source })?;
        Ok(Self(Arc::new(Inner { path, entropy, salts: Mutex::new(salts) })))
    }
}

#[async_trait]
impl SaltStore for FileSaltStore {
    async fn salt(&self, day: u32) -> PortResult<[u8; 32]> {
        let inner = self.0.clone();
        let failed = |error| PortError::new(PortErrorKind::Unavailable, "salts: write", Outcome::Unknown).with_source(error);
        tokio::task::spawn_blocking(move || inner.salt(day)).await.map_err(failed)
    }
}

impl Inner {
    fn salt(&self, day: u32) -> [u8; 32] {
        let mut salts = self.salts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = salts.len();
        // Days far ahead are of a clock that was set back since.
        salts.retain(|kept, _| *kept >= day.saturating_sub(1) && *kept <= day.saturating_add(1));
        let destroyed = salts.len() < before;
        let fresh = !salts.contains_key(&day);
        let salt = *salts.entry(day).or_insert_with(|| {
            let mut salt = [0; 32];
            self.entropy.fill(&mut salt);
            salt
        });
        if fresh || destroyed {
            self.store(&salts);
        }
        salt
    }

    /// A full disk must not stop redirects: the salt then lives in memory only, and a restart makes
    /// another one. Old salts must not outlive their time either, so the file that has them goes.
    fn store(&self, salts: &Salts) {
        if let Err(error) = write(&self.path, salts) {
            tracing::warn!(path = %self.path.display(), %error, "the salt of visitors is not on disk; a restart counts them again");
            if let Err(error) = destroy(&self.path).and_then(|()| fs::remove_file(&self.path)) {
                tracing::error!(path = %self.path.display(), %error, "old salts of visitors could not be destroyed");
            }
        }
    }
}

fn read(folder: &Path, path: &Path) -> io::Result<Salts> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Salts::new()),
        Err(error) => return Err(error),
    };
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let salts = std::str::from_utf8(&bytes).ok().and_then(|text| text.lines().map(parse).collect());
    if salts.is_none() {
        tracing::warn!(path = %path.display(), "the salts of visitors are damaged and begin anew");
    }
    Ok(salts.unwrap_or_default())
}

fn digits(salt: &[u8; 32]) -> String {
    let (high, low) = salt.split_at(16);
    let [high, low] = [high, low].map(|half| half.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte)));
    format!("{high:032x}{low:032x}")
}

fn parse(line: &str) -> Option<(u32, [u8; 32])> {
    let (day, digits) = line.split_once(' ')?;
    let mut salt = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (byte, digits) in salt.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some((day.parse().ok()?, salt))
}

/// Replaces the file as a whole: a crash leaves the one or the other.
fn write(path: &Path, salts: &Salts) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let lines: Vec<_> = salts.iter().map(|(day, salt)| format!("{day} {}\n", digits(salt))).collect();
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(lines.concat().as_bytes())?;
    file.sync_all()?;
    let old = OpenOptions::new().write(true).open(path);
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
    old.map_or(Ok(()), |mut old| zero(&mut old))
}

fn destroy(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).open(path) {
        Ok(mut file) => zero(&mut file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => File::create(path).map(drop),
        Err(error) => Err(error),
    }
}

/// What is removed may lie on the disk for long; zeros may too.
fn zero(file: &mut File) -> io::Result<()> {
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(0).min(64 * 1024);
    file.rewind()?;
    file.write_all(&vec![0; len])?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use domain::port::contract::salt_store as contract;

    use super::*;
    use crate::system::SystemEntropy;

    fn open(folder: &Path) -> Arc<FileSaltStore> {
        Arc::new(FileSaltStore::open(folder, Arc::new(SystemEntropy)).unwrap())
    }

    #[tokio::test]
    async fn one_salt_a_day() {
        let dir = tempfile::tempdir().unwrap();
        contract::one_salt_a_day(open(dir.path())).await;
    }

    #[tokio::test]
    async fn old_salts_are_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        contract::old_salts_are_destroyed(open(dir.path())).await;
    }

    #[tokio::test]
    async fn of_many_all_get_the_same() {
        let dir = tempfile::tempdir().unwrap();
        contract::of_many_all_get_the_same(open(dir.path())).await;
    }

    #[tokio::test]
    async fn survives_a_restart_and_only_its_user_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let salts = [open(dir.path()).salt(20_000).await.unwrap(), open(dir.path()).salt(20_001).await.unwrap()];
        let reopened = open(dir.path());
        assert_eq!([reopened.salt(20_000).await.unwrap(), reopened.salt(20_001).await.unwrap()], salts);
        let mode = fs::metadata(dir.path().join("salts")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_is_destroyed_is_in_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let old = store.salt(20_000).await.unwrap();
        let digits = digits(&old);
        let held = File::open(dir.path().join("salts")).unwrap();
        assert!(io::read_to_string(&held).unwrap().contains(&digits));
        store.salt(20_002).await.unwrap();
        for entry in fs::read_dir(dir.path()).unwrap() {
            assert!(!fs::read_to_string(entry.unwrap().path()).unwrap().contains(&digits));
        }
        // Not even for who still has the old file open.
        (&held).rewind().unwrap();
        assert!(!io::read_to_string(&held).unwrap().contains(&digits));
    }

    #[tokio::test]
    async fn a_damaged_file_begins_anew_and_an_unusable_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for damaged in ["20000", "20000 zz", "x 00", "\u{0}\u{0}", &format!("20000 {}", "é".repeat(32))] {
            fs::write(dir.path().join("salts"), damaged).unwrap();
            let salt = open(dir.path()).salt(20_000).await.unwrap();
            assert_eq!(open(dir.path()).salt(20_000).await.unwrap(), salt);
        }
        let folder = dir.path().join("other");
        fs::create_dir_all(folder.join("salts")).unwrap();
        let message = FileSaltStore::open(&folder, Arc::new(SystemEntropy)).err().unwrap().to_string();
        assert!(message.contains("other/salts"), "{message}");
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_leaves_salts_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let folder = dir.path().join("salts.new");
        // What cannot be opened for writing, even by root.
        fs::create_dir(&folder).unwrap();
        let salt = store.salt(20_000).await.unwrap();
        assert_eq!(store.salt(20_000).await.unwrap(), salt);
        assert!(!dir.path().join("salts").exists());
    }
}
