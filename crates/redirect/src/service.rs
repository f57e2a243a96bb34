//! The service: shape, memory, proof, store; then what the link's state, dates and budget say; then the click.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use chassis::{Lifecycle, OnError, Stage};
use domain::api::{Answer, Ask, Deadline, Purpose, Resolver};
use domain::port::{
    ClickBudget, ClickLog, Clock, DomainStore, Geo, IssuedBounds, LinkCache, LinkEvents, LinkNews, LinkStore, SaltStore, Takedowns,
};
use domain::{DomainNo, Error, Reason, Result, Slug, State, UnixMs};
use tokio::time::{Instant, timeout_at};

use crate::budget::{Taken, Till};
use crate::entry::Entry;
use crate::metrics::Metrics;
use crate::options::{Options, OptionsError};
use crate::reader::{Memory, Queues, Read, Reader, Sources};
use crate::takedowns::TakenDown;
use crate::visit::{Agents, Recorder, Salts, bot_name};

/// When a client whose code could not be looked up should come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Shown where news of a takedown came before its reason.
const REASON_PENDING: &str = "taken down";

/// What the service needs.
pub struct Deps {
    pub links: Arc<dyn LinkStore>,
    /// What lies between memory and the store, where [`Options::l2`] says that something does.
    pub cache: Arc<dyn LinkCache>,
    pub budgets: Arc<dyn ClickBudget>,
    pub issued: Arc<dyn IssuedBounds>,
    pub domains: Arc<dyn DomainStore>,
    pub clicks: Arc<dyn ClickLog>,
    pub takedowns: Arc<dyn Takedowns>,
    pub events: Arc<dyn LinkEvents>,
    pub salts: Arc<dyn SaltStore>,
    pub geo: Arc<dyn Geo>,
    pub clock: Arc<dyn Clock>,
}

/// Resolves codes. A hit in memory is answered without waiting and without allocating, its click included.
pub struct Service {
    reader: Arc<Reader>,
    till: Arc<Till>,
    budgets: Arc<dyn ClickBudget>,
    taken_down: Arc<TakenDown>,
    agents: Agents,
    recorder: Recorder,
    issued: Arc<dyn IssuedBounds>,
    domains: Arc<dyn DomainStore>,
    clock: Arc<dyn Clock>,
    /// Made once, so that answering with it allocates nothing.
    reason_pending: Arc<str>,
    metrics: Arc<Metrics>,
}

/// What memory and the proof can say.
enum Recalled {
    Known(Arc<Entry>),
    NoSuchCode,
    /// The store must be asked; the entry may stand in if it does not answer.
    Ask(Option<Arc<Entry>>),
}

/// What a link's state, dates and the takedowns make of a request.
enum Settled {
    Answer(Answer),
    /// Somebody follows a link with a click budget.
    Pay {
        max: u64,
    },
    /// Somebody wants to know whether a link with a click budget would redirect.
    CountBudget,
}

impl Service {
    /// Reads the takedowns and the day's salt, and starts the tasks that keep them; neither has to answer.
    ///
    /// # Errors
    /// When an option is outside its bounds.
    pub async fn new(options: Options, deps: Deps, lifecycle: &Lifecycle) -> Result<Arc<Self>, OptionsError> {
        options.check()?;
        let metrics = Arc::new(Metrics::new());
        let (reader, queues) =
            Reader::new(Sources { store: deps.links, cache: deps.cache, events: deps.events.clone() }, options.clone(), metrics.clone());
        let salts = Arc::new(Salts::new(deps.salts, deps.clock.clone()));
        let service = Arc::new(Self {
            reader,
            till: Till::new(deps.budgets.clone(), options.budget_timeout, lifecycle.clone(), metrics.clone()),
            budgets: deps.budgets,
            taken_down: Arc::new(TakenDown::new(deps.takedowns, metrics.clone())),
            agents: Agents::new(options.agents_max),
            recorder: Recorder { clicks: deps.clicks, geo: deps.geo, salts: salts.clone() },
            issued: deps.issued,
            domains: deps.domains,
            clock: deps.clock,
            reason_pending: REASON_PENDING.into(),
            metrics,
        });
        deps.events.subscribe(Arc::new({
            let service = Arc::downgrade(&service);
            move |news: &LinkNews| hear(&service, news)
        }));
        salts.refresh().await;
        service.taken_down.poll().await;
        service.spawn_tasks(salts, queues, lifecycle);
        Ok(service)
    }

    fn spawn_tasks(&self, salts: Arc<Salts>, queues: Queues, lifecycle: &Lifecycle) {
        let draining = lifecycle.draining(Stage::Background);
        let spawn = |name, task: futures_util::future::BoxFuture<'static, ()>| {
            lifecycle.spawn(name, Stage::Background, OnError::Drain, async move {
                task.await;
                Ok::<_, Infallible>(())
            });
        };
        let token = draining.clone();
        spawn("redirect-salts", Box::pin(async move { salts.run(token).await }));
        let (token, taken_down, reader) = (draining.clone(), self.taken_down.clone(), self.reader.clone());
        let each = reader.options.takedown_poll;
        spawn("redirect-takedowns", Box::pin(async move { taken_down.run(each, token, || reader.report_size()).await }));
        for (name, task) in self.reader.errands(queues, &draining) {
            spawn(name, task);
        }
    }

    fn recall(&self, domain: DomainNo, slug: Slug<'_>) -> Recalled {
        match self.reader.recall(domain, slug) {
            Memory::Answer(entry) => Recalled::Known(entry),
            Memory::Expired(entry) => Recalled::Ask(Some(entry)),
            Memory::Unknown if self.was_never_issued(domain, slug) => {
                self.metrics.never_issued.increment(1);
                Recalled::NoSuchCode
            }
            Memory::Unknown => Recalled::Ask(None),
        }
    }

    /// The proof needs no store, but everything it rests on must be fresh.
    fn was_never_issued(&self, domain: DomainNo, slug: Slug<'_>) -> bool {
        if !slug.has_generated_shape() || !self.domains.is_fresh() {
            return false;
        }
        let directory = self.domains.directory();
        directory.get(domain).is_some_and(|domain| !domain.foreign_codes)
            && self.issued.issued().is_some_and(|issued| issued.never_issued(slug))
    }

    fn settle(&self, ask: &Ask<'_>, entry: &Entry, now: UnixMs) -> Settled {
        if let Some(answer) = self.refuse(entry, now) {
            return Settled::Answer(answer);
        }
        let route = &entry.route;
        match (route.max_clicks, ask.visit.purpose) {
            (Some(_), _) if entry.is_used_up() => Settled::Answer(Answer::Gone),
            (None, Purpose::Inspect) => Settled::Answer(Answer::Found(route.clone())),
            (Some(_), Purpose::Inspect) => Settled::CountBudget,
            (None, _) => {
                self.recorder.record(entry, &ask.visit, &self.agents.classify(ask.visit.user_agent), now);
                Settled::Answer(Answer::Redirect(route.clone()))
            }
            (Some(max), _) => {
                let agent = self.agents.classify(ask.visit.user_agent);
                if bot_name(&ask.visit, &agent).is_empty() {
                    Settled::Pay { max }
                } else {
                    Settled::Answer(Answer::Withheld(route.clone()))
                }
            }
        }
    }

    /// What keeps a link from redirecting, whatever its budget.
    fn refuse(&self, entry: &Entry, now: UnixMs) -> Option<Answer> {
        if entry.state == State::Deleted {
            return Some(Answer::NotFound);
        }
        let listed = self.taken_down.reason(entry.route.link);
        if let Some(reason) = listed.or_else(|| entry.blocked.clone()) {
            return Some(Answer::Blocked { reason });
        }
        if entry.is_taken_down() {
            return Some(Answer::Blocked { reason: self.reason_pending.clone() });
        }
        let route = &entry.route;
        if entry.state == State::Disabled || route.starts_at.is_some_and(|starts_at| starts_at > now) {
            return Some(Answer::NotFound);
        }
        route.expires_at.is_some_and(|expires_at| expires_at <= now).then_some(Answer::Gone)
    }

    async fn look_up(&self, ask: &Ask<'_>, slug: Slug<'_>, deadline: Instant) -> Result<Option<Arc<Entry>>> {
        let stale = match self.recall(ask.domain, slug) {
            Recalled::Known(entry) => {
                self.metrics.l1_hit.increment(1);
                return Ok(Some(entry));
            }
            Recalled::NoSuchCode => return Ok(None),
            Recalled::Ask(stale) => stale,
        };
        if stale.is_some() { &self.metrics.l1_expired } else { &self.metrics.l1_miss }.increment(1);
        match timeout_at(deadline, self.reader.read(ask.domain, slug)).await {
            Ok(Read::Found(entry)) => Ok(Some(entry)),
            Ok(Read::Absent) => Ok(None),
            Ok(Read::Failed) | Err(_) => stale.and_then(|entry| self.reader.stand_in(entry)).map(Some).ok_or_else(unavailable),
        }
    }

    async fn pay(&self, ask: &Ask<'_>, entry: &Entry, max: u64, deadline: Instant) -> Result<Answer> {
        match timeout_at(deadline, self.till.take(entry.route.link, max)).await {
            Ok(Taken::One) => {
                let agent = self.agents.classify(ask.visit.user_agent);
                self.recorder.record(entry, &ask.visit, &agent, self.clock.now());
                Ok(Answer::Redirect(entry.route.clone()))
            }
            Ok(Taken::UsedUp) => {
                entry.set_used_up();
                Ok(Answer::Gone)
            }
            Ok(Taken::Unknown) | Err(_) => Err(unavailable()),
        }
    }

    async fn count_budget(&self, entry: &Entry, deadline: Instant) -> Result<Answer> {
        match timeout_at(deadline, self.budgets.get(entry.route.link)).await {
            Ok(Ok(Some(budget))) if budget.used >= budget.max => {
                entry.set_used_up();
                Ok(Answer::Gone)
            }
            Ok(Ok(_)) => Ok(Answer::Found(entry.route.clone())),
            Ok(Err(error)) => Err(unavailable().with_source(error)),
            Err(_) => Err(unavailable()),
        }
    }

    async fn answer(&self, ask: &Ask<'_>, deadline: Instant) -> Result<Answer> {
        let Some(slug) = Slug::parse(ask.code) else { return Ok(Answer::NotFound) };
        let Some(entry) = self.look_up(ask, slug, deadline).await? else { return Ok(Answer::NotFound) };
        match self.settle(ask, &entry, self.clock.now()) {
            Settled::Answer(answer) => Ok(answer),
            Settled::Pay { max } => self.pay(ask, &entry, max, deadline).await,
            Settled::CountBudget => self.count_budget(&entry, deadline).await,
        }
    }
}

#[async_trait]
impl Resolver for Service {
    fn try_resolve(&self, ask: &Ask<'_>) -> Option<Answer> {
        let Some(slug) = Slug::parse(ask.code) else {
            self.metrics.answered(&Answer::NotFound);
            return Some(Answer::NotFound);
        };
        let answer = match self.recall(ask.domain, slug) {
            Recalled::Known(entry) => match self.settle(ask, &entry, self.clock.now()) {
                Settled::Answer(answer) => {
                    self.metrics.l1_hit.increment(1);
                    answer
                }
                Settled::Pay { .. } | Settled::CountBudget => return None,
            },
            Recalled::NoSuchCode => Answer::NotFound,
            Recalled::Ask(_) => return None,
        };
        self.metrics.answered(&answer);
        Some(answer)
    }

    fn begin(&self, ask: &Ask<'_>) {
        if let Some(slug) = Slug::parse(ask.code)
            && let Recalled::Ask(_) = self.recall(ask.domain, slug)
        {
            self.reader.begin(ask.domain, slug);
        }
    }

    async fn resolve(&self, ask: &Ask<'_>, deadline: Deadline) -> Result<Answer> {
        let answer = self.answer(ask, Instant::from_std(deadline.at())).await;
        match &answer {
            Ok(answer) => self.metrics.answered(answer),
            Err(_) => self.metrics.unavailable.increment(1),
        }
        answer
    }
}

fn hear(service: &Weak<Service>, news: &LinkNews) {
    let Some(service) = service.upgrade() else { return };
    match news {
        LinkNews::Changed(news) => {
            service.reader.heard_of(news);
            service.taken_down.heard_of(news);
        }
        LinkNews::Missed => {
            service.reader.doubt();
            service.taken_down.poll_soon();
        }
    }
}

fn unavailable() -> Error {
    Error::new(Reason::Unavailable, "the link could not be looked up; try again").with_retry_after(RETRY_AFTER)
}
