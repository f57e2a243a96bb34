//! What every source of countries must do.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Geo;
use crate::model::Country;

/// `known` lies in `country`, however it is written.
pub fn knows_this_and_nothing_else(geo: &dyn Geo, known: Ipv4Addr, country: Country) {
    assert_eq!(geo.country(IpAddr::V4(known)), Some(country));
    assert_eq!(geo.country(IpAddr::V6(known.to_ipv6_mapped())), Some(country), "mapped into IPv6");
    assert_eq!(geo.country(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), None);
}

pub fn knows_no_private_address(geo: &dyn Geo) {
    let addresses: [IpAddr; 4] =
        [Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(10, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into()];
    for address in addresses {
        assert_eq!(geo.country(address), None, "{address}");
    }
}
