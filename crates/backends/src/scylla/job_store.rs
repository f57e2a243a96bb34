//! Jobs, each run by one process at a time: whoever has the claim, renewed while the job goes on. Its row is changed by
//! conditions only; what it is about is written before it and never changes.

use async_trait::async_trait;
use domain::api::{JobState, Selection};
use domain::port::{Entropy, Job, JobStore as Port, Outcome, PortError, PortErrorKind, PortResult};
use domain::{Host, LinkId, Owner, Tag, UnixMs};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::error::Broken;
use super::fields::Fields;
use super::query::{Mode, Prepared, Reach};
use super::value::{bits, count, domain as number, from_bits, id, to_count, to_domain, to_id};
use super::{OpenError, Scylla};

const READS: usize = 16;
/// Timestamps of the list of running jobs: a job is listed once, taken off once, and not listed again.
const LISTED: i64 = 1;
const TAKEN_OFF: i64 = 2;

pub struct JobStore {
    cql: Scylla,
    /// This process, among those that run jobs.
    runner: i64,
    put: Prepared,
    put_selection: Prepared,
    list: Prepared,
    take_off: Prepared,
    get: Prepared,
    selection: Prepared,
    listed: Prepared,
    standing: Prepared,
    claim: Prepared,
    update: Prepared,
}

const PUT: &str = "INSERT INTO jobs (id, owner, everyone, state, done, total, errors, cursor, created_at, updated_at, runner, runner_until) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0) IF NOT EXISTS";
const GET: &str = "SELECT id, owner, everyone, state, done, total, errors, cursor, created_at, updated_at FROM jobs WHERE id = ?";
const UPDATE: &str = "UPDATE jobs SET state = ?, done = ?, total = ?, errors = ?, cursor = ?, updated_at = ? WHERE id = ? IF runner = ?";

impl JobStore {
    pub(super) async fn open(cql: &Scylla, entropy: &dyn Entropy) -> Result<Self, OpenError> {
        let condition = Mode::Condition(Reach::Everywhere);
        let serial = Mode::SerialRead(Reach::Everywhere);
        let put_selection = "INSERT INTO job_selections (id, kind, value, domain) VALUES (?, ?, ?, ?)";
        let standing = "SELECT state, runner, runner_until FROM jobs WHERE id = ?";
        let claim = "UPDATE jobs SET runner = ?, runner_until = ? WHERE id = ? IF runner = ? AND runner_until = ? AND state = 'running'";
        let list = "INSERT INTO jobs_running (shard, id) VALUES (0, ?) USING TIMESTAMP ?";
        let take_off = "DELETE FROM jobs_running USING TIMESTAMP ? WHERE shard = 0 AND id = ?";
        Ok(Self {
            runner: entropy.u64().cast_signed(),
            put: cql.prepare(condition, "cql: insert a job", PUT).await?,
            put_selection: cql.prepare(Mode::Write, "cql: insert a job's selection", put_selection).await?,
            list: cql.prepare(Mode::Aggregate, "cql: list a running job", list).await?,
            take_off: cql.prepare(Mode::Aggregate, "cql: take a job off the list", take_off).await?,
            get: cql.prepare(Mode::Read, "cql: get a job", GET).await?,
            selection: cql
                .prepare(Mode::Read, "cql: get a job's selection", "SELECT kind, value, domain FROM job_selections WHERE id = ?")
                .await?,
            listed: cql.prepare(Mode::AggregateRead, "cql: read running jobs", "SELECT id FROM jobs_running WHERE shard = 0").await?,
            standing: cql.prepare(serial, "cql: look at a job's claim", standing).await?,
            claim: cql.prepare(condition, "cql: claim a job", claim).await?,
            update: cql.prepare(condition, "cql: update a job", UPDATE).await?,
            cql: cql.clone(),
        })
    }

    /// The claim as it stands, of a job that runs.
    async fn standing(&self, job: LinkId) -> PortResult<Option<(i64, i64)>> {
        let rows = self.cql.rows(&self.standing, (id(job),)).await?;
        let claim = rows.first(|row| {
            let runs = row.need::<&str>("state")? == JobState::Running.as_str();
            Ok(if runs { Some((row.need("runner")?, row.need("runner_until")?)) } else { None })
        });
        Ok(claim?.flatten())
    }
}

type SelectionRow = (Selection, Option<domain::DomainNo>);

fn selection(row: &Fields<'_, '_>) -> Result<SelectionRow, Broken> {
    let value: &[u8] = row.get("value")?.unwrap_or_default();
    let text = || std::str::from_utf8(value).map_err(|error| Broken::with_source("a selection that is no text", error));
    let selection = match row.need::<&str>("kind")? {
        "ids" => {
            let (ids, rest) = value.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(Broken::new("ids of another length"));
            }
            Selection::Ids(ids.iter().map(|id| LinkId::new(u64::from_le_bytes(*id))).collect())
        }
        "tag" => Selection::Tag(Tag::from_stored(text()?)),
        "domain" => Selection::Domain(Host::from_stored(text()?)),
        other => return Err(Broken::new(format!("a selection by `{other}`"))),
    };
    Ok((selection, row.get::<i32>("domain")?.map(to_domain).transpose()?))
}

fn job(row: &Fields<'_, '_>, (selection, domain): SelectionRow) -> Result<Job, Broken> {
    let stored: &str = row.need("state")?;
    let state = [JobState::Running, JobState::Done, JobState::Failed].into_iter().find(|state| state.as_str() == stored);
    Ok(Job {
        id: to_id(row.need("id")?)?,
        owner: Owner::from_stored(row.need("owner")?),
        everyone: row.need("everyone")?,
        selection,
        domain,
        state: state.ok_or_else(|| Broken::new(format!("`{stored}` is no state of a job")))?,
        done: to_count(row.need("done")?)?,
        total: to_count(row.need("total")?)?,
        errors: to_count(row.need("errors")?)?,
        cursor: row.get("cursor")?.map(from_bits),
        created_at: UnixMs::new(row.need("created_at")?),
        updated_at: UnixMs::new(row.need("updated_at")?),
    })
}

#[async_trait]
impl Port for JobStore {
    async fn insert(&self, job: Job) -> PortResult<()> {
        let key = id(job.id);
        let (kind, value) = match &job.selection {
            Selection::Ids(ids) => ("ids", ids.iter().flat_map(|id| id.get().to_le_bytes()).collect()),
            Selection::Tag(tag) => ("tag", tag.as_str().as_bytes().to_vec()),
            Selection::Domain(host) => ("domain", host.as_str().as_bytes().to_vec()),
        };
        self.cql.write(&self.put_selection, (key, kind, value, job.domain.map(number))).await?;
        self.cql.write(&self.list, (key, LISTED)).await?;
        let (done, total, errors) = (count(job.done), count(job.total), count(job.errors));
        let (created_at, updated_at) = (job.created_at.get(), job.updated_at.get());
        let (owner, state, cursor) = (job.owner.as_str(), job.state.as_str(), job.cursor.map(bits));
        let values = (key, owner, job.everyone, state, done, total, errors, cursor, created_at, updated_at, self.runner);
        let decided = self.cql.decide(&self.put, values).await?;
        // Ids are not given out twice: whose row it is, is ours, from an attempt whose answer was lost.
        let runner = decided.standing("runner", |row| row.need::<i64>("runner"))?;
        if decided.applied || runner == Some(self.runner) {
            return Ok(());
        }
        Err(PortError::new(PortErrorKind::Corrupt, self.put.op, Outcome::NotApplied).with_source("another job has this id"))
    }

    async fn get(&self, key: LinkId) -> PortResult<Option<Job>> {
        let Some(selected) = self.cql.rows(&self.selection, (id(key),)).await?.first(selection)? else { return Ok(None) };
        self.cql.rows(&self.get, (id(key),)).await?.first(|row| job(row, selected.clone()))
    }

    async fn claim(&self, key: LinkId, now: UnixMs, until: UnixMs) -> PortResult<bool> {
        let Some((runner, runner_until)) = self.standing(key).await? else { return Ok(false) };
        if runner != self.runner && runner_until > now.get() {
            return Ok(false);
        }
        let values = (self.runner, until.get(), id(key), runner, runner_until);
        match self.cql.decide(&self.claim, values).await {
            // Not applied and ours all the same: the answer to a first attempt got lost.
            Ok(decided) if !decided.applied => Ok(self.standing(key).await? == Some((self.runner, until.get()))),
            Ok(_) => Ok(true),
            Err(error) if error.outcome == Outcome::Unknown => {
                let standing = self.standing(key).await.map_err(|_| error)?;
                Ok(standing == Some((self.runner, until.get())))
            }
            Err(error) => Err(error),
        }
    }

    async fn update(&self, job: &Job) -> PortResult<bool> {
        let (done, total, errors) = (count(job.done), count(job.total), count(job.errors));
        let (cursor, updated_at) = (job.cursor.map(bits), job.updated_at.get());
        let values = (job.state.as_str(), done, total, errors, cursor, updated_at, id(job.id), self.runner);
        // The same values twice are the same row, so an unknown outcome may be tried again by the caller.
        if !self.cql.decide(&self.update, values).await?.applied {
            return Ok(false);
        }
        if job.state != JobState::Running {
            self.cql.write(&self.take_off, (TAKEN_OFF, id(job.id))).await?;
        }
        Ok(true)
    }

    async fn running(&self) -> PortResult<Vec<Job>> {
        let mut ids = Vec::new();
        let read = self.cql.each(&self.listed, (), |row| {
            ids.push(to_id(row.need("id")?)?);
            Ok(())
        });
        read.await?;
        let gets = (0..ids.len()).map(|index| self.get(ids[index]));
        let jobs: Vec<Option<Job>> = stream::iter(gets).buffered(READS).try_collect().await?;
        let (running, ended): (Vec<Job>, Vec<Job>) = jobs.into_iter().flatten().partition(|job| job.state == JobState::Running);
        for job in ended {
            self.cql.write(&self.take_off, (TAKEN_OFF, id(job.id))).await?;
        }
        Ok(running)
    }
}
