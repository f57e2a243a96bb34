//! Claims: how a create happens once, whatever is retried, repeated or raced.
//!
//! A claim names the link that a request makes before it is made. Whoever finds a claim without its
//! link completes it; whoever finds that its link can no longer be the answer replaces the claim.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::time::Duration;

use chassis::{Lifecycle, OnError, Stage};
use domain::api::{Context, Created, Idempotency};
use domain::port::{Claim, ClaimItem, ClaimKey, Claimed, Inserted};
use domain::{Code, CodeKind, Error, Link, LinkId, Owner, Reason, Result, ShownState, limits};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, MutexGuard};

use crate::create::{ATTEMPTS_MAX, Plan, Slot};
use crate::service::Service;

const SWEEP_EVERY: Duration = Duration::from_mins(10);
const SWEEP_LEN: usize = 1_000;
/// Different claims that wait for each other by chance: one in so many.
const TURNS: usize = 256;

/// Removes claims that have expired, a few at a time.
pub(crate) fn sweep(service: Arc<Service>, life: &Lifecycle) {
    let draining = life.draining(Stage::Background);
    life.spawn("sweep claims", Stage::Background, OnError::Log, async move {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while draining.run_until_cancelled(ticks.tick()).await.is_some() {
            let now = service.deps.clock.now();
            while service.deps.claims.sweep(now, SWEEP_LEN).await.is_ok_and(|swept| swept == SWEEP_LEN) {}
        }
        Ok::<_, Error>(())
    });
}

/// Those who claim the same in this process go one after the other: the first writes, the others find it.
pub(crate) struct Turns {
    requests: Vec<Mutex<()>>,
    targets: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Turns {
    pub(crate) fn new() -> Self {
        let turns = || (0..TURNS).map(|_| Mutex::new(())).collect();
        Self { requests: turns(), targets: turns(), hasher: RandomState::new() }
    }

    fn at(&self, key: impl Hash) -> usize {
        usize::try_from(self.hasher.hash_one(key)).unwrap_or(0) % TURNS
    }

    pub(crate) async fn of_request(&self, owner: &Owner, key: &str) -> MutexGuard<'_, ()> {
        self.requests[self.at((owner, key))].lock().await
    }

    /// May be held together with that of a request, and is taken after it.
    pub(crate) async fn of_target(&self, key: &ClaimKey) -> MutexGuard<'_, ()> {
        self.targets[self.at(key)].lock().await
    }
}

fn item(id: LinkId, slot: &Slot) -> ClaimItem {
    let kind = match slot.code.kind() {
        CodeKind::Generated => 0,
        CodeKind::Alias => 1,
        CodeKind::Foreign => 2,
    };
    ClaimItem { link: id, domain: slot.plan.domain.no, code: slot.code.as_str().into(), kind }
}

fn code_of(item: &ClaimItem) -> Code {
    let kind = match item.kind {
        0 => CodeKind::Generated,
        1 => CodeKind::Alias,
        _ => CodeKind::Foreign,
    };
    Code::from_stored(&item.code, kind)
}

impl Service {
    /// Claims the request. When it was claimed before, the slots take over what was claimed then, and
    /// those whose link exists already are answered by it.
    pub(crate) async fn claim_request(
        &self,
        context: &Context,
        once: &Idempotency,
        slots: &mut [Result<Slot>],
    ) -> Result<(Claim, Vec<Option<Link>>)> {
        let now = self.deps.clock.now();
        let claim = Claim {
            key: ClaimKey::Request { owner: context.caller.owner.clone(), key: once.key.clone() },
            digest: once.digest,
            items: request_items(slots),
            created_at: now,
            expires_at: Some(now.saturating_add(limits::IDEMPOTENCY_TTL)),
        };
        let earlier = match self.claim_once(claim.clone()).await? {
            Claimed::Ours => return Ok((claim, vec![None; slots.len()])),
            Claimed::Theirs(earlier) => earlier,
        };
        if earlier.digest != once.digest || earlier.items.len() != slots.len() {
            let detail = "this Idempotency-Key was used for a different request in the last 24 hours";
            return Err(Error::new(Reason::IdempotencyMismatch, detail));
        }
        let ids: Vec<_> = earlier.items.iter().filter(|item| !item.code.is_empty()).map(|item| item.link).collect();
        let mut found: Vec<_> = self.deps.links.get_many(&ids).await?;
        let done = earlier.items.iter().map(|item| {
            let at = found.iter().position(|link| link.id == item.link)?;
            Some(found.swap_remove(at))
        });
        let done = done.collect();
        for (slot, item) in slots.iter_mut().zip(&earlier.items) {
            if let Ok(slot) = slot
                && !item.code.is_empty()
            {
                slot.id = item.link;
                slot.code = code_of(item);
            }
        }
        Ok((earlier, done))
    }

    /// Whoever comes second is told so by a read: conditional writes of one row, many at once, are dear.
    async fn claim_once(&self, claim: Claim) -> Result<Claimed> {
        let is_shared = !self.deps.domains.flags_are_immediate();
        if is_shared && let Some(earlier) = self.deps.claims.get(&claim.key).await? {
            let has_expired = earlier.expires_at.is_some_and(|at| at <= claim.created_at);
            if !has_expired {
                return Ok(Claimed::Theirs(earlier));
            }
        }
        Ok(self.deps.claims.claim(claim).await?)
    }

    /// Makes a request's claim say which links it really led to, so that a repetition finds them.
    pub(crate) async fn settle_request(&self, claim: Claim, outcomes: &[Result<Created>]) -> Result<()> {
        let mut settled = claim.clone();
        for (item, outcome) in settled.items.iter_mut().zip(outcomes) {
            if let Ok(created) = outcome {
                let link = created.link();
                if item.link != link.id {
                    item.link = link.id;
                    item.code = link.code.as_str().into();
                    item.kind = link.code.kind() as u8;
                }
            }
        }
        if settled.items != claim.items {
            self.deps.claims.replace(&claim, settled).await?;
        }
        Ok(())
    }

    /// `find_or_create`: the link that an earlier one made for this owner, domain and target, else ours.
    pub(crate) async fn find_or_create(&self, context: &Context, mut slot: Slot) -> Result<Created> {
        let key = ClaimKey::Target {
            owner: context.caller.owner.clone(),
            domain: slot.plan.domain.no,
            digest: Sha256::digest(slot.plan.spec.target.as_str()).into(),
        };
        let ours = |slot: &Slot| Claim {
            key: key.clone(),
            digest: [0; 32],
            items: vec![item(slot.id, slot)],
            created_at: self.deps.clock.now(),
            expires_at: None,
        };
        let _turn = self.claim_turns.of_target(&key).await;
        let mut claimed = self.claim_once(ours(&slot)).await?;
        for _ in 0..ATTEMPTS_MAX {
            let claim = match claimed {
                Claimed::Ours => ours(&slot),
                Claimed::Theirs(claim) => claim,
            };
            let Some(first) = claim.items.first() else {
                return Err(Error::new(Reason::Internal, "a claim without an item"));
            };
            let stands = match self.deps.links.get(first.link).await? {
                Some(link) if self.answers(&link, &slot.plan).await? => return Ok(Created::Found(link)),
                Some(_) => None,
                None => self.complete(context, &slot, first).await?,
            };
            if let Some(created) = stands {
                return Ok(created);
            }
            self.draw_again(context, &mut slot).await?;
            claimed = self.deps.claims.replace(&claim, ours(&slot)).await?;
        }
        Err(Error::new(Reason::Unavailable, "too many others claim the same target; try again"))
    }

    /// Inserts the link that a claim names. `None`: its code is taken by another link.
    async fn complete(&self, context: &Context, slot: &Slot, first: &ClaimItem) -> Result<Option<Created>> {
        let code = code_of(first);
        self.open_domain_to(&code, &slot.plan.domain).await?;
        let link = slot.plan.link(first.link, code, context, self);
        let outcome = self.insert_one(link.clone()).await?;
        Ok(match outcome {
            Inserted::Stored => Some(Created::New(link)),
            Inserted::Taken(row) if row.id == first.link => Some(Created::Found(row)),
            Inserted::Taken(_) if matches!(slot.plan.spec.naming, domain::Naming::Given(_)) => {
                return Err(crate::create::taken(&slot.plan));
            }
            Inserted::Taken(_) => None,
        })
    }

    /// Whether the link can be the answer: alive, and still leading where it did.
    async fn answers(&self, link: &Link, plan: &Plan) -> Result<bool> {
        let now = self.deps.clock.now();
        let alive = !matches!(link.shown_state(), ShownState::Deleted) && link.expires_at.is_none_or(|at| now < at);
        if !alive || link.target != plan.spec.target {
            return Ok(false);
        }
        match link.max_clicks {
            None => Ok(true),
            Some(max) => Ok(self.deps.budgets.get(link.id).await?.is_none_or(|budget| budget.used < max)),
        }
    }
}

/// One item a slot; refused ones have no code.
fn request_items(slots: &[Result<Slot>]) -> Vec<ClaimItem> {
    let refused = || ClaimItem { link: LinkId::new(0), domain: domain::DomainNo::DEFAULT, code: "".into(), kind: 0 };
    slots.iter().map(|slot| slot.as_ref().map_or_else(|_| refused(), |slot| item(slot.id, slot))).collect()
}
