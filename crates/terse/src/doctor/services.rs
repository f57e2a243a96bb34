//! The other services, where the configuration says that there are some.

use std::time::Duration;

use backends::system::SystemClock;
use chassis::Finding;
use chassis::config::{Loaded, Origin};
use domain::port::Clock as _;
use rpc::{Answer, Connector, Endpoints, SERVICES};

use super::clocks;
use crate::config::Config;
use crate::wire;

pub(super) async fn examine(loaded: &Loaded<Config>) -> Vec<Finding> {
    let services = &loaded.settings.services;
    let all = [&services.ids, &services.links, &services.redirect, &services.analytics];
    // What nobody configured may not be there: `terse serve` needs none of them.
    let is_configured = |name: &str| !matches!(loaded.origin(&format!("services.{name}")), Origin::Default);
    let mut asked = SERVICES.into_iter().zip(all).filter(|((name, _), _)| is_configured(name)).peekable();
    if asked.peek().is_none() {
        return Vec::new();
    }
    let connector = match wire::look::connector(&loaded.settings) {
        Ok(connector) => connector,
        Err(error) => return vec![Finding::fail("services", error.to_string(), "correct services.ca, services.cert and services.key")],
    };
    let (mut findings, mut seen) = (Vec::new(), Vec::new());
    for ((name, service), endpoints) in asked {
        findings.push(one(&connector, name, service, endpoints.0.endpoints(), &mut seen).await);
    }
    findings.push(clocks::judge("service clocks", seen.into_iter()));
    findings
}

async fn one(connector: &Connector, name: &str, service: &str, endpoints: &Endpoints, seen: &mut Vec<clocks::Seen>) -> Finding {
    let title = format!("service {name}");
    let (mut answers, mut failures) = (0, Vec::new());
    for (entry, addresses) in endpoints.addresses().await {
        let addresses = match addresses {
            Ok(addresses) if !addresses.is_empty() => addresses,
            Ok(_) => {
                failures.push(format!("{entry} has no address"));
                continue;
            }
            Err(error) => {
                failures.push(format!("{entry} has no address: {error}"));
                continue;
            }
        };
        for address in addresses {
            match connector.look(address, service).await {
                Ok(answer) if answer.serves => {
                    answers += 1;
                    seen.extend(clock(&address.to_string(), &answer));
                }
                Ok(_) => failures.push(format!("{address} is draining")),
                Err(error) => failures.push(format!("{address}: {error}")),
            }
        }
    }
    let mend = format!("terse {name}, with the same configuration, where services.{name} says it is; terse config show --origin");
    match failures.first() {
        None => Finding::ok(title, format!("{answers} of {answers} replicas serve")),
        Some(first) if answers > 0 => {
            Finding::warn(title, format!("{answers} of {} replicas serve; {first}", answers + failures.len()), mend)
        }
        Some(first) => Finding::fail(title, first.clone(), mend),
    }
}

/// A date of whole seconds: the clock stood at the middle of that second, give or take half of one and half of the way.
fn clock(who: &str, answer: &Answer) -> Option<clocks::Seen> {
    let date = jiff::fmt::rfc2822::parse(answer.date.as_deref()?).ok()?.timestamp().as_millisecond();
    let way = answer.took / 2;
    let asked_at = SystemClock.now().saturating_sub(way);
    let ahead_ms = date + 500 - asked_at.get();
    // The server keeps the text of a date for up to a second.
    let doubt = way + Duration::from_millis(1_500);
    Some(clocks::Seen { who: who.to_owned(), ahead_ms, doubt_ms: i64::try_from(doubt.as_millis()).unwrap_or(i64::MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_tells_a_clock() {
        let now = SystemClock.now();
        let date = |offset_s: i64| {
            let at = jiff::Timestamp::from_millisecond(now.get() + offset_s * 1_000).unwrap();
            jiff::fmt::rfc2822::to_string(&at.to_zoned(jiff::tz::TimeZone::UTC)).unwrap().replace("+0000", "GMT")
        };
        let seen = |date: Option<String>| clock("a", &Answer { serves: true, date, took: Duration::from_millis(2) });
        for offset_s in [-3_600, 0, 60] {
            let found = seen(Some(date(offset_s))).unwrap();
            assert!((found.ahead_ms - offset_s * 1_000).abs() <= found.doubt_ms, "{offset_s}: {}", found.ahead_ms);
        }
        assert!(seen(None).is_none() && seen(Some("yesterday".into())).is_none());
    }
}
