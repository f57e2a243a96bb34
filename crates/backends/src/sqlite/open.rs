//! Opening a file: whose it is, which version it has, and bringing it up to date.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, TransactionBehavior};

use super::Options;

/// What a file holds. Step `i` brings `user_version` from `i` to `i + 1`; steps are only ever added.
#[derive(Debug)]
pub struct Schema {
    /// Label of metrics, and what the file is called in messages.
    pub name: &'static str,
    /// Written into the file's header, so that another application's file is never touched.
    pub application_id: i32,
    pub steps: &'static [&'static str],
}

impl Schema {
    fn version(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }
}

/// Why a file was not opened. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`{}` cannot be opened: {source}. Does its folder exist, and may this user write there?", path.display())]
    CannotOpen { path: PathBuf, source: rusqlite::Error },
    #[error("`{}` cannot be written: {why}. Give this user write access to the file and its folder, or name another place", path.display())]
    ReadOnly { path: PathBuf, why: String },
    #[error("`{}` is not a SQLite file. Name another file, or put a backup in its place", path.display())]
    NotADatabase { path: PathBuf },
    #[error("`{}` is a SQLite file, but not a file of Terse's {name} (application id {found:#010x}). Name another file", path.display())]
    Foreign { path: PathBuf, name: &'static str, found: i32 },
    #[error(
        "`{}` was written by a newer Terse: it has version {found}, this one knows versions up to {known}. \
         Run Terse {needs} or later, or restore a backup made before the upgrade",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64, needs: String },
    #[error("`{}` could not be brought from version {from} to {to}: {source}. Nothing was changed", path.display())]
    Migration { path: PathBuf, from: i64, to: i64, source: rusqlite::Error },
    #[error("`{}` is damaged: {source}. Restore a backup; `terse doctor` says more", path.display())]
    Corrupt { path: PathBuf, source: rusqlite::Error },
    #[error("the disk of `{}` is full: {source}. Free some space", path.display())]
    Full { path: PathBuf, source: rusqlite::Error },
    #[error("`{}` is held by another process for too long: {source}", path.display())]
    Busy { path: PathBuf, source: rusqlite::Error },
    #[error("a thread for `{}` cannot be started: {source}", path.display())]
    Thread { path: PathBuf, source: std::io::Error },
}

pub(super) fn open_error(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Corrupt { path, source },
        Some(ErrorCode::DiskFull) => OpenError::Full { path, source },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => OpenError::ReadOnly { path, why: source.to_string() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Busy { path, source },
        _ => OpenError::CannotOpen { path, source },
    }
}

/// The connection that writes, on a file whose schema is up to date.
pub(super) fn writer<F>(path: &Path, schema: &Schema, options: &Options, prepare: F) -> Result<Connection, OpenError>
where
    F: FnOnce(&Connection) -> rusqlite::Result<()>,
{
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error| open_error(path, error);
    // For this user only: the file holds the key that codes are made with. When it cannot be made,
    // or is there already, the line below says so.
    drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(options.busy_timeout).map_err(failed)?;
    // SQLite opens a file it may not write for reading only, without a word.
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(failed)? {
        return Err(OpenError::ReadOnly { path: path.to_owned(), why: "it is read-only".into() });
    }
    let found = check(&connection, path, schema)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        let why = format!("its file system has no shared memory for a write-ahead log (mode `{mode}`)");
        return Err(OpenError::ReadOnly { path: path.to_owned(), why });
    }
    settings(&connection, options).map_err(failed)?;
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 67108864")
        .map_err(failed)?;
    migrate(&mut connection, path, schema, found)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    prepare(&transaction).and_then(|()| transaction.commit()).map_err(failed)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn reader(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error| open_error(path, error);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(options.busy_timeout).map_err(failed)?;
    settings(&connection, options).map_err(failed)?;
    Ok(connection)
}

/// How far the schema of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of the file; 0 when there is none.
    pub found: i64,
    /// What this build brings files to.
    pub known: i64,
}

/// Looks at a file that nobody needs to have opened, and changes nothing.
pub fn inspect(path: &Path, schema: &Schema) -> Result<Version, OpenError> {
    let known = schema.version();
    if !path.exists() {
        return Ok(Version { found: 0, known });
    }
    let connection = reader(path, &Options::default())?;
    Ok(Version { found: check(&connection, path, schema)?, known })
}

/// No mapped memory: an I/O error of a mapped file is a signal, not an answer.
fn settings(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    let cache_kib = options.cache_bytes / 1024;
    connection.execute_batch(&format!(
        "PRAGMA cache_size = -{cache_kib}; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; PRAGMA foreign_keys = OFF; PRAGMA trusted_schema = OFF"
    ))?;
    // A plan that looks at the values bound to it is made anew for each of them.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// The version of a file that is ours and not newer than we are.
pub(super) fn check(connection: &Connection, path: &Path, schema: &Schema) -> Result<i64, OpenError> {
    let failed = |error| open_error(path, error);
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).map_err(failed);
    let application = pragma("application_id")?;
    let found = pragma("user_version")?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let is_empty = application == 0 && found == 0 && tables == 0;
    if !is_empty && application != i64::from(schema.application_id) {
        let found = i32::try_from(application).unwrap_or(0);
        return Err(OpenError::Foreign { path: path.to_owned(), name: schema.name, found });
    }
    if found > schema.version() {
        let needs = connection
            .query_row("SELECT value FROM meta WHERE name = 'needs_terse'", [], |row| row.get(0))
            .optional()
            .unwrap_or(None)
            .unwrap_or_else(|| "of the version that wrote it".to_owned());
        return Err(OpenError::Newer { path: path.to_owned(), found, known: schema.version(), needs });
    }
    Ok(found)
}

/// All missing steps in one transaction.
fn migrate(connection: &mut Connection, path: &Path, schema: &Schema, from: i64) -> Result<(), OpenError> {
    let to = schema.version();
    if from == to {
        return Ok(());
    }
    let run = |connection: &mut Connection| -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have been faster.
        let from: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let done = usize::try_from(from).unwrap_or(0);
        if done >= schema.steps.len() {
            return Ok(());
        }
        transaction.execute_batch("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT")?;
        for step in &schema.steps[done..] {
            transaction.execute_batch(step)?;
        }
        transaction.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('needs_terse', ?1)", [env!("CARGO_PKG_VERSION")])?;
        transaction.execute_batch(&format!("PRAGMA application_id = {}; PRAGMA user_version = {to}", schema.application_id))?;
        transaction.commit()
    };
    run(connection).map_err(|source| match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::ReadOnly | ErrorCode::DatabaseCorrupt) => open_error(path, source),
        _ => OpenError::Migration { path: path.to_owned(), from, to, source },
    })
}
