//! The links clicked most, from counts per link and day.

use std::collections::HashMap;

use domain::port::RollupUnit;
use domain::{Counts, LinkId, Slot, Subject};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::stats_store::{is_dirty, subject_id, unit_number};
use super::value::{count, to_count};

/// Links kept apart of one owner and ended day.
const KEPT: usize = 1_000;
/// Candidates counted again for each link asked for, where the sums are not exact.
const CANDIDATES_PER_LINK: usize = 4;
const CANDIDATES_MIN: usize = 100;

/// Once a day is rolled up, the links beyond the first [`KEPT`] can be counted by their roll-ups.
pub(super) fn trim(db: &Connection, day: u32, owner: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM link_days WHERE day = ?1 AND owner = ?2 AND link IN \
         (SELECT link FROM link_days WHERE day = ?1 AND owner = ?2 ORDER BY clicks DESC, link LIMIT -1 OFFSET ?3)",
    )?
    .execute(params![day, owner, i64::try_from(KEPT).unwrap_or(i64::MAX)])?;
    Ok(())
}

/// What one day says of its links.
struct Day {
    number: u32,
    links: HashMap<i64, Counts>,
    /// Links may be missing.
    trimmed: bool,
    /// The period takes only these slots of it.
    part: Option<(Slot, Slot)>,
}

pub(super) fn top_links(db: &Connection, subject: &Subject, from: Slot, to: Slot, limit: usize) -> rusqlite::Result<Vec<(LinkId, Counts)>> {
    let owner = match subject {
        Subject::Owner(_) => subject_id(db, subject)?,
        Subject::Everyone => None,
        Subject::Link(_) => return Ok(Vec::new()),
    };
    if from >= to || (owner.is_none() && matches!(subject, Subject::Owner(_))) {
        return Ok(Vec::new());
    }
    let days = read_days(db, owner, from, to)?;
    let mut sums: HashMap<i64, Counts> = HashMap::new();
    for (link, counts) in days.iter().flat_map(|day| &day.links) {
        *sums.entry(*link).or_default() += *counts;
    }
    let mut top = sorted(sums.into_iter().collect());
    if days.iter().any(|day| day.trimmed || day.part.is_some()) {
        top.truncate(limit.saturating_mul(CANDIDATES_PER_LINK).max(CANDIDATES_MIN));
        for (link, counts) in &mut top {
            *counts = recount(db, *link, &days)?;
        }
        top = sorted(top);
    }
    top.retain(|(_, counts)| counts.clicks > 0);
    top.truncate(limit);
    top.into_iter().map(|(link, counts)| Ok((LinkId::new(to_count(link, 0)?), counts))).collect()
}

fn sorted(mut links: Vec<(i64, Counts)>) -> Vec<(i64, Counts)> {
    links.sort_unstable_by(|a, b| b.1.clicks.cmp(&a.1.clicks).then(a.0.cmp(&b.0)));
    links
}

fn read_days(db: &Connection, owner: Option<i64>, from: Slot, to: Slot) -> rusqlite::Result<Vec<Day>> {
    let (first, last): (Option<u32>, Option<u32>) = db
        .prepare_cached("SELECT (SELECT min(day) FROM link_days), (SELECT max(day) FROM link_days)")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(first), Some(last)) = (first, last) else { return Ok(Vec::new()) };
    let range = from.day().max(first)..=(to.get() - 1).div_euclid(Slot::PER_DAY).min(last);
    range.map(|day| read_day(db, owner, day, from, to)).collect()
}

fn read_day(db: &Connection, owner: Option<i64>, day: u32, from: Slot, to: Slot) -> rusqlite::Result<Day> {
    let (begin, end) = (Slot::new(day * Slot::PER_DAY), Slot::new((day + 1) * Slot::PER_DAY));
    let part = (from > begin || to < end).then_some((from.max(begin), to.min(end)));
    let (lowest, highest) = owner.map_or((i64::MIN, i64::MAX), |owner| (owner, owner));
    let mut select =
        db.prepare_cached("SELECT owner, link, clicks, humans FROM link_days WHERE day = ?1 AND owner >= ?2 AND owner <= ?3")?;
    let mut rows = select.query(params![day, lowest, highest])?;
    let (mut links, mut of_owner, mut trimmed, mut last) = (HashMap::new(), 0_usize, false, None);
    while let Some(row) = rows.next()? {
        let owner: i64 = row.get(0)?;
        of_owner = if last == Some(owner) { of_owner + 1 } else { 1 };
        last = Some(owner);
        trimmed |= of_owner == KEPT;
        links.insert(row.get(1)?, Counts { clicks: to_count(row.get(2)?, 2)?, humans: to_count(row.get(3)?, 3)? });
    }
    Ok(Day { number: day, links, trimmed, part })
}

/// The exact counts of one candidate.
fn recount(db: &Connection, link: i64, days: &[Day]) -> rusqlite::Result<Counts> {
    let mut sum = Counts::default();
    for day in days {
        if let Some((from, to)) = day.part {
            sum += of_slots(db, link, from, to)?;
        } else if let Some(counts) = day.links.get(&link) {
            sum += *counts;
        } else if day.trimmed {
            sum += of_day(db, link, day.number)?;
        }
    }
    Ok(sum)
}

fn of_day(db: &Connection, link: i64, day: u32) -> rusqlite::Result<Counts> {
    if !is_dirty(db, link, day)? {
        let rolled = db
            .prepare_cached("SELECT clicks, humans FROM rollups WHERE subject = ?1 AND unit = ?2 AND number = ?3")?
            .query_row(params![link, unit_number(RollupUnit::Day), day], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (clicks, humans) = rolled.unwrap_or((0, 0));
        return Ok(Counts { clicks: to_count(clicks, 0)?, humans: to_count(humans, 1)? });
    }
    of_slots(db, link, Slot::new(day * Slot::PER_DAY), Slot::new((day + 1) * Slot::PER_DAY))
}

fn of_slots(db: &Connection, link: i64, from: Slot, to: Slot) -> rusqlite::Result<Counts> {
    db.prepare_cached(
        "SELECT coalesce(sum(clicks + old_clicks), 0), coalesce(sum(humans + old_humans), 0) FROM parts WHERE subject = ?1 AND slot >= ?2 AND slot < ?3",
    )?
    .query_row(params![link, count(from.get().into()), count(to.get().into())], |row| {
        Ok(Counts { clicks: to_count(row.get(0)?, 0)?, humans: to_count(row.get(1)?, 1)? })
    })
}
