//! Connecting, with every wait of the driver bounded by us.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::PoolSize;
use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileBuilder};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::cluster::metadata::Strategy;
use scylla::errors::NewSessionError;
use scylla::policies::load_balancing::{DefaultPolicy, LoadBalancingPolicy};
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::{Consistency, SerialConsistency};
use tokio::time::Instant;

use super::error::OpenError;
use super::{Options, Url, schema};

/// A server that dies without a word is noticed within twice this.
const KEEPALIVE: Duration = Duration::from_secs(2);
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
const METADATA_REFRESH: Duration = Duration::from_mins(1);
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(30);
const AGREEMENT_INTERVAL: Duration = Duration::from_millis(200);
const RETRY_REST: Duration = Duration::from_millis(500);

/// Connects, without a keyspace, and tries again until `connect_patience` is over. There is no timestamp
/// generator: a timestamp is in the text of a statement, or the servers' own.
pub(super) async fn connect(url: &Url, options: &Options) -> Result<Session, OpenError> {
    let until = Instant::now() + options.connect_patience;
    let mut has_failed = false;
    loop {
        let error = match attempt(url, options).await {
            Ok(session) => {
                check_dc(url, &session)?;
                return Ok(session);
            }
            Err(error) => error,
        };
        if Instant::now() + RETRY_REST >= until || is_refused(&error) {
            return Err(open_error(url, error));
        }
        if !has_failed {
            tracing::warn!(store = %url, %error, "the store does not answer yet; trying on");
            has_failed = true;
        }
        tokio::time::sleep(RETRY_REST).await;
    }
}

async fn attempt(url: &Url, options: &Options) -> Result<Session, NewSessionError> {
    let profile = profile(url, options.write_timeout).build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&url.nodes)
        .default_execution_profile_handle(profile.into_handle())
        .pool_size(PoolSize::PerShard(NonZeroUsize::new(options.connections_per_shard).unwrap_or(NonZeroUsize::MIN)))
        .connection_timeout(options.connect_timeout)
        .hostname_resolution_timeout(Some(RESOLVE_TIMEOUT))
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .tcp_nodelay(true)
        .tcp_keepalive_interval(KEEPALIVE)
        .metadata_request_clientside_timeout(METADATA_TIMEOUT)
        .metadata_request_serverside_timeout(METADATA_TIMEOUT)
        .cluster_metadata_refresh_interval(METADATA_REFRESH)
        .schema_agreement_timeout(AGREEMENT_TIMEOUT)
        .schema_agreement_interval(AGREEMENT_INTERVAL)
        // Other keyspaces of the cluster are nobody's business here.
        .keyspaces_to_fetch([&url.keyspace]);
    if let Some(login) = &url.login {
        builder = builder.user(&login.user, &login.password);
    }
    builder.build().await
}

/// What statements fall back to where they say nothing; ours say everything.
pub(super) fn profile(url: &Url, timeout: Duration) -> ExecutionProfileBuilder {
    ExecutionProfile::builder()
        .request_timeout(Some(timeout))
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::Serial))
        .load_balancing_policy(near(url))
        .retry_policy(Arc::new(FallthroughRetryPolicy))
        .speculative_execution_policy(None)
}

/// The replicas of a row first, in the named data centre only: a local quorum elsewhere is another quorum.
fn near(url: &Url) -> Arc<dyn LoadBalancingPolicy> {
    let policy = DefaultPolicy::builder().token_aware(true).permit_dc_failover(false);
    match &url.dc {
        Some(dc) => policy.prefer_datacenter(dc.clone()).build(),
        None => policy.build(),
    }
}

/// Data centres of the cluster, sorted.
pub(super) fn dcs(session: &Session) -> Vec<String> {
    let state = session.get_cluster_state();
    let mut names: Vec<String> = state.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn check_dc(url: &Url, session: &Session) -> Result<(), OpenError> {
    let names = dcs(session);
    match &url.dc {
        Some(dc) if !names.contains(dc) => Err(OpenError::NoSuchDc { url: url.to_string(), dc: dc.clone(), names }),
        None if names.len() > 1 => Err(OpenError::WhichDc { url: url.to_string(), names }),
        Some(_) | None => Ok(()),
    }
}

/// In how many data centres a keyspace has copies; 0 when that is not known.
pub(super) fn regions(session: &Session, keyspace: &str) -> usize {
    let state = session.get_cluster_state();
    match state.get_keyspace(keyspace).map(|keyspace| &keyspace.strategy) {
        Some(Strategy::NetworkTopologyStrategy { datacenter_repfactors }) => datacenter_repfactors.len(),
        Some(Strategy::SimpleStrategy { .. } | Strategy::LocalStrategy) => dcs(session).len(),
        _ => 0,
    }
}

/// Makes the keyspace the one that statements are about.
pub(super) async fn enter(url: &Url, session: &Session) -> Result<(), OpenError> {
    session.use_keyspace(&url.keyspace, false).await.map_err(|error| {
        tracing::debug!(store = %url, %error, "the keyspace cannot be entered");
        OpenError::NotMigrated { url: url.to_string(), found: 0, known: schema::known() }
    })
}

/// The driver says it in words only.
fn is_refused(error: &NewSessionError) -> bool {
    error.to_string().to_lowercase().contains("authent")
}

fn open_error(url: &Url, error: NewSessionError) -> OpenError {
    let (is_refused, url) = (is_refused(&error), url.to_string());
    let source = Box::new(error);
    if is_refused { OpenError::Login { url, source } } else { OpenError::Unreachable { url, source } }
}
