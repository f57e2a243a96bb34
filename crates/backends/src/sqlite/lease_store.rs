//! Code ranges and worker windows, and what the never-issued proof rests on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use domain::code::Issued;
use domain::permutation::Permutation;
use domain::port::{CodeRange, IssuedBounds, LeaseStore as Port, PortResult};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Sqlite;
use super::value::{count, to_count};

pub struct LeaseStore {
    file: Sqlite,
    bounds: Arc<Bounds>,
}

impl LeaseStore {
    /// `ranges`: all that the file has.
    pub(super) fn new(file: Sqlite, ranges: &[CodeRange]) -> Self {
        let bounds = Arc::new(Bounds::default());
        for range in ranges {
            bounds.raise(range);
        }
        Self { file, bounds }
    }
}

/// Each epoch's `lim`, in memory. Raised by the writer before it commits: so whoever is granted a code
/// finds its bound here already, and a commit that fails leaves a bound that proves less, never more.
#[derive(Default)]
struct Bounds {
    epochs: Mutex<BTreeMap<u32, (Permutation, u64)>>,
    issued: ArcSwap<Issued>,
}

impl Bounds {
    fn raise(&self, range: &CodeRange) {
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = epochs.entry(range.epoch).or_insert_with(|| (Permutation::new(range.key, range.epoch), 0));
        if epoch.1 < range.lim || range.lim == 0 {
            epoch.1 = epoch.1.max(range.lim);
            self.issued.store(Arc::new(Issued::new(epochs.values().cloned().collect())));
        }
    }
}

impl IssuedBounds for LeaseStore {
    fn issued(&self) -> Option<Arc<Issued>> {
        Some(self.bounds.issued.load_full())
    }
}

#[async_trait]
impl Port for LeaseStore {
    async fn ranges(&self) -> PortResult<Vec<CodeRange>> {
        self.file.read("sqlite: read code ranges", ranges).await
    }

    async fn add_range(&self, range: CodeRange) -> PortResult<bool> {
        let bounds = self.bounds.clone();
        self.file
            .write("sqlite: add a code range", move |db| {
                let added = add_range(db, &range)?;
                if added {
                    bounds.raise(&range);
                }
                Ok(added)
            })
            .await
    }

    async fn swap_range(&self, old: &CodeRange, new: &CodeRange) -> PortResult<bool> {
        let (bounds, old, new) = (self.bounds.clone(), *old, *new);
        self.file
            .write("sqlite: swap a code range", move |db| {
                let swapped = swap_range(db, &old, &new)?;
                if swapped {
                    bounds.raise(&new);
                }
                Ok(swapped)
            })
            .await
    }

    async fn worker_until(&self, worker: u16) -> PortResult<i64> {
        self.file.read("sqlite: read a worker's window", move |db| worker_until(db, worker)).await
    }

    async fn swap_worker(&self, worker: u16, old: i64, new: i64) -> PortResult<bool> {
        self.file
            .write("sqlite: swap a worker's window", move |db| {
                if worker_until(db, worker)? != old {
                    return Ok(false);
                }
                db.prepare_cached("INSERT OR REPLACE INTO id_workers (worker, until_ms) VALUES (?1, ?2)")?.execute(params![worker, new])?;
                Ok(true)
            })
            .await
    }

    fn bounds_are_immediate(&self) -> bool {
        true
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<CodeRange> {
    Ok(CodeRange {
        epoch: row.get(0)?,
        key: row.get(1)?,
        next: to_count(row.get(2)?, 2)?,
        open: to_count(row.get(3)?, 3)?,
        lim: to_count(row.get(4)?, 4)?,
    })
}

pub(super) fn ranges(db: &Connection) -> rusqlite::Result<Vec<CodeRange>> {
    db.prepare_cached("SELECT epoch, key, next, open, lim FROM id_ranges ORDER BY epoch")?.query_map([], read)?.collect()
}

pub(super) fn add_range(db: &Connection, range: &CodeRange) -> rusqlite::Result<bool> {
    db.prepare_cached("INSERT INTO id_ranges (epoch, key, next, open, lim) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (epoch) DO NOTHING")?
        .execute(params![range.epoch, range.key, count(range.next), count(range.open), count(range.lim)])
        .map(|added| added == 1)
}

fn swap_range(db: &Connection, old: &CodeRange, new: &CodeRange) -> rusqlite::Result<bool> {
    let stored =
        db.prepare_cached("SELECT epoch, key, next, open, lim FROM id_ranges WHERE epoch = ?1")?.query_row([old.epoch], read).optional()?;
    // An epoch's key never changes: codes are made with it.
    if stored.as_ref() != Some(old) || (new.epoch, new.key) != (old.epoch, old.key) {
        return Ok(false);
    }
    db.prepare_cached("UPDATE id_ranges SET next = ?2, open = ?3, lim = ?4 WHERE epoch = ?1")?.execute(params![
        new.epoch,
        count(new.next),
        count(new.open),
        count(new.lim)
    ])?;
    Ok(true)
}

fn worker_until(db: &Connection, worker: u16) -> rusqlite::Result<i64> {
    let until = db.prepare_cached("SELECT until_ms FROM id_workers WHERE worker = ?1")?.query_row([worker], |row| row.get(0)).optional()?;
    Ok(until.unwrap_or(0))
}
