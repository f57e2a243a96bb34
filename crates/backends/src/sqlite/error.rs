//! What `SQLite`'s errors mean to a caller.

use domain::port::{Outcome, PortError, PortErrorKind};
use rusqlite::{ErrorCode, ffi};

/// Whether an error of one operation leaves the transaction around it usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Operation,
    Transaction,
}

pub(super) fn kind(error: &rusqlite::Error) -> PortErrorKind {
    let Some(failure) = error.sqlite_error() else {
        return if is_broken_value(error) { PortErrorKind::Corrupt } else { PortErrorKind::Unavailable };
    };
    // SQLite says "full" for ENOSPC of most writes; others, and EDQUOT, are I/O errors of a write.
    let io_of_write = failure.code == ErrorCode::SystemIoFailure && is_write(failure.extended_code);
    if failure.code == ErrorCode::DiskFull || io_of_write {
        PortErrorKind::Full
    } else if matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation) {
        // No outside value can violate a constraint: the ports answer "taken" instead.
        PortErrorKind::Corrupt
    } else {
        PortErrorKind::Unavailable
    }
}

/// A column that cannot be what it is, or a row that must be there and is not.
fn is_broken_value(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::QueryReturnedNoRows
    )
}

/// The write-ahead index is a mapped file: when the disk is full it fails to grow with its own codes.
fn is_write(extended: std::ffi::c_int) -> bool {
    matches!(extended, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMMAP | ffi::SQLITE_IOERR_TRUNCATE)
}

/// After these `SQLite` may have undone the whole transaction, or cannot go on with it.
pub(super) fn reach(error: &rusqlite::Error) -> Reach {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::InternalMalfunction,
        ) => Reach::Transaction,
        _ => Reach::Operation,
    }
}

pub(super) fn port_error(op: &'static str, outcome: Outcome, error: rusqlite::Error) -> PortError {
    PortError::new(kind(&error), op, outcome).with_source(error)
}

/// The value of the label `reason`.
pub(super) fn reason(kind: PortErrorKind) -> &'static str {
    match kind {
        PortErrorKind::Unavailable => "unavailable",
        PortErrorKind::Full => "full",
        PortErrorKind::Corrupt => "corrupt",
    }
}
