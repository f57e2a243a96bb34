//! Click budgets.

use async_trait::async_trait;
use domain::LinkId;
use domain::port::{Budget, ClickBudget as Port, PortResult};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Sqlite;
use super::value::{self, to_count};

pub struct ClickBudget {
    file: Sqlite,
}

impl ClickBudget {
    pub(super) fn new(file: Sqlite) -> Self {
        Self { file }
    }
}

#[async_trait]
impl Port for ClickBudget {
    async fn set_max(&self, link: LinkId, max: Option<u64>) -> PortResult<()> {
        self.file
            .write("sqlite: set a click budget", move |db| {
                db.prepare_cached(
                    "INSERT INTO click_budgets (link, max, used) VALUES (?1, ?2, 0) ON CONFLICT (link) DO UPDATE SET max = excluded.max",
                )?
                .execute(params![value::id(link), max.map(value::count)])
                .map(drop)
            })
            .await
    }

    async fn take(&self, link: LinkId, max: u64, count: u32) -> PortResult<u32> {
        self.file.write("sqlite: take from a click budget", move |db| take(db, link, max, count)).await
    }

    async fn get(&self, link: LinkId) -> PortResult<Option<Budget>> {
        self.file
            .read("sqlite: get a click budget", move |db| {
                let Some((Some(max), used)) = row(db, link)? else { return Ok(None) };
                Ok(Some(Budget { max, used }))
            })
            .await
    }
}

/// `max` (`None`: lifted) and `used`.
fn row(db: &Connection, link: LinkId) -> rusqlite::Result<Option<(Option<u64>, u64)>> {
    db.prepare_cached("SELECT max, used FROM click_budgets WHERE link = ?1")?
        .query_row([value::id(link)], |row| {
            let max = row.get::<_, Option<i64>>(0)?.map(|max| to_count(max, 0)).transpose()?;
            Ok((max, to_count(row.get(1)?, 1)?))
        })
        .optional()
}

fn take(db: &Connection, link: LinkId, max: u64, count: u32) -> rusqlite::Result<u32> {
    let known = row(db, link)?;
    if known.is_none() {
        db.prepare_cached("INSERT INTO click_budgets (link, max, used) VALUES (?1, ?2, 0)")?
            .execute([value::id(link), value::count(max)])?;
    }
    let (max, used) = known.unwrap_or((Some(max), 0));
    let left = max.map_or(u64::MAX, |max| max.saturating_sub(used));
    let taken = u32::try_from(left).unwrap_or(u32::MAX).min(count);
    if taken > 0 {
        db.prepare_cached("UPDATE click_budgets SET used = ?2 WHERE link = ?1")?
            .execute([value::id(link), value::count(used.saturating_add(taken.into()))])?;
    }
    Ok(taken)
}
