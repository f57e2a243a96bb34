//! Code ranges and worker windows. They have a home region: their conditions are decided within one data
//! centre. An error is answered as it is and grants nothing, whatever became of the statement.

use std::sync::Arc;

use async_trait::async_trait;
use domain::code::Issued;
use domain::port::{CodeRange, IssuedBounds, LeaseStore as Port, PortResult};

use super::Scylla;
use super::bounds::Bounds;
use super::error::{Broken, OpenError};
use super::fields::Fields;
use super::query::{Mode, Prepared, Reach};
use super::stripes::Stripes;
use super::value::{count, to_count};

pub struct LeaseStore {
    scylla: Scylla,
    ranges: Prepared,
    polled_ranges: Prepared,
    add_range: Prepared,
    swap_range: Prepared,
    worker: Prepared,
    add_worker: Prepared,
    swap_worker: Prepared,
    stripes: Stripes,
    bounds: Bounds,
}

impl LeaseStore {
    pub(super) async fn new(scylla: Scylla) -> Result<Self, OpenError> {
        let condition = Mode::Condition(Reach::Home);
        let ranges = "SELECT epoch, key, next, open, lim FROM id_ranges WHERE part = 0";
        let add_range = "INSERT INTO id_ranges (part, epoch, key, next, open, lim) VALUES (0, ?, ?, ?, ?, ?) IF NOT EXISTS";
        let swap_range = "UPDATE id_ranges SET next = ?, open = ?, lim = ? WHERE part = 0 AND epoch = ? IF key = ? AND next = ? AND open = ? AND lim = ?";
        let add_worker = "INSERT INTO id_workers (worker, until_ms) VALUES (?, ?) IF NOT EXISTS";
        let swap_worker = "UPDATE id_workers SET until_ms = ? WHERE worker = ? IF until_ms = ?";
        Ok(Self {
            // Whoever raises `open` must have seen a `lim` that is decided.
            ranges: scylla.prepare(Mode::SerialRead(Reach::Home), "cql: read code ranges", ranges).await?,
            polled_ranges: scylla.prepare(Mode::Read, "cql: poll code ranges", ranges).await?,
            add_range: scylla.prepare(condition, "cql: add a code range", add_range).await?,
            swap_range: scylla.prepare(condition, "cql: swap a code range", swap_range).await?,
            worker: scylla
                .prepare(Mode::SerialRead(Reach::Home), "cql: read a worker", "SELECT until_ms FROM id_workers WHERE worker = ?")
                .await?,
            add_worker: scylla.prepare(condition, "cql: add a worker", add_worker).await?,
            swap_worker: scylla.prepare(condition, "cql: swap a worker", swap_worker).await?,
            stripes: Stripes::new(),
            bounds: Bounds::default(),
            scylla,
        })
    }

    /// Reads what the never-issued proof rests on. With copies in several regions a quorum here may lag
    /// behind the rows' home for any time, and nothing is proved.
    pub(super) async fn poll(&self) -> PortResult<()> {
        let began = std::time::Instant::now();
        let ranges = self.scylla.rows(&self.polled_ranges, ()).await?.map(range)?;
        if self.scylla.is_in_one_region() {
            self.bounds.read(began, &ranges);
        }
        Ok(())
    }
}

impl IssuedBounds for LeaseStore {
    fn issued(&self) -> Option<Arc<Issued>> {
        self.bounds.issued()
    }
}

fn range(row: &Fields<'_, '_>) -> Result<CodeRange, Broken> {
    let (epoch, key): (i32, &[u8]) = (row.need("epoch")?, row.need("key")?);
    Ok(CodeRange {
        epoch: u32::try_from(epoch).map_err(|_| Broken::new(format!("{epoch} is no key epoch")))?,
        key: key.try_into().map_err(|_| Broken::new("a key has 16 bytes"))?,
        next: to_count(row.need("next")?)?,
        open: to_count(row.need("open")?)?,
        lim: to_count(row.need("lim")?)?,
    })
}

fn epoch(range: &CodeRange) -> i32 {
    i32::try_from(range.epoch).unwrap_or(i32::MAX)
}

#[async_trait]
impl Port for LeaseStore {
    async fn ranges(&self) -> PortResult<Vec<CodeRange>> {
        self.scylla.rows(&self.ranges, ()).await?.map(range)
    }

    async fn add_range(&self, range: CodeRange) -> PortResult<bool> {
        let _turn = self.stripes.enter("ranges").await;
        let values = (epoch(&range), range.key.as_slice(), count(range.next), count(range.open), count(range.lim));
        Ok(self.scylla.decide(&self.add_range, values).await?.applied)
    }

    async fn swap_range(&self, old: &CodeRange, new: &CodeRange) -> PortResult<bool> {
        // An epoch's key never changes: codes are made with it.
        if (new.epoch, new.key) != (old.epoch, old.key) {
            return Ok(false);
        }
        let _turn = self.stripes.enter("ranges").await;
        let (key, epoch) = (old.key.as_slice(), epoch(old));
        let values = (count(new.next), count(new.open), count(new.lim), epoch, key, count(old.next), count(old.open), count(old.lim));
        Ok(self.scylla.decide(&self.swap_range, values).await?.applied)
    }

    async fn worker_until(&self, worker: u16) -> PortResult<i64> {
        let until = self.scylla.rows(&self.worker, (i32::from(worker),)).await?.first(|row| row.need::<i64>("until_ms"))?;
        Ok(until.unwrap_or(0))
    }

    async fn swap_worker(&self, worker: u16, old: i64, new: i64) -> PortResult<bool> {
        let _turn = self.stripes.enter(&worker).await;
        let worker = i32::from(worker);
        let decided = if old == 0 {
            self.scylla.decide(&self.add_worker, (worker, new)).await?
        } else {
            self.scylla.decide(&self.swap_worker, (new, worker, old)).await?
        };
        Ok(decided.applied)
    }

    fn bounds_are_immediate(&self) -> bool {
        false
    }
}
