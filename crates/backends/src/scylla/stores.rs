//! One keyspace: links and everything around them but the statistics.

use std::convert::Infallible;
use std::sync::Arc;

use chassis::lifecycle::{Lifecycle, OnError, Stage};
use domain::port::{Clock, CodeRange, Entropy, LeaseStore as _, PortError};

use super::bounds::POLL;
use super::error::OpenError;
use super::{ClaimStore, ClickBudget, DomainStore, JobStore, KeyStore, LeaseStore, LinkStore, Options, Scylla, Takedowns, Url};

/// Tries to make, or find, the first range of codes, which many processes may do at once.
const FIRST_RANGE_ATTEMPTS: usize = 5;

/// The stores of one keyspace. Its connections end with the last store.
#[derive(Clone)]
pub struct Stores {
    pub links: Arc<LinkStore>,
    pub claims: Arc<ClaimStore>,
    pub budgets: Arc<ClickBudget>,
    /// Also the [`domain::port::IssuedBounds`].
    pub leases: Arc<LeaseStore>,
    pub keys: Arc<KeyStore>,
    pub domains: Arc<DomainStore>,
    pub jobs: Arc<JobStore>,
    pub takedowns: Arc<Takedowns>,
    scylla: Scylla,
}

impl Stores {
    pub fn scylla(&self) -> &Scylla {
        &self.scylla
    }
}

/// Connects to a migrated keyspace and keeps an eye on it until the process ends. One without code ranges
/// gets the range of its first key epoch, with a key from `entropy`.
pub async fn open_links(
    url: &Url,
    options: Options,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    lifecycle: &Lifecycle,
) -> Result<Stores, OpenError> {
    let scylla = Scylla::connect(url, options).await?;
    let leases = Arc::new(LeaseStore::new(scylla.clone()).await?);
    let failed = |error: PortError| OpenError::Failed { url: url.to_string(), source: Box::new(error) };
    first_range(&leases, &*entropy).await.map_err(failed)?;
    leases.poll().await.map_err(failed)?;
    watch(leases.clone(), lifecycle);
    let jobs = JobStore::open(&scylla, &*entropy).await?;
    let domains = DomainStore::open(&scylla, clock, entropy).await?;
    domains.start(lifecycle);
    Ok(Stores {
        links: Arc::new(LinkStore::new(scylla.clone()).await?),
        claims: Arc::new(ClaimStore::new(scylla.clone()).await?),
        budgets: Arc::new(ClickBudget::new(scylla.clone()).await?),
        keys: Arc::new(KeyStore::open(&scylla).await?),
        domains,
        jobs: Arc::new(jobs),
        takedowns: Arc::new(Takedowns::new(scylla.clone()).await?),
        leases,
        scylla,
    })
}

/// Counters open from the start: every process makes the range or finds it before it proves anything, so
/// that none can know an older bound.
const FIRST_OPEN: u64 = 1 << 21;

/// Whoever loses, or does not know, reads what the winner wrote.
async fn first_range(leases: &LeaseStore, entropy: &dyn Entropy) -> Result<(), PortError> {
    let mut key = [0; 16];
    entropy.fill(&mut key);
    let mut last = Ok(());
    for _ in 0..FIRST_RANGE_ATTEMPTS {
        match leases.ranges().await {
            Ok(ranges) if !ranges.is_empty() => return Ok(()),
            Ok(_) => last = leases.add_range(CodeRange { epoch: 0, key, next: 0, open: FIRST_OPEN, lim: FIRST_OPEN }).await.map(drop),
            Err(error) => last = Err(error),
        }
    }
    match leases.ranges().await {
        Ok(ranges) if !ranges.is_empty() => Ok(()),
        Ok(_) | Err(_) => last,
    }
}

/// A poll that fails leaves the bounds to grow old: then nothing is proved until one succeeds.
fn watch(leases: Arc<LeaseStore>, lifecycle: &Lifecycle) {
    let draining = lifecycle.draining(Stage::Background);
    lifecycle.spawn("code ranges", Stage::Background, OnError::Log, async move {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = draining.cancelled() => return Ok::<_, Infallible>(()),
                _ = ticks.tick() => {}
            }
            if let Err(error) = leases.poll().await {
                tracing::debug!(%error, "the code ranges cannot be read");
            }
        }
    });
}
