mod copied;
mod damage;
mod faults;
mod lasting;
mod power;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use domain::port::{Clock, Dropped};
use domain::{Browser, Click, Device, DomainNo, LinkId, System, UnixMs};

use super::disk::{Disk, OsDisk};
use super::log::{Log, Means};
use super::source::{Cursor, read};
use super::{Options, open_log};
use crate::system::SystemEntropy;

/// A disk that fails when it is told to, and remembers what it was told to make durable.
#[derive(Default)]
struct Faulty {
    full: AtomicBool,
    /// Syncs that fail from now on.
    failing_syncs: AtomicUsize,
    /// Syncs succeed and make nothing durable.
    lies: AtomicBool,
    /// Where the state of every file at its last sync is kept.
    durable: Option<PathBuf>,
}

impl Faulty {
    fn keep(&self, file: &File) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;
        let Some(folder) = self.durable.as_ref().filter(|_| !self.lies.load(Ordering::Relaxed)) else { return Ok(()) };
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        fs::copy(&path, folder.join(path.file_name().unwrap())).map(drop)
    }
}

impl Disk for Faulty {
    fn create(&self, path: &Path, len: u64) -> io::Result<File> {
        if self.full.load(Ordering::Relaxed) {
            // As when the disk fills up half way.
            fs::write(path, b"half")?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = OsDisk.create(path, len)?;
        self.keep(&file)?;
        Ok(file)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.failing_syncs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err(io::Error::other("input/output error"));
        }
        self.keep(file)
    }
}

struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> UnixMs {
        UnixMs::new(self.0.load(Ordering::Relaxed))
    }
}

/// A log without its background: a test says when that runs. Dropped without [`Log::close`], it is
/// what a killed process leaves.
struct Bench {
    log: Arc<Log>,
    disk: Arc<Faulty>,
    clock: Arc<Hand>,
}

const SMALL: Options = Options { segment_len: 4096, sync_interval: Duration::from_millis(200), retention: Duration::from_mins(1) };

impl Bench {
    fn open(folder: &Path, options: Options) -> Self {
        Self::open_on(Faulty::default(), folder, options)
    }

    fn open_on(disk: Faulty, folder: &Path, options: Options) -> Self {
        let (disk, clock) = (Arc::new(disk), Arc::new(Hand(AtomicI64::new(1_795_000_000_000))));
        let log = open_log(folder, options, Means { disk: disk.clone(), clock: clock.clone() }, &SystemEntropy).unwrap();
        Self { log, disk, clock }
    }

    /// Records click `number`; makes the next segment when that is all it lacks.
    fn record(&self, number: u64) -> Result<(), Dropped> {
        let mut outcome = self.log.record(&click(number));
        if outcome == Err(Dropped::BufferFull) {
            self.log.prepare();
            outcome = self.log.record(&click(number));
        }
        outcome
    }

    fn record_all(&self, numbers: std::ops::Range<u64>) {
        numbers.for_each(|number| self.record(number).unwrap());
    }

    /// What can be read: number by offset.
    fn read(&self) -> BTreeMap<u64, u64> {
        let limit = *self.log.synced().borrow();
        let (batch, cursor) = read(&self.log, Cursor::at(self.log.start()), limit, usize::MAX).unwrap();
        assert!(cursor.offset == limit, "reading stopped at {} of {limit}", cursor.offset);
        for logged in &batch.clicks {
            let number = logged.link.get();
            assert_eq!(logged.owner.as_str(), click(number).owner);
            assert_eq!(logged.referrer, click(number).referrer);
        }
        batch.offsets.into_iter().zip(batch.clicks.iter().map(|click| click.link.get())).collect()
    }

    fn segments(&self) -> Vec<PathBuf> {
        segments(&self.log.folder)
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "clicks"));
    paths.sort();
    paths
}

/// Clicks of many lengths, some with two bytes of length.
fn click(number: u64) -> Click<'static> {
    const TEXT: &str = "a.rather.long.referrer.whose.length.depends.on.the.number.of.the.click.and.more.example.com";
    let part = |turn: u64| &TEXT[..usize::try_from((number * turn) % 89).unwrap()];
    Click {
        link: LinkId::new(number),
        domain: DomainNo::DEFAULT,
        code: "4fK9aQz",
        owner: part(3),
        at: UnixMs::new(1_795_000_000_000),
        visitor: number.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        country: None,
        language: None,
        referrer: part(7),
        browser: Browser::Chrome,
        system: System::Linux,
        device: Device::Desktop,
        bot: "",
        utm_source: "",
        utm_medium: "",
        utm_campaign: "",
    }
}

/// Number by offset, when nothing was lost.
fn all(numbers: std::ops::Range<u64>) -> BTreeMap<u64, u64> {
    numbers.clone().zip(numbers).collect()
}
