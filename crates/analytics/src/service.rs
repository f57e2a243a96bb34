//! The answers: series, breakdowns, top links.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use compact_str::CompactString;
use domain::api::{Bucket, Deadline, Period, Series, SeriesQuery, Share, Stats, TopLink};
use domain::port::{Clock, StatsStore, TallySum, Want};
use domain::{Counts, Dimension, Error, Reason, Result, Slot, Subject};
use jiff::tz::TimeZone;

use crate::calendar::{self, Buckets};
use crate::read::{Piece, damaged, pieces};

/// Values and links of one answer, at most.
const LIMIT_MAX: usize = 1_000;

pub struct Service {
    store: Arc<dyn StatsStore>,
    clock: Arc<dyn Clock>,
}

impl Service {
    pub fn new(store: Arc<dyn StatsStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    fn period(&self, period: Option<Period>) -> Result<(Slot, Slot)> {
        calendar::slots(period, &TimeZone::UTC, self.clock.now())
    }

    async fn read_series(&self, subject: &Subject, query: &SeriesQuery) -> Result<Series> {
        let buckets = Buckets::plan(query, self.clock.now())?;
        let mut series = Series {
            period: Period { from: buckets.from().start(), to: buckets.to.start() },
            interval: query.interval,
            counts: Counts::default(),
            visitors: 0,
            buckets: buckets.starts.iter().map(|start| Bucket { start: start.start(), counts: Counts::default(), visitors: 0 }).collect(),
        };
        let mut open = OpenDay::default();
        for (index, piece) in pieces(&*self.store, subject, &buckets, Want::Visitors).await? {
            let (Piece::Days(tally) | Piece::Slot(_, tally)) = &piece;
            series.counts += tally.counts;
            series.buckets[index].counts += tally.counts;
            match &piece {
                Piece::Days(tally) => {
                    series.visitors += tally.visitor_days;
                    series.buckets[index].visitors += tally.visitor_days;
                }
                Piece::Slot(slot, tally) => open.add(index, slot.day(), tally, &mut series)?,
            }
        }
        open.close_day(&mut series)?;
        Ok(series)
    }

    async fn read_breakdown(&self, subject: &Subject, dimension: Dimension, period: Option<Period>, limit: usize) -> Result<Vec<Share>> {
        let (from, to) = self.period(period)?;
        let mut clicks = 0;
        let mut sums: HashMap<CompactString, u64> = HashMap::new();
        for (_, piece) in pieces(&*self.store, subject, &Buckets::one(from, to), Want::Dimension(dimension)).await? {
            let (Piece::Days(mut tally) | Piece::Slot(_, mut tally)) = piece;
            clicks += tally.counts.clicks;
            for (value, count) in tally.dimensions.remove(&dimension).unwrap_or_default() {
                *sums.entry(value).or_default() += count;
            }
        }
        let mut values: Vec<_> = sums.into_iter().collect();
        values.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        values.truncate(limit.min(LIMIT_MAX));
        Ok(values.into_iter().map(|(value, count)| Share { value: value.into(), clicks: count, share: share(count, clicks) }).collect())
    }

    async fn read_top_links(&self, subject: &Subject, period: Option<Period>, limit: usize) -> Result<Vec<TopLink>> {
        let (from, to) = self.period(period)?;
        let links = self.store.top_links(subject, from, to, limit.min(LIMIT_MAX)).await?;
        Ok(links.into_iter().map(|(link, counts)| TopLink { link, counts }).collect())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
fn share(count: u64, clicks: u64) -> f64 {
    count as f64 / clicks.max(1) as f64
}

/// The visitors of the quarter-hours read last: of one bucket within one UTC day, and of the whole day.
#[derive(Default)]
struct OpenDay {
    bucket: usize,
    day: u32,
    of_bucket: TallySum,
    of_day: TallySum,
}

impl OpenDay {
    fn add(&mut self, bucket: usize, day: u32, tally: &domain::port::Tally, series: &mut Series) -> Result<()> {
        if day != self.day {
            self.close_day(series)?;
        } else if bucket != self.bucket {
            self.close_bucket(series)?;
        }
        (self.bucket, self.day) = (bucket, day);
        self.of_bucket.add(tally).map_err(damaged)?;
        self.of_day.add(tally).map_err(damaged)
    }

    fn close_bucket(&mut self, series: &mut Series) -> Result<()> {
        let distinct = std::mem::take(&mut self.of_bucket).distinct().map_err(damaged)?;
        if let Some(bucket) = series.buckets.get_mut(self.bucket) {
            bucket.visitors += distinct;
        }
        Ok(())
    }

    fn close_day(&mut self, series: &mut Series) -> Result<()> {
        self.close_bucket(series)?;
        series.visitors += std::mem::take(&mut self.of_day).distinct().map_err(damaged)?;
        Ok(())
    }
}

async fn within<T>(deadline: Deadline, answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
    tokio::time::timeout_at(deadline.at().into(), answer)
        .await
        .unwrap_or_else(|_| Err(Error::new(Reason::DeadlineExceeded, "the statistics were not read in time; ask for a shorter period")))
}

#[async_trait]
impl Stats for Service {
    async fn series(&self, subject: &Subject, query: &SeriesQuery, deadline: Deadline) -> Result<Series> {
        within(deadline, self.read_series(subject, query)).await
    }

    async fn breakdown(
        &self,
        subject: &Subject,
        dimension: Dimension,
        period: Option<Period>,
        limit: usize,
        deadline: Deadline,
    ) -> Result<Vec<Share>> {
        within(deadline, self.read_breakdown(subject, dimension, period, limit)).await
    }

    async fn top_links(&self, subject: &Subject, period: Option<Period>, limit: usize, deadline: Deadline) -> Result<Vec<TopLink>> {
        within(deadline, self.read_top_links(subject, period, limit)).await
    }
}

#[cfg(test)]
mod tests;
