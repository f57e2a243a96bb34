//! The threads that read. A read that nobody waits for any more is not begun.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use domain::port::{Outcome, PortError, PortErrorKind, PortResult};
use metrics::Gauge;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::Options;
use super::error::port_error;
use super::open::{self, OpenError};
use super::writer::{Failures, queued};
use crate::metrics as names;

type Read = Box<dyn FnOnce(&Connection) + Send>;

pub(super) struct Readers {
    queue: SyncSender<Read>,
    queued: Gauge,
    failures: Arc<Failures>,
}

impl Readers {
    /// `running` is dropped by each thread when it has closed its connection.
    pub(super) fn start(path: &Path, name: &'static str, options: &Options, running: &SyncSender<()>) -> Result<Self, OpenError> {
        let (queue, reads) = sync_channel::<Read>(options.queue_len_max);
        let reads = Arc::new(Mutex::new(reads));
        for number in 0..options.readers.max(1) {
            let connection = open::reader(path, options)?;
            let (reads, running) = (reads.clone(), running.clone());
            std::thread::Builder::new()
                .name(format!("sqlite-{name}-r{number}"))
                .spawn(move || {
                    run(&connection, &reads, name);
                    drop(connection);
                    drop(running);
                })
                .map_err(|source| OpenError::Thread { path: path.to_owned(), source })?;
        }
        Ok(Self { queue, queued: queued(name, "read"), failures: Arc::new(Failures::new(name)) })
    }

    pub(super) fn send<T, F>(&self, op: &'static str, f: F) -> PortResult<oneshot::Receiver<PortResult<T>>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let failures = self.failures.clone();
        let read = move |connection: &Connection| {
            if reply.is_closed() {
                return;
            }
            let result = on_snapshot(connection, f).map_err(|error| {
                let error = port_error(op, Outcome::NotApplied, error);
                failures.count(error.kind);
                error
            });
            drop(reply.send(result));
        };
        self.queued.increment(1);
        self.queue.try_send(Box::new(read)).map_err(|error| {
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

fn on_snapshot<T>(connection: &Connection, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = f(connection);
    // An error may have ended the transaction already; a reader has nothing to lose by its end.
    if !connection.is_autocommit() {
        connection.prepare_cached("ROLLBACK")?.execute([])?;
    }
    result
}

fn run(connection: &Connection, reads: &Mutex<Receiver<Read>>, name: &'static str) {
    let (seconds, queued) = (::metrics::histogram!(names::STORE_READ_SECONDS, "store" => name), queued(name, "read"));
    loop {
        let next = reads.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(read) = next else { return };
        queued.decrement(1);
        let begun = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| read(connection))).is_err() {
            tracing::error!(store = name, "a read panicked");
            if !connection.is_autocommit() {
                drop(connection.execute_batch("ROLLBACK"));
            }
        }
        seconds.record(begun.elapsed());
    }
}
