//! The roll-ups: days that ended are summed up, months with them, and old quarter-hours removed.
//!
//! A month's roll-up is written with every day's of it and is the sum of the days rolled up so far. So it is
//! exact whenever none of its days is dirty, and needs no end of the month to be noticed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chassis::{Lifecycle, OnError, Stage};
use domain::port::{Clock, DirtyDay, PortResult, Rollup, RollupUnit, StatsStore, Tally, TallySum, Want, cap_dimensions};
use domain::{Slot, Subject};
use tokio_util::sync::CancellationToken;

use crate::calendar::{first_day, month_of};
use crate::feed;
use crate::metrics as names;

#[derive(Clone, Debug)]
pub struct Options {
    /// How long after its end a day is summed up; later clicks make it be done again.
    pub grace: Duration,
    /// Between two looks for days to sum up.
    pub interval: Duration,
    /// How long quarter-hours are kept; days and months are kept for ever.
    pub keep_slots: Duration,
    /// Days of one write.
    pub batch_len_max: usize,
    /// Rows removed by one write.
    pub expire_len_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            grace: Duration::from_hours(1),
            interval: Duration::from_mins(5),
            keep_slots: Duration::from_hours(400 * 24),
            batch_len_max: 256,
            expire_len_max: 2_000,
        }
    }
}

pub struct Service {
    store: Arc<dyn StatsStore>,
    clock: Arc<dyn Clock>,
    options: Options,
    /// Of the consumers, where several processes have them.
    consumers: Option<feed::Handle>,
}

impl Service {
    pub fn new(store: Arc<dyn StatsStore>, clock: Arc<dyn Clock>, options: Options) -> Self {
        Self { store, clock, options, consumers: None }
    }

    /// Sums up only while this process leads: a month's sum is made of its days' as they are stored, so two who
    /// sum up different days of it at once would each leave out the other's.
    #[must_use]
    pub fn led_by(mut self, consumers: feed::Handle) -> Self {
        self.consumers = Some(consumers);
        self
    }

    pub fn spawn(self, lifecycle: &Lifecycle) {
        let draining = lifecycle.draining(Stage::Background);
        lifecycle.spawn("stats roll-ups", Stage::Background, OnError::Log, async move {
            self.run(&draining).await;
            Ok::<_, Infallible>(())
        });
    }

    async fn run(&self, draining: &CancellationToken) {
        while !draining.is_cancelled() {
            if let Some(mut consumers) = self.consumers.clone() {
                tokio::select! {
                    () = draining.cancelled() => return,
                    () = consumers.until(true) => {}
                }
                let stops = draining.child_token();
                // Stops between two steps when another process leads.
                let watched = async {
                    consumers.until(false).await;
                    stops.cancel();
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = self.try_both(&stops) => {}
                    () = watched => {}
                }
            } else {
                self.try_both(draining).await;
            }
            tokio::select! {
                () = draining.cancelled() => {}
                () = tokio::time::sleep(self.options.interval) => {}
            }
        }
    }

    async fn try_both(&self, draining: &CancellationToken) {
        if let Err(error) = self.roll_up(draining).await {
            ::metrics::counter!(names::ERRORS, "what" => "rollup").increment(1);
            tracing::warn!(%error, source = error.source.as_deref().map(tracing::field::display), "days were not summed up, trying again later");
        } else if let Err(error) = self.expire(draining).await {
            ::metrics::counter!(names::ERRORS, "what" => "expire").increment(1);
            tracing::warn!(%error, source = error.source.as_deref().map(tracing::field::display), "old quarter-hours were not removed, trying again later");
        }
    }

    /// Sums up all days that have ended. Answers how many.
    pub async fn roll_up(&self, draining: &CancellationToken) -> PortResult<usize> {
        let mut done = 0;
        while !draining.is_cancelled() {
            let before_day = Slot::at(self.clock.now().saturating_sub(self.options.grace)).day();
            let days = self.store.dirty_days(before_day, self.options.batch_len_max).await?;
            if days.is_empty() {
                break;
            }
            done += days.len();
            let rollups = self.sum_up(days).await?;
            self.store.put_rollups(rollups).await?;
            // Whoever waits for the store comes first.
            tokio::task::yield_now().await;
        }
        Ok(done)
    }

    /// Removes quarter-hours older than the retention. Answers how many rows.
    pub async fn expire(&self, draining: &CancellationToken) -> PortResult<usize> {
        let before = self.clock.now().saturating_sub(self.options.keep_slots);
        let mut done = 0;
        while !draining.is_cancelled() {
            let removed = self.store.expire_slots(before, self.options.expire_len_max).await?;
            if removed == 0 {
                break;
            }
            done += removed;
            ::metrics::counter!(names::EXPIRED).increment(u64::try_from(removed).unwrap_or(u64::MAX));
        }
        Ok(done)
    }

    async fn sum_up(&self, days: Vec<DirtyDay>) -> PortResult<Vec<Rollup>> {
        let mut months: BTreeMap<(Subject, u32), Vec<Rollup>> = BTreeMap::new();
        for DirtyDay { subject, day, seen } in days {
            let tally = self.sum_day(&subject, day).await?;
            let rollup = Rollup { subject: subject.clone(), unit: RollupUnit::Day, number: day, tally, seen };
            months.entry((subject, month_of(day))).or_default().push(rollup);
        }
        let mut all = Vec::new();
        for ((subject, month), days) in months {
            let tally = self.sum_month(&subject, month, &days).await?;
            ::metrics::counter!(names::ROLLUPS, "unit" => "day").increment(u64::try_from(days.len()).unwrap_or(0));
            ::metrics::counter!(names::ROLLUPS, "unit" => "month").increment(1);
            all.extend(days);
            all.push(Rollup { subject, unit: RollupUnit::Month, number: month, tally, seen: 0 });
        }
        Ok(all)
    }

    async fn sum_day(&self, subject: &Subject, day: u32) -> PortResult<Tally> {
        let from = Slot::new(day.saturating_mul(Slot::PER_DAY));
        let to = Slot::new((day + 1).saturating_mul(Slot::PER_DAY));
        let mut sum = TallySum::default();
        for (_, tally) in self.store.slots(subject, from, to, Want::Everything).await? {
            add(&mut sum, &tally);
        }
        let visitor_days = sum.distinct().unwrap_or(0);
        let mut tally = sum.finish();
        tally.visitor_days = visitor_days;
        tally.visitors = Vec::new();
        cap_dimensions(&mut tally.dimensions);
        Ok(tally)
    }

    /// The days just summed up, and the others of the month as they are stored.
    async fn sum_month(&self, subject: &Subject, month: u32, new: &[Rollup]) -> PortResult<Tally> {
        let stored = self.store.rollups(subject, RollupUnit::Day, first_day(month), first_day(month + 1), Want::Everything).await?;
        let mut sum = TallySum::default();
        for (day, tally) in &stored {
            if new.iter().all(|rollup| rollup.number != *day) {
                add(&mut sum, tally);
            }
        }
        for rollup in new {
            add(&mut sum, &rollup.tally);
        }
        let mut tally = sum.finish();
        cap_dimensions(&mut tally.dimensions);
        Ok(tally)
    }
}

/// A damaged sketch costs its visitors, not the roll-up.
pub(crate) fn add(sum: &mut TallySum, tally: &Tally) {
    if let Err(error) = sum.add(tally) {
        tracing::error!(%error, "stored visitors are damaged and are not counted");
    }
}
