//! Answers as messages, and back. Links that several ask for are told once.

use std::sync::Arc;

use domain::api::{Answer, Route};
use domain::limits::{BLOCK_REASON_LEN_MAX, FOREIGN_CODE_LEN_MAX};
use domain::{Error, LinkId, Result, UnixMs};

use crate::call::broken;
use crate::links::{caching, domain_no, owner, redirect_status, target, title, to_caching, to_redirect_status};
use crate::{proto, status};

/// UTF-8 bytes of one character.
const CHAR_LEN_MAX: usize = 4;

/// What one item of a batch came to.
#[derive(Debug)]
pub(super) enum Step {
    Answered(Answer),
    /// Ask for it alone.
    Deferred,
}

/// Collects the answers of one batch.
#[derive(Default)]
pub(super) struct Writer {
    answers: Vec<proto::ResolveAnswer>,
    routes: Vec<Arc<Route>>,
}

impl Writer {
    pub(super) fn with_capacity(len: usize) -> Self {
        Self { answers: Vec::with_capacity(len), routes: Vec::with_capacity(len) }
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        use proto::Outcome;
        let (outcome, route, reason) = match answer {
            Answer::Redirect(route) => (Outcome::Redirect, Some(route), None),
            Answer::Withheld(route) => (Outcome::Withheld, Some(route), None),
            Answer::Found(route) => (Outcome::Found, Some(route), None),
            Answer::NotFound => (Outcome::NotFound, None, None),
            Answer::Gone => (Outcome::Gone, None, None),
            Answer::Blocked { reason } => (Outcome::Blocked, None, Some(reason)),
        };
        let route = route.map_or(0, |route| self.place(route));
        let blocked_reason = reason.map_or_else(String::new, |reason| reason.to_string());
        self.answers.push(proto::ResolveAnswer { outcome: outcome.into(), route, blocked_reason, problem: None });
    }

    pub(super) fn deferred(&mut self) {
        self.push(proto::Outcome::Deferred, None);
    }

    pub(super) fn failed(&mut self, error: &Error) {
        self.push(proto::Outcome::Failed, Some(status::to_problem(error)));
    }

    fn push(&mut self, outcome: proto::Outcome, problem: Option<proto::Problem>) {
        self.answers.push(proto::ResolveAnswer { outcome: outcome.into(), route: 0, blocked_reason: String::new(), problem });
    }

    fn place(&mut self, route: Arc<Route>) -> u32 {
        // The cache gives everybody the same route: a few hundred pointers are compared faster than hashed.
        let known = self.routes.iter().position(|known| Arc::ptr_eq(known, &route));
        let place = known.unwrap_or_else(|| {
            self.routes.push(route);
            self.routes.len() - 1
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    pub(super) fn finish(self) -> proto::ResolveResponse {
        proto::ResolveResponse { answers: self.answers, routes: self.routes.iter().map(|route| to_route(route)).collect() }
    }
}

pub(super) fn to_one(answer: Answer) -> proto::ResolveOneResponse {
    let mut writer = Writer::default();
    writer.answer(answer);
    let mut whole = writer.finish();
    proto::ResolveOneResponse { answer: whole.answers.pop(), route: whole.routes.pop() }
}

/// Each item's own outcome, in order.
///
/// # Errors
/// The answer as a whole makes no sense.
pub(super) fn steps(message: proto::ResolveResponse, asked: usize) -> Result<Vec<Result<Step>>> {
    if message.answers.len() != asked || message.routes.len() > asked {
        return Err(broken("not one answer for each request"));
    }
    // A route that is broken fails those who asked for it, and nobody else.
    let routes: Vec<_> = message.routes.into_iter().map(|message| route(message).ok()).collect();
    Ok(message.answers.iter().map(|answer| step(answer, &routes)).collect())
}

pub(super) fn one(message: proto::ResolveOneResponse) -> Result<Answer> {
    let routes: Vec<_> = message.route.map(|message| route(message).ok()).into_iter().collect();
    match step(&message.answer.ok_or_else(|| broken("no answer"))?, &routes)? {
        Step::Answered(answer) => Ok(answer),
        Step::Deferred => Err(broken("that it answers later")),
    }
}

fn step(message: &proto::ResolveAnswer, routes: &[Option<Arc<Route>>]) -> Result<Step> {
    use proto::Outcome;
    let route = || {
        let route = usize::try_from(message.route).ok().and_then(|place| routes.get(place));
        route.cloned().flatten().ok_or_else(|| broken("a link that is none"))
    };
    let answer = match proto::Outcome::try_from(message.outcome) {
        Ok(Outcome::Redirect) => Answer::Redirect(route()?),
        Ok(Outcome::Withheld) => Answer::Withheld(route()?),
        Ok(Outcome::Found) => Answer::Found(route()?),
        Ok(Outcome::NotFound) => Answer::NotFound,
        Ok(Outcome::Gone) => Answer::Gone,
        Ok(Outcome::Blocked) => {
            Answer::Blocked { reason: status::cut(&message.blocked_reason, BLOCK_REASON_LEN_MAX * CHAR_LEN_MAX).into() }
        }
        Ok(Outcome::Deferred) => return Ok(Step::Deferred),
        Ok(Outcome::Failed) => {
            return Err(message.problem.as_ref().map_or_else(|| broken("a failure without a reason"), status::from_problem));
        }
        Ok(Outcome::Unspecified) | Err(_) => return Err(broken("an outcome there is not")),
    };
    Ok(Step::Answered(answer))
}

fn to_route(route: &Route) -> proto::Route {
    proto::Route {
        link: route.link.get(),
        domain: route.domain.get(),
        code: route.code.to_string(),
        owner: route.owner.as_str().to_owned(),
        version: route.version,
        target: route.target.as_str().to_owned(),
        title: route.title.as_ref().map_or_else(String::new, |title| title.as_str().to_owned()),
        redirect_status: to_redirect_status(route.redirect_status),
        caching: to_caching(route.caching).into(),
        forward_query: route.forward_query,
        starts_at_ms: route.starts_at.map(UnixMs::get),
        expires_at_ms: route.expires_at.map(UnixMs::get),
        max_clicks: route.max_clicks,
        created_at_ms: route.created_at.get(),
    }
}

fn route(message: proto::Route) -> Result<Arc<Route>> {
    if message.code.len() > FOREIGN_CODE_LEN_MAX {
        return Err(broken("a code that is none"));
    }
    Ok(Arc::new(Route {
        link: LinkId::new(message.link),
        domain: domain_no(message.domain).ok_or_else(|| broken("a domain that is none"))?,
        code: message.code.into(),
        owner: owner(&message.owner)?,
        version: message.version,
        target: target(&message.target)?,
        title: title(&message.title)?,
        redirect_status: redirect_status(message.redirect_status)?,
        caching: caching(message.caching),
        forward_query: message.forward_query,
        starts_at: message.starts_at_ms.map(UnixMs::new),
        expires_at: message.expires_at_ms.map(UnixMs::new),
        max_clicks: message.max_clicks,
        created_at: UnixMs::new(message.created_at_ms),
    }))
}
