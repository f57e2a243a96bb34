//! The thread that writes, and its group commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use domain::port::{Outcome, PortError, PortErrorKind, PortResult};
use metrics::{Counter, Gauge, Histogram};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::error::{Reach, kind, port_error, reach, reason};
use super::{Options, Schema};
use crate::metrics as names;

/// A group that has run for this long is committed, however many more wait.
const GROUP_TIME_MAX: Duration = Duration::from_millis(20);
/// Within [`Options::group_wait`]: with nothing new for this long, no more are coming.
const GAP_MAX: Duration = Duration::from_micros(250);

pub(super) struct Writer {
    queue: SyncSender<Box<dyn Write>>,
    queued: Gauge,
    failures: Arc<Failures>,
}

/// Counters of failed calls, by reason.
pub(super) struct Failures {
    pub(super) queue_full: Counter,
    pub(super) closed: Counter,
    by_kind: [(PortErrorKind, Counter); 3],
}

impl Failures {
    pub(super) fn new(store: &'static str) -> Self {
        let counter = |reason: &'static str| ::metrics::counter!(names::STORE_FAILURES, "store" => store, "reason" => reason);
        let kinds = [PortErrorKind::Unavailable, PortErrorKind::Full, PortErrorKind::Corrupt];
        Self { queue_full: counter("queue_full"), closed: counter("closed"), by_kind: kinds.map(|kind| (kind, counter(reason(kind)))) }
    }

    pub(super) fn count(&self, kind: PortErrorKind) {
        for (_, counter) in self.by_kind.iter().filter(|(counted, _)| *counted == kind) {
            counter.increment(1);
        }
    }
}

/// What waits for a thread of a store.
pub(super) fn queued(store: &'static str, kind: &'static str) -> Gauge {
    ::metrics::gauge!(names::STORE_QUEUED, "store" => store, "kind" => kind)
}

/// One write on its way: run once, then told how its group ended.
trait Write: Send {
    /// An error has its reach and what it means to the rest of the group.
    fn run(&mut self, connection: &Connection) -> Result<(), (Reach, PortErrorKind)>;
    fn finish(self: Box<Self>, end: &End);
}

/// How a group ended.
#[derive(Clone, Debug)]
enum End {
    Committed,
    Failed { kind: PortErrorKind, outcome: Outcome, cause: String },
}

struct Operation<T, F, A> {
    op: &'static str,
    f: Option<F>,
    then: A,
    result: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<PortResult<T>>,
    failures: Arc<Failures>,
}

impl<T, F, A> Write for Operation<T, F, A>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    A: FnOnce(&T) + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), (Reach, PortErrorKind)> {
        let Some(f) = self.f.take() else { return Ok(()) };
        let result = under_savepoint(connection, f);
        let failed = result.as_ref().err().map(|error| (reach(error), kind(error)));
        self.result = Some(result);
        failed.map_or(Ok(()), Err)
    }

    fn finish(self: Box<Self>, end: &End) {
        let answer = match (self.result, end) {
            (Some(Ok(value)), End::Committed) => {
                (self.then)(&value);
                Ok(value)
            }
            // Its own error says more than the group's. Whatever became of the group, this part was undone.
            (Some(Err(error)), _) => Err(port_error(self.op, Outcome::NotApplied, error)),
            (Some(Ok(_)), End::Failed { kind, outcome, cause }) => Err(PortError::new(*kind, self.op, *outcome).with_source(cause.clone())),
            (None, End::Failed { kind, cause, .. }) => Err(PortError::new(*kind, self.op, Outcome::NotApplied).with_source(cause.clone())),
            (None, End::Committed) => {
                Err(PortError::new(PortErrorKind::Unavailable, self.op, Outcome::NotApplied).with_source("the operation panicked"))
            }
        };
        if let Err(error) = &answer {
            self.failures.count(error.kind);
        }
        drop(self.reply.send(answer));
    }
}

fn under_savepoint<T>(connection: &Connection, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    connection.prepare_cached("SAVEPOINT op")?.execute([])?;
    match catch_unwind(AssertUnwindSafe(|| f(connection))) {
        Ok(Ok(value)) => {
            connection.prepare_cached("RELEASE op")?.execute([])?;
            Ok(value)
        }
        Ok(Err(error)) => {
            undo(connection)?;
            Err(error)
        }
        Err(_) => {
            tracing::error!("a write panicked");
            undo(connection)?;
            Err(rusqlite::Error::UnwindingPanic)
        }
    }
}

/// `SQLite` has undone the whole transaction already after some errors.
fn undo(connection: &Connection) -> rusqlite::Result<()> {
    if connection.is_autocommit() {
        return Ok(());
    }
    connection.prepare_cached("ROLLBACK TO op")?.execute([])?;
    connection.prepare_cached("RELEASE op")?.execute([])?;
    Ok(())
}

impl Writer {
    /// `readers` ends when all readers have closed their connections.
    pub(super) fn start(
        connection: Connection,
        schema: &Schema,
        options: &Options,
        readers: Receiver<()>,
        ended: watch::Sender<()>,
    ) -> std::io::Result<Self> {
        let name = schema.name;
        let (queue, writes) = sync_channel(options.queue_len_max);
        let mut group = Group {
            connection,
            writes,
            wait: options.group_wait,
            len_max: options.group_len_max.max(1),
            last_len: 1,
            failing: None,
            name,
            queued: queued(name, "write"),
            lens: ::metrics::histogram!(names::STORE_GROUP_LEN, "store" => name),
            commit_seconds: ::metrics::histogram!(names::STORE_COMMIT_SECONDS, "store" => name),
        };
        std::thread::Builder::new().name(format!("sqlite-{name}-w")).spawn(move || {
            group.run();
            // Only the last connection takes the log's files away, and a reader may not write.
            while readers.recv().is_ok() {}
            group.close();
            drop(ended);
        })?;
        Ok(Self { queue, queued: queued(name, "write"), failures: Arc::new(Failures::new(name)) })
    }

    pub(super) fn send<T, F, A>(&self, op: &'static str, f: F, then: A) -> PortResult<oneshot::Receiver<PortResult<T>>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let operation = Operation { op, f: Some(f), then, result: None, reply, failures: self.failures.clone() };
        self.queued.increment(1);
        self.queue.try_send(Box::new(operation)).map_err(|error| {
            self.queued.decrement(1);
            match error {
                TrySendError::Full(_) => self.failures.queue_full.increment(1),
                TrySendError::Disconnected(_) => self.failures.closed.increment(1),
            }
            PortError::new(PortErrorKind::Unavailable, op, Outcome::NotApplied)
        })?;
        Ok(answer)
    }
}

struct Group {
    connection: Connection,
    writes: Receiver<Box<dyn Write>>,
    wait: Duration,
    len_max: usize,
    /// Length of the last group: so many are likely to come again.
    last_len: usize,
    /// How the last group failed, if it did.
    failing: Option<PortErrorKind>,
    name: &'static str,
    queued: Gauge,
    lens: Histogram,
    commit_seconds: Histogram,
}

impl Group {
    /// Until the last sender is gone and the queue is empty.
    fn run(&mut self) {
        while let Ok(first) = self.writes.recv() {
            let mut members = Vec::with_capacity(self.last_len);
            let end = self.transaction(first, &mut members);
            self.log(&end);
            self.last_len = members.len();
            self.queued.decrement(u32::try_from(members.len()).unwrap_or(u32::MAX));
            self.lens.record(u32::try_from(members.len()).unwrap_or(u32::MAX));
            for write in members {
                write.finish(&end);
            }
        }
    }

    /// Changes only: a full disk would be filled by what is said about it.
    fn log(&mut self, end: &End) {
        let failing = match end {
            End::Committed => None,
            End::Failed { kind, .. } => Some(*kind),
        };
        if failing == self.failing {
            return;
        }
        match end {
            End::Committed => tracing::info!(store = self.name, "writes are made again"),
            End::Failed { kind, cause, .. } => tracing::error!(store = self.name, ?kind, %cause, "writes fail; each request tries again"),
        }
        self.failing = failing;
    }

    fn transaction(&self, first: Box<dyn Write>, members: &mut Vec<Box<dyn Write>>) -> End {
        let begun = Instant::now();
        if let Err(error) = self.execute("BEGIN IMMEDIATE") {
            // Another process holds the file: whoever waits behind has waited as long.
            members.push(first);
            members.extend(self.writes.try_iter().take(self.len_max));
            return failed(&error, Outcome::NotApplied);
        }
        let mut next = Some(first);
        while let Some(mut write) = next {
            let ran = write.run(&self.connection);
            members.push(write);
            if matches!(ran, Err((Reach::Transaction, _))) || self.connection.is_autocommit() {
                self.roll_back();
                let kind = ran.err().map_or(PortErrorKind::Unavailable, |(_, kind)| kind);
                let cause = "another write of the same commit failed".into();
                return End::Failed { kind, outcome: Outcome::NotApplied, cause };
            }
            next = self.next(begun, members.len());
        }
        let committing = Instant::now();
        let committed = self.execute("COMMIT");
        self.commit_seconds.record(committing.elapsed());
        match committed {
            Ok(()) => End::Committed,
            Err(error) => {
                self.roll_back();
                failed(&error, Outcome::Unknown)
            }
        }
    }

    /// What waits already; beyond that only while as many are likely to come as came last time.
    fn next(&self, begun: Instant, len: usize) -> Option<Box<dyn Write>> {
        if len >= self.len_max || begun.elapsed() >= GROUP_TIME_MAX {
            return None;
        }
        if let Ok(write) = self.writes.try_recv() {
            return Some(write);
        }
        let wait = self.wait.saturating_sub(begun.elapsed()).min(GAP_MAX);
        if len >= self.last_len || wait.is_zero() {
            return None;
        }
        self.writes.recv_timeout(wait).ok()
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(store = self.name, %error, "a failed transaction cannot be rolled back");
        }
    }

    fn close(self) {
        self.connection.flush_prepared_statement_cache();
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(store = self.name, %error, "the write-ahead log stays beside the file; nothing is lost");
        }
    }
}

fn failed(error: &rusqlite::Error, outcome: Outcome) -> End {
    End::Failed { kind: kind(error), outcome, cause: error.to_string() }
}
