//! Takedowns.

use async_trait::async_trait;
use domain::port::{PortResult, Takedowns as Port};
use domain::{BlockReason, LinkId};
use rusqlite::params;

use super::Sqlite;
use super::value::{id, to_id};

pub struct Takedowns {
    file: Sqlite,
}

impl Takedowns {
    pub(super) fn new(file: Sqlite) -> Self {
        Self { file }
    }
}

#[async_trait]
impl Port for Takedowns {
    async fn put(&self, link: LinkId, reason: &BlockReason) -> PortResult<()> {
        let reason = reason.clone();
        self.file
            .write("sqlite: put a takedown", move |db| {
                db.prepare_cached("INSERT OR REPLACE INTO takedowns (link, reason) VALUES (?1, ?2)")?
                    .execute(params![id(link), reason.as_str()])
                    .map(drop)
            })
            .await
    }

    async fn remove(&self, link: LinkId) -> PortResult<()> {
        self.file
            .write("sqlite: lift a takedown", move |db| {
                db.prepare_cached("DELETE FROM takedowns WHERE link = ?1")?.execute([id(link)]).map(drop)
            })
            .await
    }

    async fn all(&self) -> PortResult<Vec<(LinkId, BlockReason)>> {
        self.file
            .read("sqlite: read takedowns", |db| {
                db.prepare_cached("SELECT link, reason FROM takedowns ORDER BY link")?
                    .query_map([], |row| Ok((to_id(row.get(0)?, 0)?, BlockReason::from_stored(row.get_ref(1)?.as_str()?))))?
                    .collect()
            })
            .await
    }
}
