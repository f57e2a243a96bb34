//! Click budgets.

use async_trait::async_trait;
use domain::LinkId;
use domain::port::{Budget, ClickBudget as Port, Outcome, PortError, PortErrorKind, PortResult};
use futures_util::future::FutureExt as _;

use super::Scylla;
use super::error::{Broken, OpenError};
use super::fields::Fields;
use super::query::{Mode, Prepared, Reach};
use super::settling::Settling;
use super::stripes::Stripes;
use super::value::{self, count, to_count};
use crate::metrics::CQL_CONTENDED;

/// In the column `max`: the limit was lifted.
const LIFTED: i64 = -1;
/// Within one process the takers of a link wait for each other; between processes so many tries are enough.
const ATTEMPTS: usize = 8;

pub struct ClickBudget {
    scylla: Scylla,
    insert: Prepared,
    set_max: Prepared,
    take: Prepared,
    get: Prepared,
    stripes: Stripes,
}

#[derive(Clone, Copy)]
struct Row {
    max: i64,
    used: u64,
}

impl Row {
    fn left(self) -> u64 {
        to_count(self.max).map_or(u64::MAX, |max| max.saturating_sub(self.used))
    }
}

impl ClickBudget {
    pub(super) async fn new(scylla: Scylla) -> Result<Self, OpenError> {
        let condition = Mode::Condition(Reach::Everywhere);
        Ok(Self {
            insert: scylla
                .prepare(condition, "cql: make a budget", "INSERT INTO click_budgets (link, max, used) VALUES (?, ?, ?) IF NOT EXISTS")
                .await?,
            set_max: scylla.prepare(condition, "cql: set a budget", "UPDATE click_budgets SET max = ? WHERE link = ? IF EXISTS").await?,
            take: scylla
                .prepare(condition, "cql: take from a budget", "UPDATE click_budgets SET used = ? WHERE link = ? IF used = ? AND max = ?")
                .await?,
            get: scylla.prepare(Mode::Read, "cql: get a budget", "SELECT max, used FROM click_budgets WHERE link = ?").await?,
            stripes: Stripes::new(),
            scylla,
        })
    }

    async fn row(&self, link: LinkId) -> PortResult<Option<Row>> {
        self.scylla.rows(&self.get, (value::id(link),)).await?.first(read)
    }
}

fn read(row: &Fields<'_, '_>) -> Result<Row, Broken> {
    Ok(Row { max: row.need("max")?, used: to_count(row.need("used")?)? })
}

#[async_trait]
impl Port for ClickBudget {
    async fn set_max(&self, link: LinkId, max: Option<u64>) -> PortResult<()> {
        let (id, max) = (value::id(link), max.map_or(LIFTED, count));
        let _turn = self.stripes.enter(&link).await;
        let mut settling = Settling::new(&self.scylla, self.set_max.op);
        // Setting it twice is setting it once: an unclear attempt is made again.
        let mut exists = true;
        loop {
            let sent = if exists {
                self.scylla.decide(&self.set_max, (max, id)).boxed()
            } else {
                self.scylla.decide(&self.insert, (id, max, 0_i64)).boxed()
            };
            match settling.attempt(sent).await? {
                Some(decided) if decided.applied => return Ok(()),
                Some(_) => exists = !exists,
                None => {}
            }
        }
    }

    async fn take(&self, link: LinkId, max: u64, wanted: u32) -> PortResult<u32> {
        let id = value::id(link);
        let _turn = self.stripes.enter(&link).await;
        let mut row = self.row(link).await?;
        for _ in 0..ATTEMPTS {
            let known = row.unwrap_or_else(|| Row { max: count(max), used: 0 });
            let taken = u32::try_from(known.left()).unwrap_or(u32::MAX).min(wanted);
            if taken == 0 {
                return Ok(0);
            }
            let used = count(known.used.saturating_add(taken.into()));
            // An error of unknown outcome is answered as it is: spent.
            let decided = match row {
                None => self.scylla.decide(&self.insert, (id, known.max, used)).await?,
                Some(_) => self.scylla.decide(&self.take, (used, id, count(known.used), known.max)).await?,
            };
            if decided.applied {
                return Ok(taken);
            }
            metrics::counter!(CQL_CONTENDED, "op" => self.take.op).increment(1);
            row = decided.standing("used", read)?;
        }
        Err(PortError::new(PortErrorKind::Unavailable, self.take.op, Outcome::NotApplied))
    }

    async fn get(&self, link: LinkId) -> PortResult<Option<Budget>> {
        let row = self.row(link).await?;
        Ok(row.and_then(|row| Some(Budget { max: to_count(row.max).ok()?, used: row.used })))
    }
}
