//! Files that are not as they were left.

use std::fs::OpenOptions;

use proptest::prelude::*;

use super::super::OpenError;
use super::super::frame::Frame;
use super::super::header::HEADER_LEN;
use super::lasting::refused;
use super::*;

const COUNT: u64 = 60;
const ROOMY: Options = Options { segment_len: 32 * 1024, ..SMALL };

/// A segment with [`COUNT`] records, left by a killed process or sealed; and its bytes in use.
fn left(folder: &Path, sealed: bool) -> (PathBuf, usize) {
    let bench = Bench::open(folder, ROOMY);
    bench.record_all(0..COUNT);
    bench.log.sync().unwrap();
    let path = bench.segments()[0].clone();
    bench.log.close().unwrap();
    let used = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    if !sealed {
        let mut bytes = fs::read(&path).unwrap();
        bytes[64..HEADER_LEN].fill(0);
        bytes.resize(ROOMY.segment_len, 0);
        fs::write(&path, bytes).unwrap();
    }
    (path, used)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_torn_tail_leaves_what_stands_before_it(keep in 0_usize..1000, junk in proptest::collection::vec(any::<u8>(), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let (path, used) = left(dir.path(), false);
        let keep = HEADER_LEN + (used - HEADER_LEN) * keep / 1000;
        let mut bytes = fs::read(&path).unwrap();
        bytes[keep..].fill(0);
        let to = (keep + junk.len()).min(bytes.len());
        bytes[keep..to].copy_from_slice(&junk[..to - keep]);
        fs::write(&path, &bytes).unwrap();
        let bench = Bench::open(dir.path(), ROOMY);
        let read = bench.read();
        let end = read.len() as u64;
        prop_assert_eq!(&read, &all(0..end));
        // And goes on from there.
        bench.record_all(end..end + 10);
        bench.log.sync().unwrap();
        prop_assert_eq!(bench.read(), all(0..end + 10));
    }

    #[test]
    fn a_cut_file_leaves_what_stands_before_the_cut(sealed: bool, cut in 0_usize..100) {
        let dir = tempfile::tempdir().unwrap();
        let (path, used) = left(dir.path(), sealed);
        let len = HEADER_LEN + (used - HEADER_LEN) * cut / 100;
        OpenOptions::new().write(true).open(&path).unwrap().set_len(len as u64).unwrap();
        let mut end = HEADER_LEN;
        let whole = (0..COUNT).take_while(|number| {
            let mut frame = Frame::EMPTY;
            frame.fill(&click(*number), None);
            end += frame.len();
            end <= len
        });
        prop_assert_eq!(Bench::open(dir.path(), ROOMY).read(), all(0..whole.count() as u64));
    }

    #[test]
    fn flipped_bytes_cost_the_records_they_hit_and_move_no_other(
        sealed: bool,
        flips in proptest::collection::vec((0_usize..10_000, 1_u8..), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (path, used) = left(dir.path(), sealed);
        let mut bytes = fs::read(&path).unwrap();
        for (at, flip) in &flips {
            bytes[HEADER_LEN + (used - HEADER_LEN) * at / 10_000] ^= flip;
        }
        fs::write(&path, bytes).unwrap();
        let bench = Bench::open(dir.path(), ROOMY);
        let read = bench.read();
        prop_assert!(read.iter().all(|(offset, number)| offset == number), "a click stands in the place of another");
        // A whole record that stands alone between two damaged ones is not believed.
        prop_assert!(read.len() + 2 * flips.len() > usize::try_from(COUNT).unwrap(), "{} of {COUNT} after {} flips", read.len(), flips.len());
    }

    #[test]
    fn any_bytes_are_opened_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), whole_header: bool) {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = left(dir.path(), false);
        let header = fs::read(&path).unwrap()[..HEADER_LEN].to_vec();
        fs::write(&path, if whole_header { [header, bytes].concat() } else { bytes }).unwrap();
        let bench = Bench::open(dir.path(), ROOMY);
        bench.read();
        let end = bench.log.end();
        bench.record(end).unwrap();
        bench.log.sync().unwrap();
        prop_assert_eq!(bench.read().get(&end).copied(), Some(end));
    }
}

#[test]
fn a_segment_that_is_gone_or_has_no_header_costs_its_own_clicks_only() {
    for gone in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench::open(dir.path(), SMALL);
        bench.record_all(0..200);
        bench.log.close().unwrap();
        let paths = bench.segments();
        drop(bench);
        if gone {
            fs::remove_file(&paths[1]).unwrap();
        } else {
            let mut bytes = fs::read(&paths[1]).unwrap();
            bytes[30] ^= 1;
            fs::write(&paths[1], bytes).unwrap();
        }
        let bench = Bench::open(dir.path(), SMALL);
        let read = bench.read();
        assert!(read.len() > 100 && read.len() < 200, "{}", read.len());
        assert!(read.contains_key(&0) && read.contains_key(&199));
        assert!(read.iter().all(|(offset, number)| offset == number));
        assert_eq!(paths[1].with_extension("damaged").exists(), !gone);
        assert_eq!(bench.log.end(), 200);
    }
}

#[test]
fn a_log_without_its_segments_is_another_log() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = left(dir.path(), true);
    let before = Bench::open(dir.path(), ROOMY).log.id;
    fs::remove_file(path).unwrap();
    let bench = Bench::open(dir.path(), ROOMY);
    assert_ne!(bench.log.id, before, "offsets begin again, so the name must not");
    assert_eq!(bench.log.end(), 0);
}

#[test]
fn a_lost_id_is_found_in_the_segments() {
    let dir = tempfile::tempdir().unwrap();
    left(dir.path(), true);
    let before = Bench::open(dir.path(), ROOMY).log.id;
    fs::remove_file(dir.path().join("log.id")).unwrap();
    assert_eq!(Bench::open(dir.path(), ROOMY).log.id, before);
}

#[test]
fn what_is_not_ours_or_too_new_is_refused_by_name() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, _) = left(dir.path(), true);
    let (foreign, _) = left(other.path(), true);

    let aside = dir.path().join("000000000099.clicks");
    fs::copy(foreign, &aside).unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Foreign { .. }) && error.to_string().contains("000000000099.clicks"), "{error}");
    fs::remove_file(aside).unwrap();

    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..36]);
    bytes[36..40].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Newer { found: 2, .. }) && error.to_string().contains("format 2"), "{error}");

    fs::write(other.path().join("log.id"), "not an id").unwrap();
    assert!(matches!(refused(other.path()), OpenError::DamagedId { .. }));
}
