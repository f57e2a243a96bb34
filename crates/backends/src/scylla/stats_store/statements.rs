//! The statements of the statistics, prepared once.

use domain::port::Want;

use super::super::query::{Mode, Prepared};
use super::super::{OpenError, Scylla};
use super::row::columns;

pub(super) struct Statements {
    pub(super) put_part: Prepared,
    pub(super) put_part_of_link: Prepared,
    pub(super) slots: ByWant,
    pub(super) seen: Prepared,
    pub(super) part_keys: Prepared,
    pub(super) drop_span: Prepared,
    pub(super) drop_slots: Prepared,
    pub(super) drop_part: Prepared,
    pub(super) progress: Prepared,
    pub(super) put_progress: Prepared,
    pub(super) setting: Prepared,
    pub(super) put_setting: Prepared,
    pub(super) mark: Prepared,
    pub(super) unmark: Prepared,
    pub(super) marks: Prepared,
    pub(super) marks_of: Prepared,
    pub(super) put_rolled: Prepared,
    pub(super) drop_rolled: Prepared,
    pub(super) rolled: Prepared,
    pub(super) days: Prepared,
    pub(super) put_day: Prepared,
    pub(super) drop_day: Prepared,
    pub(super) put_rollup: Prepared,
    pub(super) rollups: ByWant,
    pub(super) rolled_seen: Prepared,
    pub(super) rolled_clicks: Prepared,
    pub(super) list_top: Prepared,
    pub(super) put_top: Prepared,
    pub(super) top: Prepared,
}

/// One statement for each set of columns.
pub(super) struct ByWant {
    counts: Prepared,
    dimensions: Prepared,
    visitors: Prepared,
    everything: Prepared,
}

impl ByWant {
    async fn prepare(cql: &Scylla, op: &'static str, text: &str) -> Result<Self, OpenError> {
        let prepare = async |want| cql.prepare(Mode::AggregateRead, op, &text.replace("{}", columns(want))).await;
        Ok(Self {
            counts: prepare(Want::Counts).await?,
            dimensions: prepare(Want::Dimension(domain::Dimension::Country)).await?,
            visitors: prepare(Want::Visitors).await?,
            everything: prepare(Want::Everything).await?,
        })
    }

    pub(super) fn of(&self, want: Want) -> &Prepared {
        match want {
            Want::Counts => &self.counts,
            Want::Dimension(_) => &self.dimensions,
            Want::Visitors => &self.visitors,
            Want::Everything => &self.everything,
        }
    }
}

const PART: &str = "INSERT INTO click_parts (subject, span, slot, source, chunk, upto, clicks, humans, dimensions, visitors) \
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
const PART_OF_LINK: &str = "INSERT INTO click_parts (subject, span, slot, source, chunk, upto, clicks, humans, dimensions, visitors, owner) \
                            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
const SLOTS: &str = "SELECT slot, {} FROM click_parts WHERE subject = ? AND span = ? AND slot >= ? AND slot < ?";
const ROLLUP: &str = "INSERT INTO click_rollups (subject, unit, number, clicks, humans, visitor_days, dimensions, visitors, seen) \
                      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
const ROLLUPS: &str = "SELECT number, visitor_days, {} FROM click_rollups WHERE subject = ? AND unit = ? AND number >= ? AND number < ?";

impl Statements {
    pub(super) async fn prepare(cql: &Scylla) -> Result<Self, OpenError> {
        let write = async |op, text: &str| cql.prepare(Mode::Aggregate, op, text).await;
        let read = async |op, text: &str| cql.prepare(Mode::AggregateRead, op, text).await;
        let subjects =
            |table: &str| format!("SELECT subject, marker, at FROM {table} WHERE day = ? AND bucket = ? AND subject > ? LIMIT ?");
        let put_subject =
            |table: &str| format!("INSERT INTO {table} (day, bucket, subject, marker, at) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?");
        let drop_subject =
            |table: &str| format!("DELETE FROM {table} USING TIMESTAMP ? WHERE day = ? AND bucket = ? AND subject = ? AND marker = ?");
        Ok(Self {
            put_part: write("cql: put a part", PART).await?,
            put_part_of_link: write("cql: put a part", PART_OF_LINK).await?,
            slots: ByWant::prepare(cql, "cql: slots", SLOTS).await?,
            seen: read("cql: parts seen", "SELECT upto, owner FROM click_parts WHERE subject = ? AND span = ?").await?,
            part_keys: read("cql: keys of parts", "SELECT slot, source, chunk FROM click_parts WHERE subject = ? AND span = ? LIMIT ?")
                .await?,
            drop_span: write("cql: expire a day", "DELETE FROM click_parts USING TIMESTAMP ? WHERE subject = ? AND span = ?").await?,
            drop_slots: write("cql: expire slots", "DELETE FROM click_parts USING TIMESTAMP ? WHERE subject = ? AND span = ? AND slot < ?")
                .await?,
            drop_part: write(
                "cql: expire a part",
                "DELETE FROM click_parts USING TIMESTAMP ? WHERE subject = ? AND span = ? AND slot = ? AND source = ? AND chunk = ?",
            )
            .await?,
            progress: read("cql: progress", "SELECT next FROM click_progress WHERE log = ? AND part = ?").await?,
            put_progress: write("cql: put progress", "INSERT INTO click_progress (log, part, next) VALUES (?, ?, ?) USING TIMESTAMP ?")
                .await?,
            setting: read("cql: setting", "SELECT value FROM click_settings WHERE name = ?").await?,
            put_setting: write("cql: put a setting", "INSERT INTO click_settings (name, value) VALUES (?, ?) USING TIMESTAMP ?").await?,
            mark: write("cql: mark a day", &put_subject("click_marks")).await?,
            unmark: write("cql: unmark a day", &drop_subject("click_marks")).await?,
            marks: read("cql: marked days", &subjects("click_marks")).await?,
            marks_of: read("cql: marks", "SELECT marker, at FROM click_marks WHERE day = ? AND bucket = ? AND subject = ?").await?,
            put_rolled: write("cql: put a rolled-up day", &put_subject("click_rolled")).await?,
            drop_rolled: write("cql: drop a rolled-up day", &drop_subject("click_rolled")).await?,
            rolled: read("cql: rolled-up days", &subjects("click_rolled")).await?,
            days: read("cql: days", "SELECT day, marker, at FROM click_days WHERE list = ?").await?,
            put_day: write("cql: put a day", "INSERT INTO click_days (list, day, marker, at) VALUES (?, ?, ?, ?) USING TIMESTAMP ?")
                .await?,
            drop_day: write("cql: drop a day", "DELETE FROM click_days USING TIMESTAMP ? WHERE list = ? AND day = ? AND marker = ?")
                .await?,
            put_rollup: write("cql: put a roll-up", ROLLUP).await?,
            rollups: ByWant::prepare(cql, "cql: roll-ups", ROLLUPS).await?,
            rolled_seen: read("cql: seen of a roll-up", "SELECT seen FROM click_rollups WHERE subject = ? AND unit = ? AND number = ?")
                .await?,
            rolled_clicks: read(
                "cql: clicks of roll-ups",
                "SELECT number, clicks, humans FROM click_rollups WHERE subject = ? AND unit = ? AND number >= ? AND number < ?",
            )
            .await?,
            list_top: write("cql: list a link", "INSERT INTO click_top (subject, day, class, link) VALUES (?, ?, ?, ?) USING TIMESTAMP ?")
                .await?,
            put_top: write(
                "cql: put a link's day",
                "INSERT INTO click_top (subject, day, class, link, clicks, humans) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            top: read("cql: top links", "SELECT class, link, clicks, humans FROM click_top WHERE subject = ? AND day = ? LIMIT ?").await?,
        })
    }
}
