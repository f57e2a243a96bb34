//! A keyspace of `ScyllaDB` or Cassandra, which speak the same CQL.
//!
//! Two sessions. `conditional` runs everything that is decided by a condition (`IF …`): links, claims,
//! budgets, ranges, domains, keys, jobs. It never sends a timestamp of its own, since one that is ahead of
//! the servers' would hide later changes that were answered as applied. `aggregates` runs the statements
//! that bring an explicit `USING TIMESTAMP`. No statement is retried by the driver; what an ambiguous answer
//! means is decided where the statement is sent.
//!
//! A new port: a file with its statements (`Scylla::prepare`) and rows (`fields.rs`), its tables in a step
//! of `schema.rs`, a field in `stores.rs`.

mod bounds;
mod claim_row;
mod claim_store;
mod click_budget;
mod domain_store;
mod error;
mod fields;
mod health;
mod hedge;
mod job_store;
mod key_store;
mod lease_store;
mod link_index;
mod link_row;
mod link_store;
mod look;
mod probe;
mod query;
mod schema;
mod session;
mod settling;
mod slots;
mod stats_store;
mod stores;
mod stripes;
mod takedowns;
mod url;
mod value;

use std::sync::Arc;
use std::time::Duration;

use ::scylla::client::session::Session;
use tokio::sync::Semaphore;

pub use claim_store::ClaimStore;
pub use click_budget::ClickBudget;
pub use domain_store::DomainStore;
pub use error::OpenError;
pub use job_store::JobStore;
pub use key_store::KeyStore;
pub use lease_store::LeaseStore;
pub use link_store::LinkStore;
pub use look::{Facts, Keyspace, Look, Server, look};
pub use schema::{Plan, Step, Version, inspect, migrate, plan};
pub use stats_store::{PartStamps, StatsStore, open_stats};
pub use stores::{Stores, open_links};
pub use takedowns::Takedowns;
pub use url::{Url, UrlError};

use health::Health;
use hedge::Hedge;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections to each shard (Cassandra: to each node), for each of the two sessions.
    pub connections_per_shard: usize,
    /// How long the first connection may take to come about, over all attempts. It is needed once:
    /// servers that go away later come back by themselves.
    pub connect_patience: Duration,
    /// One connection to one server.
    pub connect_timeout: Duration,
    /// One read that a redirect waits for.
    pub read_timeout: Duration,
    /// One page of a listing.
    pub list_timeout: Duration,
    /// One attempt at a conditional or plain write.
    pub write_timeout: Duration,
    /// All attempts at one conditional write, and finding out what became of them.
    pub settle_timeout: Duration,
    /// Statements under way; more wait, as long as they may take.
    pub in_flight_max: usize,
    /// Items of one bulk call under way.
    pub bulk_concurrency: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_per_shard: 1,
            connect_patience: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_millis(150),
            list_timeout: Duration::from_secs(2),
            write_timeout: Duration::from_millis(600),
            settle_timeout: Duration::from_millis(900),
            in_flight_max: 1_024,
            bulk_concurrency: 16,
        }
    }
}

/// The handle of an open keyspace. Cheap to clone; the connections end with the last one.
#[derive(Clone)]
pub struct Scylla(Arc<Inner>);

struct Inner {
    url: Url,
    options: Options,
    conditional: Session,
    aggregates: Session,
    in_flight: Semaphore,
    health: Health,
    hedge: Arc<Hedge>,
}

impl std::fmt::Debug for Scylla {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scylla({})", self.0.url)
    }
}

impl Scylla {
    /// Connects to a keyspace that `terse migrate` has brought up to date. The servers are needed once, for
    /// as long as `connect_patience`; from then on connections come and go by themselves.
    pub async fn connect(url: &Url, options: Options) -> Result<Self, OpenError> {
        let conditional = session::connect(url, &options).await?;
        session::enter(url, &conditional).await?;
        schema::check(url, &conditional).await?;
        let aggregates = session::connect(url, &options).await?;
        session::enter(url, &aggregates).await?;
        let scylla = Self(Arc::new(Inner {
            url: url.clone(),
            options,
            conditional,
            aggregates,
            in_flight: Semaphore::new(options.in_flight_max),
            health: Health::new(url.to_string()),
            hedge: Arc::new(Hedge::new()),
        }));
        probe::conditions_work(&scylla).await?;
        Ok(scylla)
    }

    pub fn url(&self) -> &Url {
        &self.0.url
    }

    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Whether the keyspace has copies in one data centre only, so that a quorum there is a quorum of all.
    pub(super) fn is_in_one_region(&self) -> bool {
        session::regions(&self.0.conditional, &self.0.url.keyspace) == 1
    }
}
