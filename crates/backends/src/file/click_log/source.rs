//! The log as its consumer reads it.

use std::fs::File;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use domain::port::{ClickBatch, ClickSource, LogId, LogPosition, Outcome, PortError, PortErrorKind, PortResult};
use tokio::sync::watch;

use super::header::HEADER_LEN;
use super::log::Log;
use super::walk::{Place, Walk};
use crate::click_codec;

/// Clicks of one batch, whatever is asked for: a bound on memory.
const BATCH_LEN_MAX: usize = 65_536;

/// The one partition of a [`super::FileClickLog`].
pub struct FileClickSource {
    log: Arc<Log>,
    synced: watch::Receiver<u64>,
    cursor: Cursor,
}

/// Where reading goes on.
#[derive(Clone)]
pub(super) struct Cursor {
    pub(super) offset: u64,
    /// The segment being read and the place in it, when that is known.
    open: Option<Open>,
}

#[derive(Clone)]
struct Open {
    number: u64,
    file: Arc<File>,
    len: u64,
    place: Place,
}

impl Cursor {
    pub(super) fn at(offset: u64) -> Self {
        Self { offset, open: None }
    }
}

impl FileClickSource {
    pub(super) fn new(log: Arc<Log>) -> Self {
        let cursor = Cursor::at(log.start());
        Self { synced: log.synced(), log, cursor }
    }
}

#[async_trait]
impl ClickSource for FileClickSource {
    fn log(&self) -> LogId {
        self.log.id
    }

    fn partition(&self) -> u32 {
        0
    }

    async fn start(&self) -> PortResult<u64> {
        Ok(self.log.start())
    }

    async fn seek(&mut self, offset: u64) -> PortResult<u64> {
        let end = *self.synced.borrow();
        if offset > end {
            tracing::warn!(offset, end, "the click log ends before what was counted of it: it was cut or replaced");
        }
        self.cursor = Cursor::at(offset.min(end).max(self.log.start()));
        Ok(self.cursor.offset)
    }

    async fn next_batch(&mut self, max: usize) -> PortResult<ClickBatch> {
        let max = max.clamp(1, BATCH_LEN_MAX);
        loop {
            let synced = *self.synced.borrow_and_update();
            let before = self.cursor.offset;
            if before < synced {
                let (log, cursor) = (self.log.clone(), self.cursor.clone());
                let read = tokio::task::spawn_blocking(move || read(&log, cursor, synced, max)).await;
                // Nothing is passed over before this line, so that a caller who gives up loses nothing.
                let (batch, cursor) = read.map_err(unavailable)?.map_err(unavailable)?;
                self.cursor = cursor;
                if !batch.clicks.is_empty() {
                    return Ok(batch);
                }
                if self.cursor.offset != before {
                    continue;
                }
            }
            self.synced.changed().await.map_err(unavailable)?;
        }
    }

    async fn commit(&mut self, offset: u64) -> PortResult<()> {
        self.log.commit(offset);
        Ok(())
    }

    fn lag(&self) -> u64 {
        self.log.end().saturating_sub(self.cursor.offset)
    }
}

fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PortError {
    PortError::new(PortErrorKind::Unavailable, "click log: read", Outcome::NotApplied).with_source(source)
}

/// Reads up to `max` clicks below `limit`. Answers none when what is left below it cannot be read yet.
pub(super) fn read(log: &Log, mut cursor: Cursor, limit: u64, max: usize) -> io::Result<(ClickBatch, Cursor)> {
    let mut clicks = Vec::with_capacity(max.min(1024));
    let mut offsets = Vec::with_capacity(max.min(1024));
    let mut traces = Vec::new();
    let mut unreadable = 0;
    while clicks.len() < max && cursor.offset < limit {
        let Some((entry, next)) = log.locate(cursor.offset) else {
            // Before the first segment: it was removed meanwhile.
            let start = log.start().min(limit);
            unreadable += start.saturating_sub(cursor.offset);
            cursor = Cursor::at(start.max(cursor.offset + 1));
            continue;
        };
        let end = entry.end.or(next).map_or(limit, |end| end.min(limit));
        if cursor.offset >= end {
            // After the end of this segment and before the next: lost.
            let to = next.unwrap_or(limit).min(limit);
            unreadable += to.saturating_sub(cursor.offset);
            cursor = Cursor::at(to.max(cursor.offset + 1));
            continue;
        }
        let mut open = match cursor.open.take().filter(|open| open.number == entry.number) {
            Some(open) => open,
            None => Open::at_start(&entry)?,
        };
        let mut walk = Walk::new(&open.file, open.place, open.len);
        let mut blocked = false;
        while clicks.len() < max && cursor.offset < end {
            let before = walk.place();
            let Some(item) = walk.next()?.filter(|item| item.offset < end) else {
                // Damaged to its end. While it is written to, that end may not be known yet.
                blocked = entry.end.is_none();
                if !blocked {
                    unreadable += end - cursor.offset;
                    cursor.offset = end;
                }
                open.place = before;
                break;
            };
            if item.offset >= cursor.offset {
                unreadable += item.offset - cursor.offset;
                cursor.offset = item.offset + 1;
                match click_codec::decode(item.payload) {
                    Ok((click, trace)) => {
                        offsets.push(item.offset);
                        clicks.push(click);
                        traces.extend(trace.map(|trace| (item.offset, trace)));
                    }
                    Err(error) => {
                        tracing::debug!(offset = item.offset, %error, "a record that is no click was passed over");
                        unreadable += 1;
                    }
                }
            }
            open.place = walk.place();
        }
        cursor.open = Some(open);
        if blocked {
            break;
        }
    }
    if unreadable > 0 {
        tracing::warn!(records = unreadable, before = cursor.offset, "clicks in the log could not be read");
        log.meters.unreadable(unreadable);
    }
    let start = LogPosition { log: log.id, partition: 0, offset: offsets.first().copied().unwrap_or(cursor.offset) };
    Ok((ClickBatch { start, clicks, next_offset: cursor.offset, offsets, traces }, cursor))
}

impl Open {
    fn at_start(entry: &super::segment::Entry) -> io::Result<Self> {
        let file = File::open(&entry.path)?;
        let len = file.metadata()?.len();
        let place = Place { offset: entry.first, byte: HEADER_LEN as u64 };
        Ok(Self { number: entry.number, file: Arc::new(file), len, place })
    }
}
