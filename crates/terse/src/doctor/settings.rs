//! Settings that are each right and do not go together.

use std::time::Duration;

use chassis::Finding;

use crate::config::{Cache, ClicksUrl, Config, Store};

/// How a setting clashes, and what would go with the other.
struct Clash {
    what: String,
    mend: String,
}

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let clashes: Vec<_> = [deadlines(config), memories(config), times(config)].into_iter().flatten().collect();
    if clashes.is_empty() {
        return vec![Finding::ok("settings", "none clash")];
    }
    clashes.into_iter().map(|clash| Finding::warn("settings", clash.what, clash.mend)).collect()
}

fn clash(holds: bool, what: impl Into<String>, mend: impl Into<String>) -> Option<Clash> {
    holds.then(|| Clash { what: what.into(), mend: mend.into() })
}

fn ms(time: Duration) -> u128 {
    time.as_millis()
}

/// Who waits must wait longer than what is waited for.
fn deadlines(config: &Config) -> Vec<Clash> {
    let Store::Scylla(_) = config.store() else { return Vec::new() };
    let (scylla, gateway) = (&config.scylla, &config.gateway);
    let (read, write, settle) = (scylla.read_timeout_ms.0, scylla.write_timeout_ms.0, scylla.settle_timeout_ms.0);
    let (redirect, api) = (gateway.redirect_deadline_ms.0, gateway.api_deadline_ms.0);
    [
        clash(
            read >= redirect,
            format!(
                "scylla.read_timeout_ms ({}) is not below gateway.redirect_deadline_ms ({}): a slow server is never passed over",
                ms(read),
                ms(redirect)
            ),
            format!("scylla.read_timeout_ms = {}", ms(redirect) * 3 / 5),
        ),
        clash(
            settle >= api,
            format!(
                "scylla.settle_timeout_ms ({}) is not below gateway.api_deadline_ms ({}): creates fail before their outcome is known",
                ms(settle),
                ms(api)
            ),
            format!("scylla.settle_timeout_ms = {}", ms(api) * 9 / 10),
        ),
        clash(
            write >= settle,
            format!(
                "scylla.write_timeout_ms ({}) is not below scylla.settle_timeout_ms ({}): an unclear outcome is never found out",
                ms(write),
                ms(settle)
            ),
            format!("scylla.write_timeout_ms = {}", ms(settle) * 2 / 3),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What processes share must not be the memory of one.
fn memories(config: &Config) -> Vec<Clash> {
    let is_shared = matches!(config.store(), Store::Scylla(_));
    let has_news = matches!(config.cache.0, Cache::Redis(_)) || matches!(config.clicks(), ClicksUrl::Kafka(_));
    let staleness_s = config.redirect.staleness_s.0.as_secs();
    [
        clash(
            is_shared && !has_news,
            format!("processes that share the store hear of each other's changes after redirect.staleness_s ({staleness_s} s) only: neither Redis nor Kafka carries the news"),
            "cache = \"redis://HOST:PORT\", or run one process alone",
        ),
        clash(
            is_shared && matches!(config.limits_cache(), Cache::Memory),
            "each process counts limits by itself: two gateways allow twice as much",
            "limits.url = \"redis://HOST:PORT\"",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn times(config: &Config) -> Vec<Clash> {
    let (drain, bulk) = (config.drain_grace_s.0, config.gateway.bulk_deadline_ms.0);
    let kept_days = u64::from(config.analytics.quarter_hour_retention_days.to_u32());
    let (staleness, stale) = (config.redirect.staleness_s.0, config.redirect.serve_stale_s.0);
    [
        clash(
            drain < bulk,
            format!("drain_grace_s ({}) is less than gateway.bulk_deadline_ms ({}): a stop cuts off bulks", drain.as_secs(), ms(bulk)),
            format!("drain_grace_s = {}", bulk.as_secs() + 5),
        ),
        clash(
            u64::from(config.clicks.retention_days) > kept_days,
            format!("clicks are kept for {} days, and the quarter-hours they are counted in for {kept_days}", config.clicks.retention_days),
            format!("clicks.retention_days = {kept_days}"),
        ),
        clash(
            !stale.is_zero() && stale < staleness,
            format!(
                "redirect.serve_stale_s ({}) is less than redirect.staleness_s ({}): it helps nobody while the store is down",
                stale.as_secs(),
                staleness.as_secs()
            ),
            "redirect.serve_stale_s = 3600",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use chassis::Status;
    use chassis::config::{Flag, Loaded, Sources, load};

    use super::*;

    fn found(set: &[(&str, &str)]) -> Vec<Finding> {
        let flag = |(key, value): &(&str, &str)| Flag { key: (*key).into(), name: "--set".into(), value: (*value).into() };
        let loaded: Loaded<Config> = load(&Sources { flags: set.iter().map(flag).collect(), ..Sources::default() }).unwrap();
        examine(&loaded.settings)
    }

    #[test]
    fn what_comes_with_the_program_does_not_clash() {
        let whole = [("store", "scylla://a/t"), ("cache", "redis://a"), ("clicks", "kafka://a/t.clicks")];
        for set in [&[][..], &whole] {
            let findings = found(set);
            assert!(findings.iter().all(|finding| finding.status == Status::Ok), "{findings:?}");
        }
    }

    #[test]
    fn each_clash_has_a_mend_that_mends_it() {
        let scylla = ("store", "scylla://a/t");
        let redis = ("cache", "redis://a");
        for set in [
            &[scylla, redis, ("scylla.read_timeout_ms", "300")][..],
            &[scylla, redis, ("scylla.settle_timeout_ms", "1000")],
            &[scylla, redis, ("scylla.write_timeout_ms", "900")],
            &[scylla],
            &[("drain_grace_s", "5")],
            &[("analytics.quarter_hour_retention_days", "10")],
            &[("redirect.serve_stale_s", "30")],
        ] {
            let clash = found(set).remove(0);
            assert_eq!(clash.status, Status::Warn, "{set:?}");
            let mend = clash.mend.unwrap();
            let (key, value) = mend.split_once(" = ").unwrap_or_else(|| panic!("{mend}"));
            let value = value.split(',').next().unwrap().trim_matches('"').replace("HOST:PORT", "a:1");
            let mended = found(&[set, &[(key, value.as_str())]].concat());
            assert!(!mended.iter().any(|finding| finding.mend.as_ref() == Some(&mend)), "{mended:?}");
        }
    }
}
