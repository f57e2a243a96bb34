//! The statistics: counts over time, by dimension, and the links clicked most.

use async_trait::async_trait;

use super::Deadline;
use crate::error::Result;
use crate::model::{Counts, Dimension, Interval, LinkId, Owner, Subject};
use crate::time::UnixMs;

/// `from` inclusive, `to` exclusive; both are moved to quarter-hours (down, up).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub from: UnixMs,
    pub to: UnixMs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesQuery {
    /// `None`: the 30 days up to now.
    pub period: Option<Period>,
    pub interval: Interval,
    /// An IANA name; `UTC` when not said.
    pub time_zone: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub start: UnixMs,
    pub counts: Counts,
    /// Distinct within each UTC day, summed over the days.
    pub visitors: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    pub period: Period,
    pub interval: Interval,
    pub counts: Counts,
    pub visitors: u64,
    /// Zero-filled, in order.
    pub buckets: Vec<Bucket>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    pub value: String,
    pub clicks: u64,
    /// Of all clicks of the period, 0 to 1.
    pub share: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopLink {
    pub link: LinkId,
    pub counts: Counts,
}

/// Does not check who asks: the caller has already shown that the subject is theirs to see.
#[expect(clippy::too_many_arguments, reason = "what is asked, over which time, how much of it, until when")]
#[async_trait]
pub trait Stats: Send + Sync + 'static {
    /// # Errors
    /// `Invalid` with a pointer (`/from`, `/to`, `/interval`, `/tz`), also over
    /// [`crate::limits::SERIES_LEN_MAX`] buckets.
    async fn series(&self, subject: &Subject, query: &SeriesQuery, deadline: Deadline) -> Result<Series>;

    /// The `limit` most frequent values.
    async fn breakdown(
        &self,
        subject: &Subject,
        dimension: Dimension,
        period: Option<Period>,
        limit: usize,
        deadline: Deadline,
    ) -> Result<Vec<Share>>;

    /// The `limit` links of `subject` (an owner, or everyone) clicked most.
    async fn top_links(&self, subject: &Subject, period: Option<Period>, limit: usize, deadline: Deadline) -> Result<Vec<TopLink>>;
}

/// What was counted elsewhere, before the link came here: one UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryDay {
    /// Midnight UTC.
    pub start: UnixMs,
    pub counts: Counts,
    /// Distinct within the day.
    pub visitors: u64,
}

/// Takes over counts that were made elsewhere.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// Adds the days to what is counted here. A day imported before stays as it is, unless it has more
    /// clicks now: then these replace it. So importing the same again changes nothing. Who the caller is has
    /// been checked; `owner` is the link's.
    ///
    /// # Errors
    /// `Invalid` with every wrong field, as in `/days/3/start`: starts are midnights UTC, each once and none
    /// later than now; there are no more humans than clicks and no more visitors than humans; at most
    /// [`crate::limits::HISTORY_LEN_MAX`] days of at most [`crate::limits::HISTORY_CLICKS_MAX`] clicks.
    /// `Unavailable`, after which some days may be imported: send them again.
    async fn import(&self, link: LinkId, owner: &Owner, days: &[HistoryDay], deadline: Deadline) -> Result<()>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
