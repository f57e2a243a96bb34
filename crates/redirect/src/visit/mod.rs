//! What a request says of its sender, made into a click. The raw IP goes no further than this folder.

mod agent;
mod agent_rules;
mod campaign;
mod referrer;
mod salts;
mod short;

use std::sync::Arc;

use domain::api::{Purpose, Visit};
use domain::port::{ClickLog, Geo};
use domain::{Agent, Click, Language, UnixMs};

pub(crate) use agent::Agents;
pub(crate) use campaign::Campaign;
pub(crate) use salts::Salts;

use crate::entry::Entry;

/// Milliseconds of a UTC day.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// Days since 1970-01-01.
pub(crate) fn day_of(at: UnixMs) -> u32 {
    u32::try_from(at.get().div_euclid(DAY_MS)).unwrap_or(0)
}

/// The name a click is counted as a bot's under; empty for people.
pub(crate) fn bot_name<'a>(visit: &Visit<'_>, agent: &'a Agent) -> &'a str {
    match (&agent.bot, visit.purpose) {
        (Some(name), _) => name,
        (None, Purpose::Head) => "HEAD",
        (None, Purpose::Prefetch) => "Prefetch",
        (None, Purpose::Follow | Purpose::Inspect) => "",
    }
}

pub(crate) struct Recorder {
    pub(crate) clicks: Arc<dyn ClickLog>,
    pub(crate) geo: Arc<dyn Geo>,
    pub(crate) salts: Arc<Salts>,
}

impl Recorder {
    /// Records one click, without waiting and without allocating.
    pub(crate) fn record(&self, entry: &Entry, visit: &Visit<'_>, agent: &Agent, at: UnixMs) {
        let owner = entry.route.owner.as_str();
        let referrer = referrer::host(visit.referrer);
        let asked = campaign::Asked::of_query(visit.query);
        let click = Click {
            link: entry.route.link,
            domain: entry.route.domain,
            code: &entry.route.code,
            owner,
            at,
            visitor: self.salts.visitor(day_of(at), owner, visit.ip, visit.user_agent),
            country: visit.country.or_else(|| self.geo.country(visit.ip)),
            language: language(visit.language),
            referrer: referrer.as_str(),
            browser: agent.browser,
            system: agent.system,
            device: agent.device,
            bot: bot_name(visit, agent),
            utm_source: asked.source.or(&entry.campaign.source),
            utm_medium: asked.medium.or(&entry.campaign.medium),
            utm_campaign: asked.name.or(&entry.campaign.name),
        };
        // The log counts what it keeps and what it drops, by reason; the redirect is answered all the same.
        self.clicks.record(&click).ok();
    }
}

/// The first language of an `Accept-Language` header.
fn language(header: &str) -> Option<Language> {
    let first = header.split(',').next()?;
    Language::parse(first.split(';').next()?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_language_counts_by_its_primary_subtag() {
        let of = |header| language(header).map(|language| language.as_str().to_owned());
        assert_eq!(of("de-CH,de;q=0.9,en;q=0.5").as_deref(), Some("de"));
        assert_eq!(of("FIL").as_deref(), Some("fil"));
        assert_eq!(of(" en ; q=1").as_deref(), Some("en"));
        for none in ["", "*", "x", "english", "1a", ";;;", "\u{0}\u{0}"] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }

    #[test]
    fn days_begin_at_midnight_utc_and_never_before_1970() {
        assert_eq!(day_of(UnixMs::new(DAY_MS - 1)), 0);
        assert_eq!(day_of(UnixMs::new(DAY_MS)), 1);
        assert_eq!(day_of(UnixMs::new(-1)), 0);
    }
}
