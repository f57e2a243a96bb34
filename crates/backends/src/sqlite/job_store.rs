//! Jobs.

use async_trait::async_trait;
use domain::api::{JobState, Selection};
use domain::port::{Job, JobStore as Port, PortResult};
use domain::{DomainNo, Host, LinkId, Owner, Tag, UnixMs};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Sqlite;
use super::value::{bits, broken, count, from_bits, id, to_count, to_id};

const COLUMNS: &str =
    "j.id, j.owner, j.everyone, j.state, j.done, j.total, j.errors, j.cursor, j.created_at, j.updated_at, s.kind, s.value, s.domain";

pub struct JobStore {
    file: Sqlite,
}

impl JobStore {
    pub(super) fn new(file: Sqlite) -> Self {
        Self { file }
    }
}

#[async_trait]
impl Port for JobStore {
    async fn insert(&self, job: Job) -> PortResult<()> {
        self.file.write("sqlite: insert a job", move |db| insert(db, &job)).await
    }

    async fn get(&self, job: LinkId) -> PortResult<Option<Job>> {
        self.file
            .read("sqlite: get a job", move |db| {
                db.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs j JOIN job_selections s ON s.job = j.id WHERE j.id = ?1"))?
                    .query_row([id(job)], read)
                    .optional()
            })
            .await
    }

    async fn claim(&self, job: LinkId, _now: UnixMs, _until: UnixMs) -> PortResult<bool> {
        self.file
            .read("sqlite: claim a job", move |db| {
                db.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1 AND state = 'running'")?.exists([id(job)])
            })
            .await
    }

    async fn update(&self, job: &Job) -> PortResult<bool> {
        let progress = params_of(job);
        self.file
            .write("sqlite: update a job", move |db| {
                db.prepare_cached(
                    "UPDATE jobs SET state = ?2, done = ?3, total = ?4, errors = ?5, cursor = ?6, updated_at = ?7 WHERE id = ?1",
                )?
                .execute(progress)
                .map(|changed| changed == 1)
            })
            .await
    }

    async fn running(&self) -> PortResult<Vec<Job>> {
        self.file
            .read("sqlite: read running jobs", |db| {
                db.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM jobs j JOIN job_selections s ON s.job = j.id WHERE j.state = 'running' ORDER BY j.id"
                ))?
                .query_map([], read)?
                .collect()
            })
            .await
    }
}

type Progress = (i64, &'static str, i64, i64, i64, Option<i64>, i64);

fn params_of(job: &Job) -> Progress {
    (id(job.id), job.state.as_str(), count(job.done), count(job.total), count(job.errors), job.cursor.map(bits), job.updated_at.get())
}

fn insert(db: &Connection, job: &Job) -> rusqlite::Result<()> {
    let (id, state, done, total, errors, cursor, updated_at) = params_of(job);
    db.prepare_cached(
        "INSERT INTO jobs (id, owner, everyone, state, done, total, errors, cursor, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![id, job.owner.as_str(), job.everyone, state, done, total, errors, cursor, job.created_at.get(), updated_at])?;
    let (kind, value) = match &job.selection {
        Selection::Ids(ids) => ("ids", ids.iter().flat_map(|id| id.get().to_le_bytes()).collect()),
        Selection::Tag(tag) => ("tag", tag.as_str().as_bytes().to_vec()),
        Selection::Domain(host) => ("domain", host.as_str().as_bytes().to_vec()),
    };
    db.prepare_cached("INSERT INTO job_selections (job, kind, value, domain) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, kind, value, job.domain.map(DomainNo::get)])
        .map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Job> {
    let state = [JobState::Running, JobState::Done, JobState::Failed];
    let stored = row.get_ref(3)?.as_str()?;
    let domain: Option<u32> = row.get(12)?;
    if domain.is_some_and(|no| !(1..=DomainNo::MAX).contains(&no)) {
        return Err(broken(12, Type::Integer, "domain of a job"));
    }
    Ok(Job {
        id: to_id(row.get(0)?, 0)?,
        owner: Owner::from_stored(row.get_ref(1)?.as_str()?),
        everyone: row.get(2)?,
        state: state.into_iter().find(|state| state.as_str() == stored).ok_or_else(|| broken(3, Type::Text, "state of a job"))?,
        done: to_count(row.get(4)?, 4)?,
        total: to_count(row.get(5)?, 5)?,
        errors: to_count(row.get(6)?, 6)?,
        cursor: row.get::<_, Option<i64>>(7)?.map(from_bits),
        created_at: UnixMs::new(row.get(8)?),
        updated_at: UnixMs::new(row.get(9)?),
        selection: selection(row.get_ref(10)?.as_str()?, row.get_ref(11)?.as_blob()?)
            .ok_or_else(|| broken(11, Type::Blob, "selection of a job"))?,
        domain: domain.map(DomainNo::new),
    })
}

fn selection(kind: &str, value: &[u8]) -> Option<Selection> {
    match kind {
        "ids" => {
            let (ids, rest) = value.as_chunks::<8>();
            rest.is_empty().then(|| Selection::Ids(ids.iter().map(|id| LinkId::new(u64::from_le_bytes(*id))).collect()))
        }
        "tag" => std::str::from_utf8(value).ok().map(|tag| Selection::Tag(Tag::from_stored(tag))),
        "domain" => std::str::from_utf8(value).ok().map(|host| Selection::Domain(Host::from_stored(host))),
        _ => None,
    }
}
