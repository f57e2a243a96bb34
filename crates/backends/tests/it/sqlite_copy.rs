//! A copy of a file that is being written to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backends::sqlite::{LINKS, OpenError, STATS, copy};
use domain::port::LinkStore as _;
use domain::{Code, Link, LinkId};
use tokio::task::JoinSet;

use crate::sqlite_open::{link, open};

fn numbered(number: u64) -> Link {
    link(number, Code::parse_foreign(&format!("copy-{number}")).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_all_that_was_answered_before_and_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("terse.db"), folder.path().join("copy.db"));
    let stores = open(&from).unwrap();
    for number in 1..=500 {
        stores.links.insert(vec![numbered(number)]).await.unwrap();
    }
    let (links, stop) = (stores.links.clone(), Arc::new(AtomicBool::new(false)));
    let ends = stop.clone();
    let mut writer = JoinSet::new();
    writer.spawn(async move {
        let mut number = 500;
        while !ends.load(Ordering::Relaxed) {
            number += 1;
            links.insert(vec![numbered(number)]).await.unwrap();
        }
        number
    });
    let (source, target) = (from.clone(), to.clone());
    let copied = tokio::task::spawn_blocking(move || copy(&source, &LINKS, &target, &mut |done, total| assert!(done <= total)));
    assert_eq!(copied.await.unwrap().unwrap(), 1);
    stop.store(true, Ordering::Relaxed);
    let written = writer.join_next().await.unwrap().unwrap();
    stores.close().await;
    assert!(!folder.path().join("copy.db-wal").exists() && !folder.path().join("copy.db-journal").exists(), "one file");
    let copied = open(&to).unwrap();
    let mut last = 0;
    for number in 1..=written {
        let found = copied.links.get(LinkId::new(number)).await.unwrap().is_some();
        assert!(found || number > 500, "{number} was answered before");
        // Those written meanwhile: up to some moment all, and none after it.
        if found {
            assert_eq!(number, last + 1);
            last = number;
        }
    }
    copied.close().await;
}

#[tokio::test]
async fn nothing_is_written_over_and_nothing_foreign_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("terse.db"), folder.path().join("copy.db"));
    open(&from).unwrap().close().await;
    let wrong = copy(&from, &STATS, &to, &mut |_, _| {}).unwrap_err();
    assert!(matches!(wrong, OpenError::Foreign { .. }), "{wrong}");
    assert!(!to.exists());
    copy(&from, &LINKS, &to, &mut |_, _| {}).unwrap();
    let there = copy(&from, &LINKS, &to, &mut |_, _| {}).unwrap_err().to_string();
    assert!(there.contains("copy.db"), "{there}");
}
