//! Measures the click log beside plain `write` calls, for `docs/adr/0003-click-spool.md`:
//! `cargo run --release -p backends --example click_log [FOLDER]`.
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a measurement for the terminal")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backends::file::click_log::{FileClickLog, FileClickSource, Options};
use backends::system::{SystemClock, SystemEntropy};
use chassis::Lifecycle;
use domain::port::{ClickLog as _, ClickSource as _};
use domain::{Browser, Click, Country, Device, DomainNo, Language, LinkId, System, UnixMs};

const CLICKS: u64 = 4_000_000;

fn click(number: u64) -> Click<'static> {
    Click {
        link: LinkId::new((60_000_000_000 << 22) + number),
        domain: DomainNo::DEFAULT,
        code: "4fK9aQz",
        owner: "admin",
        at: UnixMs::new(1_795_000_000_000),
        visitor: number.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        country: Country::parse("DE"),
        language: Language::parse("de"),
        referrer: "github.com",
        browser: Browser::Chrome,
        system: System::Windows,
        device: Device::Desktop,
        bot: "",
        utm_source: "",
        utm_medium: "",
        utm_campaign: "",
    }
}

fn open(folder: &Path) -> (Arc<FileClickLog>, FileClickSource, Lifecycle) {
    let life = Lifecycle::new(Duration::from_secs(30));
    let (log, source) = FileClickLog::open(folder, Options::default(), Arc::new(SystemClock), &SystemEntropy, &life).unwrap();
    (log, source, life)
}

/// Runs `each` for every click on `threads` threads; prints what one took, and the slow ones.
fn measure(name: &str, threads: u64, each: impl Fn(u64) + Sync) {
    let begun = Instant::now();
    let mut slow: Vec<Duration> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let each = &each;
                scope.spawn(move || {
                    let mut times = Vec::new();
                    for turn in 0..CLICKS / threads / 64 {
                        // One of 64 is timed by itself, so that the clock does not count.
                        (0..63).for_each(|step| each((thread << 32) + turn * 64 + step));
                        let begun = Instant::now();
                        each((thread << 32) + turn * 64 + 63);
                        times.push(begun.elapsed());
                    }
                    times
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let took = begun.elapsed();
    slow.sort();
    let share = |per_mille: usize| slow[(slow.len() - 1) * per_mille / 1000];
    let per_click = took.as_nanos() / u128::from(CLICKS);
    println!(
        "{name:28} {threads} threads  {per_click:5} ns a click  p50 {:?}  p99 {:?}  p99.9 {:?}  max {:?}",
        share(500),
        share(990),
        share(999),
        share(1000)
    );
}

#[tokio::main]
async fn main() {
    let base = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let dir = tempfile::tempdir_in(base).unwrap();
    for threads in [1, 2, 8] {
        let (log, _source, life) = open(&dir.path().join("clicks"));
        measure("mapped", threads, |number| {
            while log.record(&click(number)).is_err() {
                std::thread::yield_now();
            }
        });
        life.drain_in_order().await;
    }
    for batch in [1, 16] {
        let path = dir.path().join(format!("write-{batch}"));
        let file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        let state = Mutex::new((file, Vec::with_capacity(4096), 0));
        measure(&format!("write, {batch} at once"), 1, |number| {
            let mut state = state.lock().unwrap();
            let (file, buffer, held) = &mut *state;
            buffer.extend_from_slice(&[u8::try_from(number % 256).unwrap(); 59]);
            *held += 1;
            if *held == batch {
                file.write_all(buffer).unwrap();
                buffer.clear();
                *held = 0;
            }
        });
    }
    restart_and_read(&dir.path().join("clicks")).await;
}

async fn restart_and_read(folder: &Path) {
    let (log, source, life) = open(folder);
    for number in 0..1_000_000 {
        while log.record(&click(number)).is_err() {
            std::thread::yield_now();
        }
    }
    log.flush().await.unwrap();
    life.drain_in_order().await;
    drop((log, source));
    let bytes: u64 = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let begun = Instant::now();
    let (log, mut source, life) = open(folder);
    log.record(&click(0)).unwrap();
    println!("opened {} MB and recorded in {:?}", bytes / 1_000_000, begun.elapsed());
    log.flush().await.unwrap();
    let (begun, mut read) = (Instant::now(), 0);
    while source.lag() > 0 {
        read += source.next_batch(8192).await.unwrap().clicks.len();
    }
    println!(
        "read {read} clicks at {:.0} ns a click; {:.1} bytes a click",
        begun.elapsed().as_nanos() as f64 / read as f64,
        bytes as f64 / read as f64
    );
    life.drain_in_order().await;
}
