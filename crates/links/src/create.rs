//! Creating links: check, name, claim, insert. One path for one link and for a thousand.

use std::sync::Arc;

use domain::api::{Context, Created, Idempotency};
use domain::port::{Inserted, Outcome};
use domain::{Code, CodeKind, Domain, Error, Link, LinkDraft, LinkId, LinkSpec, Naming, Reason, Result, State, Strategy};
use futures_util::future::join_all;

use crate::codes::{Hashed, default_length};
use crate::metrics;
use crate::service::Service;

/// Codes tried for one link. Collisions are as rare as the code space is empty.
pub(crate) const ATTEMPTS_MAX: u32 = 16;

/// What is to be created, checked, on a domain that exists.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) spec: LinkSpec,
    pub(crate) domain: Arc<Domain>,
    pub(crate) strategy: Strategy,
    pub(crate) length: u8,
}

/// A plan with the id and the code it is to have.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) plan: Plan,
    pub(crate) id: LinkId,
    pub(crate) code: Code,
    candidate: u32,
}

impl Plan {
    pub(crate) fn link(&self, id: LinkId, code: Code, context: &Context, service: &Service) -> Link {
        let now = service.deps.clock.now();
        Link {
            id,
            domain: self.domain.no,
            code,
            owner: context.caller.owner.clone(),
            target: self.spec.target.clone(),
            title: self.spec.title.clone(),
            tags: self.spec.tags.clone(),
            state: State::Active,
            blocked: None,
            redirect_status: self.spec.redirect_status,
            caching: self.spec.caching,
            forward_query: self.spec.forward_query,
            starts_at: self.spec.starts_at,
            expires_at: self.spec.expires_at,
            max_clicks: self.spec.max_clicks,
            created_at: now,
            updated_at: now,
            version: 1,
            change_id: service.deps.entropy.u64(),
        }
    }

    fn is_generated(&self) -> bool {
        matches!(self.spec.naming, Naming::Generated { .. })
    }

    fn is_hashed(&self) -> bool {
        self.is_generated() && self.strategy == Strategy::Hash
    }
}

fn names_unknown_domain(plan: &Result<Plan>) -> bool {
    plan.as_ref().is_err_and(|error| error.field_errors().iter().any(|field| field.pointer == "/domain"))
}

pub(crate) fn taken(plan: &Plan) -> Error {
    let (pointer, code) = match &plan.spec.naming {
        Naming::Given(code) if code.kind() == CodeKind::Alias => ("/alias", code.as_str()),
        Naming::Given(code) => ("/code", code.as_str()),
        Naming::Generated { .. } => ("", "every code that was tried"),
    };
    Error::field(pointer, Reason::AliasTaken, format!("`{code}` is taken on {}", plan.domain.host))
}

impl Service {
    pub(crate) async fn create_many(
        &self,
        context: &Context,
        drafts: Vec<LinkDraft>,
        once: Option<Idempotency>,
    ) -> Result<Vec<Result<Created>>> {
        let _turn = match &once {
            Some(once) => Some(self.claim_turns.of_request(&context.caller.owner, &once.key).await),
            None => None,
        };
        let mut plans: Vec<_> = drafts.iter().map(|draft| self.plan(context, draft)).collect();
        if plans.iter().any(names_unknown_domain) && !self.deps.domains.flags_are_immediate() {
            // Made through another process a moment ago, perhaps. A store that fails now fails the create later.
            let _ = self.deps.domains.refresh().await;
            plans = drafts.iter().map(|draft| self.plan(context, draft)).collect();
        }
        // A single create that is refused claims nothing; in a bulk the refusals are part of the answer.
        if let [Err(_)] = plans.as_slice() {
            ::metrics::counter!(metrics::CREATED, "outcome" => "refused").increment(1);
            return Ok(plans.into_iter().filter_map(Result::err).map(Err).collect());
        }
        let mut slots = self.draw(context, plans).await?;
        let (claim, done) = match &once {
            None => (None, vec![None; slots.len()]),
            Some(once) => {
                let (claim, done) = self.claim_request(context, once, &mut slots).await?;
                (Some(claim), done)
            }
        };
        let outcomes = self.fill(context, slots, done).await;
        if let Some(claim) = claim {
            self.settle_request(claim, &outcomes).await?;
        }
        count(&outcomes);
        Ok(outcomes)
    }

    /// Everything that can be said about a draft without writing.
    fn plan(&self, context: &Context, draft: &LinkDraft) -> Result<Plan> {
        if draft.code.is_some() && !context.caller.is_admin() {
            return Err(Error::new(Reason::Forbidden, "only admin keys may set `code`; ask for an `alias` instead"));
        }
        let spec = self.with_policy(|policy| draft.check(policy))?;
        self.check_blocklist(&spec.target)?;
        let domain = self.domain(spec.domain.as_ref())?;
        let (strategy, length) = match &spec.naming {
            Naming::Generated { strategy, length } => {
                let strategy = strategy.unwrap_or(self.options.strategy);
                (strategy, length.unwrap_or_else(|| default_length(strategy, self.options.code_length)))
            }
            Naming::Given(_) => (self.options.strategy, 0),
        };
        Ok(Plan { spec, domain, strategy, length })
    }

    /// Gives each plan an id and a first code.
    async fn draw(&self, context: &Context, plans: Vec<Result<Plan>>) -> Result<Vec<Result<Slot>>> {
        let leased = |plan: &Plan| plan.is_generated() && plan.strategy == Strategy::Leased;
        let count = plans.iter().flatten().count();
        let ids = self.deps.ids.next_ids(u32::try_from(count).unwrap_or(u32::MAX).max(1), context.deadline).await?;
        let codes = self.pool.take(plans.iter().flatten().filter(|plan| leased(plan)).count(), context.deadline).await?;
        let (mut ids, mut codes) = (ids.into_iter(), codes.into_iter());
        let mut slots = Vec::with_capacity(plans.len());
        for plan in plans {
            slots.push(match plan {
                Err(error) => Err(error),
                Ok(plan) => {
                    let id = ids.next().ok_or_else(too_few)?;
                    let code = if leased(&plan) { codes.next().ok_or_else(too_few)? } else { self.code(context, &plan, id, 0).await? };
                    Ok(Slot { plan, id, code, candidate: 0 })
                }
            });
        }
        Ok(slots)
    }

    /// The `candidate`-th code for a plan.
    async fn code(&self, context: &Context, plan: &Plan, id: LinkId, candidate: u32) -> Result<Code> {
        if let Naming::Given(code) = &plan.spec.naming {
            return Ok(code.clone());
        }
        let hashed = Hashed { owner: &context.caller.owner, domain: plan.domain.no, target: &plan.spec.target, length: plan.length };
        let make = |candidate| match plan.strategy {
            Strategy::Hash => self.maker.hash(&hashed, candidate),
            Strategy::Random => self.maker.random(plan.length),
            Strategy::Leased | Strategy::Counter | Strategy::Snowflake => self.maker.snowflake(id),
        };
        match plan.strategy {
            Strategy::Leased => self.pool.take(1, context.deadline).await?.pop().ok_or_else(too_few),
            Strategy::Counter => self.counter_code(context).await,
            // What happens to be a reserved word is passed over.
            Strategy::Snowflake | Strategy::Random | Strategy::Hash => make(candidate).or_else(|_| make(candidate + ATTEMPTS_MAX)),
        }
    }

    /// A lease of one counter, until one makes a code.
    async fn counter_code(&self, context: &Context) -> Result<Code> {
        for _ in 0..ATTEMPTS_MAX * 4 {
            let block = self.deps.ids.lease_codes(1, context.deadline).await?;
            if let Some(code) = domain::code::BlockCodes::new(&block).next() {
                return Ok(code);
            }
        }
        Err(too_few())
    }

    /// Another id and code in the place of ones that cannot be used.
    pub(crate) async fn draw_again(&self, context: &Context, slot: &mut Slot) -> Result<()> {
        slot.candidate += 1;
        slot.id = self.deps.ids.next_ids(1, context.deadline).await?.pop().ok_or_else(too_few)?;
        slot.code = self.code(context, &slot.plan, slot.id, slot.candidate).await?;
        Ok(())
    }

    /// Stores every slot that is not done; each outcome on its own, in order.
    async fn fill(&self, context: &Context, slots: Vec<Result<Slot>>, done: Vec<Option<Link>>) -> Vec<Result<Created>> {
        let mut outcomes: Vec<Option<Result<Created>>> = Vec::with_capacity(slots.len());
        let (mut plain, mut special) = (Vec::new(), Vec::new());
        for (i, (slot, done)) in slots.into_iter().zip(done).enumerate() {
            outcomes.push(match (slot, done) {
                (Err(error), _) => Some(Err(error)),
                (Ok(_), Some(link)) => Some(Ok(Created::New(link))),
                (Ok(slot), None) if slot.plan.spec.find_or_create || slot.plan.is_hashed() => {
                    special.push((i, slot));
                    None
                }
                (Ok(slot), None) => {
                    plain.push((i, slot));
                    None
                }
            });
        }
        for (i, outcome) in self.insert_plain(context, plain).await {
            outcomes[i] = Some(outcome);
        }
        let special = special.into_iter().map(|(i, slot)| async move {
            let outcome = if slot.plan.spec.find_or_create {
                self.find_or_create(context, slot).await
            } else {
                self.insert_until_free(context, slot).await
            };
            (i, outcome)
        });
        for (i, outcome) in join_all(special).await {
            outcomes[i] = Some(outcome);
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(too_few()))).collect()
    }

    /// One batch for all; only those whose generated code is taken go on alone.
    async fn insert_plain(&self, context: &Context, slots: Vec<(usize, Slot)>) -> Vec<(usize, Result<Created>)> {
        if slots.is_empty() {
            return Vec::new();
        }
        for (_, slot) in &slots {
            if let Err(error) = self.open_domain_to(&slot.code, &slot.plan.domain).await {
                return fail_all(&slots, error);
            }
        }
        let links: Vec<_> = slots.iter().map(|(_, slot)| slot.plan.link(slot.id, slot.code.clone(), context, self)).collect();
        let inserted = match self.insert_or_look(links.clone()).await {
            Ok(inserted) => inserted,
            Err(error) => return fail_all(&slots, error),
        };
        let mut outcomes = Vec::with_capacity(slots.len());
        for (((i, slot), link), inserted) in slots.into_iter().zip(links).zip(inserted) {
            let outcome = match inserted {
                Inserted::Stored => Ok(Created::New(link)),
                Inserted::Taken(row) if row.id == slot.id => Ok(Created::New(row)),
                Inserted::Taken(_) if slot.plan.is_generated() => self.insert_after_collision(context, slot).await,
                Inserted::Taken(_) => Err(taken(&slot.plan)),
            };
            outcomes.push((i, outcome));
        }
        outcomes
    }

    async fn insert_after_collision(&self, context: &Context, mut slot: Slot) -> Result<Created> {
        ::metrics::counter!(metrics::CODE_COLLISIONS).increment(1);
        self.draw_again(context, &mut slot).await?;
        self.insert_until_free(context, slot).await
    }

    /// Tries candidate after candidate. A `hash` code that leads to the same target of the same owner
    /// is the link itself.
    async fn insert_until_free(&self, context: &Context, mut slot: Slot) -> Result<Created> {
        for _ in 0..ATTEMPTS_MAX {
            self.open_domain_to(&slot.code, &slot.plan.domain).await?;
            let link = slot.plan.link(slot.id, slot.code.clone(), context, self);
            match self.insert_one(link.clone()).await? {
                Inserted::Stored => return Ok(Created::New(link)),
                Inserted::Taken(row) if row.id == slot.id => return Ok(Created::New(row)),
                Inserted::Taken(row) if slot.plan.is_hashed() && is_same(&row, &link) => return Ok(Created::Found(row)),
                Inserted::Taken(_) => {
                    ::metrics::counter!(metrics::CODE_COLLISIONS).increment(1);
                    self.draw_again(context, &mut slot).await?;
                }
            }
        }
        Err(taken(&slot.plan))
    }

    pub(crate) async fn insert_one(&self, link: Link) -> Result<Inserted> {
        self.insert_or_look(vec![link]).await?.pop().ok_or_else(too_few)
    }

    /// Inserts, and tells the shared cache; when the store does not say what became of it, looks.
    async fn insert_or_look(&self, links: Vec<Link>) -> Result<Vec<Inserted>> {
        let error = match self.deps.links.insert(links.clone()).await {
            Ok(inserted) if inserted.len() == links.len() => {
                // Also a row that was in the way: an absence noted meanwhile must not hide it.
                let rows = links.iter().zip(&inserted).map(|(link, inserted)| match inserted {
                    Inserted::Stored => link,
                    Inserted::Taken(row) => row,
                });
                self.caches.put_all(rows.collect()).await;
                return Ok(inserted);
            }
            Ok(_) => return Err(too_few()),
            Err(error) => error,
        };
        if error.outcome == Outcome::NotApplied {
            return Err(error.into());
        }
        let ids: Vec<_> = links.iter().map(|link| link.id).collect();
        let stored = self.deps.links.get_many(&ids).await?;
        if ids.iter().all(|id| stored.iter().any(|link| link.id == *id)) {
            self.caches.put_all(stored.iter().collect()).await;
            return Ok(vec![Inserted::Stored; ids.len()]);
        }
        Err(error.into())
    }

    /// Before a code of the generated shape that the allocator did not make is written, the domain
    /// must be known to hold such codes, by everyone who would otherwise prove it was never issued.
    pub(crate) async fn open_domain_to(&self, code: &Code, domain: &Domain) -> Result<()> {
        if code.kind() == CodeKind::Generated || !code.has_generated_shape() {
            return Ok(());
        }
        if !domain.foreign_codes {
            self.deps.domains.set_foreign_codes(domain.no).await?;
        }
        if !self.deps.domains.foreign_codes_hold(domain.no) {
            let detail = "this domain is being opened to codes made elsewhere; try again in a few seconds";
            return Err(Error::new(Reason::Unavailable, detail).with_retry_after(std::time::Duration::from_secs(6)));
        }
        Ok(())
    }
}

fn is_same(row: &Link, ours: &Link) -> bool {
    row.owner == ours.owner && row.domain == ours.domain && row.target == ours.target && row.state != State::Deleted
}

fn too_few() -> Error {
    Error::new(Reason::Internal, "fewer answers than questions")
}

/// The batch failed as a whole: each item says so, and the first one why.
fn fail_all(slots: &[(usize, Slot)], error: Error) -> Vec<(usize, Result<Created>)> {
    let (reason, detail, after) = (error.reason(), error.detail().to_owned(), error.retry_after());
    let copy = || {
        let copy = Error::new(reason, detail.clone());
        if let Some(after) = after { copy.with_retry_after(after) } else { copy }
    };
    let errors = std::iter::once(error).chain(std::iter::repeat_with(copy));
    slots.iter().zip(errors).map(|((i, _), error)| (*i, Err(error))).collect()
}

fn count(outcomes: &[Result<Created>]) {
    let mut numbers = [0_u64; 4];
    for outcome in outcomes {
        let at = match outcome {
            Ok(Created::New(_)) => 0,
            Ok(Created::Found(_)) => 1,
            Err(error) if error.kind() == domain::Kind::Unavailable || error.kind() == domain::Kind::Internal => 3,
            Err(_) => 2,
        };
        numbers[at] += 1;
    }
    for (outcome, number) in ["new", "found", "refused", "failed"].into_iter().zip(numbers) {
        if number > 0 {
            ::metrics::counter!(metrics::CREATED, "outcome" => outcome).increment(number);
        }
    }
}
