//! `Idempotency-Key` for what is made here rather than by the links service: keys, domains, and jobs begun.

use std::time::Duration;

use domain::api::Idempotency;
use domain::port::{Claim, ClaimItem, ClaimKey, Claimed};
use domain::{DomainNo, LinkId, Reason, limits};

use super::Api;
use super::request::Call;
use crate::problem::Problem;

/// Whoever has not said by then what was made was cut off: no call lives as long.
const CUT_OFF: Duration = Duration::from_mins(1);

pub(super) enum Begun {
    First(Turn),
    /// Made before by the same request: its id.
    Again(u64),
}

/// To make something, and to say what. Dropped without that, the request may be made again after a while.
pub(super) struct Turn(Option<Claim>);

/// # Errors
/// `idempotency_mismatch`; `idempotency_in_progress` while another makes it.
pub(super) async fn begin(api: &Api, call: &Call, once: Option<Idempotency>) -> Result<Begun, Problem> {
    let Some(Idempotency { key, digest }) = once else { return Ok(Begun::First(Turn(None))) };
    let services = &api.gateway.services;
    let now = services.clock.now();
    let claim = Claim {
        key: ClaimKey::Request { owner: call.caller().owner.clone(), key },
        digest,
        items: vec![unmade(services.entropy.u64())],
        created_at: now,
        expires_at: Some(now.saturating_add(limits::IDEMPOTENCY_TTL)),
    };
    let earlier = match services.claims.claim(claim.clone()).await? {
        Claimed::Ours => return Ok(Begun::First(Turn(Some(claim)))),
        Claimed::Theirs(earlier) => earlier,
    };
    if earlier.digest != digest {
        let detail = "this Idempotency-Key was used for a different request in the last 24 hours";
        return Err(Problem::new(Reason::IdempotencyMismatch, detail));
    }
    if let Some(id) = earlier.items.first().map(|item| item.link.get()).filter(|id| *id != 0) {
        return Ok(Begun::Again(id));
    }
    if now.since(earlier.created_at) >= CUT_OFF
        && let Claimed::Ours = services.claims.replace(&earlier, claim.clone()).await?
    {
        return Ok(Begun::First(Turn(Some(claim))));
    }
    let detail = "the same request is at work already; ask again in a moment";
    Err(Problem::new(Reason::IdempotencyInProgress, detail).with_retry_after(Duration::from_secs(1)))
}

/// `mark`: tells one attempt from another, so that of two who take over from a third one does.
fn unmade(mark: u64) -> ClaimItem {
    ClaimItem { link: LinkId::new(0), domain: DomainNo::DEFAULT, code: format!("{mark:016x}").into(), kind: 0 }
}

impl Turn {
    /// What was made stands, whether or not that can be written down.
    pub(super) async fn settle(self, api: &Api, id: u64) {
        let Some(claim) = self.0 else { return };
        let mut settled = claim.clone();
        for item in &mut settled.items {
            item.link = LinkId::new(id);
        }
        if let Err(error) = api.gateway.services.claims.replace(&claim, settled).await {
            tracing::warn!(%error, id, "what a request with an Idempotency-Key made could not be noted: repeated, it is made again");
        }
    }
}
