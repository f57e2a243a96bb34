//! Numbers and texts as `SQLite` keeps them: it has signed 64-bit integers only.

use domain::{LinkId, UnixMs};
use rusqlite::types::Type;

/// The same bits as a signed number: for values that are compared for equality only.
pub(super) const fn bits(value: u64) -> i64 {
    value.cast_signed()
}

pub(super) const fn from_bits(value: i64) -> u64 {
    value.cast_unsigned()
}

/// A count; none of ours comes near the end.
pub(super) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count read back; a negative one was not written by us.
pub(super) fn to_count(value: i64, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// Ids are below 2^63 by their layout; one beyond is nobody's.
pub(super) fn id(id: LinkId) -> i64 {
    i64::try_from(id.get()).unwrap_or(i64::MAX)
}

pub(super) fn to_id(value: i64, column: usize) -> rusqlite::Result<LinkId> {
    to_count(value, column).map(LinkId::new)
}

pub(super) fn ms(at: Option<UnixMs>) -> Option<i64> {
    at.map(UnixMs::get)
}

/// A column that does not hold what we write into it.
pub(super) fn broken(column: usize, kind: Type, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, what.into())
}
