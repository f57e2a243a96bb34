//! A disk that is full, or that cannot make durable.

use super::*;

#[test]
fn a_full_disk_drops_clicks_until_there_is_room_and_leaves_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), SMALL);
    bench.disk.full.store(true, Ordering::Relaxed);
    bench.log.tick();
    let kept = (0..1000).take_while(|number| bench.record(*number).is_ok()).count() as u64;
    assert!(kept > 10, "the first segment takes clicks");
    bench.log.tick();
    assert_eq!(bench.record(kept), Err(Dropped::DiskFull));
    let files = bench.segments();
    bench.log.tick();
    assert_eq!(bench.segments(), files, "half a segment was left");
    assert_eq!(bench.read(), all(0..kept));

    bench.disk.full.store(false, Ordering::Relaxed);
    bench.log.tick();
    bench.record_all(kept..2000);
    bench.log.tick();
    assert_eq!(bench.read(), all(0..2000));
}

#[test]
fn a_disk_that_is_full_at_the_start_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open_on(Faulty { full: true.into(), ..Faulty::default() }, dir.path(), SMALL);
    assert_eq!(bench.record(0), Err(Dropped::DiskFull));
    bench.disk.full.store(false, Ordering::Relaxed);
    bench.log.tick();
    bench.record_all(0..10);
    bench.log.sync().unwrap();
    assert_eq!(bench.read(), all(0..10));
}

/// After a failed sync the kernel may have dropped what it could not write, and would call the next
/// sync a success: so the clicks go elsewhere, from memory.
#[test]
fn after_a_failed_sync_clicks_move_to_another_segment() {
    for synced_before in [0, 7] {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench::open(dir.path(), SMALL);
        bench.record_all(0..synced_before);
        bench.log.sync().unwrap();
        bench.record_all(synced_before..20);
        bench.log.prepare();
        let failed = bench.segments()[0].clone();
        bench.disk.failing_syncs.store(1, Ordering::Relaxed);
        bench.log.sync().unwrap();
        assert_eq!(bench.read(), all(0..20));
        bench.record_all(20..400);
        bench.log.tick();
        assert_eq!(bench.read(), all(0..400));

        // The failed one is not relied on for more than was durable: without it the rest is there.
        drop(bench);
        if failed.exists() {
            fs::remove_file(failed).unwrap();
        }
        let expected: BTreeMap<_, _> = all(synced_before..400);
        assert_eq!(Bench::open(dir.path(), SMALL).read(), expected);
    }
}

#[test]
fn while_no_sync_succeeds_nothing_is_handed_out_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), SMALL);
    bench.record_all(0..5);
    bench.log.sync().unwrap();
    bench.disk.failing_syncs.store(usize::MAX, Ordering::Relaxed);
    for number in 5..300 {
        bench.record(number).unwrap();
        if number % 50 == 0 {
            bench.log.sync().unwrap_err();
            assert_eq!(bench.read(), all(0..5));
        }
    }
    bench.disk.failing_syncs.store(0, Ordering::Relaxed);
    bench.log.sync().unwrap();
    assert_eq!(bench.read(), all(0..300));
    drop(bench);
    assert_eq!(Bench::open(dir.path(), SMALL).read(), all(0..300));
}

#[test]
fn killed_while_syncs_fail_the_log_has_every_click() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), SMALL);
    bench.record_all(0..5);
    bench.log.sync().unwrap();
    bench.disk.failing_syncs.store(usize::MAX, Ordering::Relaxed);
    bench.record_all(5..300);
    bench.log.sync().unwrap_err();
    bench.record_all(300..320);
    drop(bench);
    assert_eq!(Bench::open(dir.path(), SMALL).read(), all(0..320));
}

#[test]
fn a_segment_that_fails_after_its_last_record_was_durable_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), SMALL);
    let mut count = 0;
    while bench.log.record(&click(count)).is_ok() {
        count += 1;
        bench.log.sync().unwrap();
    }
    bench.record(count).unwrap();
    bench.disk.failing_syncs.store(1, Ordering::Relaxed);
    bench.log.sync().unwrap();
    assert_eq!(bench.read(), all(0..count + 1));
    drop(bench);
    assert_eq!(Bench::open(dir.path(), SMALL).read(), all(0..count + 1));
}
