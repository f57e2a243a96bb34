//! One `SQLite` file: a thread that writes, a few that read.
//!
//! Writes that wait are made durable together (group commit): each runs under its own savepoint in one
//! transaction, and is answered after the commit has reached the disk. Reads run beside it on
//! snapshots and never wait for a write.

mod claim_store;
mod click_budget;
mod copy;
mod domain_store;
mod error;
mod job_store;
mod key_store;
mod lease_store;
mod link_row;
mod link_store;
mod open;
mod readers;
mod stats_store;
mod stats_top;
mod stores;
mod takedowns;
mod value;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chassis::trace::Span;
use domain::port::{Outcome, PortError, PortErrorKind, PortResult};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

pub use claim_store::ClaimStore;
pub use click_budget::ClickBudget;
pub use copy::{copy, counted};
pub use domain_store::DomainStore;
pub use job_store::JobStore;
pub use key_store::KeyStore;
pub use lease_store::LeaseStore;
pub use link_store::LinkStore;
pub use open::{OpenError, Schema, Version, inspect};
pub use stats_store::{STATS, SqliteStats, open_stats};
pub use stores::{LINKS, Stores, open_links};
pub use takedowns::Takedowns;

use crate::traced::{self, Query};
use readers::Readers;
use writer::Writer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads that read.
    pub readers: usize,
    /// How long a commit may wait for writes that keep arriving. A lone write never waits.
    pub group_wait: Duration,
    /// Writes of one commit.
    pub group_len_max: usize,
    /// Writes, and reads, that may wait; more are refused as unavailable.
    pub queue_len_max: usize,
    /// How long to wait for another process that holds the file (a backup, the `sqlite3` shell).
    pub busy_timeout: Duration,
    /// Page cache of the writer, and of each reader.
    pub cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: 2,
            group_wait: Duration::from_millis(2),
            group_len_max: 1_000,
            queue_len_max: 4_096,
            busy_timeout: Duration::from_secs(5),
            cache_bytes: 16 << 20,
        }
    }
}

/// `SQLite`'s own limit of a file.
const PAGES_MAX: u32 = u32::MAX - 1;

/// The handle of an open file. Cheap to clone; the threads end when the last one is dropped or closed.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// `None` once closed.
    threads: RwLock<Option<Threads>>,
    /// Ends when all threads have.
    running: watch::Receiver<()>,
}

struct Threads {
    writer: Writer,
    readers: Readers,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sqlite({})", self.0.path.display())
    }
}

impl Sqlite {
    /// Opens or makes the file, and brings its schema up to date.
    pub fn open(path: &Path, schema: &Schema, options: Options) -> Result<Self, OpenError> {
        Self::open_with(path, schema, &options, |_| Ok(()))
    }

    /// Runs `prepare` on the writing connection in a transaction of its own, before the threads start.
    pub(crate) fn open_with<F>(path: &Path, schema: &Schema, options: &Options, prepare: F) -> Result<Self, OpenError>
    where
        F: FnOnce(&Connection) -> rusqlite::Result<()>,
    {
        let (ended, running) = watch::channel(());
        let connection = open::writer(path, schema, options, prepare)?;
        // Nothing is ever sent: it ends when its last sender is dropped.
        let (reading, no_readers) = std::sync::mpsc::sync_channel(1);
        let readers = Readers::start(path, schema.name, options, &reading)?;
        drop(reading);
        let writer = Writer::start(connection, schema, options, no_readers, ended)
            .map_err(|source| OpenError::Thread { path: path.to_owned(), source })?;
        let threads = RwLock::new(Some(Threads { writer, readers }));
        Ok(Self(Arc::new(Inner { path: path.to_owned(), threads, running })))
    }

    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Runs `f` on the writer under a savepoint and answers when its commit has reached the disk. An error
    /// of `f` undoes what `f` did and nothing else. A caller that goes away does not stop the write.
    pub(crate) async fn write<T, F>(&self, op: &'static str, f: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.write_then(op, f, |_| {}).await
    }

    /// The same, and runs `then` on the writer between commit and answer: in the order of the commits,
    /// and even if the caller went away.
    pub(crate) async fn write_then<T, F, A>(&self, op: &'static str, f: F, then: A) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        traced(op, async {
            let answer = self.with_threads(op, |threads| threads.writer.send(op, f, then))?;
            answered(op, Outcome::Unknown, answer).await
        })
        .await
    }

    /// Runs `f` on a reader, on one snapshot that holds every write answered before.
    pub(crate) async fn read<T, F>(&self, op: &'static str, f: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        traced(op, async {
            let answer = self.with_threads(op, |threads| threads.readers.send(op, f))?;
            answered(op, Outcome::NotApplied, answer).await
        })
        .await
    }

    /// Finishes what waits, moves the write-ahead log into the file, and closes it. Later calls, of any
    /// clone of the handle, answer `Unavailable`.
    pub async fn close(&self) {
        drop(self.0.threads.write().unwrap_or_else(PoisonError::into_inner).take());
        let mut running = self.0.running.clone();
        while running.changed().await.is_ok() {}
    }

    /// Limits the file to what it has now and so many pages more, as a full disk would; `None`: no limit.
    pub async fn limit_pages(&self, more: Option<u32>) -> PortResult<()> {
        self.write("sqlite: limit the file", move |db| {
            let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let max = more.map_or_else(|| i64::from(PAGES_MAX), |more| pages + i64::from(more));
            db.query_row(&format!("PRAGMA max_page_count = {max}"), [], |_| Ok(()))
        })
        .await
    }

    fn with_threads<T>(&self, op: &'static str, f: impl FnOnce(&Threads) -> PortResult<T>) -> PortResult<T> {
        let threads = self.0.threads.read().unwrap_or_else(PoisonError::into_inner);
        threads.as_ref().map_or_else(|| Err(PortError::new(PortErrorKind::Unavailable, op, Outcome::NotApplied)), f)
    }
}

/// From the queue to the answer. Each is several statements, so that its own name says most.
async fn traced<T>(op: &'static str, work: impl Future<Output = PortResult<T>>) -> PortResult<T> {
    let query = Query { system: "sqlite", operation: op.strip_prefix("sqlite: ").unwrap_or(op), collection: None, op };
    let span = Span::begin(&query);
    let answer = work.await;
    traced::end(span, &answer);
    answer
}

/// A thread drops the sender only when the operation panicked.
async fn answered<T>(op: &'static str, outcome: Outcome, answer: oneshot::Receiver<PortResult<T>>) -> PortResult<T> {
    answer.await.unwrap_or_else(|_| Err(PortError::new(PortErrorKind::Unavailable, op, outcome)))
}

#[cfg(test)]
mod tests {
    use domain::port::contract::join_all;

    use super::*;

    const SCHEMA: Schema = Schema { name: "test", application_id: 1, steps: &["CREATE TABLE a (x INTEGER PRIMARY KEY)"] };

    fn open() -> (tempfile::TempDir, Sqlite) {
        let folder = tempfile::tempdir().unwrap();
        let file = Sqlite::open(&folder.path().join("test.db"), &SCHEMA, Options::default()).unwrap();
        (folder, file)
    }

    async fn sum(file: &Sqlite) -> i64 {
        file.read("sum", |db| db.query_row("SELECT total(x) FROM a", [], |row| row.get::<_, f64>(0)))
            .await
            .map(|sum| format!("{sum:.0}").parse().unwrap())
            .unwrap()
    }

    #[tokio::test]
    async fn a_write_that_fails_is_undone_alone() {
        let (_folder, file) = open();
        let writes = (1..=100_i64).map(|x| {
            file.write("insert", move |db| {
                db.execute("INSERT INTO a VALUES (?1)", [x])?;
                // Every second one fails after it has written.
                if x % 2 == 0 { db.execute("INSERT INTO a VALUES (?1)", [x]) } else { Ok(0) }
            })
        });
        for (x, answer) in (1..).zip(join_all(writes).await) {
            match answer {
                Ok(_) => assert_eq!(x % 2, 1),
                Err(error) => assert_eq!((x % 2, error.kind, error.outcome), (0, PortErrorKind::Corrupt, Outcome::NotApplied)),
            }
        }
        assert_eq!(sum(&file).await, 50 * 50);
    }

    #[tokio::test]
    async fn a_panic_is_one_callers_error() {
        let (_folder, file) = open();
        let writes = (1..=10_i64).map(|x| {
            file.write("insert", move |db| {
                let inserted = db.execute("INSERT INTO a VALUES (?1)", [x])?;
                assert_ne!(x, 5, "as it must");
                Ok(inserted)
            })
        });
        let failed = join_all(writes).await.into_iter().filter(Result::is_err).count();
        assert_eq!((failed, sum(&file).await), (1, 50));
        for _ in 0..4 {
            let read: PortResult<()> = file.read("panic", |_| panic!("as it must")).await;
            assert_eq!(read.unwrap_err().kind, PortErrorKind::Unavailable);
        }
        assert_eq!(sum(&file).await, 50, "all readers are still there");
    }

    #[tokio::test]
    async fn what_follows_a_commit_runs_in_its_order_and_only_then() {
        let (_folder, file) = open();
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let writes = (1..=100_i64).map(|x| {
            let seen = seen.clone();
            let insert = move |db: &Connection| {
                db.execute("INSERT INTO a VALUES (?1)", [x / 2])?;
                db.query_row("SELECT count(*) FROM a", [], |row| row.get::<_, i64>(0))
            };
            file.write_then("insert", insert, move |count| seen.lock().unwrap().push(*count))
        });
        join_all(writes).await;
        // 0 to 50: each but the first and last came twice, and failed once.
        assert!(seen.lock().unwrap().iter().copied().eq(1..=51));
    }
}
