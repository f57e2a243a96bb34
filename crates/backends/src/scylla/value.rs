//! Numbers as CQL keeps them: it has signed ones only.

use domain::{DomainNo, LinkId, UnixMs};

use super::error::Broken;
use super::fields::Fields;

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
pub(super) fn to_count(value: i64) -> Result<u64, Broken> {
    u64::try_from(value).map_err(|_| Broken::new(format!("{value} is no count")))
}

/// Ids are below 2^63 by their layout; one beyond is nobody's.
pub(super) fn id(id: LinkId) -> i64 {
    i64::try_from(id.get()).unwrap_or(i64::MAX)
}

pub(super) fn to_id(value: i64) -> Result<LinkId, Broken> {
    to_count(value).map(LinkId::new)
}

/// Domain numbers are below 2^20.
pub(super) fn domain(domain: DomainNo) -> i32 {
    i32::try_from(domain.get()).unwrap_or(i32::MAX)
}

pub(super) fn to_domain(value: i32) -> Result<DomainNo, Broken> {
    let no = u32::try_from(value).ok().filter(|no| (1..=DomainNo::MAX).contains(no));
    no.map(DomainNo::new).ok_or_else(|| Broken::new(format!("{value} is no domain number")))
}

pub(super) fn ms(at: Option<UnixMs>) -> Option<i64> {
    at.map(UnixMs::get)
}

pub(super) fn to_ms(fields: &Fields<'_, '_>, name: &'static str) -> Result<Option<UnixMs>, Broken> {
    Ok(fields.get::<i64>(name)?.map(UnixMs::new))
}
