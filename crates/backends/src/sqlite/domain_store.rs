//! Domains, with all of them in memory.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use domain::port::{DomainAdded, DomainStore as Port, Outcome, PortError, PortErrorKind, PortResult};
use domain::{Caching, Directory, Domain, DomainNo, Host, RedirectStatus, Target, UnixMs};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Sqlite;
use super::value::broken;

const COLUMNS: &str = "no, host, redirect_status, caching, landing_url, not_found_url, foreign_codes, created_at";

pub struct DomainStore {
    file: Sqlite,
    directory: Arc<ArcSwap<Directory>>,
}

impl DomainStore {
    /// `domains`: all that the file has.
    pub(super) fn new(file: Sqlite, domains: Vec<Domain>) -> Self {
        Self { file, directory: Arc::new(ArcSwap::from_pointee(Directory::new(domains))) }
    }

    /// Changes the file, then the directory, then answers: who hears of a change finds it in the directory.
    async fn change<T, F>(&self, op: &'static str, f: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let directory = self.directory.clone();
        let change = move |db: &Connection| Ok((f(db)?, Arc::new(Directory::new(all(db)?))));
        let (answer, _) = self.file.write_then(op, change, move |(_, changed)| directory.store(changed.clone())).await?;
        Ok(answer)
    }
}

#[async_trait]
impl Port for DomainStore {
    fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    fn is_fresh(&self) -> bool {
        true
    }

    fn flags_are_immediate(&self) -> bool {
        true
    }

    async fn set_default(&self, host: &Host) -> PortResult<Domain> {
        const OP: &str = "sqlite: set the default domain";
        let wanted = host.clone();
        self.change(OP, move |db| set_default(db, &wanted)).await?.map_err(|taken| {
            let cause =
                format!("`{host}` is already the host of domain {}: remove that domain, or choose another default host", taken.get());
            PortError::new(PortErrorKind::Unavailable, OP, Outcome::NotApplied).with_source(cause)
        })
    }

    async fn insert(&self, domain: Domain) -> PortResult<DomainAdded> {
        const OP: &str = "sqlite: insert a domain";
        let added = self.change(OP, move |db| insert(db, domain)).await?;
        added.ok_or_else(|| {
            PortError::new(PortErrorKind::Unavailable, OP, Outcome::NotApplied).with_source("there are no more domain numbers")
        })
    }

    async fn update(&self, domain: Domain) -> PortResult<Option<Domain>> {
        self.change("sqlite: update a domain", move |db| update(db, &domain)).await
    }

    async fn set_foreign_codes(&self, no: DomainNo) -> PortResult<bool> {
        self.change("sqlite: set foreign_codes", move |db| {
            db.prepare_cached("UPDATE domains SET foreign_codes = 1 WHERE no = ?1 AND foreign_codes = 0")?
                .execute([no.get()])
                .map(|changed| changed == 1)
        })
        .await
    }

    async fn remove(&self, no: DomainNo) -> PortResult<()> {
        self.change("sqlite: remove a domain", move |db| {
            db.prepare_cached("DELETE FROM domains WHERE no = ?1")?.execute([no.get()]).map(drop)
        })
        .await
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Domain> {
    let no: u32 = row.get(0)?;
    if !(1..=DomainNo::MAX).contains(&no) {
        return Err(broken(0, Type::Integer, "number of a domain"));
    }
    let target = |column| -> rusqlite::Result<Option<Target>> { Ok(row.get_ref(column)?.as_str_or_null()?.map(Target::from_stored)) };
    let status = row.get::<_, Option<u16>>(2)?.map(|code| RedirectStatus::from_code(code).ok_or(code));
    let caching = row.get_ref(3)?.as_str_or_null()?.map(|text| Caching::parse(text).ok_or(text));
    Ok(Domain {
        no: DomainNo::new(no),
        host: Host::from_stored(row.get_ref(1)?.as_str()?),
        redirect_status: status.transpose().map_err(|_| broken(2, Type::Integer, "redirect status of a domain"))?,
        caching: caching.transpose().map_err(|_| broken(3, Type::Text, "caching of a domain"))?,
        landing_url: target(4)?,
        not_found_url: target(5)?,
        foreign_codes: row.get(6)?,
        created_at: UnixMs::new(row.get(7)?),
    })
}

pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<Domain>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM domains ORDER BY no"))?.query_map([], read)?.collect()
}

fn by_no(db: &Connection, no: DomainNo) -> rusqlite::Result<Option<Domain>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM domains WHERE no = ?1"))?.query_row([no.get()], read).optional()
}

fn by_host(db: &Connection, host: &Host) -> rusqlite::Result<Option<Domain>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM domains WHERE host = ?1"))?.query_row([host.as_str()], read).optional()
}

/// `Err`: the domain that has this host already.
fn set_default(db: &Connection, host: &Host) -> rusqlite::Result<Result<Domain, DomainNo>> {
    match by_host(db, host)? {
        Some(domain) if domain.is_default() => return Ok(Ok(domain)),
        Some(other) => return Ok(Err(other.no)),
        None => {}
    }
    // The default domain is made by no request, so its creation has no other clock than SQLite's.
    db.prepare_cached(
        "INSERT INTO domains (no, host, foreign_codes, created_at) VALUES (1, ?1, 0, CAST(unixepoch('subsec') * 1000 AS INTEGER)) \
         ON CONFLICT (no) DO UPDATE SET host = excluded.host",
    )?
    .execute([host.as_str()])?;
    by_no(db, DomainNo::DEFAULT)?.map(Ok).ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn insert(db: &Connection, mut domain: Domain) -> rusqlite::Result<Option<DomainAdded>> {
    if let Some(taken) = by_host(db, &domain.host)? {
        return Ok(Some(DomainAdded::Taken(taken)));
    }
    let last: u32 = db.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'domains'")?.query_row([], |row| row.get(0))?;
    if last >= DomainNo::MAX {
        return Ok(None);
    }
    db.prepare_cached(
        "INSERT INTO domains (host, redirect_status, caching, landing_url, not_found_url, foreign_codes, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        domain.host.as_str(),
        domain.redirect_status.map(RedirectStatus::code),
        domain.caching.map(Caching::as_str),
        domain.landing_url.as_ref().map(Target::as_str),
        domain.not_found_url.as_ref().map(Target::as_str),
        domain.foreign_codes,
        domain.created_at.get(),
    ])?;
    domain.no = DomainNo::new(last + 1);
    Ok(Some(DomainAdded::Added(domain)))
}

fn update(db: &Connection, domain: &Domain) -> rusqlite::Result<Option<Domain>> {
    db.prepare_cached("UPDATE domains SET redirect_status = ?2, caching = ?3, landing_url = ?4, not_found_url = ?5 WHERE no = ?1")?
        .execute(params![
            domain.no.get(),
            domain.redirect_status.map(RedirectStatus::code),
            domain.caching.map(Caching::as_str),
            domain.landing_url.as_ref().map(Target::as_str),
            domain.not_found_url.as_ref().map(Target::as_str),
        ])?;
    by_no(db, domain.no)
}
