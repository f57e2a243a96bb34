//! API keys.

use async_trait::async_trait;
use domain::port::{KeyStore as Port, PortResult};
use domain::{ApiKey, KeyHash, KeyId, KeyName, Owner, Scopes, UnixMs};
use rusqlite::{OptionalExtension as _, Row, params};

use super::Sqlite;
use super::value::{ms, to_count};

const COLUMNS: &str = "id, hash, name, owner, scopes, created_at, expires_at, revoked_at";

pub struct KeyStore {
    file: Sqlite,
}

impl KeyStore {
    pub(super) fn new(file: Sqlite) -> Self {
        Self { file }
    }
}

fn id(id: KeyId) -> i64 {
    i64::try_from(id.get()).unwrap_or(i64::MAX)
}

fn read(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let at = |column| -> rusqlite::Result<Option<UnixMs>> { Ok(row.get::<_, Option<i64>>(column)?.map(UnixMs::new)) };
    Ok(ApiKey {
        id: KeyId::new(to_count(row.get(0)?, 0)?),
        hash: KeyHash(row.get(1)?),
        name: KeyName::from_stored(row.get_ref(2)?.as_str()?),
        owner: Owner::from_stored(row.get_ref(3)?.as_str()?),
        scopes: Scopes::from_bits(row.get(4)?),
        created_at: UnixMs::new(row.get(5)?),
        expires_at: at(6)?,
        revoked_at: at(7)?,
    })
}

#[async_trait]
impl Port for KeyStore {
    async fn insert(&self, key: ApiKey) -> PortResult<()> {
        self.file
            .write("sqlite: insert an API key", move |db| {
                db.prepare_cached(&format!("INSERT INTO api_keys ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"))?
                    .execute(params![
                        id(key.id),
                        key.hash.0,
                        key.name.as_str(),
                        key.owner.as_str(),
                        key.scopes.bits(),
                        key.created_at.get(),
                        ms(key.expires_at),
                        ms(key.revoked_at),
                    ])
                    .map(drop)
            })
            .await
    }

    async fn find(&self, hash: &KeyHash) -> PortResult<Option<ApiKey>> {
        let hash = hash.0;
        self.file
            .read("sqlite: find an API key", move |db| {
                db.prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys WHERE hash = ?1"))?.query_row([hash], read).optional()
            })
            .await
    }

    async fn get(&self, key: KeyId) -> PortResult<Option<ApiKey>> {
        self.file
            .read("sqlite: get an API key", move |db| {
                db.prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys WHERE id = ?1"))?.query_row([id(key)], read).optional()
            })
            .await
    }

    async fn list(&self, owner: Option<&Owner>) -> PortResult<Vec<ApiKey>> {
        let owner = owner.cloned();
        self.file
            .read("sqlite: list API keys", move |db| match &owner {
                Some(owner) => db
                    .prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys WHERE owner = ?1 ORDER BY id DESC"))?
                    .query_map([owner.as_str()], read)?
                    .collect(),
                None => db.prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys ORDER BY id DESC"))?.query_map([], read)?.collect(),
            })
            .await
    }

    async fn revoke(&self, key: KeyId, at: UnixMs) -> PortResult<bool> {
        self.file
            .write("sqlite: revoke an API key", move |db| {
                db.prepare_cached("UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1")?
                    .execute([id(key), at.get()])
                    .map(|found| found == 1)
            })
            .await
    }

    async fn any(&self) -> PortResult<bool> {
        self.file
            .read("sqlite: look for API keys", |db| {
                db.prepare_cached("SELECT EXISTS (SELECT 1 FROM api_keys)")?.query_row([], |row| row.get(0))
            })
            .await
    }
}
