//! A process that records clicks is killed at random moments; every click that it acknowledged is read
//! back exactly once, in its place.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use backends::file::click_log::{FileClickLog, FileClickSource, Options};
use backends::system::{SystemClock, SystemEntropy};
use chassis::Lifecycle;
use domain::port::{ClickLog as _, ClickSource as _, Dropped, Entropy as _};
use domain::{Browser, Click, Device, DomainNo, LinkId, System, UnixMs};

const FOLDER: &str = "TERSE_TEST_CLICK_LOG";
const ROUND: &str = "TERSE_TEST_ROUND";
const ROUNDS: u64 = 30;
const THREADS: u64 = 3;
/// Small, so that many rounds end in the middle of a change of segments.
const OPTIONS: Options = Options { segment_len: 64 * 1024, sync_interval: Duration::from_millis(5), retention: Duration::from_hours(1) };

fn open(folder: &Path) -> (Arc<FileClickLog>, FileClickSource, Lifecycle) {
    let life = Lifecycle::new(Duration::from_secs(10));
    let (log, source) = FileClickLog::open(folder, OPTIONS, Arc::new(SystemClock), &SystemEntropy, &life).unwrap();
    (log, source, life)
}

/// One number for each click of all rounds.
fn number(round: u64, thread: u64, turn: u64) -> u64 {
    round << 40 | thread << 32 | turn
}

fn click(number: u64) -> Click<'static> {
    Click {
        link: LinkId::new(number),
        domain: DomainNo::DEFAULT,
        code: "4fK9aQz",
        owner: "ann",
        at: UnixMs::new(1_795_000_000_000),
        visitor: number,
        country: None,
        language: None,
        referrer: if number.is_multiple_of(3) { "news.example.com" } else { "" },
        browser: Browser::Firefox,
        system: System::Linux,
        device: Device::Desktop,
        bot: "",
        utm_source: "",
        utm_medium: "",
        utm_campaign: "",
    }
}

/// The child: records without end, and acknowledges on stderr whatever was kept.
fn record_until_killed(folder: &Path, round: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _guard = runtime.enter();
    let (log, _source, _life) = open(folder);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for turn in 0.. {
                    let number = number(round, thread, turn);
                    while let Err(reason) = log.record(&click(number)) {
                        assert_eq!(reason, Dropped::BufferFull);
                        std::thread::yield_now();
                    }
                    // One write of eight bytes: a pipe keeps them together.
                    std::io::stderr().write_all(&number.to_le_bytes()).unwrap();
                }
            });
        }
    });
}

/// Runs a child, kills it after `acknowledgements`, and answers all that it acknowledged.
fn round(folder: &Path, round: u64, acknowledgements: usize) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "every_acknowledged_click_survives_kill_9", "--nocapture", "--quiet"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stderr.take().unwrap();
    let mut bytes = vec![0; acknowledgements * 8];
    pipe.read_exact(&mut bytes).unwrap();
    child.kill().unwrap();
    // What was acknowledged before the kill arrived is in the pipe still.
    pipe.read_to_end(&mut bytes).unwrap();
    child.wait().unwrap();
    bytes.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn every_acknowledged_click_survives_kill_9() {
    if let (Some(folder), Some(round)) = (std::env::var_os(FOLDER), std::env::var_os(ROUND)) {
        record_until_killed(Path::new(&folder), round.to_str().unwrap().parse().unwrap());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..ROUNDS {
        let least = usize::try_from(SystemEntropy.u64() % 5_000).unwrap();
        acknowledged.extend(round(dir.path(), number, least));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_log, mut source, life) = open(dir.path());
        let mut times_read: HashMap<u64, u32> = HashMap::new();
        let mut offset = 0;
        while source.lag() > 0 {
            let batch = source.next_batch(10_000).await.unwrap();
            for (at, click) in batch.offsets.iter().zip(&batch.clicks) {
                assert_eq!(*at, offset, "a gap in the offsets");
                offset += 1;
                assert_eq!(click.visitor, click.link.get());
                *times_read.entry(click.link.get()).or_default() += 1;
            }
        }
        for number in &acknowledged {
            assert_eq!(times_read.get(number), Some(&1), "click {number:#x} of {} acknowledged", acknowledged.len());
        }
        // Beyond that, at most the one click that each thread had just recorded when it was killed.
        let surplus = times_read.len() - acknowledged.len();
        assert!(surplus <= usize::try_from(ROUNDS * THREADS).unwrap(), "{surplus} more than were acknowledged");
        assert!(times_read.values().all(|times| *times == 1));
        life.drain_in_order().await;
    });
}
