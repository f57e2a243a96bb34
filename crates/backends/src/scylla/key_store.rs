//! API keys. A key is one row, changed by conditions only; two tables that never change lead to it. They are written first:
//! one that leads nowhere is passed over.

use async_trait::async_trait;
use domain::port::{KeyStore as Port, Outcome, PortError, PortErrorKind, PortResult};
use domain::{ApiKey, KeyHash, KeyId, KeyName, Owner, Scopes, UnixMs};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::error::Broken;
use super::fields::Fields;
use super::query::{Mode, Prepared, Reach};
use super::value::{bits, from_bits, ms, to_ms};
use super::{OpenError, Scylla};

/// Keys of a listing fetched at a time.
const READS: usize = 16;

pub struct KeyStore {
    cql: Scylla,
    put: Prepared,
    put_by_id: Prepared,
    put_by_owner: Prepared,
    find: Prepared,
    by_id: Prepared,
    by_owner: Prepared,
    all: Prepared,
    any: Prepared,
    revoke: Prepared,
}

const PUT: &str = "INSERT INTO api_keys (hash, id, name, owner, scopes, created_at, expires_at, revoked_at) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS";
const COLUMNS: &str = "hash, id, name, owner, scopes, created_at, expires_at, revoked_at";

impl KeyStore {
    pub(super) async fn open(cql: &Scylla) -> Result<Self, OpenError> {
        let condition = Mode::Condition(Reach::Everywhere);
        Ok(Self {
            put: cql.prepare(condition, "cql: insert an API key", PUT).await?,
            put_by_id: cql
                .prepare(Mode::Write, "cql: insert an API key's id", "INSERT INTO api_keys_by_id (id, hash) VALUES (?, ?)")
                .await?,
            put_by_owner: cql
                .prepare(Mode::Write, "cql: insert an API key's owner", "INSERT INTO api_keys_by_owner (owner, id, hash) VALUES (?, ?, ?)")
                .await?,
            find: cql.prepare(Mode::Read, "cql: find an API key", &format!("SELECT {COLUMNS} FROM api_keys WHERE hash = ?")).await?,
            by_id: cql.prepare(Mode::Read, "cql: get an API key", "SELECT hash FROM api_keys_by_id WHERE id = ?").await?,
            by_owner: cql.prepare(Mode::Read, "cql: list API keys", "SELECT hash FROM api_keys_by_owner WHERE owner = ?").await?,
            all: cql.prepare(Mode::Read, "cql: list all API keys", &format!("SELECT {COLUMNS} FROM api_keys")).await?,
            any: cql.prepare(Mode::Read, "cql: look for API keys", "SELECT id FROM api_keys LIMIT 1").await?,
            revoke: cql
                .prepare(
                    condition,
                    "cql: revoke an API key",
                    "UPDATE api_keys SET revoked_at = ? WHERE hash = ? IF id = ? AND revoked_at = null",
                )
                .await?,
            cql: cql.clone(),
        })
    }

    async fn hash(&self, id: KeyId) -> PortResult<Option<KeyHash>> {
        self.cql.rows(&self.by_id, (bits(id.get()),)).await?.first(hash)
    }
}

fn hash(row: &Fields<'_, '_>) -> Result<KeyHash, Broken> {
    let hash: &[u8] = row.need("hash")?;
    hash.try_into().map(KeyHash).map_err(|_| Broken::new("a key's hash of another length"))
}

fn key(row: &Fields<'_, '_>) -> Result<ApiKey, Broken> {
    let scopes = u8::try_from(row.need::<i32>("scopes")?).map_err(|_| Broken::new("scopes that are none"))?;
    Ok(ApiKey {
        id: KeyId::new(from_bits(row.need("id")?)),
        name: KeyName::from_stored(row.need("name")?),
        hash: hash(row)?,
        owner: Owner::from_stored(row.need("owner")?),
        scopes: Scopes::from_bits(scopes),
        created_at: UnixMs::new(row.need("created_at")?),
        expires_at: to_ms(row, "expires_at")?,
        revoked_at: to_ms(row, "revoked_at")?,
    })
}

#[async_trait]
impl Port for KeyStore {
    async fn insert(&self, new: ApiKey) -> PortResult<()> {
        let (id, hash) = (bits(new.id.get()), new.hash.0.as_slice());
        self.cql.write(&self.put_by_id, (id, hash)).await?;
        self.cql.write(&self.put_by_owner, (new.owner.as_str(), id, hash)).await?;
        let (expires_at, revoked_at) = (ms(new.expires_at), ms(new.revoked_at));
        let scopes = i32::from(new.scopes.bits());
        let values = (hash, id, new.name.as_str(), new.owner.as_str(), scopes, new.created_at.get(), expires_at, revoked_at);
        let decided = self.cql.decide(&self.put, values).await?;
        // 256 random bits do not meet: whose hash it is, is ours, from an attempt whose answer was lost.
        let other = decided.standing("id", |row| row.need::<i64>("id"))?;
        if decided.applied || other == Some(id) {
            return Ok(());
        }
        Err(PortError::new(PortErrorKind::Corrupt, self.put.op, Outcome::NotApplied).with_source("another key has this hash"))
    }

    async fn find(&self, hash: &KeyHash) -> PortResult<Option<ApiKey>> {
        self.cql.rows(&self.find, (hash.0.as_slice(),)).await?.first(key)
    }

    async fn get(&self, id: KeyId) -> PortResult<Option<ApiKey>> {
        match self.hash(id).await? {
            Some(hash) => self.find(&hash).await,
            None => Ok(None),
        }
    }

    async fn list(&self, owner: Option<&Owner>) -> PortResult<Vec<ApiKey>> {
        let mut keys = Vec::new();
        if let Some(owner) = owner {
            let mut hashes = Vec::new();
            let read = self.cql.each(&self.by_owner, (owner.as_str(),), |row| {
                hashes.push(hash(row)?);
                Ok(())
            });
            read.await?;
            let finds = (0..hashes.len()).map(|index| self.find(&hashes[index]));
            let found: Vec<Option<ApiKey>> = stream::iter(finds).buffered(READS).try_collect().await?;
            keys.extend(found.into_iter().flatten());
        } else {
            let read = self.cql.each(&self.all, (), |row| {
                keys.push(key(row)?);
                Ok(())
            });
            read.await?;
        }
        keys.sort_unstable_by_key(|key| std::cmp::Reverse(key.id));
        Ok(keys)
    }

    async fn revoke(&self, id: KeyId, at: UnixMs) -> PortResult<bool> {
        let Some(hash) = self.hash(id).await? else { return Ok(false) };
        // Revoking once more keeps the first time, so an unknown outcome may be tried again by the caller.
        let decided = self.cql.decide(&self.revoke, (at.get(), hash.0.as_slice(), bits(id.get()))).await?;
        Ok(decided.applied || self.find(&hash).await?.is_some_and(|key| key.revoked_at.is_some()))
    }

    async fn any(&self) -> PortResult<bool> {
        Ok(self.cql.rows(&self.any, ()).await?.first(|_| Ok(()))?.is_some())
    }
}
