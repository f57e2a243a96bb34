//! Reading what a period holds at the least cost: roll-ups for the UTC months and days that lie whole in one
//! bucket, quarter-hours for the rest.

use std::ops::Range;

use domain::port::{RollupUnit, StatsStore, Tally, Want};
use domain::{Error, Reason, Result, Slot, Subject};

use crate::calendar::{Buckets, first_day, month_of};

/// Fewer whole days than this are not worth a look for months.
const DAYS_WORTH_MONTHS: u32 = 62;

/// A tally of part of a bucket.
pub(crate) enum Piece {
    /// Of whole UTC days; the visitors are in `visitor_days`.
    Days(Tally),
    /// Of one quarter-hour; the visitors are a sketch.
    Slot(Slot, Tally),
}

/// All pieces with the index of their bucket; quarter-hours in order.
pub(crate) async fn pieces(store: &dyn StatsStore, subject: &Subject, buckets: &Buckets, want: Want) -> Result<Vec<(usize, Piece)>> {
    let mut pieces = Vec::new();
    let mut covered: Vec<Range<u32>> = Vec::new();
    let whole: Vec<Range<u32>> = buckets.ranges().map(|(from, to)| whole_days(from, to)).filter(|days| !days.is_empty()).collect();
    if let (Some(first), Some(last)) = (whole.first(), whole.last()) {
        let all = first.start..last.end;
        if all.len() >= usize::try_from(DAYS_WORTH_MONTHS).unwrap_or(usize::MAX) {
            for (month, tally) in store.rollups(subject, RollupUnit::Month, month_of(all.start), month_of(all.end) + 1, want).await? {
                let days = first_day(month)..first_day(month + 1);
                if contains(&whole, &days) {
                    pieces.push((buckets.index_of(first_slot(days.start)), Piece::Days(tally)));
                    covered.push(days);
                }
            }
        }
        let by_months = covered.clone();
        for days in uncovered(&all, &by_months) {
            for (day, tally) in store.rollups(subject, RollupUnit::Day, days.start, days.end, want).await? {
                let this = day..day + 1;
                if contains(&whole, &this) {
                    pieces.push((buckets.index_of(first_slot(day)), Piece::Days(tally)));
                    covered.push(this);
                }
            }
        }
    }
    covered.sort_unstable_by_key(|days| days.start);
    let covered: Vec<Range<u32>> = covered.into_iter().map(|days| first_slot(days.start).get()..first_slot(days.end).get()).collect();
    for gap in uncovered(&(buckets.from().get()..buckets.to.get()), &covered) {
        for (slot, tally) in store.slots(subject, Slot::new(gap.start), Slot::new(gap.end), want).await? {
            pieces.push((buckets.index_of(slot), Piece::Slot(slot, tally)));
        }
    }
    Ok(pieces)
}

pub(crate) fn damaged(error: domain::visitors::VisitorsError) -> Error {
    Error::new(Reason::Internal, "an internal error; the log has the cause under the request id").with_source(error)
}

fn first_slot(day: u32) -> Slot {
    Slot::new(day.saturating_mul(Slot::PER_DAY))
}

fn whole_days(from: Slot, to: Slot) -> Range<u32> {
    from.get().div_ceil(Slot::PER_DAY)..to.get() / Slot::PER_DAY
}

/// Whether one of the `ranges`, which are in order, holds all of `days`.
fn contains(ranges: &[Range<u32>], days: &Range<u32>) -> bool {
    let at = ranges.partition_point(|range| range.end < days.end);
    ranges.get(at).is_some_and(|range| range.start <= days.start && days.end <= range.end)
}

/// What of `all` lies in none of `covered`, which are in order and apart.
fn uncovered(all: &Range<u32>, covered: &[Range<u32>]) -> Vec<Range<u32>> {
    let mut gaps = Vec::new();
    let mut at = all.start;
    for range in covered {
        if at < range.start {
            gaps.push(at..range.start.min(all.end));
        }
        at = at.max(range.end);
    }
    if at < all.end {
        gaps.push(at..all.end);
    }
    gaps
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges are what is tested")]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_is_not_covered() {
        assert_eq!(uncovered(&(3..10), &[]), [3..10]);
        assert_eq!(uncovered(&(3..10), &[3..5, 5..6, 8..10]), [6..8]);
        assert_eq!(uncovered(&(3..10), &[4..5]), [3..4, 5..10]);
        assert!(uncovered(&(3..10), &[3..10]).is_empty());
    }

    #[test]
    fn only_days_whole_in_one_bucket_count_as_whole() {
        assert_eq!(whole_days(Slot::new(96), Slot::new(288)), 1..3);
        assert!(whole_days(Slot::new(97), Slot::new(287)).is_empty());
        assert!(contains(&[1..3, 3..9], &(3..4)));
        assert!(contains(&[1..3, 3..9], &(2..3)));
        assert!(!contains(&[1..3, 3..9], &(2..4)));
        assert!(!contains(&[1..3], &(4..5)));
    }
}
