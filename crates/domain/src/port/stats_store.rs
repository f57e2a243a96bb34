//! Counted clicks: partial rows for quarter-hours, and roll-ups of days and months.

use std::collections::BTreeMap;

use std::sync::Arc;

use async_trait::async_trait;
use compact_str::CompactString;

use super::{LogPosition, PortResult};
use crate::model::{Counts, Dimension, LinkId, Owner, Slot, Subject};
use crate::time::UnixMs;

/// Clicks by value, per dimension. At most [`crate::limits::DIMENSION_VALUES_MAX`] values each, then `other`.
pub type Dimensions = BTreeMap<Dimension, BTreeMap<CompactString, u64>>;

/// What was counted of one subject over some time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub counts: Counts,
    pub dimensions: Dimensions,
    /// A serialised sketch of the visitors, one UTC day's at most; empty when there were none.
    pub visitors: Vec<u8>,
    /// Distinct visitors, estimated, of roll-ups: the day's, or the sum of the month's days. Their sketch is empty.
    pub visitor_days: u64,
}

/// What one chunk of the log says of one subject and quarter-hour, *so far*: a pure function of the
/// log's records below `upto`, so that writing it twice, late, or out of order changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub subject: Subject,
    pub slot: Slot,
    pub chunk: u64,
    /// Offset within the chunk after the last record counted here; the larger one wins.
    pub upto: u32,
    /// Whose link it is, where the subject is a link: for the owner's top links.
    pub owner: Option<Owner>,
    pub tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RollupUnit {
    /// `number` is days since 1970-01-01.
    Day,
    /// `number` is months since 1970-01.
    Month,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rollup {
    pub subject: Subject,
    pub unit: RollupUnit,
    pub number: u32,
    pub tally: Tally,
    /// Of a day: [`DirtyDay::seen`] as it was before the day's parts were read.
    pub seen: u64,
}

/// A UTC day of a subject whose roll-up is missing or older than its parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirtyDay {
    pub subject: Subject,
    pub day: u32,
    /// Grows with each part that comes.
    pub seen: u64,
}

/// Which part of a tally a query needs: reading the rest costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    Counts,
    /// Counts and visitors.
    Visitors,
    /// Counts and this dimension.
    Dimension(Dimension),
    Everything,
}

#[expect(clippy::too_many_arguments, reason = "whose, from, to, and how much of it")]
#[async_trait]
pub trait StatsStore: Send + Sync + 'static {
    /// Writes the parts (all of one log and partition), then moves the progress to `position`, so that
    /// after a crash the progress is never ahead of the parts. Marks dirty the days of parts that changed
    /// something. The progress never moves back.
    async fn apply(&self, parts: Arc<[Part]>, position: LogPosition) -> PortResult<()>;

    /// Where [`Self::apply`] last moved the progress of this log and partition.
    async fn progress(&self, log: super::LogId, partition: u32) -> PortResult<Option<u64>>;

    /// The tallies of each slot in `from..to` that has any, in order, summed over logs, partitions and chunks.
    async fn slots(&self, subject: &Subject, from: Slot, to: Slot, want: Want) -> PortResult<Vec<(Slot, Tally)>>;

    /// Roll-ups numbered `from..to` that exist and are not dirty (of a month: none of its days), in order.
    async fn rollups(&self, subject: &Subject, unit: RollupUnit, from: u32, to: u32, want: Want) -> PortResult<Vec<(u32, Tally)>>;

    /// At most `limit` dirty days below `before_day`.
    async fn dirty_days(&self, before_day: u32, limit: usize) -> PortResult<Vec<DirtyDay>>;

    /// Stores roll-ups, and then takes away the dirty marks of their days unless a part came since `seen`.
    /// A month's roll-up is the sum of its days' and stands with them in one call, so that a month none of
    /// whose days is dirty is exact, the running one too.
    async fn put_rollups(&self, rollups: Vec<Rollup>) -> PortResult<()>;

    /// The links of `subject` (an owner, or everyone) with the most clicks in `from..to`, most first. Exact
    /// while a day has no more links than the backend keeps apart (1,000 at least); beyond, links that were
    /// among the first on no day may be missing.
    async fn top_links(&self, subject: &Subject, from: Slot, to: Slot, limit: usize) -> PortResult<Vec<(LinkId, Counts)>>;

    /// Removes quarter-hour rows of days that ended before `before` and are rolled up, at most `limit` rows;
    /// answers how many. Parts of such days are ignored from then on: a replay must not bring back a
    /// fraction of what was counted.
    async fn expire_slots(&self, before: UnixMs, limit: usize) -> PortResult<usize>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
