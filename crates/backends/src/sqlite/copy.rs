//! A copy of a file as it is at one moment, while others write to it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use domain::port::LogId;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _};

use super::Options;
use super::open::{OpenError, Schema, check, open_error, reader};

/// Pages of one step: 4 MiB, after which the caller is told.
const STEP_PAGES: i32 = 1_024;

/// Copies the file `from` to `to`, which must not be there yet, and answers the version of its schema. `progress` hears how
/// many bytes are copied, and of how many. The copy is one file, whole and checked; nobody who writes to `from` waits for it.
pub fn copy(from: &Path, schema: &Schema, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<i64, OpenError> {
    let of_source = |error| open_error(from, error);
    let of_copy = |error| open_error(to, error);
    let source = reader(from, &Options::default())?;
    let version = check(&source, from, schema)?;
    // One snapshot for all steps. Without it the copy would begin again at every commit of somebody else.
    source.execute_batch("BEGIN").map_err(of_source)?;
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(of_source)?;
    let page_bytes: u64 = source.query_row("PRAGMA page_size", [], |row| row.get::<_, u32>(0)).map_err(of_source)?.into();
    // It holds the key that codes are made with.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|error| OpenError::ReadOnly { path: to.to_owned(), why: error.to_string() })?;
    let mut target = Connection::open(to).map_err(of_copy)?;
    {
        let backup = Backup::new(&source, &mut target).map_err(of_copy)?;
        while backup.step(STEP_PAGES).map_err(of_copy)? != StepResult::Done {
            let pages = |count: i32| u64::try_from(count).unwrap_or(0) * page_bytes;
            let state = backup.progress();
            progress(pages(state.pagecount - state.remaining), pages(state.pagecount));
        }
    }
    // In one file, and readable where nothing can be written.
    target.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).map_err(of_copy)?;
    let found: String = target.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(of_copy)?;
    if found != "ok" {
        let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(found));
        return Err(OpenError::Corrupt { path: from.to_owned(), source });
    }
    target.close().map_err(|(_, error)| of_copy(error))?;
    Ok(version)
}

/// How far the statistics in a file have counted a log; `None` when they know nothing of it.
pub fn counted(stats: &Path, log: LogId) -> Result<Option<u64>, OpenError> {
    let file = reader(stats, &Options::default())?;
    let found =
        file.query_row("SELECT progress FROM sources WHERE log = ?1 AND partition = 0", [log.0], |row| row.get::<_, i64>(0)).optional();
    match found {
        Ok(found) => Ok(found.and_then(|progress| u64::try_from(progress).ok())),
        // Of a version before anything was counted.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => Ok(None),
        Err(error) => Err(open_error(stats, error)),
    }
}
