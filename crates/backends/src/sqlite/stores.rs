//! `terse.db`: links and everything around them but the statistics.

use std::path::Path;
use std::sync::Arc;

use domain::permutation::Permutation;
use domain::port::{CodeRange, Entropy};
use rusqlite::Connection;

use super::claim_store::ClaimStore;
use super::click_budget::ClickBudget;
use super::domain_store::{self, DomainStore};
use super::job_store::JobStore;
use super::key_store::KeyStore;
use super::lease_store::{self, LeaseStore};
use super::link_store::LinkStore;
use super::takedowns::Takedowns;
use super::{OpenError, Options, Schema, Sqlite};

pub const LINKS: Schema = Schema { name: "links", application_id: i32::from_be_bytes(*b"Trsl"), steps: &[include_str!("links.sql")] };

/// The stores of one `terse.db`. The file is closed by [`Stores::close`].
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
    file: Sqlite,
}

impl Stores {
    pub fn file(&self) -> &Sqlite {
        &self.file
    }

    pub async fn close(&self) {
        self.file.close().await;
    }
}

/// Opens or makes the file. A new one gets the range of its first key epoch, with a key from `entropy`:
/// row keys are made with that key for ever. Blocks the thread: call it before serving.
pub fn open_links(path: &Path, options: Options, entropy: &dyn Entropy) -> Result<Stores, OpenError> {
    let mut first = [0; 16];
    entropy.fill(&mut first);
    let mut start = None;
    let file = Sqlite::open_with(path, &LINKS, &options, |db| {
        start = Some(prepare(db, first)?);
        Ok(())
    })?;
    let Start { ranges, domains } = start.unwrap_or_default();
    let permutation = ranges.first().map_or_else(|| Permutation::new(first, 0), |range| Permutation::new(range.key, range.epoch));
    Ok(Stores {
        links: Arc::new(LinkStore::new(file.clone(), permutation)),
        claims: Arc::new(ClaimStore::new(file.clone())),
        budgets: Arc::new(ClickBudget::new(file.clone())),
        leases: Arc::new(LeaseStore::new(file.clone(), &ranges)),
        keys: Arc::new(KeyStore::new(file.clone())),
        domains: Arc::new(DomainStore::new(file.clone(), domains)),
        jobs: Arc::new(JobStore::new(file.clone())),
        takedowns: Arc::new(Takedowns::new(file.clone())),
        file,
    })
}

/// What is kept in memory from the start.
#[derive(Default)]
struct Start {
    ranges: Vec<CodeRange>,
    domains: Vec<domain::Domain>,
}

fn prepare(db: &Connection, first_key: [u8; 16]) -> rusqlite::Result<Start> {
    if lease_store::ranges(db)?.is_empty() {
        lease_store::add_range(db, &CodeRange { epoch: 0, key: first_key, next: 0, open: 0, lim: 0 })?;
    }
    Ok(Start { ranges: lease_store::ranges(db)?, domains: domain_store::all(db)? })
}
