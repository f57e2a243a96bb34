//! Claims.

use std::fmt::Write as _;

use async_trait::async_trait;
use domain::port::{Claim, ClaimItem, ClaimKey, ClaimStore as Port, Claimed, PortResult};
use domain::{DomainNo, LinkId, UnixMs};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Sqlite;
use super::value::{self, broken};

pub struct ClaimStore {
    file: Sqlite,
}

impl ClaimStore {
    pub(super) fn new(file: Sqlite) -> Self {
        Self { file }
    }
}

#[async_trait]
impl Port for ClaimStore {
    async fn get(&self, key: &ClaimKey) -> PortResult<Option<Claim>> {
        let key = key.clone();
        self.file.read("sqlite: get a claim", move |db| get(db, &key)).await
    }

    async fn claim(&self, claim: Claim) -> PortResult<Claimed> {
        self.file
            .write("sqlite: claim", move |db| {
                let standing = get(db, &claim.key)?.filter(|old| old.expires_at.is_none_or(|end| claim.created_at < end));
                put_unless(db, standing, &claim)
            })
            .await
    }

    async fn replace(&self, old: &Claim, new: Claim) -> PortResult<Claimed> {
        let old = old.clone();
        self.file
            .write("sqlite: replace a claim", move |db| {
                let standing = get(db, &old.key)?.filter(|standing| standing.items != old.items);
                put_unless(db, standing, &new)
            })
            .await
    }

    async fn sweep(&self, now: UnixMs, limit: usize) -> PortResult<usize> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.file
            .write("sqlite: sweep claims", move |db| {
                db.prepare_cached(
                    "DELETE FROM claims WHERE (kind, owner, domain, key) IN \
                     (SELECT kind, owner, domain, key FROM claims WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
                )?
                .execute([now.get(), limit])
            })
            .await
    }
}

/// How a key lies in its row: kind, owner, domain, key.
fn columns(key: &ClaimKey) -> (i64, &str, u32, &[u8]) {
    match key {
        ClaimKey::Request { owner, key } => (0, owner.as_str(), 0, key.as_bytes()),
        ClaimKey::Target { owner, domain, digest } => (1, owner.as_str(), domain.get(), digest),
    }
}

fn get(db: &Connection, key: &ClaimKey) -> rusqlite::Result<Option<Claim>> {
    let (kind, owner, domain, bytes) = columns(key);
    db.prepare_cached(
        "SELECT digest, items, created_at, expires_at FROM claims WHERE kind = ?1 AND owner = ?2 AND domain = ?3 AND key = ?4",
    )?
    .query_row(params![kind, owner, domain, bytes], |row| {
        Ok(Claim {
            key: key.clone(),
            digest: row.get(0)?,
            items: read_items(row.get_ref(1)?.as_str()?).ok_or_else(|| broken(1, Type::Text, "items of a claim"))?,
            created_at: UnixMs::new(row.get(2)?),
            expires_at: row.get::<_, Option<i64>>(3)?.map(UnixMs::new),
        })
    })
    .optional()
}

fn put_unless(db: &Connection, standing: Option<Claim>, claim: &Claim) -> rusqlite::Result<Claimed> {
    if let Some(standing) = standing {
        return Ok(Claimed::Theirs(standing));
    }
    let (kind, owner, domain, bytes) = columns(&claim.key);
    db.prepare_cached(
        "INSERT OR REPLACE INTO claims (kind, owner, domain, key, digest, items, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        kind,
        owner,
        domain,
        bytes,
        claim.digest,
        write_items(&claim.items),
        claim.created_at.get(),
        value::ms(claim.expires_at),
    ])?;
    Ok(Claimed::Ours)
}

fn write_items(items: &[ClaimItem]) -> String {
    items.iter().fold(String::new(), |mut text, item| {
        // Writing into a string does not fail. Codes contain no white space.
        let _ = writeln!(text, "{} {} {} {}", item.link, item.domain.get(), item.kind, item.code);
        text
    })
}

fn read_items(text: &str) -> Option<Vec<ClaimItem>> {
    text.lines().map(read_item).collect()
}

fn read_item(text: &str) -> Option<ClaimItem> {
    let mut words = text.splitn(4, ' ');
    let link = LinkId::new(words.next()?.parse().ok()?);
    let domain = words.next()?.parse().ok().filter(|no| (1..=DomainNo::MAX).contains(no))?;
    let kind = words.next()?.parse().ok()?;
    Some(ClaimItem { link, domain: DomainNo::new(domain), kind, code: words.next()?.into() })
}
