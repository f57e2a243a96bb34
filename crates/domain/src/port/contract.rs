//! The contract tests of the ports, by port, and what they are made of. Each takes an empty store and
//! panics where the store breaks its promise. They need no runtime of their own: concurrency is many
//! calls under way at once ([`join_all`]).

pub mod claim_store {
    pub use crate::port::claim_store::contract::*;
}
pub mod click_budget {
    pub use crate::port::click_budget::contract::*;
}
pub mod click_log {
    pub use crate::port::click_log::contract::*;
}
pub mod domain_store {
    pub use crate::port::domain_store::contract::*;
}
pub mod geo {
    pub use crate::port::geo::contract::*;
}
pub mod job_store {
    pub use crate::port::job_store::contract::*;
}
pub mod key_store {
    pub use crate::port::key_store::contract::*;
}
pub mod lease_store {
    pub use crate::port::lease_store::contract::*;
}
pub mod link_cache {
    pub use crate::port::link_cache::contract::*;
}
pub mod link_events {
    pub use crate::port::link_events::contract::*;
}
pub mod link_store {
    pub use crate::port::link_store::contract::*;
}
pub mod live_counts {
    pub use crate::port::live_counts::contract::*;
}
pub mod rate_limiter {
    pub use crate::port::rate_limiter::contract::*;
}
pub mod stats_store {
    pub use crate::port::stats_store::contract::*;
}
pub mod salt_store {
    pub use crate::port::salt_store::contract::*;
}
pub mod takedowns {
    pub use crate::port::takedowns::contract::*;
}

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use crate::model::{Code, DomainNo, Link, LinkId, Owner, State, Target};
use crate::snowflake;

/// Runs all at once; answers in order.
pub async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T> + Send>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Some(Box::pin(future)), None)).collect();
    poll_fn(move |context| {
        let mut pending = false;
        for (future, answer) in &mut running {
            let Some(running) = future else { continue };
            match Pin::as_mut(running).poll(context) {
                Poll::Ready(value) => (*future, *answer) = (None, Some(value)),
                Poll::Pending => pending = true,
            }
        }
        if pending {
            return Poll::Pending;
        }
        Poll::Ready(running.iter_mut().filter_map(|(_, answer)| answer.take()).collect())
    })
    .await
}

pub(super) const DOMAIN: DomainNo = DomainNo::DEFAULT;

/// The `number`th link id of some moment in 2026.
pub(super) fn id(number: u64) -> LinkId {
    LinkId::new((40_000_000_000 << 22) + number)
}

pub(super) fn owner(name: &str) -> Owner {
    Owner::parse(name).expect("an owner")
}

/// A link with nothing special about it.
pub(super) fn link(id: LinkId, code: Code) -> Link {
    let created_at = snowflake::created_at(id);
    Link {
        id,
        domain: DOMAIN,
        code,
        owner: owner("ann"),
        target: Target::from_stored("https://example.com/a"),
        title: None,
        tags: Vec::new(),
        state: State::Active,
        blocked: None,
        redirect_status: None,
        caching: None,
        forward_query: false,
        starts_at: None,
        expires_at: None,
        max_clicks: None,
        created_at,
        updated_at: created_at,
        version: 1,
        change_id: id.get().wrapping_mul(0x9E37_79B9_7F4A_7C15),
    }
}

/// The first codes of the generated shape from `from` on.
pub(super) fn codes(from: u64) -> impl Iterator<Item = Code> {
    (from..).filter_map(Code::generated)
}
