//! The redirect service: where a code leads, and the record of the click.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use super::Deadline;
use crate::error::Result;
use crate::model::{Caching, Country, DomainNo, LinkId, Owner, RedirectStatus, Target, Title};
use crate::time::UnixMs;

/// What the request said of its sender. Empty strings mean the header was absent.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    pub ip: IpAddr,
    pub user_agent: &'a str,
    /// The `Referer` header.
    pub referrer: &'a str,
    /// The `Accept-Language` header.
    pub language: &'a str,
    /// From a trusted CDN's header.
    pub country: Option<Country>,
    /// The request's query, without `?`.
    pub query: &'a str,
    /// `Sec-Purpose: prefetch` and its kin.
    pub purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Somebody goes there.
    Follow,
    Head,
    Prefetch,
    /// Preview and QR pages: nothing is counted, no budget is used.
    Inspect,
}

#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub domain: DomainNo,
    /// As typed, percent-decoded.
    pub code: &'a str,
    pub visit: Visit<'a>,
}

/// What an answer needs to know of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub link: LinkId,
    pub domain: DomainNo,
    /// As shown.
    pub code: Box<str>,
    pub owner: Owner,
    pub version: u32,
    pub target: Target,
    pub title: Option<Title>,
    /// `None`: the domain's default.
    pub redirect_status: Option<RedirectStatus>,
    /// `None`: the domain's default. Links with a click budget are always exact.
    pub caching: Option<Caching>,
    pub forward_query: bool,
    pub starts_at: Option<UnixMs>,
    pub expires_at: Option<UnixMs>,
    pub max_clicks: Option<u64>,
    pub created_at: UnixMs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The click is recorded and, where there is a budget, paid for.
    Redirect(Arc<Route>),
    /// A link with a click budget asked for by HEAD, prefetch or a bot: 200 without the target.
    Withheld(Arc<Route>),
    /// [`Purpose::Inspect`] only: the link exists and would redirect.
    Found(Arc<Route>),
    /// Unknown, deleted, disabled or not yet started: outsiders cannot tell which.
    NotFound,
    /// Expired or used up.
    Gone,
    Blocked {
        reason: Arc<str>,
    },
}

#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// Answers from memory, without waiting and without allocating; `None` when I/O is needed.
    fn try_resolve(&self, ask: &Ask<'_>) -> Option<Answer>;

    /// Starts whatever I/O [`Self::resolve`] will need for this code, without waiting for it. Records no
    /// click and takes no budget; may do nothing.
    fn begin(&self, _ask: &Ask<'_>) {}

    /// # Errors
    /// `Unavailable` when the store does not answer and nothing cached may stand in: never a false 404.
    async fn resolve(&self, ask: &Ask<'_>, deadline: Deadline) -> Result<Answer>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
