//! The log itself: the hot path ([`Log::append`]), and what keeps it going from behind
//! ([`Log::tick`]): segments made ahead, syncs, removal of what is counted and old.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use domain::limits::CLICK_CHUNK_LEN;
use domain::port::{Clock, Dropped, LogId};
use tokio::sync::{Notify, watch};

use super::Options;
use super::disk::Disk;
use super::frame::Frame;
use super::meters::Meters;
use super::segment::{Entry, Segment};
use crate::file::lock::FolderLock;
use crate::traced::ClickCreation;

pub(super) struct Log {
    pub(super) id: LogId,
    pub(super) options: Options,
    pub(super) folder: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) meters: Meters,
    pub(super) creation: ClickCreation,
    writer: Mutex<Writer>,
    keeper: Mutex<Keeper>,
    /// In the order of their offsets.
    index: Mutex<Vec<Entry>>,
    /// Records below are durable, may be read, and have their segments in the index.
    synced: watch::Sender<u64>,
    /// Everything below is counted.
    committed: AtomicU64,
    /// Tells the background that a segment was begun.
    pub(super) wake: Notify,
    full_disk_told: AtomicBool,
    _lock: FolderLock,
}

/// What the redirect path touches. Its lock is held for one copy of a record, or one change of segment.
struct Writer {
    active: Option<Segment>,
    /// Made ahead, so that beginning it needs no disk.
    next: Option<Segment>,
    /// Left behind since the keeper last looked.
    full: Vec<Segment>,
    offset: u64,
    /// Why there is no next segment.
    lack: Dropped,
    closed: bool,
}

/// What the background owns. Its lock is held over whole syncs.
struct Keeper {
    /// Left behind and not settled yet, in order.
    pending: VecDeque<Segment>,
    next_number: u64,
}

/// What was found when the log was opened.
pub(super) struct Past {
    pub(super) id: LogId,
    pub(super) entries: Vec<Entry>,
    pub(super) next_number: u64,
    pub(super) offset: u64,
    pub(super) lock: FolderLock,
}

/// What the log works with.
pub(super) struct Means {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
}

/// A mutex of ours guards plain data that is whole after every statement that can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    pub(super) fn new(folder: PathBuf, options: Options, means: Means, past: Past) -> Self {
        let Past { id, entries, next_number, offset, lock } = past;
        let writer = Writer { active: None, next: None, full: Vec::with_capacity(16), offset, lack: Dropped::BufferFull, closed: false };
        Self {
            id,
            options,
            folder,
            disk: means.disk,
            clock: means.clock,
            meters: Meters::new(),
            creation: ClickCreation { system: "file", topic: "clicks".into() },
            writer: Mutex::new(writer),
            keeper: Mutex::new(Keeper { pending: VecDeque::new(), next_number }),
            index: Mutex::new(entries),
            synced: watch::Sender::new(offset),
            committed: AtomicU64::new(0),
            wake: Notify::new(),
            full_disk_told: AtomicBool::new(false),
            _lock: lock,
        }
    }

    /// Appends the record and answers the offset after it.
    pub(super) fn append(&self, frame: &Frame) -> Result<u64, Dropped> {
        let mut writer = lock(&self.writer);
        if writer.closed {
            return Err(Dropped::Failed);
        }
        let begun = if writer.append(frame) {
            false
        } else {
            writer.begin_next(self.id)?;
            if !writer.append(frame) {
                return Err(Dropped::Failed);
            }
            true
        };
        writer.offset += 1;
        let offset = writer.offset;
        drop(writer);
        if begun {
            self.wake.notify_one();
        }
        Ok(offset)
    }

    /// After the last record.
    pub(super) fn end(&self) -> u64 {
        lock(&self.writer).offset
    }

    pub(super) fn synced(&self) -> watch::Receiver<u64> {
        self.synced.subscribe()
    }

    /// The oldest offset that can still be read.
    pub(super) fn start(&self) -> u64 {
        let first = lock(&self.index).first().map(|entry| entry.first);
        first.unwrap_or_else(|| *self.synced.borrow())
    }

    /// The segment that holds `offset`, or would; and where the one after it begins.
    pub(super) fn locate(&self, offset: u64) -> Option<(Entry, Option<u64>)> {
        let index = lock(&self.index);
        let at = index.partition_point(|entry| entry.first <= offset).checked_sub(1)?;
        Some((index[at].clone(), index.get(at + 1).map(|entry| entry.first)))
    }

    pub(super) fn commit(&self, offset: u64) {
        self.committed.fetch_max(offset, Ordering::AcqRel);
    }

    /// One round of the background.
    pub(super) fn tick(&self) {
        self.prepare();
        // Counted and logged where it happened; the next round tries again.
        let _ = self.sync();
        self.expire();
        let bytes: u64 = lock(&self.index).iter().map(|entry| entry.bytes).sum();
        self.meters.bytes(bytes);
    }

    /// Returns when the record before `offset` is durable; one sync serves all who wait.
    pub(super) fn sync_through(&self, offset: u64) -> io::Result<()> {
        let mut keeper = lock(&self.keeper);
        if *self.synced.borrow() >= offset { Ok(()) } else { self.sync_held(&mut keeper) }
    }

    /// Makes durable what was recorded before the call.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.sync_held(&mut lock(&self.keeper))
    }

    /// Makes all durable and takes no more.
    pub(super) fn close(&self) -> io::Result<()> {
        let mut keeper = lock(&self.keeper);
        let unused = {
            let mut writer = lock(&self.writer);
            writer.closed = true;
            let active = writer.active.take();
            writer.full.extend(active);
            writer.next.take()
        };
        if let Some(unused) = unused {
            let _ = fs::remove_file(&unused.path);
        }
        self.sync_held(&mut keeper)
    }

    fn sync_held(&self, keeper: &mut Keeper) -> io::Result<()> {
        loop {
            let active = self.collect(keeper);
            self.settle(keeper)?;
            let Some((number, file, end)) = active else { return Ok(()) };
            if end.offset <= *self.synced.borrow() {
                return Ok(());
            }
            match self.meters.time(|| self.disk.sync(&file)) {
                Ok(()) => {
                    lock(&self.writer).mark_synced(number, end);
                    self.synced.send_replace(end.offset);
                    return Ok(());
                }
                Err(error) => {
                    self.tell_failed_sync(&error);
                    // Nothing is known of this file any more: its records move to another one.
                    lock(&self.writer).give_up(number);
                }
            }
        }
    }

    /// Takes over what the writer left behind, enters all segments in the index, and answers how far
    /// the active one is written.
    fn collect(&self, keeper: &mut Keeper) -> Option<(u64, Arc<fs::File>, super::walk::Place)> {
        let mut writer = lock(&self.writer);
        keeper.pending.extend(writer.full.drain(..));
        let active = writer.active.as_ref().map(|active| (active.entry(None), active.file.clone(), active.end));
        drop(writer);
        for pending in &keeper.pending {
            self.enter(pending.entry(Some(pending.end.offset)));
        }
        active.map(|(entry, file, end)| {
            let number = entry.number;
            self.enter(entry);
            (number, file, end)
        })
    }

    fn settle(&self, keeper: &mut Keeper) -> io::Result<()> {
        while let Some(mut full) = keeper.pending.pop_front() {
            let now = self.clock.now();
            if !full.failed {
                match self.meters.time(|| full.settle(&*self.disk, now)) {
                    Ok(entry) => {
                        self.conclude(full, entry);
                        continue;
                    }
                    Err(error) => {
                        self.tell_failed_sync(&error);
                        full.failed = true;
                    }
                }
            }
            if let Err(error) = self.rehome(keeper, &mut full) {
                tracing::error!(segment = %full.path.display(), %error, "clicks are kept in memory only until the disk recovers");
                keeper.pending.push_front(full);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Copies what is not durable of a failed segment to a fresh one, which takes its place.
    fn rehome(&self, keeper: &mut Keeper, failed: &mut Segment) -> io::Result<()> {
        if failed.synced == failed.end {
            // It failed after its last record was durable. An empty segment in its place would begin
            // where the next one does, and hide it.
            self.enter(failed.seal(&*self.disk, self.clock.now()));
            return Ok(());
        }
        let number = keeper.take_number();
        let mut fresh = Segment::create(&*self.disk, &self.folder, number, self.options.segment_len)?;
        fresh.adopt(self.id, failed);
        let now = self.clock.now();
        let entry = match fresh.settle(&*self.disk, now) {
            Ok(entry) => entry,
            Err(error) => {
                let _ = fs::remove_file(&fresh.path);
                return Err(error);
            }
        };
        tracing::warn!(from = %failed.path.display(), to = %fresh.path.display(), "clicks moved to a new segment");
        if failed.synced.offset == failed.first {
            lock(&self.index).retain(|entry| entry.number != failed.number);
            let _ = fs::remove_file(&failed.path);
        } else {
            self.enter(failed.seal(&*self.disk, now));
        }
        self.conclude(fresh, entry);
        Ok(())
    }

    fn conclude(&self, settled: Segment, mut entry: Entry) {
        let end = settled.synced.offset;
        entry.bytes = settled.close();
        self.enter(entry);
        self.synced.send_if_modified(|synced| {
            let later = end > *synced;
            *synced = end.max(*synced);
            later
        });
    }

    fn enter(&self, entry: Entry) {
        let mut index = lock(&self.index);
        if let Some(known) = index.iter_mut().rfind(|other| other.number == entry.number) {
            *known = entry;
        } else {
            let at = index.partition_point(|other| (other.first, other.number) < (entry.first, entry.number));
            index.insert(at, entry);
        }
    }

    /// Makes the next segment when there is none.
    pub(super) fn prepare(&self) {
        let mut keeper = lock(&self.keeper);
        {
            let writer = lock(&self.writer);
            if writer.closed || writer.next.is_some() {
                return;
            }
        }
        let number = keeper.take_number();
        let made = Segment::create(&*self.disk, &self.folder, number, self.options.segment_len);
        let mut writer = lock(&self.writer);
        match made {
            Ok(segment) => {
                writer.next = Some(segment);
                if self.full_disk_told.swap(false, Ordering::Relaxed) {
                    tracing::info!("the click log has room again");
                }
            }
            Err(error) => {
                let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                writer.lack = if full { Dropped::DiskFull } else { Dropped::Failed };
                if !self.full_disk_told.swap(true, Ordering::Relaxed) {
                    tracing::error!(folder = %self.folder.display(), %error, "no room for more clicks: they are dropped once the last segment is full");
                }
            }
        }
    }

    /// Removes segments that are counted and old. Stays a chunk behind, because the consumer reads an
    /// open chunk again; keeps the last settled segment, because it says where the log goes on.
    fn expire(&self) {
        let committed = self.committed.load(Ordering::Acquire);
        let keep_from = committed - committed % CLICK_CHUNK_LEN;
        let before = self.clock.now().saturating_sub(self.options.retention);
        let mut index = lock(&self.index);
        let sealed = index.iter().filter(|entry| entry.sealed_at.is_some()).count();
        let old = |entry: &Entry| entry.end.is_some_and(|end| end <= keep_from) && entry.sealed_at.is_some_and(|at| at <= before);
        let expired = index.iter().take(sealed.saturating_sub(1)).take_while(|entry| old(entry)).count();
        for entry in index.drain(..expired) {
            if let Err(error) = fs::remove_file(&entry.path) {
                tracing::warn!(segment = %entry.path.display(), %error, "an old segment of the click log could not be removed");
            }
        }
    }

    fn tell_failed_sync(&self, error: &io::Error) {
        self.meters.sync_failed();
        tracing::error!(folder = %self.folder.display(), %error, "the click log could not be made durable");
    }
}

impl Writer {
    fn append(&mut self, frame: &Frame) -> bool {
        self.active.as_mut().is_some_and(|active| active.append(frame))
    }

    fn begin_next(&mut self, log: LogId) -> Result<(), Dropped> {
        let mut next = self.next.take().ok_or(self.lack)?;
        next.begin(log, self.offset);
        self.lack = Dropped::BufferFull;
        let full = self.active.replace(next);
        self.full.extend(full);
        Ok(())
    }

    /// It may have been left behind while it was synced.
    fn segment(&mut self, number: u64) -> Option<&mut Segment> {
        self.active.iter_mut().chain(&mut self.full).find(|segment| segment.number == number)
    }

    fn mark_synced(&mut self, number: u64, place: super::walk::Place) {
        if let Some(segment) = self.segment(number) {
            segment.synced = place;
        }
    }

    fn give_up(&mut self, number: u64) {
        if let Some(segment) = self.segment(number) {
            segment.failed = true;
        }
        if self.active.as_ref().is_some_and(|active| active.failed) {
            let failed = self.active.take();
            self.full.extend(failed);
        }
    }
}

impl Keeper {
    fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }
}

impl Meters {
    fn time<T>(&self, sync: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let outcome = sync();
        self.sync_took(begun.elapsed());
        outcome
    }
}
