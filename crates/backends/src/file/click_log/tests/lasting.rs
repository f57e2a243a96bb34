//! What the log promises while nothing fails.

use std::collections::BTreeSet;

use domain::limits::CLICK_CHUNK_LEN;
use domain::port::contract::click_log as contract;
use domain::port::{ClickLog, ClickSource as _};

use super::super::{FileClickLog, FileClickSource, OpenError};
use super::*;
use crate::file::lock::LockError;
use crate::system::SystemClock;

fn running(folder: &Path, options: Options) -> (Arc<FileClickLog>, FileClickSource, chassis::Lifecycle) {
    let life = chassis::Lifecycle::new(Duration::from_secs(5));
    let (log, source) = FileClickLog::open(folder, options, Arc::new(SystemClock), &SystemEntropy, &life).unwrap();
    (log, source, life)
}

macro_rules! contract {
    ($($test:ident),*) => {$(
        #[tokio::test]
        async fn $test() {
            let dir = tempfile::tempdir().unwrap();
            let (log, source, life) = running(dir.path(), SMALL.with_segment_len(1 << 20));
            contract::$test(log, source).await;
            life.drain_in_order().await;
        }
    )*};
}
contract!(clicks_come_back_as_they_were_in_order, reading_waits_for_a_click, seeking_reads_again);

impl Options {
    fn with_segment_len(self, segment_len: usize) -> Self {
        Self { segment_len, ..self }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_recorders_each_click_is_read_once_and_in_its_order() {
    const THREADS: u64 = 4;
    const EACH: u64 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let (log, mut source, life) = running(dir.path(), SMALL.with_segment_len(64 * 1024));
    let recorders: Vec<_> = (0..THREADS)
        .map(|thread| {
            let log = log.clone();
            std::thread::spawn(move || {
                for number in 0..EACH {
                    while let Err(reason) = log.record(&click(thread * EACH + number)) {
                        assert_eq!(reason, Dropped::BufferFull);
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut next = [0; 4];
    let mut offset = 0;
    while offset < THREADS * EACH {
        let batch = source.next_batch(997).await.unwrap();
        for (at, click) in batch.offsets.iter().zip(&batch.clicks) {
            assert_eq!(*at, offset, "a gap");
            let (thread, number) = (click.link.get() / EACH, click.link.get() % EACH);
            let next = &mut next[usize::try_from(thread).unwrap()];
            assert_eq!(number, *next, "of thread {thread}");
            *next += 1;
            offset += 1;
        }
        assert_eq!(batch.next_offset, offset);
    }
    for recorder in recorders {
        recorder.join().unwrap();
    }
    assert_eq!((next, source.lag()), ([EACH; 4], 0));
    life.drain_in_order().await;
    assert_eq!(log.record(&click(0)), Err(Dropped::Failed), "a closed log takes no more");
    assert!(segments(dir.path()).len() > 20);
}

#[test]
fn a_restart_goes_on_where_the_log_ended_and_keeps_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut ids = BTreeSet::new();
    for round in 0..10 {
        let bench = Bench::open(dir.path(), SMALL);
        ids.insert(bench.log.id);
        assert_eq!(bench.read(), all(0..round * 100));
        bench.record_all(round * 100..(round + 1) * 100);
        // Every other one ends as if killed.
        if round % 2 == 0 {
            bench.log.close().unwrap();
        }
    }
    assert_eq!(ids.len(), 1);
}

#[test]
fn restarts_without_clicks_leave_no_files_and_lose_no_place() {
    let dir = tempfile::tempdir().unwrap();
    Bench::open(dir.path(), SMALL).record_all(0..10);
    for _ in 0..5 {
        let bench = Bench::open(dir.path(), SMALL);
        assert_eq!(bench.log.end(), 10);
    }
    let bench = Bench::open(dir.path(), SMALL);
    bench.log.close().unwrap();
    assert_eq!(bench.segments().len(), 1);
    let used: u64 = bench.segments().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(used < 1500, "{used} bytes for ten clicks");
}

#[test]
fn only_what_is_durable_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), SMALL);
    bench.record_all(0..10);
    assert_eq!(bench.read(), all(0..0));
    bench.log.sync().unwrap();
    bench.record_all(10..20);
    assert_eq!(bench.read(), all(0..10));
}

#[test]
fn with_no_interval_every_click_is_durable_when_it_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), Options { sync_interval: Duration::ZERO, ..SMALL });
    for number in 0..200 {
        bench.record(number).unwrap();
        assert_eq!(*bench.log.synced().borrow(), number + 1);
    }
    assert_eq!(bench.read(), all(0..200));
}

#[test]
fn counted_segments_go_when_they_are_old_but_the_open_chunk_stays() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), SMALL.with_segment_len(256 * 1024));
    let count = CLICK_CHUNK_LEN + CLICK_CHUNK_LEN / 2;
    bench.record_all(0..count);
    bench.log.tick();
    let segments = bench.segments().len();
    bench.log.commit(count);
    bench.log.tick();
    assert_eq!((bench.segments().len(), bench.log.start()), (segments, 0), "they are not old yet");

    bench.clock.0.fetch_add(60_000, Ordering::Relaxed);
    bench.log.tick();
    let start = bench.log.start();
    assert!(0 < start && start <= CLICK_CHUNK_LEN, "{start}");
    assert!(bench.segments().len() < segments);
    assert_eq!(bench.read(), all(start..count));

    // A commit that goes back brings nothing back, and takes nothing more.
    bench.log.commit(0);
    bench.log.tick();
    assert_eq!(bench.log.start(), start);
}

#[test]
fn what_is_not_counted_stays_however_old() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), SMALL);
    bench.record_all(0..1000);
    bench.clock.0.fetch_add(1_000_000_000, Ordering::Relaxed);
    bench.log.tick();
    assert_eq!(bench.read(), all(0..1000));
}

#[tokio::test]
async fn seeking_stays_within_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut source, life) = running(dir.path(), SMALL);
    for number in 0..10 {
        log.record(&click(number)).unwrap();
    }
    log.flush().await.unwrap();
    assert_eq!(source.seek(0).await.unwrap(), 0);
    assert_eq!(source.seek(1_000).await.unwrap(), 10);
    log.record(&click(10)).unwrap();
    log.flush().await.unwrap();
    assert_eq!(source.next_batch(10).await.unwrap().offsets, [10]);
    life.drain_in_order().await;
}

#[test]
fn two_logs_in_one_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Bench::open(dir.path(), SMALL);
    assert!(matches!(refused(dir.path()), OpenError::Locked(LockError::Held { .. })));
}

pub(super) fn refused(folder: &Path) -> OpenError {
    let means = Means { disk: Arc::new(OsDisk), clock: Arc::new(SystemClock) };
    open_log(folder, SMALL, means, &SystemEntropy).err().unwrap()
}
