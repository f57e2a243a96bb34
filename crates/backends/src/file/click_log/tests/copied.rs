//! A copy of a log that goes on being written to.

use domain::port::LogId;

use super::super::copy::find;
use super::*;

/// What a copy holds when it is opened as a log.
fn reopened(folder: &Path) -> (LogId, BTreeMap<u64, u64>) {
    let bench = Bench::open(folder, SMALL);
    bench.log.sync().unwrap();
    (bench.log.id, bench.read())
}

#[test]
fn a_copy_is_the_same_log_up_to_where_it_was_copied() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("log");
    assert!(find(&folder).unwrap().is_none());
    let bench = Bench::open(&folder, SMALL);
    bench.record_all(0..200);
    let found = find(&folder).unwrap().unwrap();
    assert_eq!(found.id, bench.log.id);
    // Between looking and copying: into the segment that is copied, and into the next ones.
    bench.record_all(200..300);
    let copied = found.copy(0, &dir.path().join("copy")).unwrap();
    assert!((200..=300).contains(&copied.end), "{copied:?}");
    bench.record_all(300..400);
    let (id, read) = reopened(&dir.path().join("copy"));
    assert_eq!((id, read), (bench.log.id, all(0..copied.end)));
    // It goes on after the last one.
    let bench = Bench::open(&dir.path().join("copy"), SMALL);
    bench.record_all(copied.end..copied.end + 10);
    bench.log.sync().unwrap();
    assert_eq!(bench.read(), all(0..copied.end + 10));
}

#[test]
fn only_what_is_asked_for_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("log");
    let bench = Bench::open(&folder, SMALL);
    bench.record_all(0..300);
    bench.log.sync().unwrap();
    let found = find(&folder).unwrap().unwrap();
    for from in [0, 150, 299, 300, 1_000] {
        let to = dir.path().join(format!("copy-{from}"));
        let copied = found.copy(from, &to).unwrap();
        assert_eq!(copied.end, 300);
        let (_, read) = reopened(&to);
        let first = *read.keys().next().unwrap();
        assert!(first <= from, "{first} and not {from}");
        assert_eq!(read, all(first..300));
        assert_eq!(segments(&to).len() < segments(&folder).len(), from > 0, "{from}");
    }
    drop(bench);
    // An empty log that has its name keeps it.
    let empty = dir.path().join("empty");
    let id = Bench::open(&empty, SMALL).log.id;
    let copied = find(&empty).unwrap().unwrap().copy(0, &dir.path().join("copy-of-empty")).unwrap();
    assert_eq!((copied.end, find(&dir.path().join("copy-of-empty")).unwrap().unwrap().id), (0, id));
}
