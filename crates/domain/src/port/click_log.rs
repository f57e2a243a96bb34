//! The log of clicks: written on the redirect path, read by the consumer.

use async_trait::async_trait;

use super::PortResult;
use crate::model::{Click, ClickTrace, LoggedClick};

/// Why a click was not kept. Each is a label of the drop counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// The bounded buffer in front of the log is full.
    BufferFull,
    DiskFull,
    /// The log failed or is closed.
    Failed,
}

impl Dropped {
    pub const ALL: [Self; 3] = [Self::BufferFull, Self::DiskFull, Self::Failed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BufferFull => "buffer_full",
            Self::DiskFull => "disk_full",
            Self::Failed => "failed",
        }
    }
}

#[async_trait]
pub trait ClickLog: Send + Sync + 'static {
    /// Without waiting for a disk or a network, and without allocating. When it returns `Ok`, the end
    /// of this process, however sudden, does not lose the click (file log) or loses at most what was
    /// not sent yet (Kafka). The implementation counts kept and dropped clicks.
    fn record(&self, click: &Click<'_>) -> Result<(), Dropped>;

    /// Returns when all that was recorded before the call is durable and can be read.
    async fn flush(&self) -> PortResult<()>;
}

/// One log that never changed its past: a folder of segments, or a topic by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub [u8; 16]);

/// A place in the log: the number of records before it in this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    pub log: LogId,
    pub partition: u32,
    pub offset: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickBatch {
    /// Of the first click; the others follow without a gap.
    pub start: LogPosition,
    pub clicks: Vec<LoggedClick>,
    /// Records that could not be read are counted here and stand in `clicks` for nothing; their
    /// offsets are passed over. `skipped[i]` is the index in the batch of one.
    pub next_offset: u64,
    /// Offsets of each click, as long as `clicks`.
    pub offsets: Vec<u64>,
    /// Of those clicks that are part of a trace that is kept: the offset, and the place in the trace.
    pub traces: Vec<(u64, ClickTrace)>,
}

/// One partition of the log, read in order. Only synced records are handed out.
#[async_trait]
pub trait ClickSource: Send + Sync + 'static {
    fn log(&self) -> LogId;

    fn partition(&self) -> u32;

    /// The oldest offset that can still be read.
    async fn start(&self) -> PortResult<u64>;

    /// Goes to `offset`, or to the start of the log when that is later. Answers where it went.
    async fn seek(&mut self, offset: u64) -> PortResult<u64>;

    /// Up to `max` clicks; waits until there is at least one. Cancel-safe.
    async fn next_batch(&mut self, max: usize) -> PortResult<ClickBatch>;

    /// Everything below `offset` is counted: it may be removed once it is older than the retention.
    async fn commit(&mut self, offset: u64) -> PortResult<()>;

    /// Records written but not handed out yet.
    fn lag(&self) -> u64;
}

#[async_trait]
impl<S: ClickSource + ?Sized> ClickSource for Box<S> {
    fn log(&self) -> LogId {
        (**self).log()
    }

    fn partition(&self) -> u32 {
        (**self).partition()
    }

    async fn start(&self) -> PortResult<u64> {
        (**self).start().await
    }

    async fn seek(&mut self, offset: u64) -> PortResult<u64> {
        (**self).seek(offset).await
    }

    async fn next_batch(&mut self, max: usize) -> PortResult<ClickBatch> {
        (**self).next_batch(max).await
    }

    async fn commit(&mut self, offset: u64) -> PortResult<()> {
        (**self).commit(offset).await
    }

    fn lag(&self) -> u64 {
        (**self).lag()
    }
}

/// A log whose partitions are shared among consumers: which of them are ours changes while we run.
#[async_trait]
pub trait ClickFeed: Send + 'static {
    /// Waits for the next change. Cancel-safe. After `Lost`, the partition's source only fails.
    async fn next(&mut self) -> PortResult<Assignment>;
}

pub enum Assignment {
    /// Ours from now on; read it from the start of the open chunk.
    Gained(Box<dyn ClickSource>),
    /// Somebody else's soon: what is counted should be stored, and the source dropped.
    Lost { partition: u32 },
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
