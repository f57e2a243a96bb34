//! Which days are dirty, and what is known of whole days: marks, and the lists of days that have some.
//!
//! A mark says "this day of this subject has parts that its roll-up may lack". Why none is lost, with no clock trusted:
//!
//! - `apply` writes the parts, then the marks, then the list of days, then the progress, each acknowledged by a quorum
//!   before the next begins. A crash in between leaves the progress behind, and the log is counted again from there.
//! - A mark is a row of its own for each process ("marker"), and its timestamp grows with each mark of that process. Whoever
//!   takes marks away has read them (with their timestamps), then the parts, and deletes each mark at the timestamp it read.
//!   A part that was not seen there was acknowledged later, so its mark was stamped later still than any mark of that
//!   process that had been read, and survives. Marks of other processes are other rows.
//! - The list of days is treated in the same way: its row is stamped after the marks it stands for.
//!
//! While a day runs, a process marks each subject once and remembers it: days are not summed up before they ended
//! [`SETTLE`] ago, and what is applied after the end is marked each time.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use domain::port::{DirtyDay, PortResult};
use domain::{Slot, Subject};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::row::{BUCKETS, bucket, int, subject_key, subject_of};
use super::{StatsStore, WRITES};

/// How far the clocks of two processes may be apart.
pub(super) const SETTLE: Duration = Duration::from_mins(5);
/// The marker of nobody: see [`StatsStore::redo`].
const REDO: i64 = 0;
/// Rows of one look for marks.
const PAGE_LEN: i32 = 1_000;

/// The lists of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Marks,
    Rolled,
}

impl List {
    const fn name(self) -> &'static str {
        match self {
            Self::Marks => "marks",
            Self::Rolled => "rolled",
        }
    }
}

/// A row as it was read: what may be deleted later, and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) marker: i64,
    pub(super) at: i64,
}

/// Where a look for dirty days stopped.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    day: u32,
    bucket: i32,
    subject: String,
}

/// One subject found with rows on a day.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: String,
    pub(super) marks: Vec<Mark>,
}

impl StatsStore {
    /// Called after what the marks stand for was acknowledged.
    pub(super) async fn mark(&self, list: List, days: &[(u32, Subject)]) -> PortResult<()> {
        self.mark_as(self.marker, list, days).await
    }

    /// The day is to be summed up again although its roll-up has all its parts.
    pub(super) async fn redo(&self, day: u32, subject: &Subject) -> PortResult<()> {
        self.mark_as(REDO, List::Marks, &[(day, subject.clone())]).await
    }

    async fn mark_as(&self, marker: i64, list: List, days: &[(u32, Subject)]) -> PortResult<()> {
        if days.is_empty() {
            return Ok(());
        }
        let (at, statements) = (self.stamp(), &self.statements);
        let rows = if list == List::Marks { &statements.mark } else { &statements.put_rolled };
        let writes = (0..days.len()).map(|index| async move {
            let (day, key) = (days[index].0, subject_key(&days[index].1));
            self.cql.write(rows, (int(day), bucket(&key), key.as_str(), marker, at, at)).await
        });
        stream::iter(writes).buffer_unordered(WRITES).try_collect::<()>().await?;
        let at = self.stamp();
        let mut numbers: Vec<u32> = days.iter().map(|(day, _)| *day).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for day in numbers {
            self.cql.write(&statements.put_day, (list.name(), int(day), self.marker, at, at)).await?;
        }
        Ok(())
    }

    /// The days that have rows, in order, each with what is deleted when it turns out to have none.
    pub(super) async fn days(&self, list: List) -> PortResult<BTreeMap<u32, Vec<Mark>>> {
        let mut days: BTreeMap<u32, Vec<Mark>> = BTreeMap::new();
        let read = self.cql.each(&self.statements.days, (list.name(),), |row| {
            let day: i32 = row.need("day")?;
            let mark = Mark { marker: row.need("marker")?, at: row.need("at")? };
            days.entry(day.max(0).unsigned_abs()).or_default().push(mark);
            Ok(())
        });
        read.await?;
        Ok(days)
    }

    /// The list's row of a day that was found without rows.
    pub(super) async fn drop_day(&self, list: List, day: u32, marks: &[Mark]) -> PortResult<()> {
        for mark in marks {
            self.cql.write(&self.statements.drop_day, (mark.at, list.name(), int(day), mark.marker)).await?;
        }
        Ok(())
    }

    pub(super) async fn marks_of(&self, day: u32, key: &str) -> PortResult<Vec<Mark>> {
        let mut marks = Vec::new();
        let read = self.cql.each(&self.statements.marks_of, (int(day), bucket(key), key), |row| {
            marks.push(Mark { marker: row.need("marker")?, at: row.need("at")? });
            Ok(())
        });
        read.await?;
        Ok(marks)
    }

    pub(super) async fn unmark(&self, list: List, day: u32, key: &str, marks: &[Mark]) -> PortResult<()> {
        let statement = if list == List::Marks { &self.statements.unmark } else { &self.statements.drop_rolled };
        for mark in marks {
            self.cql.write(statement, (mark.at, int(day), bucket(key), key, mark.marker)).await?;
        }
        Ok(())
    }

    /// Subjects with rows in one bucket of a day, in order, after the key `after`; at most `limit`.
    pub(super) async fn subjects(&self, list: List, (day, bucket): (u32, i32), after: &str, limit: usize) -> PortResult<Vec<Found>> {
        let statement = if list == List::Marks { &self.statements.marks } else { &self.statements.rolled };
        let mut found: Vec<Found> = Vec::new();
        let mut after = after.to_owned();
        loop {
            let mut rows = 0;
            let read = self.cql.each(statement, (int(day), bucket, after.as_str(), PAGE_LEN), |row| {
                let (key, mark) = (row.need::<&str>("subject")?, Mark { marker: row.need("marker")?, at: row.need("at")? });
                rows += 1;
                match found.last_mut().filter(|found| found.key == key) {
                    Some(found) => found.marks.push(mark),
                    None => found.push(Found { key: key.to_owned(), marks: vec![mark] }),
                }
                Ok(())
            });
            read.await?;
            found.truncate(limit);
            match found.last() {
                Some(last) if rows >= PAGE_LEN && found.len() < limit => after.clone_from(&last.key),
                _ => return Ok(found),
            }
        }
    }

    pub(super) async fn find_dirty(&self, before_day: u32, limit: usize) -> PortResult<Vec<DirtyDay>> {
        let before_day = before_day.min(self.settled_before());
        let days = self.days(List::Marks).await?;
        let mut scan = Scan::new(days.range(..before_day).map(|(day, _)| *day), self.cursor(), self.marker);
        let mut dirty = Vec::new();
        // Per day: buckets that were empty from their beginning.
        let mut empty: BTreeMap<u32, i32> = BTreeMap::new();
        let mut looked_at = HashSet::new();
        while let Some(at) = scan.next().filter(|_| dirty.len() < limit) {
            let from_start = at.subject.is_empty();
            let found = self.subjects(List::Marks, (at.day, at.bucket), &at.subject, limit - dirty.len()).await?;
            if found.is_empty() && from_start {
                *empty.entry(at.day).or_default() += 1;
            }
            if let Some(last) = found.last() {
                let next = Cursor { subject: last.key.clone(), ..at };
                self.set_cursor(next.clone());
                scan.again(next);
            }
            // The beginning of the bucket that the look began in comes round again.
            let new: Vec<Found> = found.into_iter().filter(|found| looked_at.insert((at.day, found.key.clone()))).collect();
            let checks = new.into_iter().map(|found| self.check_dirty(at.day, found));
            let checked: Vec<Option<DirtyDay>> = stream::iter(checks).buffered(WRITES / 2).try_collect().await?;
            dirty.extend(checked.into_iter().flatten());
        }
        for (day, _) in empty.into_iter().filter(|(_, buckets)| *buckets >= BUCKETS) {
            self.drop_day(List::Marks, day, &days[&day]).await?;
        }
        Ok(dirty)
    }

    /// A mark whose parts are all in the roll-up, as after a replay of the log, is taken away.
    async fn check_dirty(&self, day: u32, found: Found) -> PortResult<Option<DirtyDay>> {
        let Some(subject) = subject_of(&found.key) else {
            self.damaged("a mark of nobody");
            self.unmark(List::Marks, day, &found.key, &found.marks).await?;
            return Ok(None);
        };
        let seen = self.seen(&subject, day).await?.upto;
        let redo = found.marks.iter().any(|mark| mark.marker == REDO);
        if !redo && self.rolled_seen(&found.key, day).await? == Some(seen) {
            self.unmark(List::Marks, day, &found.key, &found.marks).await?;
            return Ok(None);
        }
        Ok(Some(DirtyDay { subject, day, seen }))
    }

    /// Days before this one are over by any process's clock.
    pub(super) fn settled_before(&self) -> u32 {
        Slot::at(self.clock.now().saturating_sub(SETTLE)).day()
    }
}

/// Once around all buckets of all days, from where the last look stopped: what was handled there need not be passed again.
struct Scan {
    left: VecDeque<Cursor>,
}

impl Scan {
    /// Each process begins elsewhere within a day, so that two do not do the same work at the same time.
    fn new(days: impl Iterator<Item = u32>, cursor: Cursor, marker: i64) -> Self {
        let shift = i32::try_from(marker.unsigned_abs() % u64::from(BUCKETS.unsigned_abs())).unwrap_or(0);
        let places = days.flat_map(|day| (0..BUCKETS).map(move |bucket| (day, (bucket + shift) % BUCKETS)));
        let mut left: VecDeque<Cursor> = places.map(|(day, bucket)| Cursor { day, bucket, subject: String::new() }).collect();
        let began = left.iter().position(|place| (place.day, place.bucket) == (cursor.day, cursor.bucket));
        if let Some(began) = began {
            left.rotate_left(began);
            if !cursor.subject.is_empty() {
                // Its beginning comes last.
                left.push_back(Cursor { subject: String::new(), ..cursor.clone() });
                left[0] = cursor;
            }
        }
        Self { left }
    }

    fn next(&mut self) -> Option<Cursor> {
        self.left.pop_front()
    }

    /// The rest of the bucket is next.
    fn again(&mut self, cursor: Cursor) {
        self.left.push_front(cursor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(mut scan: Scan) -> Vec<(u32, i32, String)> {
        std::iter::from_fn(|| scan.next()).map(|place| (place.day, place.bucket, place.subject)).collect()
    }

    #[test]
    fn a_scan_passes_every_bucket_once_and_the_first_one_in_two_halves() {
        let all = places(Scan::new([3, 4].into_iter(), Cursor::default(), 7));
        assert_eq!(all.len(), 64);
        let (day, bucket, _) = all[40].clone();
        let again = places(Scan::new([3, 4].into_iter(), Cursor { day, bucket, subject: "l:5".into() }, 7));
        assert_eq!(again[0], (day, bucket, "l:5".into()));
        assert_eq!(again[64], (day, bucket, String::new()));
        assert_eq!(again[1..64].to_vec(), [&all[41..], &all[..40]].concat());
    }
}
