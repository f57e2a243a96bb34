//! Requests for a code, as messages, and back. What visitors send has no bound: here it gets one.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use chassis::trace::{self, TraceContext};
use domain::api::{Ask, Deadline, Purpose, Visit};
use domain::limits::FOREIGN_CODE_LEN_MAX;
use domain::{Country, Error, Reason, Result};

use crate::links::domain_no;
use crate::proto;

/// Asks of one batch.
pub(super) const BATCH_LEN_MAX: usize = 256;
/// Bytes of what one request says. Longer ones are cut: they are read for statistics only.
const USER_AGENT_LEN_MAX: usize = 1_024;
const REFERRER_LEN_MAX: usize = 2_048;
const LANGUAGE_LEN_MAX: usize = 256;
const QUERY_LEN_MAX: usize = 8_192;
/// Bytes of a code that a server reads. One that is cut stays too long to be a link's.
const CODE_LEN_MAX: usize = 2 * FOREIGN_CODE_LEN_MAX;

pub(super) fn to_ask(ask: &Ask<'_>, deadline: Deadline) -> proto::ResolveAsk {
    let visit = &ask.visit;
    proto::ResolveAsk {
        domain: ask.domain.get(),
        code: cut(ask.code, CODE_LEN_MAX),
        ip: match visit.ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        },
        user_agent: cut(visit.user_agent, USER_AGENT_LEN_MAX),
        referrer: cut(visit.referrer, REFERRER_LEN_MAX),
        language: cut(visit.language, LANGUAGE_LEN_MAX),
        country: visit.country.map_or_else(String::new, |country| country.as_str().to_owned()),
        query: cut(visit.query, QUERY_LEN_MAX),
        purpose: to_purpose(visit.purpose).into(),
        timeout_us: timeout_us(deadline),
        traceparent: trace::sampled().map_or_else(String::new, |context| context.to_string()),
    }
}

/// What is left, at least a little: nothing would mean "no limit".
pub(super) fn timeout_us(deadline: Deadline) -> u32 {
    u32::try_from(deadline.remaining(Instant::now()).as_micros()).unwrap_or(u32::MAX).max(1)
}

fn cut(text: &str, len_max: usize) -> String {
    text[..text.floor_char_boundary(len_max)].to_owned()
}

/// # Errors
/// `InvalidField` for what no client of ours sends.
pub(super) fn ask(message: &proto::ResolveAsk) -> Result<Ask<'_>> {
    let wrong = |pointer: &str, detail: &str| Error::field(pointer, Reason::InvalidField, detail);
    let bounded = message.code.len() <= CODE_LEN_MAX
        && message.user_agent.len() <= USER_AGENT_LEN_MAX
        && message.referrer.len() <= REFERRER_LEN_MAX
        && message.language.len() <= LANGUAGE_LEN_MAX
        && message.query.len() <= QUERY_LEN_MAX;
    if !bounded {
        return Err(wrong("", "is longer than what is read"));
    }
    let visit = Visit {
        ip: ip(&message.ip).ok_or_else(|| wrong("/ip", "must have 4 or 16 bytes"))?,
        user_agent: &message.user_agent,
        referrer: &message.referrer,
        language: &message.language,
        country: Country::parse(&message.country),
        query: &message.query,
        purpose: purpose(message.purpose).ok_or_else(|| wrong("/purpose", "is none"))?,
    };
    let domain = domain_no(message.domain).ok_or_else(|| wrong("/domain", "is the number of no domain"))?;
    Ok(Ask { domain, code: &message.code, visit })
}

/// The trace of the item; those that are not kept are not named.
pub(super) fn trace(message: &proto::ResolveAsk) -> Option<TraceContext> {
    if message.traceparent.is_empty() { None } else { TraceContext::parse(message.traceparent.as_bytes()) }
}

/// The item's own deadline, if it has one, or the call's.
pub(super) fn deadline(message: &proto::ResolveAsk, call: Deadline) -> Deadline {
    if message.timeout_us == 0 {
        return call;
    }
    call.min(Deadline::after(Instant::now(), Duration::from_micros(message.timeout_us.into())))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

const fn to_purpose(purpose: Purpose) -> proto::Purpose {
    match purpose {
        Purpose::Follow => proto::Purpose::Follow,
        Purpose::Head => proto::Purpose::Head,
        Purpose::Prefetch => proto::Purpose::Prefetch,
        Purpose::Inspect => proto::Purpose::Inspect,
    }
}

fn purpose(number: i32) -> Option<Purpose> {
    match proto::Purpose::try_from(number).ok()? {
        proto::Purpose::Follow => Some(Purpose::Follow),
        proto::Purpose::Head => Some(Purpose::Head),
        proto::Purpose::Prefetch => Some(Purpose::Prefetch),
        proto::Purpose::Inspect => Some(Purpose::Inspect),
        proto::Purpose::Unspecified => None,
    }
}
