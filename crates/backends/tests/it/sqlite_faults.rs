//! What a file survives: the end of the process at any moment, a full disk, a queue that is full.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backends::sqlite::{Options, open_links};
use backends::system::SystemEntropy;
use domain::port::{Inserted, LinkStore, Outcome, PortErrorKind, Walk};
use domain::{Code, LinkId};
use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::sqlite_open::{link, open};

fn code(number: u64) -> Code {
    (number * 1_000_003..).find_map(Code::generated).expect("one of the generated shape")
}

/// The file as a machine would find it after the power went away now: what was written, without the
/// memory of the process that wrote it.
fn copy(from: &Path, to: &Path) {
    for name in ["terse.db", "terse.db-wal"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_acknowledged_is_in_a_copy_made_mid_run() {
    const WRITERS: u64 = 32;
    let folder = tempfile::tempdir().unwrap();
    let stores = open(&folder.path().join("terse.db")).unwrap();
    // What writer n has been told is durable: its links 1 to acked[n].
    let acked: Arc<Vec<AtomicU64>> = Arc::new((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
    let stop = tokio_util::sync::CancellationToken::new();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (links, acked, stop) = (stores.links.clone(), acked.clone(), stop.clone());
        writers.spawn(async move {
            for number in 1.. {
                let id = number * WRITERS + writer;
                assert_eq!(links.insert(vec![link(id << 22, code(id))]).await.unwrap(), [Inserted::Stored]);
                acked[usize::try_from(writer).unwrap()].store(number, Ordering::SeqCst);
                if stop.is_cancelled() {
                    return;
                }
            }
        });
    }
    for round in 0..5_u64 {
        while acked.iter().any(|acked| acked.load(Ordering::SeqCst) < (round + 1) * 10) {
            tokio::task::yield_now().await;
        }
        let crashed = tempfile::tempdir().unwrap();
        let promised: Vec<u64> = acked.iter().map(|acked| acked.load(Ordering::SeqCst)).collect();
        // A reading transaction keeps the log from being moved into the file between the two copies.
        let reader = Connection::open(folder.path().join("terse.db")).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM meta").unwrap();
        copy(folder.path(), crashed.path());
        drop(reader);
        let stores = open(&crashed.path().join("terse.db")).unwrap();
        for (writer, promised) in (0..).zip(promised) {
            for number in 1..=promised {
                let id = number * WRITERS + writer;
                assert_eq!(stores.links.get(LinkId::new(id << 22)).await.unwrap(), Some(link(id << 22, code(id))), "round {round}");
            }
        }
        stores.close().await;
        let check: String =
            Connection::open(crashed.path().join("terse.db")).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
    }
    stop.cancel();
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_whole_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("terse.db");
    let stores = open(&path).unwrap();
    let before: Vec<_> = (1..=100).map(|id| link(id << 22, code(id))).collect();
    stores.links.insert(before.clone()).await.unwrap();
    stores.file().limit_pages(Some(1)).await.unwrap();
    let links: Vec<_> = (0..10_u64)
        .map(|bulk| (0..1_000).map(|i| link((1_000 + bulk * 1_000 + i) << 22, code(1_000 + bulk * 1_000 + i))).collect::<Vec<_>>())
        .collect();
    let answers = domain::port::contract::join_all(links.iter().map(|links| stores.links.insert(links.clone()))).await;
    let mut refused = 0;
    for (links, answer) in links.iter().zip(answers) {
        let there = stores.links.get_many(&links.iter().map(|link| link.id).collect::<Vec<_>>()).await.unwrap();
        match answer {
            Ok(answers) => assert_eq!((answers, there.len()), (vec![Inserted::Stored; 1_000], 1_000)),
            Err(error) => {
                refused += 1;
                assert_eq!((error.kind, error.outcome, there.len()), (PortErrorKind::Full, Outcome::NotApplied, 0), "{error:?}");
            }
        }
    }
    assert!(refused > 0);
    assert_eq!(stores.links.get(before[7].id).await.unwrap().as_ref(), Some(&before[7]), "reads go on");
    // Space returns: the next request is served, without a restart.
    stores.file().limit_pages(None).await.unwrap();
    for links in links {
        stores.links.insert(links).await.unwrap();
    }
    assert_eq!(stores.links.walk(&Walk::Everyone, None, usize::MAX).await.unwrap().len(), 10_100);
    stores.close().await;
    let check: String = Connection::open(&path).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test]
async fn a_closed_file_answers_unavailable_after_finishing_what_waited() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("terse.db");
    let stores = open(&path).unwrap();
    let waiting = domain::port::contract::join_all((1..=50).map(|id| stores.links.insert(vec![link(id << 22, code(id))])));
    let (answers, ()) = tokio::join!(waiting, stores.close());
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    for error in [stores.links.get(LinkId::new(1)).await.unwrap_err(), stores.links.insert(Vec::new()).await.unwrap_err()] {
        assert_eq!((error.kind, error.outcome), (PortErrorKind::Unavailable, Outcome::NotApplied));
    }
    assert!(!folder.path().join("terse.db-wal").exists(), "the log was moved into the file");
    stores.close().await;
    assert_eq!(open(&path).unwrap().links.walk(&Walk::Everyone, None, 100).await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("terse.db");
    let options = Options { queue_len_max: 4, ..Options::default() };
    let stores = open_links(&path, options, &SystemEntropy).unwrap();
    // Another process holds the file, so the writer waits.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut tasks = JoinSet::new();
    for id in 1..=20 {
        let links = stores.links.clone();
        tasks.spawn(async move { links.insert(vec![link(id << 22, code(id))]).await });
    }
    // Of 20 calls at most one is with the writer and 4 wait.
    for _ in 0..15 {
        let error = tasks.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!((error.kind, error.outcome), (PortErrorKind::Unavailable, Outcome::NotApplied));
    }
    other.execute_batch("COMMIT").unwrap();
    let mut made = 0;
    while let Some(answer) = tasks.join_next().await {
        made += usize::from(answer.unwrap().is_ok());
    }
    assert!((4..=5).contains(&made), "{made}");
}

#[tokio::test]
async fn a_caller_who_goes_away_does_not_stop_the_write() {
    let folder = tempfile::tempdir().unwrap();
    let stores = open(&folder.path().join("terse.db")).unwrap();
    {
        let mut insert = std::pin::pin!(stores.links.insert(vec![link(1 << 22, code(1))]));
        let begun = std::future::poll_fn(|context| std::task::Poll::Ready(insert.as_mut().poll(context))).await;
        drop(begun);
    }
    // The writer takes them in order.
    assert_eq!(stores.links.insert(vec![link(1 << 22, code(1))]).await.unwrap(), [Inserted::Taken(link(1 << 22, code(1)))]);
}
