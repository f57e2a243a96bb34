//! Takedowns: conditional, so that of two words about a link the last one counts by the servers' order.

use async_trait::async_trait;
use domain::port::{PortResult, Takedowns as Port};
use domain::{BlockReason, LinkId};
use futures_util::future::{FutureExt as _, try_join_all};

use super::error::OpenError;
use super::query::{Mode, Prepared, Reach};
use super::settling::Settling;
use super::stripes::Stripes;
use super::value::{id, to_id};
use super::{Scylla, slots};

const PARTS: i8 = 16;

pub struct Takedowns {
    scylla: Scylla,
    insert: Prepared,
    update: Prepared,
    delete: Prepared,
    all: Prepared,
    stripes: Stripes,
}

impl Takedowns {
    pub(super) async fn new(scylla: Scylla) -> Result<Self, OpenError> {
        let condition = Mode::Condition(Reach::Everywhere);
        Ok(Self {
            insert: scylla
                .prepare(condition, "cql: put a takedown", "INSERT INTO takedowns (part, link, reason) VALUES (?, ?, ?) IF NOT EXISTS")
                .await?,
            update: scylla
                .prepare(condition, "cql: change a takedown", "UPDATE takedowns SET reason = ? WHERE part = ? AND link = ? IF EXISTS")
                .await?,
            delete: scylla
                .prepare(condition, "cql: lift a takedown", "DELETE FROM takedowns WHERE part = ? AND link = ? IF EXISTS")
                .await?,
            all: scylla.prepare(Mode::Read, "cql: read takedowns", "SELECT link, reason FROM takedowns WHERE part = ?").await?,
            stripes: Stripes::new(),
            scylla,
        })
    }
}

fn part(link: LinkId) -> i8 {
    i8::try_from(slots::part(link)).unwrap_or(0) % PARTS
}

#[async_trait]
impl Port for Takedowns {
    async fn put(&self, link: LinkId, reason: &BlockReason) -> PortResult<()> {
        let (part, link, reason) = (part(link), id(link), reason.as_str());
        let _turn = self.stripes.enter(&part).await;
        let mut settling = Settling::new(&self.scylla, self.insert.op);
        // Saying it twice is saying it once: an unclear attempt is made again.
        let mut exists = false;
        loop {
            let sent = if exists {
                self.scylla.decide(&self.update, (reason, part, link)).boxed()
            } else {
                self.scylla.decide(&self.insert, (part, link, reason)).boxed()
            };
            match settling.attempt(sent).await? {
                Some(decided) if decided.applied => return Ok(()),
                Some(_) => exists = !exists,
                None => {}
            }
        }
    }

    async fn remove(&self, link: LinkId) -> PortResult<()> {
        let (part, link) = (part(link), id(link));
        let _turn = self.stripes.enter(&part).await;
        let mut settling = Settling::new(&self.scylla, self.delete.op);
        // Not applied: there was none, or there is none any more.
        while settling.attempt(self.scylla.decide(&self.delete, (part, link))).await?.is_none() {}
        Ok(())
    }

    async fn all(&self) -> PortResult<Vec<(LinkId, BlockReason)>> {
        let parts = try_join_all((0..PARTS).map(|part| {
            async move {
                let mut some = Vec::new();
                self.scylla
                    .each(&self.all, (part,), |row| {
                        some.push((to_id(row.need("link")?)?, BlockReason::from_stored(row.need("reason")?)));
                        Ok(())
                    })
                    .await?;
                Ok(some)
            }
            .boxed()
        }))
        .await?;
        Ok(parts.into_iter().flatten().collect())
    }
}
