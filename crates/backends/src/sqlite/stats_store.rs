//! `stats.db`: what was counted. A file of its own, so that counting never delays a create.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use domain::port::{DirtyDay, LogId, LogPosition, Part, PortResult, Rollup, RollupUnit, StatsStore, Tally, TallySum, Want, cap_dimensions};
use domain::{Counts, Dimension, LinkId, Owner, Slot, Subject, UnixMs};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::value::{broken, count, id, to_count};
use super::{OpenError, Options, Schema, Sqlite, stats_top};
use crate::calendar::first_day;
use crate::stats_codec;

pub const STATS: Schema = Schema {
    name: "stats",
    application_id: i32::from_be_bytes(*b"Trss"),
    steps: &[include_str!("stats.sql"), include_str!("stats_2.sql"), include_str!("stats_3.sql")],
};

pub(super) const EVERYONE: i64 = 0;
/// Columns that [`tally`] reads.
const TALLY_COLUMNS: usize = 5;

pub struct SqliteStats {
    file: Sqlite,
}

/// Opens or makes the file. Blocks the thread: call it before serving.
pub fn open_stats(path: &Path, options: Options) -> Result<Arc<SqliteStats>, OpenError> {
    Ok(Arc::new(SqliteStats { file: Sqlite::open(path, &STATS, options)? }))
}

impl SqliteStats {
    pub fn file(&self) -> &Sqlite {
        &self.file
    }

    pub async fn close(&self) {
        self.file.close().await;
    }
}

pub(super) const fn unit_number(unit: RollupUnit) -> i64 {
    match unit {
        RollupUnit::Day => 1,
        RollupUnit::Month => 2,
    }
}

/// The number of a subject that was seen before.
pub(super) fn subject_id(db: &Connection, subject: &Subject) -> rusqlite::Result<Option<i64>> {
    match subject {
        Subject::Everyone => Ok(Some(EVERYONE)),
        Subject::Link(link) => Ok(Some(id(*link))),
        Subject::Owner(owner) => db
            .prepare_cached("SELECT id FROM owners WHERE name = ?1")?
            .query_row([owner.as_str()], |row| row.get::<_, i64>(0).map(|id| -id))
            .optional(),
    }
}

fn owner_id(db: &Connection, owner: &Owner) -> rusqlite::Result<i64> {
    if let Some(id) = subject_id(db, &Subject::Owner(owner.clone()))? {
        return Ok(id);
    }
    db.execute("INSERT INTO owners (name) VALUES (?1)", [owner.as_str()])?;
    Ok(-db.last_insert_rowid())
}

fn source_id(db: &Connection, log: LogId, partition: u32) -> rusqlite::Result<i64> {
    let found = db
        .prepare_cached("SELECT id FROM sources WHERE log = ?1 AND partition = ?2")?
        .query_row(params![log.0, partition], |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    db.execute("INSERT INTO sources (log, partition, progress) VALUES (?1, ?2, 0)", params![log.0, partition])?;
    Ok(db.last_insert_rowid())
}

fn number(value: i64, column: usize) -> rusqlite::Result<u32> {
    u32::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

fn counts(row: &Row<'_>, column: usize) -> rusqlite::Result<Counts> {
    Ok(Counts { clicks: to_count(row.get(column)?, column)?, humans: to_count(row.get(column + 1)?, column + 1)? })
}

/// What a row says of its newest chunk.
struct NewestRow {
    chunk: u64,
    upto: u32,
    counts: Counts,
}

/// One call of `apply` on its way.
struct Apply<'a> {
    db: &'a Connection,
    source: i64,
    sealed_before: u32,
    /// Days before it are or were rolled up: each part of them counts as a change.
    rolled_before: u32,
    owners: HashMap<Owner, i64>,
    changed: BTreeSet<(u32, i64)>,
}

impl Apply<'_> {
    fn owner(&mut self, owner: &Owner) -> rusqlite::Result<i64> {
        if let Some(id) = self.owners.get(owner) {
            return Ok(*id);
        }
        let id = owner_id(self.db, owner)?;
        self.owners.insert(owner.clone(), id);
        Ok(id)
    }

    fn part(&mut self, part: &Part) -> rusqlite::Result<()> {
        let day = part.slot.day();
        if day < self.sealed_before {
            return Ok(());
        }
        let subject = match &part.subject {
            Subject::Everyone => EVERYONE,
            Subject::Link(link) => id(*link),
            Subject::Owner(owner) => self.owner(owner)?,
        };
        let Some(more) = self.store(subject, part)? else { return Ok(()) };
        let is_first_today = match &part.owner {
            Some(owner) => {
                let owner = self.owner(owner)?;
                self.add_to_link_day((day, owner, subject), more)?
            }
            None => true,
        };
        // While a day runs nobody rolls it up, and its first part has marked it.
        if day < self.rolled_before || is_first_today {
            self.changed.insert((day, subject));
        }
        Ok(())
    }

    /// By how much the part says more than what was there; `None` when it says nothing new.
    ///
    /// A row speaks of the newest chunk that has clicks of its subject and quarter-hour, and of all before it together: so the
    /// file grows with what was clicked, not with how often, and the rows that are written to lie close to each other.
    /// Chunks of a source come in order, each after the last word of the one before.
    fn store(&self, subject: i64, part: &Part) -> rusqlite::Result<Option<Counts>> {
        let Some(row) = self.newest_row(subject, part.slot)? else {
            self.insert(subject, part)?;
            return Ok(Some(part.tally.counts));
        };
        match row.chunk.cmp(&part.chunk) {
            // What it says is in the row already.
            Ordering::Greater => Ok(None),
            Ordering::Equal if row.upto >= part.upto => Ok(None),
            Ordering::Equal => {
                self.update(subject, part)?;
                let (new, old) = (part.tally.counts, row.counts);
                Ok(Some(Counts { clicks: new.clicks.saturating_sub(old.clicks), humans: new.humans.saturating_sub(old.humans) }))
            }
            Ordering::Less => {
                self.fold(subject, part, row.chunk)?;
                Ok(Some(part.tally.counts))
            }
        }
    }

    fn newest_row(&self, subject: i64, slot: Slot) -> rusqlite::Result<Option<NewestRow>> {
        self.db
            .prepare_cached(
                "SELECT chunk, upto, clicks, humans FROM parts WHERE subject = ?1 AND slot = ?2 AND source = ?3 ORDER BY chunk DESC LIMIT 1",
            )?
            .query_row(params![subject, slot.get(), self.source], |row| {
                Ok(NewestRow { chunk: to_count(row.get(0)?, 0)?, upto: row.get(1)?, counts: counts(row, 2)? })
            })
            .optional()
    }

    fn insert(&self, subject: i64, part: &Part) -> rusqlite::Result<()> {
        let Tally { counts, dimensions, visitors, .. } = &part.tally;
        let dimensions = stats_codec::encode(dimensions, counts.clicks);
        self.db
            .prepare_cached(
                "INSERT INTO parts (subject, slot, source, chunk, upto, clicks, humans, dimensions, visitors) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                subject,
                part.slot.get(),
                self.source,
                count(part.chunk),
                part.upto,
                count(counts.clicks),
                count(counts.humans),
                dimensions,
                visitors
            ])
            .map(drop)
    }

    /// More of the chunk that the row speaks of.
    fn update(&self, subject: i64, part: &Part) -> rusqlite::Result<()> {
        let Tally { counts, dimensions, visitors, .. } = &part.tally;
        let dimensions = stats_codec::encode(dimensions, counts.clicks);
        self.db
            .prepare_cached(
                "UPDATE parts SET upto = ?5, clicks = ?6, humans = ?7, dimensions = ?8, visitors = ?9 \
                 WHERE subject = ?1 AND slot = ?2 AND source = ?3 AND chunk = ?4",
            )?
            .execute(params![
                subject,
                part.slot.get(),
                self.source,
                count(part.chunk),
                part.upto,
                count(counts.clicks),
                count(counts.humans),
                dimensions,
                visitors
            ])
            .map(drop)
    }

    /// The first of a newer chunk: the row's own becomes one of those before it.
    fn fold(&self, subject: i64, part: &Part, chunk: u64) -> rusqlite::Result<()> {
        let key = params![subject, part.slot.get(), self.source, count(chunk)];
        let before = self
            .db
            .prepare_cached(
                "SELECT clicks, humans, 0, dimensions, visitors, old_clicks, old_humans, 0, old_dimensions, old_visitors \
                 FROM parts WHERE subject = ?1 AND slot = ?2 AND source = ?3 AND chunk = ?4",
            )?
            .query_row(key, |row| {
                let mut sum = TallySum::default();
                add_tallies(&mut sum, row, 0, Want::Everything)?;
                Ok(sum.finish())
            })?;
        let Tally { counts: old, dimensions: mut old_dimensions, visitors: old_visitors, .. } = before;
        cap_dimensions(&mut old_dimensions);
        let Tally { counts, dimensions, visitors, .. } = &part.tally;
        self.db
            .prepare_cached(
                "UPDATE parts SET chunk = ?5, upto = ?6, clicks = ?7, humans = ?8, dimensions = ?9, visitors = ?10, \
                 old_clicks = ?11, old_humans = ?12, old_dimensions = ?13, old_visitors = ?14 \
                 WHERE subject = ?1 AND slot = ?2 AND source = ?3 AND chunk = ?4",
            )?
            .execute(params![
                subject,
                part.slot.get(),
                self.source,
                count(chunk),
                count(part.chunk),
                part.upto,
                count(counts.clicks),
                count(counts.humans),
                stats_codec::encode(dimensions, counts.clicks),
                visitors,
                count(old.clicks),
                count(old.humans),
                stats_codec::encode(&old_dimensions, old.clicks),
                old_visitors
            ])
            .map(drop)
    }

    /// Whether the link had no clicks that day before.
    fn add_to_link_day(&self, (day, owner, link): (u32, i64, i64), more: Counts) -> rusqlite::Result<bool> {
        let values = params![day, owner, link, count(more.clicks), count(more.humans)];
        let was_there = self
            .db
            .prepare_cached("UPDATE link_days SET clicks = clicks + ?4, humans = humans + ?5 WHERE day = ?1 AND owner = ?2 AND link = ?3")?
            .execute(values)?
            > 0;
        if !was_there {
            self.db.prepare_cached("INSERT INTO link_days VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(values)?;
        }
        Ok(!was_there)
    }
}

fn apply(db: &Connection, parts: &[Part], position: LogPosition) -> rusqlite::Result<()> {
    let source = source_id(db, position.log, position.partition)?;
    let (seen, sealed_before, rolled_before) = db
        .prepare_cached("UPDATE state SET seen = seen + 1 RETURNING seen, sealed_before, rolled_before")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?, row.get::<_, u32>(2)?)))?;
    let mut applying = Apply { db, source, sealed_before, rolled_before, owners: HashMap::new(), changed: BTreeSet::new() };
    for part in parts {
        applying.part(part)?;
    }
    let mut mark = db.prepare_cached("INSERT OR REPLACE INTO dirty (day, subject, seen) VALUES (?1, ?2, ?3)")?;
    for (day, subject) in applying.changed {
        mark.execute(params![day, subject, seen])?;
    }
    db.prepare_cached("UPDATE sources SET progress = max(progress, ?2) WHERE id = ?1")?.execute(params![source, count(position.offset)])?;
    Ok(())
}

/// The columns after the key: `clicks, humans, <visitor_days>, dimensions, visitors`. What is not wanted is not read.
fn tally(row: &Row<'_>, first: usize, want: Want) -> rusqlite::Result<Tally> {
    let counts = counts(row, first)?;
    let visitor_days = to_count(row.get(first + 2)?, first + 2)?;
    let wanted: Option<Option<Dimension>> = match want {
        Want::Counts | Want::Visitors => None,
        Want::Dimension(dimension) => Some(Some(dimension)),
        Want::Everything => Some(None),
    };
    let dimensions = match wanted {
        None => domain::port::Dimensions::new(),
        Some(wanted) => {
            let bytes = row.get_ref(first + 3)?.as_blob().map_err(|_| broken(first + 3, Type::Blob, "dimensions"))?;
            stats_codec::decode(bytes, counts.clicks, wanted).map_err(|_| broken(first + 3, Type::Blob, "dimensions"))?
        }
    };
    let visitors = match want {
        Want::Visitors | Want::Everything => row.get(first + 4)?,
        Want::Counts | Want::Dimension(_) => Vec::new(),
    };
    Ok(Tally { counts, dimensions, visitors, visitor_days })
}

/// Adds what a row of `parts` says: of its newest chunk, and of those before it. The columns of the first begin at `first`, those of the second follow.
fn add_tallies(sum: &mut TallySum, row: &Row<'_>, first: usize, want: Want) -> rusqlite::Result<()> {
    for first in [first, first + TALLY_COLUMNS] {
        let tally = tally(row, first, want)?;
        if tally.counts.clicks > 0 {
            sum.add(&tally).map_err(|_| broken(first + 4, Type::Blob, "visitors"))?;
        }
    }
    Ok(())
}

fn slots(db: &Connection, subject: &Subject, from: Slot, to: Slot, want: Want) -> rusqlite::Result<Vec<(Slot, Tally)>> {
    let Some(subject) = subject_id(db, subject)? else { return Ok(Vec::new()) };
    let mut select = db.prepare_cached(
        "SELECT slot, clicks, humans, 0, dimensions, visitors, old_clicks, old_humans, 0, old_dimensions, old_visitors \
         FROM parts WHERE subject = ?1 AND slot >= ?2 AND slot < ?3 ORDER BY slot",
    )?;
    let mut rows = select.query(params![subject, from.get(), to.get()])?;
    let mut sums: Vec<(Slot, TallySum)> = Vec::new();
    while let Some(row) = rows.next()? {
        let slot = Slot::new(row.get(0)?);
        if sums.last().is_none_or(|(last, _)| *last != slot) {
            sums.push((slot, TallySum::default()));
        }
        if let Some((_, sum)) = sums.last_mut() {
            add_tallies(sum, row, 1, want)?;
        }
    }
    Ok(sums.into_iter().map(|(slot, sum)| (slot, sum.finish())).collect())
}

pub(super) fn is_dirty(db: &Connection, subject: i64, day: u32) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM dirty WHERE day = ?1 AND subject = ?2")?.exists(params![day, subject])
}

fn rollups(
    db: &Connection,
    subject: &Subject,
    unit: RollupUnit,
    range: std::ops::Range<u32>,
    want: Want,
) -> rusqlite::Result<Vec<(u32, Tally)>> {
    let Some(subject) = subject_id(db, subject)? else { return Ok(Vec::new()) };
    let mut select = db.prepare_cached(
        "SELECT number, clicks, humans, visitor_days, dimensions, visitors FROM rollups \
         WHERE subject = ?1 AND unit = ?2 AND number >= ?3 AND number < ?4 ORDER BY number",
    )?;
    let mut rows = select.query(params![subject, unit_number(unit), range.start, range.end])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let number = number(row.get(0)?, 0)?;
        let mut days = match unit {
            RollupUnit::Day => number..number + 1,
            RollupUnit::Month => first_day(number)..first_day(number + 1),
        };
        if !days.try_fold(false, |dirty, day| Ok::<_, rusqlite::Error>(dirty || is_dirty(db, subject, day)?))? {
            found.push((number, tally(row, 1, want)?));
        }
    }
    Ok(found)
}

fn put_rollups(db: &Connection, rollups: &[Rollup]) -> rusqlite::Result<()> {
    for rollup in rollups {
        // An owner whose clicks were all counted elsewhere, long ago, has had no parts.
        let subject = match &rollup.subject {
            Subject::Owner(owner) => owner_id(db, owner)?,
            Subject::Link(link) => id(*link),
            Subject::Everyone => EVERYONE,
        };
        let tally = &rollup.tally;
        db.prepare_cached("INSERT OR REPLACE INTO rollups VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
            subject,
            unit_number(rollup.unit),
            rollup.number,
            count(tally.counts.clicks),
            count(tally.counts.humans),
            count(tally.visitor_days),
            stats_codec::encode(&tally.dimensions, tally.counts.clicks),
            tally.visitors,
        ])?;
    }
    for rollup in rollups.iter().filter(|rollup| rollup.unit == RollupUnit::Day) {
        let Some(subject) = subject_id(db, &rollup.subject)? else { continue };
        let clean = db.prepare_cached("DELETE FROM dirty WHERE day = ?1 AND subject = ?2 AND seen <= ?3")?.execute(params![
            rollup.number,
            subject,
            count(rollup.seen)
        ])?;
        if clean > 0 && subject < 0 {
            stats_top::trim(db, rollup.number, subject)?;
        }
    }
    Ok(())
}

fn rolled_before(db: &Connection) -> rusqlite::Result<u32> {
    db.prepare_cached("SELECT rolled_before FROM state")?.query_row([], |row| row.get(0))
}

fn roll_before(db: &Connection, day: u32) -> rusqlite::Result<()> {
    db.execute("UPDATE state SET rolled_before = max(rolled_before, ?1)", [day]).map(drop)
}

fn dirty_days(db: &Connection, before_day: u32, limit: usize) -> rusqlite::Result<Vec<DirtyDay>> {
    let mut owner = db.prepare_cached("SELECT name FROM owners WHERE id = ?1")?;
    let mut select = db.prepare_cached("SELECT day, subject, seen FROM dirty WHERE day < ?1 ORDER BY day, subject LIMIT ?2")?;
    let mut rows = select.query(params![before_day, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut days = Vec::new();
    while let Some(row) = rows.next()? {
        let subject = match row.get::<_, i64>(1)? {
            EVERYONE => Subject::Everyone,
            link if link > 0 => Subject::Link(LinkId::new(to_count(link, 1)?)),
            name => Subject::Owner(owner.query_row([-name], |row| Ok(Owner::from_stored(row.get_ref(0)?.as_str()?)))?),
        };
        days.push(DirtyDay { subject, day: number(row.get(0)?, 0)?, seen: to_count(row.get(2)?, 2)? });
    }
    Ok(days)
}

/// Subjects with quarter-hours before `day`, at most `limit`: one look at each subject's oldest.
fn subjects_before(db: &Connection, day: u32, limit: usize) -> rusqlite::Result<Vec<i64>> {
    let mut next = db.prepare_cached("SELECT subject, slot / 96 FROM parts WHERE subject > ?1 ORDER BY subject, slot LIMIT 1")?;
    let (mut last, mut found) = (i64::MIN, Vec::new());
    while found.len() < limit {
        let Some((subject, oldest)) = next.query_row([last], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?))).optional()? else {
            break;
        };
        if oldest < day {
            found.push(subject);
        }
        last = subject;
    }
    Ok(found)
}

fn expire(db: &Connection, subjects: &[i64], before_day: u32, limit: usize) -> rusqlite::Result<usize> {
    db.execute("UPDATE state SET sealed_before = max(sealed_before, ?1)", [before_day])?;
    let mut delete = db.prepare_cached(
        "DELETE FROM parts WHERE subject = ?1 AND slot IN (SELECT slot FROM parts WHERE subject = ?1 AND slot < ?2 \
         AND NOT EXISTS (SELECT 1 FROM dirty WHERE dirty.day = slot / 96 AND dirty.subject = ?1) LIMIT ?3)",
    )?;
    let mut removed = 0;
    for subject in subjects {
        if removed >= limit {
            break;
        }
        let rest = i64::try_from(limit - removed).unwrap_or(i64::MAX);
        removed += delete.execute(params![subject, before_day.saturating_mul(Slot::PER_DAY), rest])?;
    }
    Ok(removed)
}

#[async_trait]
impl StatsStore for SqliteStats {
    async fn apply(&self, parts: Arc<[Part]>, position: LogPosition) -> PortResult<()> {
        self.file.write("sqlite: apply parts", move |db| apply(db, &parts, position)).await
    }

    async fn progress(&self, log: LogId, partition: u32) -> PortResult<Option<u64>> {
        let read = move |db: &Connection| {
            db.prepare_cached("SELECT progress FROM sources WHERE log = ?1 AND partition = ?2")?
                .query_row(params![log.0, partition], |row| to_count(row.get(0)?, 0))
                .optional()
        };
        self.file.read("sqlite: progress", read).await
    }

    async fn slots(&self, subject: &Subject, from: Slot, to: Slot, want: Want) -> PortResult<Vec<(Slot, Tally)>> {
        let subject = subject.clone();
        self.file.read("sqlite: slots", move |db| slots(db, &subject, from, to, want)).await
    }

    async fn rollups(&self, subject: &Subject, unit: RollupUnit, from: u32, to: u32, want: Want) -> PortResult<Vec<(u32, Tally)>> {
        let subject = subject.clone();
        self.file.read("sqlite: roll-ups", move |db| rollups(db, &subject, unit, from..to, want)).await
    }

    async fn dirty_days(&self, before_day: u32, limit: usize) -> PortResult<Vec<DirtyDay>> {
        // First, so that no part of these days is stored without a mark from here on.
        if self.file.read("sqlite: rolled before", rolled_before).await? < before_day {
            self.file.write("sqlite: roll days", move |db| roll_before(db, before_day)).await?;
        }
        self.file.read("sqlite: dirty days", move |db| dirty_days(db, before_day, limit)).await
    }

    async fn put_rollups(&self, rollups: Vec<Rollup>) -> PortResult<()> {
        self.file.write("sqlite: put roll-ups", move |db| put_rollups(db, &rollups)).await
    }

    async fn top_links(&self, subject: &Subject, from: Slot, to: Slot, limit: usize) -> PortResult<Vec<(LinkId, Counts)>> {
        let subject = subject.clone();
        self.file.read("sqlite: top links", move |db| stats_top::top_links(db, &subject, from, to, limit)).await
    }

    async fn expire_slots(&self, before: UnixMs, limit: usize) -> PortResult<usize> {
        let day = Slot::at(before).day();
        let subjects = self.file.read("sqlite: old slots", move |db| subjects_before(db, day, limit)).await?;
        self.file.write("sqlite: expire slots", move |db| expire(db, &subjects, day, limit)).await
    }
}
