//! Redis: the nodes, what they do when they are full, and what must never reach a disk.

use backends::redis::{Facts, Look, RedisUrl, Seen};
use chassis::Finding;

use super::clocks;
use crate::config::{Cache, Config};
use crate::wire;

/// Sharded messages, and packed hashes.
const MAJOR_MIN: u32 = 7;
/// Links up to this length stay packed.
const PACKED_VALUE_LEN: u64 = 512;
const SLOTS: u32 = 16_384;

/// What a Redis is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Cache,
    /// Limits and salts: what is evicted there is forgotten too early.
    Limits,
    Both,
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Self::Cache | Self::Both => "redis cache",
            Self::Limits => "redis limits",
        }
    }
}

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let limits = match config.limits_cache() {
        Cache::Redis(url) => Some(url),
        Cache::Memory => None,
    };
    let mut findings = Vec::new();
    match (&config.cache.0, limits) {
        (Cache::Memory, None) => {}
        (Cache::Redis(cache), Some(limits)) if *cache == limits => findings.extend(one(cache, Use::Both).await),
        (cache, limits) => {
            if let Cache::Redis(url) = cache {
                findings.extend(one(url, Use::Cache).await);
            }
            if let Some(url) = limits {
                findings.extend(one(&url, Use::Limits).await);
            }
        }
    }
    findings
}

async fn one(url: &RedisUrl, used: Use) -> Vec<Finding> {
    match wire::look::redis(url).await {
        Ok(look) => judge(url, &look, used),
        Err(error) => vec![Finding::fail(used.name(), error.to_string(), "correct the files that the URL names")],
    }
}

fn judge(url: &RedisUrl, look: &Look, used: Use) -> Vec<Finding> {
    let name = used.name();
    let mut findings = vec![nodes(url, look, name)];
    let seen: Vec<(&str, &Facts)> = look.nodes.iter().filter_map(of_answer).collect();
    if seen.is_empty() {
        return findings;
    }
    findings.extend(look.cluster.as_ref().map(|cluster| {
        let name = format!("{name} slots");
        if cluster.is_ok && cluster.slots_ok == SLOTS {
            return Finding::ok(name, format!("all {SLOTS} are served"));
        }
        let detail = format!("{} of {SLOTS} are served", cluster.slots_ok);
        Finding::fail(name, detail, format!("redis-cli --cluster fix {}", seen[0].0))
    }));
    findings.push(policy(&seen, used));
    findings.push(disk(&seen, used));
    if used != Use::Limits {
        findings.extend(packing(&seen));
    }
    let clocks = seen.iter().map(|(who, facts)| clocks::Seen {
        who: (*who).to_owned(),
        ahead_ms: facts.clock_ahead_ms,
        doubt_ms: facts.clock_doubt_ms,
    });
    findings.push(clocks::judge(&format!("{name} clocks"), clocks));
    findings
}

fn of_answer(seen: &Seen) -> Option<(&str, &Facts)> {
    Some((seen.address.as_str(), seen.answer.as_ref().ok()?))
}

fn nodes(url: &RedisUrl, look: &Look, name: &str) -> Finding {
    let silent: Vec<_> = look.nodes.iter().filter_map(|seen| Some((&seen.address, seen.answer.as_ref().err()?))).collect();
    let all = look.nodes.len();
    if let Some((address, why)) = silent.first() {
        let detail = format!("{} of {all} nodes do not answer, {address} among them: {why}", silent.len());
        let mend = format!("start it; redis-cli -h {} ping answers PONG then", address.replace(':', " -p "));
        return if silent.len() < all { Finding::warn(name, detail, mend) } else { Finding::fail(name, detail, mend) };
    }
    let seen: Vec<_> = look.nodes.iter().filter_map(of_answer).collect();
    let version = seen.first().map_or("", |(_, facts)| facts.version.as_str());
    if let Some((address, facts)) = seen.iter().find(|(_, facts)| url.is_cluster() && facts.major < MAJOR_MIN) {
        return Finding::fail(
            name,
            format!("{address} is {}: it has no sharded messages", facts.version),
            "upgrade to Redis 7 or Valkey 7.2, or later",
        );
    }
    if let Some((address, _)) = seen.iter().find(|(_, facts)| facts.in_cluster != url.is_cluster()) {
        let (is, mend) = if url.is_cluster() { ("no node of a cluster", "redis://") } else { ("a node of a cluster", "redis-cluster://") };
        return Finding::fail(name, format!("{address} is {is}"), format!("write {mend} in the URL"));
    }
    Finding::ok(name, format!("{all} nodes of {version} answer"))
}

fn policy(seen: &[(&str, &Facts)], used: Use) -> Finding {
    let name = format!("{} memory", used.name());
    let set = |address: &str, what: &str| format!("redis-cli -h {} config set {what}, and in its redis.conf", address.replace(':', " -p "));
    for (address, facts) in seen {
        let evicts = facts.policy != "noeviction";
        match used {
            Use::Limits if evicts => {
                let detail = format!("{address} evicts ({}) what counts limits, and the salts of visitors", facts.policy);
                return Finding::fail(name, detail, set(address, "maxmemory-policy noeviction"));
            }
            Use::Cache | Use::Both if !evicts && facts.memory_max > 0 => {
                let detail = format!("{address} takes no more links when its {} MiB are full", facts.memory_max >> 20);
                return Finding::warn(name, detail, set(address, "maxmemory-policy allkeys-lfu"));
            }
            Use::Cache | Use::Both if facts.memory_max == 0 => {
                return Finding::warn(name, format!("{address} grows without a limit"), set(address, "maxmemory 1gb"));
            }
            Use::Cache | Use::Limits | Use::Both => {}
        }
    }
    if used == Use::Both {
        let detail = "limits and salts are in the cache: when it is full they may be evicted, limits forgotten and visitors counted twice";
        return Finding::warn(name, detail, "limits.url = \"redis://HOST:PORT\", a Redis of its own with maxmemory-policy noeviction");
    }
    Finding::ok(name, format!("{} at {} MiB", seen[0].1.policy, seen[0].1.memory_max >> 20))
}

/// A salt on a disk can undo what it hid.
fn disk(seen: &[(&str, &Facts)], used: Use) -> Finding {
    let name = format!("{} disk", used.name());
    if used == Use::Cache {
        return Finding::ok(name, "holds no salts");
    }
    if let Some((address, _)) = seen.iter().find(|(_, facts)| facts.persists == Some(true)) {
        let mend = format!(
            "redis-cli -h {0} config set save \"\" and config set appendonly no, and in its redis.conf; then remove its dump.rdb",
            address.replace(':', " -p ")
        );
        return Finding::fail(name, format!("{address} writes the salts of visitors to its disk"), mend);
    }
    match seen.iter().find(|(_, facts)| facts.persists.is_none()) {
        Some((address, _)) => Finding::ok(name, format!("{address} does not say whether it writes to one")),
        None => Finding::ok(name, "nothing is written to one"),
    }
}

fn packing(seen: &[(&str, &Facts)]) -> Option<Finding> {
    const NAME: &str = "redis cache packing";
    let (address, least) =
        seen.iter().filter_map(|(address, facts)| Some((address, facts.packed_value_len_max?))).min_by_key(|(_, len)| *len)?;
    if least >= PACKED_VALUE_LEN {
        return Some(Finding::ok(NAME, format!("values of up to {least} bytes are packed")));
    }
    let mend = format!(
        "redis-cli -h {} config set hash-max-listpack-value {PACKED_VALUE_LEN}, and in its redis.conf",
        address.replace(':', " -p ")
    );
    Some(Finding::warn(NAME, format!("values of more than {least} bytes are not packed: links take twice the memory"), mend))
}

#[cfg(test)]
mod tests {
    use chassis::Status;

    use super::*;

    fn facts() -> Facts {
        Facts {
            version: "Redis 7.0.15".into(),
            major: 7,
            is_primary: true,
            in_cluster: false,
            memory_max: 64 << 20,
            memory_used: 1,
            policy: "noeviction".into(),
            persists: Some(false),
            packed_value_len_max: Some(512),
            clock_ahead_ms: 0,
            clock_doubt_ms: 1,
        }
    }

    fn worst(facts: Facts, used: Use) -> (Status, String) {
        let url: RedisUrl = if facts.in_cluster { "redis-cluster://a:1" } else { "redis://a:1" }.parse().unwrap();
        let look = Look { nodes: vec![Seen { address: "a:1".into(), answer: Ok(facts) }], cluster: None };
        let found = judge(&url, &look, used).into_iter().max_by_key(|finding| finding.status).unwrap();
        assert_eq!(found.mend.is_some(), found.status != Status::Ok, "{found:?}");
        (found.status, found.mend.unwrap_or_default())
    }

    #[test]
    fn what_is_evicted_grows_or_reaches_a_disk() {
        let lfu = || Facts { policy: "allkeys-lfu".into(), ..facts() };
        for (given, used, status, says) in [
            (facts(), Use::Limits, Status::Ok, ""),
            (lfu(), Use::Limits, Status::Fail, "config set maxmemory-policy noeviction"),
            (lfu(), Use::Cache, Status::Ok, ""),
            (lfu(), Use::Both, Status::Warn, "limits.url"),
            (facts(), Use::Cache, Status::Warn, "allkeys-lfu"),
            (Facts { memory_max: 0, ..lfu() }, Use::Cache, Status::Warn, "maxmemory 1gb"),
            (Facts { persists: Some(true), ..facts() }, Use::Limits, Status::Fail, "save \"\""),
            (Facts { persists: Some(true), ..lfu() }, Use::Cache, Status::Ok, ""),
            (Facts { packed_value_len_max: Some(64), ..lfu() }, Use::Cache, Status::Warn, "hash-max-listpack-value 512"),
            (Facts { major: 6, in_cluster: true, ..lfu() }, Use::Cache, Status::Fail, "Redis 7"),
            (Facts { clock_ahead_ms: 60_000, ..lfu() }, Use::Cache, Status::Fail, "timedatectl"),
        ] {
            let found = worst(given, used);
            assert!(found.0 == status && found.1.contains(says), "{found:?} and not {status} {says}");
        }
    }

    #[test]
    fn a_url_of_the_wrong_kind() {
        let url: RedisUrl = "redis://a:1".parse().unwrap();
        let node = Facts { in_cluster: true, ..facts() };
        let look = Look { nodes: vec![Seen { address: "a:1".into(), answer: Ok(node) }], cluster: None };
        assert_eq!(nodes(&url, &look, "redis cache").mend.unwrap(), "write redis-cluster:// in the URL");
    }
}
