//! How parts, marks and roll-ups lie in their tables: keys, timestamps, and rows read back.

use std::ops::Range;

use domain::port::{Dimensions, LogPosition, Part, RollupUnit, Tally, Want};
use domain::{Counts, Dimension, LinkId, Owner, Slot, Subject};

use super::super::error::Broken;
use super::super::fields::Fields;
use super::super::value::{count, to_count};
use crate::calendar::first_day;
use crate::stats_codec;

/// Partitions that the subjects of one day are spread over, in `click_marks` and `click_rolled`.
pub(super) const BUCKETS: i32 = 32;
const SLOT_US: i64 = Slot::LEN_MS * 1_000;
const DAY_US: i64 = SLOT_US * 96;
/// Slots of one partition of everyone's and owners' parts: they have a row in nearly every chunk of the log.
const WIDE_SPAN: u32 = Slot::PER_DAY / 4;
/// Days that fit every integer of the tables, far in the future.
const DAY_MAX: u32 = 20_000_000;

pub(super) fn subject_key(subject: &Subject) -> String {
    match subject {
        Subject::Everyone => "*".to_owned(),
        Subject::Link(link) => format!("l:{link}"),
        Subject::Owner(owner) => format!("o:{}", owner.as_str()),
    }
}

pub(super) fn owner_key(owner: &Owner) -> String {
    format!("o:{}", owner.as_str())
}

pub(super) fn subject_of(key: &str) -> Option<Subject> {
    match key.split_at_checked(2) {
        Some(("l:", link)) => link.parse().ok().map(|link| Subject::Link(LinkId::new(link))),
        Some(("o:", owner)) => Some(Subject::Owner(Owner::from_stored(owner))),
        _ => (key == "*").then_some(Subject::Everyone),
    }
}

pub(super) fn bucket(subject_key: &str) -> i32 {
    i32::try_from(crc32fast::hash(subject_key.as_bytes()) % BUCKETS.unsigned_abs()).unwrap_or(0)
}

fn span_len(subject: &Subject) -> u32 {
    match subject {
        Subject::Link(_) => Slot::PER_DAY,
        Subject::Owner(_) | Subject::Everyone => WIDE_SPAN,
    }
}

/// The partition of a slot.
pub(super) fn span(subject: &Subject, slot: Slot) -> i32 {
    int(slot.get() / span_len(subject))
}

/// The partitions of the slots `from..to`.
pub(super) fn spans(subject: &Subject, from: Slot, to: Slot) -> Range<i32> {
    let len = span_len(subject);
    int(from.get() / len)..int(to.get().div_ceil(len))
}

pub(super) fn first_slot(day: u32) -> Slot {
    Slot::new(day.min(DAY_MAX).saturating_mul(Slot::PER_DAY))
}

/// Slots and days beyond the end of the tables' integers, 20,000 centuries away, are the last.
pub(super) fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(super) fn source(position: &LogPosition) -> Vec<u8> {
    let mut source = position.log.0.to_vec();
    source.extend_from_slice(&position.partition.to_be_bytes());
    source
}

/// Of two writes of one row, the one that counted more of the chunk stays, whatever the order they come in. The time of
/// the slot is only there to look like a time: a raw offset would be 1970, and any deletion of today would hide it.
pub(super) fn part_timestamp(part: &Part) -> i64 {
    i64::from(part.slot.get()) * SLOT_US + i64::from(part.upto)
}

/// A deletion that hides every part of the day, those written later too. `upto` may be any 32-bit number, which is
/// 72 minutes: imported history has its clicks there, in the day's first slot.
pub(super) fn expiry_timestamp(day: u32) -> i64 {
    (i64::from(day) + 1) * DAY_US
}

/// A roll-up with more clicks was made from more of the parts.
pub(super) fn rollup_timestamp(unit: RollupUnit, number: u32, clicks: u64) -> i64 {
    let day = match unit {
        RollupUnit::Day => number,
        RollupUnit::Month => first_day(number.min(DAY_MAX / 31)),
    };
    i64::from(day) * DAY_US + count(clicks).min(i64::MAX / 2)
}

pub(super) const fn unit_number(unit: RollupUnit) -> i32 {
    match unit {
        RollupUnit::Day => 1,
        RollupUnit::Month => 2,
    }
}

/// Two classes for each doubling.
pub(super) fn class(clicks: u64) -> i32 {
    let Some(power) = clicks.checked_ilog2() else { return 0 };
    let half = u128::from(clicks) * u128::from(clicks) >= 1_u128 << (2 * power + 1);
    int(2 * power) + i32::from(half)
}

/// The fewest clicks of a class.
pub(super) fn class_floor(class: i32) -> u64 {
    let power = class.clamp(0, 126).unsigned_abs() / 2;
    let whole = 1_u64 << power;
    if class % 2 == 1 { u64::try_from(u128::from(whole) * 7 / 5).unwrap_or(u64::MAX) } else { whole }
}

/// The columns of a tally: what is not wanted is not read.
pub(super) const fn columns(want: Want) -> &'static str {
    match want {
        Want::Counts => "clicks, humans",
        Want::Dimension(_) => "clicks, humans, dimensions",
        Want::Visitors => "clicks, humans, visitors",
        Want::Everything => "clicks, humans, dimensions, visitors",
    }
}

pub(super) fn counts(fields: &Fields<'_, '_>) -> Result<Counts, Broken> {
    Ok(Counts { clicks: to_count(fields.need("clicks")?)?, humans: to_count(fields.need("humans")?)? })
}

/// Of the columns that [`columns`] names. Dimensions that cannot be read cost themselves, not the counts.
pub(super) fn tally(fields: &Fields<'_, '_>, want: Want) -> Result<(Tally, Result<(), Broken>), Broken> {
    let counts = counts(fields)?;
    let wanted: Option<Dimension> = if let Want::Dimension(dimension) = want { Some(dimension) } else { None };
    let mut is_whole = Ok(());
    let dimensions = match fields.get::<&[u8]>("dimensions")? {
        None => Dimensions::new(),
        Some(bytes) => stats_codec::decode(bytes, counts.clicks, wanted).unwrap_or_else(|stats_codec::Damaged| {
            is_whole = Err(Broken::new("dimensions that are none"));
            Dimensions::new()
        }),
    };
    let visitors = fields.get::<&[u8]>("visitors")?.map(<[u8]>::to_vec).unwrap_or_default();
    Ok((Tally { counts, dimensions, visitors, visitor_days: 0 }, is_whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_found_again() {
        let owners = ["ann", "*", "l:1", "", "o:"].map(|name| Subject::Owner(Owner::from_stored(name)));
        for subject in [Subject::Everyone, Subject::Link(LinkId::new(u64::MAX))].into_iter().chain(owners) {
            assert_eq!(subject_of(&subject_key(&subject)), Some(subject));
        }
        for nobody in ["", "x", "l:", "l:-1", "x:1", "**", "\u{e4}"] {
            assert_eq!(subject_of(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn a_class_begins_at_its_floor() {
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 8, 1 << 20].map(class), [0, 0, 2, 3, 4, 4, 5, 6, 40]);
        for clicks in (1..5_000).chain([u64::MAX]) {
            assert!(class_floor(class(clicks)) <= clicks, "{clicks}");
        }
    }

    #[test]
    fn an_expired_day_hides_its_parts_and_no_other() {
        let day = 20_700;
        let at = |slot, upto| {
            let tally = Tally::default();
            part_timestamp(&Part { subject: Subject::Everyone, slot: Slot::new(slot), chunk: 0, upto, owner: None, tally })
        };
        assert!(at(day * 96 + 95, 65_536) <= expiry_timestamp(day));
        assert!(at(day * 96, u32::MAX) <= expiry_timestamp(day));
        assert!(at((day + 1) * 96, 1) > expiry_timestamp(day));
    }

    #[test]
    fn a_range_reads_the_partitions_of_its_slots() {
        let (link, all) = (Subject::Link(LinkId::new(1)), Subject::Everyone);
        assert_eq!(spans(&link, Slot::new(95), Slot::new(97)), 0..2);
        assert_eq!(spans(&link, Slot::new(96), Slot::new(192)), 1..2);
        assert_eq!(spans(&all, Slot::new(96), Slot::new(192)), 4..8);
        assert!(spans(&all, Slot::new(192), Slot::new(96)).is_empty());
    }
}
