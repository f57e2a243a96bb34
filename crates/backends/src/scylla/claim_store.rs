//! Claims. That one has ended is read from its row, not left to the servers' clocks; the sweep removes it.

use async_trait::async_trait;
use domain::UnixMs;
use domain::port::{Claim, ClaimKey, ClaimStore as Port, Claimed, PortResult};
use futures_util::future::{FutureExt as _, try_join, try_join_all};
use scylla::value::MaybeUnset;

use super::Scylla;
use super::claim_row::{columns, read, read_key, write_items};
use super::error::OpenError;
use super::query::{Mode, Prepared, Reach};
use super::settling::Settling;
use super::stripes::Stripes;
use super::value;

const MINUTE_MS: i64 = 60_000;
/// Claims that are removed at once.
const SWEEP_CONCURRENCY: usize = 16;
/// Minutes of one sweep.
const SWEEP_MINUTES: i32 = 64;

pub struct ClaimStore {
    scylla: Scylla,
    insert: Prepared,
    update: Prepared,
    delete: Prepared,
    get: Prepared,
    get_settled: Prepared,
    add_end: Prepared,
    remove_end: Prepared,
    ends: Prepared,
    add_minute: Prepared,
    remove_minute: Prepared,
    minutes: Prepared,
    stripes: Stripes,
}

/// A claim that has ended, as the sweep finds it.
struct Ended {
    key: ClaimKey,
    expires_at: i64,
}

impl ClaimStore {
    pub(super) async fn new(scylla: Scylla) -> Result<Self, OpenError> {
        const KEY: &str = "owner = ? AND kind = ? AND domain = ? AND key = ?";
        let select = format!("SELECT digest, items, created_at, expires_at FROM claims WHERE {KEY}");
        let update = format!("UPDATE claims SET digest = ?, items = ?, created_at = ?, expires_at = ? WHERE {KEY} IF items = ?");
        let delete = format!("DELETE FROM claims WHERE {KEY} IF expires_at = ?");
        let insert = "INSERT INTO claims (owner, kind, domain, key, digest, items, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS";
        let ends = "SELECT expires_at, owner, kind, domain, key FROM claim_ends WHERE minute = ? AND expires_at <= ? LIMIT ?";
        let remove_end = format!("DELETE FROM claim_ends WHERE minute = ? AND expires_at = ? AND {KEY}");
        let add_end = "INSERT INTO claim_ends (minute, expires_at, owner, kind, domain, key) VALUES (?, ?, ?, ?, ?, ?)";
        let (condition, settled) = (Mode::Condition(Reach::Everywhere), Mode::SerialRead(Reach::Everywhere));
        Ok(Self {
            insert: scylla.prepare(condition, "cql: claim", insert).await?,
            update: scylla.prepare(condition, "cql: replace a claim", &update).await?,
            delete: scylla.prepare(condition, "cql: remove a claim", &delete).await?,
            get: scylla.prepare(Mode::Read, "cql: get a claim", &select).await?,
            get_settled: scylla.prepare(settled, "cql: settle a claim", &select).await?,
            add_end: scylla.prepare(Mode::Write, "cql: add a claim's end", add_end).await?,
            remove_end: scylla.prepare(Mode::Write, "cql: remove a claim's end", &remove_end).await?,
            ends: scylla.prepare(Mode::Read, "cql: ended claims", ends).await?,
            add_minute: scylla.prepare(Mode::Write, "cql: add a minute", "INSERT INTO claim_minutes (part, minute) VALUES (0, ?)").await?,
            remove_minute: scylla
                .prepare(Mode::Write, "cql: remove a minute", "DELETE FROM claim_minutes WHERE part = 0 AND minute = ?")
                .await?,
            minutes: scylla
                .prepare(Mode::Read, "cql: minutes of claims", "SELECT minute FROM claim_minutes WHERE part = 0 AND minute <= ? LIMIT ?")
                .await?,
            stripes: Stripes::new(),
            scylla,
        })
    }

    async fn read(&self, query: &Prepared, key: &ClaimKey) -> PortResult<Option<Claim>> {
        self.scylla.rows(query, columns(key)).await?.first(|row| read(key, row))
    }

    /// So that the sweep finds it. Before the claim: an end without its claim costs one look.
    async fn announce(&self, claim: &Claim) -> PortResult<()> {
        let Some(end) = claim.expires_at else { return Ok(()) };
        let (owner, kind, domain, key) = columns(&claim.key);
        let minute = minute(end);
        try_join(
            self.scylla.write(&self.add_minute, (minute,)),
            self.scylla.write(&self.add_end, (minute, end.get(), owner, kind, domain, key)),
        )
        .await
        .map(drop)
    }

    async fn insert(&self, claim: &Claim, items: &str) -> PortResult<super::query::Decided> {
        let (owner, kind, domain, key) = columns(&claim.key);
        let expires_at = value::ms(claim.expires_at).map_or(MaybeUnset::Unset, MaybeUnset::Set);
        let digest = claim.digest.as_slice();
        self.scylla.decide(&self.insert, (owner, kind, domain, key, digest, items, claim.created_at.get(), expires_at)).await
    }

    async fn update(&self, old_items: &str, claim: &Claim, items: &str) -> PortResult<super::query::Decided> {
        let (owner, kind, domain, key) = columns(&claim.key);
        let (digest, created_at, expires_at) = (claim.digest.as_slice(), claim.created_at.get(), value::ms(claim.expires_at));
        self.scylla.decide(&self.update, (digest, items, created_at, expires_at, owner, kind, domain, key, old_items)).await
    }

    /// Puts `claim` in the place of what may be replaced, starting from what is known to stand there.
    /// A claim carries its own link ids: one that reads like ours after an unclear attempt is ours.
    async fn put(
        &self,
        claim: &Claim,
        standing: Option<String>,
        may_replace: impl Fn(&Claim) -> bool + Send + Sync,
    ) -> PortResult<Claimed> {
        self.announce(claim).await.map_err(super::settling::not_applied)?;
        let _turn = self.stripes.enter(&claim.key).await;
        let items = write_items(&claim.items);
        let mut standing = standing;
        let mut settling = Settling::new(&self.scylla, self.insert.op);
        loop {
            let sent = match &standing {
                None => self.insert(claim, &items).boxed(),
                Some(old) => self.update(old, claim, &items).boxed(),
            };
            if settling.attempt(sent).await?.is_some_and(|decided| decided.applied) {
                return Ok(Claimed::Ours);
            }
            match settling.look(self.read(&self.get_settled, &claim.key)).await? {
                None => {}
                Some(None) => standing = None,
                Some(Some(row)) if settling.is_unclear && row == *claim => return Ok(Claimed::Ours),
                Some(Some(row)) if may_replace(&row) => standing = Some(write_items(&row.items)),
                Some(Some(row)) => return Ok(Claimed::Theirs(row)),
            }
        }
    }

    /// Removes one; answers whether it was there.
    async fn remove(&self, minute: i32, ended: &Ended) -> PortResult<bool> {
        let (owner, kind, domain, key) = columns(&ended.key);
        let removed = self.scylla.decide(&self.delete, (owner, kind, domain, key, ended.expires_at)).await?.applied;
        self.scylla.write(&self.remove_end, (minute, ended.expires_at, owner, kind, domain, key)).await?;
        Ok(removed)
    }

    async fn sweep_minute(&self, minute: i32, now: UnixMs, limit: usize) -> PortResult<Swept> {
        let rows = i32::try_from(limit).unwrap_or(i32::MAX);
        let ended = self.scylla.rows(&self.ends, (minute, now.get(), rows)).await?;
        let ended = ended.map(|row| Ok(Ended { key: read_key(row)?, expires_at: row.need("expires_at")? }))?;
        let mut removed = 0;
        for chunk in ended.chunks(SWEEP_CONCURRENCY) {
            let removing = chunk.iter().map(|ended| self.remove(minute, ended).boxed());
            removed += try_join_all(removing).await?.into_iter().filter(|removed| *removed).count();
        }
        let is_empty = ended.len() < limit;
        // All of the minute has ended, a while ago: nobody adds to it any more.
        if is_empty && i64::from(minute) < i64::from(minute_of(now.get())) - 1 {
            self.scylla.write(&self.remove_minute, (minute,)).await?;
        }
        Ok(Swept { seen: ended.len(), removed })
    }
}

struct Swept {
    seen: usize,
    removed: usize,
}

fn minute(at: UnixMs) -> i32 {
    minute_of(at.get())
}

fn minute_of(ms: i64) -> i32 {
    i32::try_from(ms.div_euclid(MINUTE_MS)).unwrap_or(i32::MAX)
}

#[async_trait]
impl Port for ClaimStore {
    async fn get(&self, key: &ClaimKey) -> PortResult<Option<Claim>> {
        self.read(&self.get, key).await
    }

    async fn claim(&self, claim: Claim) -> PortResult<Claimed> {
        let now = claim.created_at;
        self.put(&claim, None, |old| old.expires_at.is_some_and(|end| now >= end)).await
    }

    async fn replace(&self, old: &Claim, new: Claim) -> PortResult<Claimed> {
        self.put(&new, Some(write_items(&old.items)), |row| row.items == old.items).await
    }

    async fn sweep(&self, now: UnixMs, limit: usize) -> PortResult<usize> {
        let minutes = self.scylla.rows(&self.minutes, (minute(now), SWEEP_MINUTES)).await?.map(|row| row.need::<i32>("minute"))?;
        let (mut left, mut removed) = (limit, 0);
        for minute in minutes {
            if left == 0 {
                break;
            }
            let swept = self.sweep_minute(minute, now, left).await?;
            left = left.saturating_sub(swept.seen);
            removed += swept.removed;
        }
        Ok(removed)
    }
}
