//! How the lists of links are cut: by time, so that no partition grows for ever and the newest are found
//! first; that of everyone also in parts, since all creates write there.

use std::collections::VecDeque;
use std::time::Duration;

use domain::port::Walk;
use domain::snowflake::created_at;
use domain::{LinkId, UnixMs};

use super::link_index::Entry;

/// The owner under which everyone's links are listed: no owner has control characters in its name, and a
/// partition key must not be empty.
pub(super) const EVERYONE: &str = "\0";
/// Slots of one period.
const PARTS: i32 = 16;
const OWNER_PERIOD: Duration = Duration::from_hours(24 * 30);
const EVERYONE_PERIOD: Duration = Duration::from_hours(24);

pub(super) fn owner(whose: &Walk) -> &str {
    match whose {
        Walk::Owner(owner) => owner.as_str(),
        Walk::Everyone => EVERYONE,
    }
}

pub(super) fn of_owner(at: UnixMs) -> i32 {
    slot(at, OWNER_PERIOD)
}

pub(super) fn of_everyone(at: UnixMs, id: LinkId) -> i32 {
    slot(at, EVERYONE_PERIOD) + part(id)
}

/// 0 to 15, spread evenly whatever the layout of ids is used for.
pub(super) fn part(id: LinkId) -> i32 {
    i32::try_from(id.get().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60).unwrap_or(0)
}

/// The last slot that can hold ids below `before`.
pub(super) fn last(whose: &Walk, before: Option<LinkId>) -> i32 {
    let Some(before) = before else { return i32::MAX };
    let period = match whose {
        Walk::Owner(_) => OWNER_PERIOD,
        Walk::Everyone => EVERYONE_PERIOD,
    };
    slot(created_at(before), period) + PARTS - 1
}

fn slot(at: UnixMs, period: Duration) -> i32 {
    let number = at.get() / i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
    i32::try_from(number * i64::from(PARTS)).unwrap_or(i32::MAX / PARTS * PARTS - PARTS)
}

/// The periods of one list that have links, newest first, each with its slots.
pub(super) struct Periods {
    waiting: VecDeque<Vec<i32>>,
    next_slot: i32,
    is_complete: bool,
}

impl Periods {
    /// From `first` on, downwards.
    pub(super) fn new(first: i32) -> Self {
        Self { waiting: VecDeque::new(), next_slot: first, is_complete: false }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// From where on, downwards, slots are read next.
    pub(super) fn next_slot(&self) -> i32 {
        self.next_slot
    }

    /// Slots in descending order, from [`Self::next_slot`] on; fewer than `asked` when there are no more.
    pub(super) fn extend(&mut self, slots: &[i32], asked: usize) {
        for slot in slots {
            match self.waiting.back_mut() {
                Some(period) if period.first().is_some_and(|first| first / PARTS == slot / PARTS) => period.push(*slot),
                _ => self.waiting.push_back(vec![*slot]),
            }
        }
        match slots.last().and_then(|last| last.checked_sub(1)) {
            Some(next) if slots.len() >= asked => self.next_slot = next,
            _ => self.is_complete = true,
        }
    }

    /// At most `count` of them, none that may lack slots.
    pub(super) fn take(&mut self, count: usize) -> Vec<Vec<i32>> {
        let whole = if self.is_complete { self.waiting.len() } else { self.waiting.len().saturating_sub(1) };
        self.waiting.drain(..count.min(whole)).collect()
    }
}

/// Of the slots of one period, each in descending order and cut at `limit`: all in descending order as far
/// as nothing is missing, and whether something was cut. An id is there with all its entries or not at all.
pub(super) fn merge(slots: Vec<Vec<Entry>>, limit: usize) -> (Vec<Entry>, bool) {
    let full = slots.iter().filter(|slot| slot.len() >= limit);
    let floor = full.filter_map(|slot| slot.last()).map(|entry| entry.id).max();
    let mut entries: Vec<Entry> = slots.into_iter().flatten().filter(|entry| floor.is_none_or(|floor| entry.id > floor)).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.id));
    (entries, floor.is_some())
}

#[cfg(test)]
mod tests {
    use domain::DomainNo;

    use super::*;

    fn entries(ids: &[u64]) -> Vec<Entry> {
        ids.iter().map(|id| Entry { id: LinkId::new(*id), domain: DomainNo::DEFAULT, key: "x".into() }).collect()
    }

    #[test]
    fn nothing_is_missing_above_the_cut() {
        assert_eq!(merge(vec![entries(&[9, 4]), entries(&[7]), vec![]], 3), (entries(&[9, 7, 4]), false));
        // The first slot was cut below 8: what others have below it must wait.
        assert_eq!(merge(vec![entries(&[10, 9, 8]), entries(&[11, 7])], 3), (entries(&[11, 10, 9]), true));
    }

    #[test]
    fn a_period_is_taken_when_all_its_slots_are_known() {
        let mut periods = Periods::new(i32::MAX);
        periods.extend(&[33, 32, 20], 3);
        assert_eq!(periods.next_slot(), 19);
        assert_eq!(periods.take(5), [vec![33, 32]]);
        periods.extend(&[17], 3);
        assert!(periods.is_complete());
        assert_eq!(periods.take(5), [vec![20, 17]]);
    }
}
