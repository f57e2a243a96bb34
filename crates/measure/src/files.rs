//! Links in bulk, as the shortening service would have made them.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use backends::sqlite::{self, Stores};
use backends::system::{SystemClock, SystemEntropy};
use domain::permutation::Permutation;
use domain::port::{CodeRange, DomainStore as _, Inserted, LeaseStore as _, LinkStore as _};
use domain::snowflake::{self, Parts};
use domain::{Code, DomainNo, Host, Link, LinkId, Owner, State, Target, UnixMs};

use crate::figures::{figure, float, per_s};

/// Rows of one insert.
const BATCH: u64 = 1_000;
const CREATED: UnixMs = UnixMs::new(1_780_000_000_000);

/// The links of one key epoch, by their counter.
#[derive(Clone)]
pub(crate) struct Maker {
    permutation: Permutation,
    owner: Owner,
}

impl Maker {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { permutation: Permutation::new(key, 0), owner: Owner::from_stored("admin") }
    }

    pub(crate) fn code(&self, counter: u64) -> Code {
        Code::generated(self.permutation.encode(counter)).unwrap_or_else(|| Code::from_stored("4fK9aQz", domain::CodeKind::Generated))
    }

    /// Whether the counter has a code at all: some would look like words.
    pub(crate) fn has_code(&self, counter: u64) -> bool {
        Code::generated(self.permutation.encode(counter)).is_some()
    }

    pub(crate) fn link(&self, counter: u64) -> Link {
        let at = CREATED.saturating_add(std::time::Duration::from_millis(counter));
        let id = snowflake::encode(Parts { at, worker: 0, sequence: 0 }).unwrap_or_else(|| LinkId::new(counter));
        Link {
            id,
            domain: DomainNo::DEFAULT,
            code: self.code(counter),
            owner: self.owner.clone(),
            target: Target::from_stored(&format!("https://example.com/articles/{counter:08}/some-page-of-it")),
            title: None,
            tags: Vec::new(),
            state: State::Active,
            blocked: None,
            redirect_status: None,
            caching: None,
            forward_query: false,
            starts_at: None,
            expires_at: None,
            max_clicks: None,
            created_at: at,
            updated_at: at,
            version: 1,
            change_id: counter,
        }
    }
}

/// A file of links, and how far its counters went.
pub(crate) struct Links {
    pub(crate) stores: Stores,
    pub(crate) maker: Maker,
    pub(crate) range: CodeRange,
    pub(crate) count: u64,
}

impl Links {
    pub(crate) async fn open(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let stores = sqlite::open_links(&folder.join("terse.db"), sqlite::Options::default(), &SystemEntropy)?;
        stores.domains.set_default(&Host::parse("localhost").context("a host")?).await?;
        let range = *stores.leases.ranges().await?.first().context("a range of codes")?;
        Ok(Self { maker: Maker::new(range.key), stores, range, count: 0 })
    }

    /// Until there are `count` of them, through the store's own inserts.
    pub(crate) async fn grow(&mut self, count: u64) -> anyhow::Result<()> {
        let (began, from) = (Instant::now(), self.count);
        // All counters below are granted to us, so that the never-issued proof does not deny them.
        let mut next = self.range.next;
        while self.count < count {
            let mut batch = Vec::new();
            while batch.len() < usize::try_from(BATCH.min(count - self.count))? {
                if self.maker.has_code(next) {
                    batch.push(self.maker.link(next));
                }
                next += 1;
            }
            let new = CodeRange { next, open: next, lim: next, ..self.range };
            anyhow::ensure!(self.stores.leases.swap_range(&self.range, &new).await?, "somebody else takes codes");
            self.range = new;
            self.count += u64::try_from(batch.len())?;
            let inserted = self.stores.links.insert(batch).await?;
            anyhow::ensure!(inserted.iter().all(|inserted| *inserted == Inserted::Stored), "a code was taken");
        }
        let made = self.count - from;
        if made > 0 {
            println!("{made} links stored, {:.0}/s", per_s(made, began.elapsed()));
        }
        Ok(())
    }

    /// A code that is there: one of the counters below, again and again if need be.
    pub(crate) fn some_code(&self, dice: &mut crate::zipf::Dice) -> Code {
        loop {
            let counter = dice.below(self.range.next);
            if self.maker.has_code(counter) {
                return self.maker.code(counter);
            }
        }
    }

    pub(crate) fn report_size(&self, folder: &Path) -> anyhow::Result<()> {
        let bytes = std::fs::metadata(folder.join("terse.db"))?.len();
        figure(&format!("bytes_per_link_{}", self.count), float(bytes) / float(self.count.max(1)));
        Ok(())
    }
}

pub(crate) fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock)
}
