//! Mass deletes: long work that says how far it is and goes on after a restart.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chassis::{Lifecycle, OnError, Stage};
use domain::api::{Context, JobState, JobStatus, Selection};
use domain::port::{Job, Outcome, Replaced, Walk};
use domain::{Error, Link, LinkId, Reason, Result, State, limits};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::caches::Follow;
use crate::metrics;
use crate::service::Service;

/// Links handled between two reports of progress: seconds on a slow store, well below [`CLAIM`].
const CHUNK_LEN: usize = 500;
/// How long a job stays with a process that is not heard of any more.
const CLAIM: Duration = Duration::from_mins(1);
/// Between two looks for jobs that nobody runs.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// Jobs that may wait for the worker.
const QUEUE_LEN: usize = 64;
const TRIES_MAX: u32 = 4;

pub(crate) struct JobQueue(mpsc::Sender<LinkId>);

pub(crate) struct JobWorker(mpsc::Receiver<LinkId>);

impl JobQueue {
    pub(crate) fn new() -> (Self, JobWorker) {
        let (sender, receiver) = mpsc::channel(QUEUE_LEN);
        (Self(sender), JobWorker(receiver))
    }
}

impl JobWorker {
    /// One job at a time: the new ones, and those that another process left or an earlier one of ours set aside.
    pub(crate) fn start(mut self, service: Arc<Service>, life: &Lifecycle) {
        let draining = life.draining(Stage::Background);
        life.spawn("jobs", Stage::Background, OnError::Log, async move {
            let mut look = tokio::time::interval(LOOK_INTERVAL);
            look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    () = draining.cancelled() => return Ok::<_, Infallible>(()),
                    Some(id) = self.0.recv() => service.run_job(id, &draining).await,
                    _ = look.tick() => service.run_jobs_left(&draining).await,
                }
            }
        });
    }
}

fn status(job: &Job) -> JobStatus {
    JobStatus {
        id: job.id,
        kind: "bulk_delete",
        state: job.state,
        done: job.done,
        total: job.total,
        errors: job.errors,
        created_at: job.created_at,
        updated_at: job.updated_at,
    }
}

impl Service {
    pub(crate) async fn start_job(&self, context: &Context, selection: Selection) -> Result<JobStatus> {
        let (domain, total) = match &selection {
            Selection::Ids(ids) if ids.is_empty() || ids.len() > limits::BULK_DELETE_IDS_MAX => {
                let detail = format!("give 1 to {} ids", limits::BULK_DELETE_IDS_MAX);
                return Err(Error::field("/ids", Reason::InvalidField, detail));
            }
            Selection::Ids(ids) => (None, ids.len()),
            Selection::Tag(_) => (None, 0),
            Selection::Domain(host) => (Some(self.domain(Some(host))?.no), 0),
        };
        let permit = self
            .queue
            .0
            .try_reserve()
            .map_err(|_| Error::new(Reason::Unavailable, "too many jobs are waiting").with_retry_after(Duration::from_secs(10)))?;
        let id = self.deps.ids.next_ids(1, context.deadline).await?.pop();
        let id = id.ok_or_else(|| Error::new(Reason::Internal, "no id for a job"))?;
        let now = self.deps.clock.now();
        let job = Job {
            id,
            owner: context.caller.owner.clone(),
            everyone: context.caller.is_admin(),
            selection,
            domain,
            state: JobState::Running,
            done: 0,
            total: u64::try_from(total).unwrap_or(u64::MAX),
            errors: 0,
            cursor: None,
            created_at: now,
            updated_at: now,
        };
        self.deps.jobs.insert(job.clone()).await?;
        permit.send(id);
        Ok(status(&job))
    }

    pub(crate) async fn job_status(&self, context: &Context, id: LinkId) -> Result<JobStatus> {
        let job = self.deps.jobs.get(id).await?.filter(|job| context.caller.may_see(&job.owner));
        job.as_ref().map(status).ok_or_else(|| Error::not_found("job"))
    }

    async fn run_jobs_left(&self, draining: &CancellationToken) {
        match self.deps.jobs.running().await {
            Ok(jobs) => {
                for job in jobs {
                    self.run_job(job.id, draining).await;
                }
            }
            Err(error) => tracing::warn!(%error, "jobs cannot be looked for, trying again"),
        }
    }

    /// Ends when the job does, when the process drains (another goes on), when another process has the job,
    /// or when the store fails for long: the job then waits, still running, for the next look.
    async fn run_job(&self, id: LinkId, draining: &CancellationToken) {
        if !self.claim_job(id).await.unwrap_or(false) {
            return;
        }
        let Ok(Some(mut job)) = self.deps.jobs.get(id).await else { return };
        let mut failures = 0;
        while job.state == JobState::Running && !draining.is_cancelled() {
            match self.job_step(&mut job).await {
                Ok(true) => failures = 0,
                Ok(false) => {
                    tracing::warn!(job = id.get(), "another process has taken this job; it goes on there");
                    return;
                }
                Err(error) if failures < 10 => {
                    tracing::warn!(job = id.get(), %error, "job step failed, trying again");
                    failures += 1;
                    let pause = Duration::from_millis(100 << failures);
                    draining.run_until_cancelled(tokio::time::sleep(pause)).await;
                }
                Err(error) => {
                    tracing::error!(job = id.get(), %error, "job set aside, to be taken up again later");
                    return;
                }
            }
        }
    }

    async fn claim_job(&self, id: LinkId) -> Result<bool> {
        let now = self.deps.clock.now();
        Ok(self.deps.jobs.claim(id, now, now.saturating_add(CLAIM)).await?)
    }

    /// Handles one chunk and writes down how far it came; false when the job is another's. A chunk may be handled
    /// twice, by us and by another who believed us dead: only what is not deleted yet is deleted.
    async fn job_step(&self, job: &mut Job) -> Result<bool> {
        if !self.claim_job(job.id).await? {
            return Ok(false);
        }
        let mut next = job.clone();
        match &job.selection {
            Selection::Ids(ids) => self.delete_ids(&mut next, ids).await?,
            Selection::Tag(tag) => self.delete_walked(&mut next, |link| link.tags.contains(tag)).await?,
            Selection::Domain(_) => self.delete_walked(&mut next, |link| Some(link.domain) == job.domain).await?,
        }
        next.updated_at = self.deps.clock.now();
        let is_ours = self.deps.jobs.update(&next).await?;
        *job = next;
        Ok(is_ours)
    }

    async fn delete_ids(&self, job: &mut Job, ids: &[LinkId]) -> Result<()> {
        let from = usize::try_from(job.cursor.unwrap_or(0)).unwrap_or(usize::MAX).min(ids.len());
        let chunk = &ids[from..ids.len().min(from + CHUNK_LEN)];
        let links = self.deps.links.get_many(chunk).await?;
        let (links, foreign): (Vec<_>, Vec<_>) = links.into_iter().partition(|link| job.everyone || link.owner == job.owner);
        let missing = chunk.len().saturating_sub(links.len() + foreign.len()) + foreign.len();
        self.delete_links(job, links).await?;
        job.errors += u64::try_from(missing).unwrap_or(u64::MAX);
        let end = from + chunk.len();
        job.cursor = u64::try_from(end).ok();
        if end == ids.len() {
            job.state = JobState::Done;
        }
        Ok(())
    }

    async fn delete_walked(&self, job: &mut Job, selects: impl Fn(&Link) -> bool) -> Result<()> {
        let whose = if job.everyone { Walk::Everyone } else { Walk::Owner(job.owner.clone()) };
        // Links made after the job began are not meant.
        let before = job.cursor.map_or(job.id, LinkId::new);
        let rows = self.deps.links.walk(&whose, Some(before), CHUNK_LEN).await?;
        let (last, is_end) = (rows.last().map(|row| row.id), rows.len() < CHUNK_LEN);
        // Deleted since the job began: by a step whose progress was lost.
        let began = job.created_at;
        let meant = |link: &Link| selects(link) && (link.state != State::Deleted || link.updated_at >= began);
        let links: Vec<_> = rows.into_iter().filter(meant).collect();
        job.total += u64::try_from(links.len()).unwrap_or(u64::MAX);
        self.delete_links(job, links).await?;
        job.cursor = last.map(LinkId::get).or(job.cursor);
        if is_end {
            job.state = JobState::Done;
        }
        Ok(())
    }

    /// Deletes what is not deleted yet, again where somebody else changed it meanwhile.
    async fn delete_links(&self, job: &mut Job, mut links: Vec<Link>) -> Result<()> {
        let all = links.len();
        links.retain(|link| link.state != State::Deleted);
        for _ in 0..TRIES_MAX {
            if links.is_empty() {
                break;
            }
            for link in &mut links {
                link.state = State::Deleted;
                self.stamp(link);
            }
            let replaced = match self.deps.links.replace(links.clone()).await {
                Ok(replaced) => replaced,
                Err(error) => {
                    // The next try finds those deleted that are, and has no news of them.
                    if error.outcome == Outcome::Unknown {
                        self.caches.follow_all(Follow::Doubtful, &links).await;
                    }
                    return Err(error.into());
                }
            };
            let (mut stored, mut stale) = (Vec::new(), Vec::new());
            for (link, replaced) in links.into_iter().zip(replaced) {
                match replaced {
                    Replaced::Stored => stored.push(link),
                    Replaced::Stale(Some(row)) if row.state != State::Deleted => stale.push(row),
                    Replaced::Stale(_) => {}
                }
            }
            self.caches.follow_all(Follow::Changed, &stored).await;
            links = stale;
        }
        let (failed, done) = (links.len(), all - links.len());
        job.errors += u64::try_from(failed).unwrap_or(u64::MAX);
        job.done += u64::try_from(done).unwrap_or(u64::MAX);
        ::metrics::counter!(metrics::JOB_LINKS, "outcome" => "done").increment(u64::try_from(done).unwrap_or(u64::MAX));
        ::metrics::counter!(metrics::JOB_LINKS, "outcome" => "failed").increment(u64::try_from(failed).unwrap_or(u64::MAX));
        Ok(())
    }
}
