//! What this process has written lately and need not write again.

use std::collections::{BTreeMap, HashMap};

use domain::port::Part;
use domain::{LinkId, Owner, Slot, Subject};

use super::row::class;

/// Subjects remembered, at most: forgetting them costs a write each.
const LEN_MAX: usize = 200_000;
/// Links of one owner and day that are listed with their first click; those after need more, once there are so many:
/// the first thousand of the day are not among them.
const LISTED_MAX: u32 = 2_048;

#[derive(Debug, Default)]
struct Known {
    marked: bool,
    /// Clicks seen here, roughly: a start forgets them, a replay counts them again. They order candidates.
    clicks: u64,
    last: Option<(Slot, u64, u64)>,
    /// The highest class written.
    class: Option<i32>,
}

#[derive(Debug, Default)]
struct Day {
    subjects: HashMap<Subject, Known>,
    /// Links listed, by owner; of everyone under `None`.
    listed: HashMap<Option<Owner>, u32>,
}

#[derive(Debug, Default)]
pub(super) struct Memo {
    days: BTreeMap<u32, Day>,
    len: usize,
}

/// A row of `click_top` that is due: for the owner's list, for everyone's, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TopDue {
    pub(super) class: i32,
    pub(super) of_owner: bool,
    pub(super) of_everyone: bool,
}

impl Memo {
    fn known(&mut self, day: u32, subject: &Subject) -> &mut Known {
        while self.len >= LEN_MAX
            && let Some((_, oldest)) = self.days.pop_first()
        {
            self.len -= oldest.subjects.len();
        }
        let subjects = &mut self.days.entry(day).or_default().subjects;
        if !subjects.contains_key(subject) {
            self.len += 1;
        }
        subjects.entry(subject.clone()).or_default()
    }

    pub(super) fn is_marked(&self, day: u32, subject: &Subject) -> bool {
        self.days.get(&day).and_then(|day| day.subjects.get(subject)).is_some_and(|known| known.marked)
    }

    pub(super) fn marked(&mut self, day: u32, subject: &Subject) {
        self.known(day, subject).marked = true;
    }

    /// Whether the part of a link brings it into a higher class. What is due is written before the next part of
    /// that day is: a crash in between costs a place among thousands, until the day is rolled up.
    pub(super) fn top_due(&mut self, part: &Part) -> Option<TopDue> {
        let (Subject::Link(_), Some(owner)) = (&part.subject, &part.owner) else { return None };
        let day = part.slot.day();
        let clicks = part.tally.counts.clicks;
        let known = self.known(day, &part.subject);
        let before = known.last.filter(|(slot, chunk, _)| (*slot, *chunk) == (part.slot, part.chunk)).map_or(0, |last| last.2);
        known.clicks = known.clicks.saturating_add(clicks.saturating_sub(before));
        known.last = Some((part.slot, part.chunk, clicks));
        let reached = class(known.clicks);
        if known.class.is_some_and(|class| class >= reached) {
            return None;
        }
        known.class = Some(reached);
        let listed = &mut self.days.entry(day).or_default().listed;
        let mut has_room = |whose: Option<Owner>| {
            let listed = listed.entry(whose).or_default();
            let has_room = reached > 0 || *listed < LISTED_MAX;
            *listed += u32::from(reached == 0 && has_room);
            has_room
        };
        let due = TopDue { class: reached, of_owner: has_room(Some(owner.clone())), of_everyone: has_room(None) };
        (due.of_owner || due.of_everyone).then_some(due)
    }

    /// The link's row was not written: it is due again with the next part.
    pub(super) fn top_failed(&mut self, day: u32, link: LinkId) {
        self.known(day, &Subject::Link(link)).class = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Counts;
    use domain::port::Tally;

    fn part(link: u64, chunk: u64, clicks: u64) -> Part {
        let tally = Tally { counts: Counts { clicks, humans: 0 }, ..Tally::default() };
        let owner = Some(Owner::from_stored("ann"));
        Part { subject: Subject::Link(LinkId::new(link)), slot: Slot::new(96), chunk, upto: 1, owner, tally }
    }

    #[test]
    fn a_row_is_due_at_each_class_and_not_between() {
        let mut memo = Memo::default();
        let classes: Vec<_> = (1..=8).filter_map(|clicks| memo.top_due(&part(1, 0, clicks)).map(|due| due.class)).collect();
        assert_eq!(classes, [0, 2, 3, 4, 5, 6]);
        assert_eq!(memo.top_due(&part(1, 1, 8)).map(|due| due.class), Some(8), "another chunk's clicks come on top");
        memo.top_failed(1, LinkId::new(1));
        assert_eq!(memo.top_due(&part(1, 1, 8)).map(|due| due.class), Some(8));
    }

    #[test]
    fn beyond_two_thousand_links_one_click_is_not_enough() {
        let mut memo = Memo::default();
        let due = (0..5_000).filter_map(|link| memo.top_due(&part(link, 0, 1))).count();
        assert_eq!(due, usize::try_from(LISTED_MAX).unwrap());
        assert!(memo.top_due(&part(4_999, 0, 2)).is_some_and(|due| due.of_owner && due.of_everyone));
    }

    #[test]
    fn what_is_too_much_is_forgotten_from_the_oldest_day_on() {
        let mut memo = Memo::default();
        memo.marked(5, &Subject::Everyone);
        assert!(memo.is_marked(5, &Subject::Everyone) && !memo.is_marked(6, &Subject::Everyone));
        for link in 0..u64::try_from(LEN_MAX).unwrap() {
            memo.marked(6, &Subject::Link(LinkId::new(link)));
        }
        assert!(!memo.is_marked(5, &Subject::Everyone) && memo.is_marked(6, &Subject::Link(LinkId::new(0))));
        assert_eq!(memo.len, LEN_MAX);
    }
}
