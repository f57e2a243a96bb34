//! What a store has left of codes, and how old its API keys are.

use std::time::Duration;

use backends::system::SystemClock;
use chassis::Finding;
use domain::limits::CODE_SPACE;
use domain::port::{Clock as _, CodeRange};
use domain::{ApiKey, Scope, UnixMs};

const DAY: Duration = Duration::from_hours(24);
/// A key that opens everything is replaced once a year.
const ADMIN_KEY_AGE_MAX: Duration = Duration::from_hours(24 * 365);
/// Before a key ends, its user should hear of it.
const ENDS_SOON: Duration = Duration::from_hours(24 * 14);

pub(crate) fn left(ranges: &[CodeRange]) -> Finding {
    const NAME: &str = "codes";
    const MEND: &str = "make longer codes from now on: codes.strategy = \"snowflake\"";
    let Some(last) = ranges.last() else { return Finding::ok(NAME, "none was made yet") };
    let left = CODE_SPACE.saturating_sub(last.next);
    let percent = u128::from(left) * 100 / u128::from(CODE_SPACE);
    let detail = format!("key epoch {}: {percent} % of all codes are left", last.epoch);
    match percent {
        0 => Finding::fail(NAME, detail, MEND),
        1..10 => Finding::warn(NAME, detail, MEND),
        _ => Finding::ok(NAME, detail),
    }
}

pub(crate) fn keys(keys: &[ApiKey]) -> Finding {
    judge_keys(keys, SystemClock.now())
}

fn judge_keys(keys: &[ApiKey], now: UnixMs) -> Finding {
    const NAME: &str = "api keys";
    let valid: Vec<_> =
        keys.iter().filter(|key| key.revoked_at.is_none() && key.expires_at.is_none_or(|expires_at| expires_at > now)).collect();
    let days = |age: Duration| age.as_secs() / DAY.as_secs();
    let is_admin = |key: &&&ApiKey| key.scopes.has(Scope::Admin);
    if !valid.is_empty() && !valid.iter().any(|key| is_admin(&key)) {
        return Finding::warn(NAME, "no admin key is valid", "terse key create --data DIR, while the server is stopped");
    }
    if let Some(old) =
        valid.iter().filter(is_admin).filter(|key| now.since(key.created_at) > ADMIN_KEY_AGE_MAX).min_by_key(|key| key.created_at)
    {
        let detail = format!("the admin key `{}` (id {}) is {} days old", old.name.as_str(), old.id, days(now.since(old.created_at)));
        let mend = format!("terse key create --name NAME --scope admin, then terse key revoke {}", old.id);
        return Finding::warn(NAME, detail, mend);
    }
    let ends = |key: &&&ApiKey| key.expires_at.is_some_and(|expires_at| expires_at.since(now) < ENDS_SOON);
    if let Some(soon) = valid.iter().filter(ends).min_by_key(|key| key.expires_at) {
        let left = soon.expires_at.map_or(0, |expires_at| days(expires_at.since(now)));
        let detail = format!("the key `{}` of {} ends in {left} days", soon.name.as_str(), soon.owner.as_str());
        return Finding::warn(NAME, detail, format!("terse key create --name {} --owner {} …", soon.name.as_str(), soon.owner.as_str()));
    }
    let oldest = valid.iter().map(|key| now.since(key.created_at)).max().unwrap_or_default();
    Finding::ok(NAME, format!("{} valid, the oldest {} days old", valid.len(), days(oldest)))
}

#[cfg(test)]
mod tests {
    use chassis::Status;
    use domain::{KeyHash, KeyId, KeyName, Owner, Scopes};

    use super::*;

    const NOW: UnixMs = UnixMs::new(1_800_000_000_000);

    fn key(scope: Scope, age_days: u32, ends_in_days: Option<u32>) -> ApiKey {
        ApiKey {
            id: KeyId::new(7),
            name: KeyName::parse("ci").unwrap(),
            hash: KeyHash([0; 32]),
            owner: Owner::parse("ann").unwrap(),
            scopes: [scope].into_iter().collect::<Scopes>(),
            created_at: NOW.saturating_sub(DAY * age_days),
            expires_at: ends_in_days.map(|days| NOW.saturating_add(DAY * days)),
            revoked_at: None,
        }
    }

    #[test]
    fn old_admin_keys_and_keys_that_end_soon() {
        let admin = || key(Scope::Admin, 10, None);
        let revoked = ApiKey { revoked_at: Some(NOW), ..key(Scope::Admin, 999, None) };
        for (given, status, says) in [
            (vec![], Status::Ok, "0 valid"),
            (vec![admin(), key(Scope::LinksRead, 999, None), revoked], Status::Ok, "999 days old"),
            (vec![key(Scope::Admin, 400, None)], Status::Warn, "400 days old"),
            (vec![admin(), key(Scope::LinksRead, 1, Some(3))], Status::Warn, "ends in 3 days"),
            (vec![key(Scope::LinksRead, 1, None)], Status::Warn, "no admin key"),
        ] {
            let found = judge_keys(&given, NOW);
            assert!(found.status == status && found.detail.contains(says), "{found:?}");
        }
    }

    #[test]
    fn codes_that_run_out() {
        let range = |next| CodeRange { epoch: 0, key: [0; 16], next, open: next, lim: next };
        for (next, status) in [(0, Status::Ok), (CODE_SPACE / 100 * 95, Status::Warn), (CODE_SPACE - 5, Status::Fail)] {
            assert_eq!(left(&[range(0), range(next)]).status, status, "{next}");
        }
        assert_eq!(left(&[]).status, Status::Ok);
    }
}
