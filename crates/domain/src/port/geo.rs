//! The country of an address.

use std::net::IpAddr;

use crate::model::Country;

pub trait Geo: Send + Sync + 'static {
    /// From memory, without I/O; `None` when it is not known.
    fn country(&self, ip: IpAddr) -> Option<Country>;
}

#[cfg(any(test, feature = "contract"))]
pub(super) mod contract;
