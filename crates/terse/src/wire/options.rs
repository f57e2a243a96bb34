//! From the configuration to what each part wants to know.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use chassis::config::Loaded;
use domain::port::Entropy;
use domain::target::PrivateAddresses;
use gateway as door;

use crate::config::{Balance, Config, Forwarded, PublicUrl, Scheme, Store, Strategy};

/// `limits_key`: the same in all gateways on one store.
pub(super) fn gateway(config: &Config, public_url: &PublicUrl, limits_key: [u8; 16]) -> door::Options {
    let section = &config.gateway;
    let tls = config.tls.cert.clone().zip(config.tls.key.clone());
    door::Options {
        scheme: match public_url.scheme() {
            Scheme::Http => door::Scheme::Http,
            Scheme::Https => door::Scheme::Https,
        },
        trusted_proxies: door::Networks::new(section.trusted_proxies.iter().map(|network| network.0).collect()),
        forwarded_header: match section.forwarded_header {
            Forwarded::XForwardedFor => door::ForwardedHeader::XForwardedFor,
            Forwarded::Forwarded => door::ForwardedHeader::Forwarded,
        },
        limits: door::Limits {
            requests_per_s: config.limits.requests_per_s,
            misses_per_min: config.limits.misses_per_ip_per_min,
            api_requests_per_min: config.limits.api_per_ip_per_min,
            creations_per_h: config.limits.creates_per_key_per_h,
        },
        limits_key,
        deadlines: door::Deadlines {
            redirect: section.redirect_deadline_ms.0,
            api: section.api_deadline_ms.0,
            stats: section.stats_deadline_ms.0,
            bulk: section.bulk_deadline_ms.0,
        },
        timeouts: door::Timeouts {
            first_byte: section.first_byte_timeout_ms.0,
            header: section.header_timeout_ms.0,
            body: section.body_timeout_ms.0,
            write: section.write_timeout_ms.0,
            idle: section.idle_timeout_ms.0,
            linger: section.linger_ms.0,
        },
        connections: door::ConnectionLimits { total: section.connections_max, per_ip: section.connections_per_ip_max },
        concurrency: door::Concurrency {
            redirect: section.redirects_in_flight_max,
            create: section.creates_in_flight_max,
            stats: section.stats_in_flight_max,
        },
        referrer_policy: section.referrer_policy.0.value(),
        tls: tls.map(|(certificate, key)| door::TlsFiles { certificate, key }),
    }
}

/// `key`: of the store's first epoch.
pub(super) fn links(loaded: &Loaded<Config>, key: [u8; 16]) -> anyhow::Result<links::Options> {
    let config = &loaded.settings;
    let blocklist = match &config.links.blocklist {
        Some(path) => links::Blocklist::parse(&read(path).with_context(|| loaded.describe("links.blocklist"))?),
        None => links::Blocklist::default(),
    };
    Ok(links::Options {
        strategy: strategy(config.codes.strategy),
        code_length: u8::try_from(config.codes.code_length.get()).unwrap_or(domain::limits::CODE_LENGTH_DEFAULT),
        block_len: config.codes.block_len.to_u32(),
        private_addresses: if config.links.allow_private_targets { PrivateAddresses::Allowed } else { PrivateAddresses::Refused },
        blocklist,
        ..links::Options::new(key)
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))
}

fn strategy(strategy: Strategy) -> domain::Strategy {
    match strategy {
        Strategy::Leased => domain::Strategy::Leased,
        Strategy::Counter => domain::Strategy::Counter,
        Strategy::Snowflake => domain::Strategy::Snowflake,
        Strategy::Hash => domain::Strategy::Hash,
        Strategy::Random => domain::Strategy::Random,
    }
}

/// `has_cache`: whether there is one between memory and the store.
pub(super) fn redirect(config: &Config, has_cache: bool) -> redirect::Options {
    let defaults = redirect::Options::default();
    redirect::Options {
        store_timeout: match config.store() {
            Store::Scylla(_) => config.scylla.read_timeout_ms.0,
            Store::Sqlite(_) => defaults.store_timeout,
        },
        l2: has_cache.then(redirect::L2::default),
        staleness: config.redirect.staleness_s.0,
        serve_stale: config.redirect.serve_stale_s.0,
        l1_bytes: config.redirect.cache_bytes.0,
        ..defaults
    }
}

pub(super) fn sqlite(config: &Config) -> backends::sqlite::Options {
    backends::sqlite::Options {
        readers: config.sqlite.readers.to_usize(),
        group_wait: config.sqlite.group_wait_ms.0,
        cache_bytes: usize::try_from(config.sqlite.cache_bytes.0).unwrap_or(usize::MAX),
        ..backends::sqlite::Options::default()
    }
}

pub(super) fn scylla(config: &Config) -> backends::scylla::Options {
    backends::scylla::Options {
        read_timeout: config.scylla.read_timeout_ms.0,
        write_timeout: config.scylla.write_timeout_ms.0,
        settle_timeout: config.scylla.settle_timeout_ms.0,
        ..backends::scylla::Options::default()
    }
}

pub(super) fn redis(config: &Config, of_kind: &backends::redis::Options) -> backends::redis::Options {
    let prefix = config.redis.prefix.clone();
    backends::redis::Options { prefix, ..of_kind.clone() }
}

pub(super) fn link_cache(config: &Config) -> backends::redis::LinkCacheOptions {
    backends::redis::LinkCacheOptions {
        staleness: config.redirect.staleness_s.0,
        serve_stale: config.redirect.serve_stale_s.0,
        ..backends::redis::LinkCacheOptions::default()
    }
}

pub(super) fn topics(config: &Config) -> backends::kafka::TopicOptions {
    backends::kafka::TopicOptions {
        click_partitions: config.kafka.partitions.to_usize(),
        click_retention: Duration::from_hours(24).saturating_mul(config.clicks.retention_days.max(1)),
        ..backends::kafka::TopicOptions::default()
    }
}

/// A worker number of its own lets a process on a shared store go on without waiting for others.
pub(super) fn ids(config: &Config, entropy: &dyn Entropy) -> ids::Options {
    let any = match config.store() {
        Store::Sqlite(_) => 0,
        Store::Scylla(_) => u16::try_from(entropy.u64() % (u64::from(domain::snowflake::WORKER_MAX) + 1)).unwrap_or(0),
    };
    let worker = config.ids.worker.and_then(|worker| u16::try_from(worker.get()).ok());
    ids::Options { worker: worker.unwrap_or(any), ..ids::Options::default() }
}

pub(super) fn grpc(config: &Config, listen: std::net::SocketAddr) -> rpc::server::Options {
    let section = &config.grpc;
    let tls = section.cert.clone().zip(section.key.clone());
    rpc::server::Options {
        tls: tls.map(|(cert, key)| rpc::ServerTls { cert, key, client_ca: section.client_ca.clone() }),
        max_connection_age: section.connection_age_s.0,
        ..rpc::server::Options::new(listen)
    }
}

pub(super) fn caller(config: &Config) -> rpc::channel::Options {
    let section = &config.services;
    let tls = section.ca.clone().map(|ca| rpc::ClientTls {
        ca,
        identity: section.cert.clone().zip(section.key.clone()),
        server_name: section.tls_name.clone(),
    });
    rpc::channel::Options { tls, ..rpc::channel::Options::default() }
}

pub(super) fn balance(config: &Config) -> door::balance::Options {
    let policy = match config.gateway.balance {
        Balance::Rendezvous => door::balance::Policy::Rendezvous,
        Balance::Ring => door::balance::Policy::Ring { virtual_nodes: VIRTUAL_NODES },
        Balance::P2c => door::balance::Policy::P2c,
        Balance::RoundRobin => door::balance::Policy::RoundRobin,
    };
    door::balance::Options { policy, ..door::balance::Options::default() }
}

/// On the ring, of each replica: with fewer the loads differ by more than a sixth.
const VIRTUAL_NODES: u16 = 160;

pub(super) fn consumer(config: &Config) -> analytics::consumer::Options {
    analytics::consumer::Options { flush_interval: config.analytics.flush_interval_ms.0, ..analytics::consumer::Options::default() }
}

pub(super) fn rollup(config: &Config) -> analytics::rollup::Options {
    let days = config.analytics.quarter_hour_retention_days.to_u32();
    analytics::rollup::Options { keep_slots: Duration::from_hours(24) * days, ..analytics::rollup::Options::default() }
}
