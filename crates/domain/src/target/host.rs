//! Which hosts a target may have.

use std::net::{IpAddr, Ipv6Addr};

use unicode_security::mixed_script::AugmentedScriptSet;
use url::{Host, Url};

use super::address::{embedded_v4, is_private_address};
use super::{PrivateAddresses, TargetError, TargetPolicy, excerpt, invalid, not_allowed};
use crate::limits::HOST_LEN_MAX;

const LABEL_LEN_MAX: usize = 63;

/// Names that are resolved inside a host or a private network only (RFC 6761, 6762, 8375, and what
/// clouds and routers use); each also covers the names below it.
const PRIVATE_NAMES: &[&str] = &["localhost", "localdomain", "local", "internal", "intranet", "lan", "home.arpa"];

pub(super) fn check(url: &Url, policy: &TargetPolicy<'_>) -> Result<(), TargetError> {
    match url.host() {
        None => invalid("has no host: write https://host/path"),
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            check_name(name)?;
            check_own(name, policy)?;
            check_private(is_private_name(name), name, policy)
        }
        Some(Host::Ipv4(address)) => check_address(address.into(), policy),
        Some(Host::Ipv6(address)) => check_address(address.into(), policy),
    }
}

fn check_address(address: IpAddr, policy: &TargetPolicy<'_>) -> Result<(), TargetError> {
    let shown = match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    check_own(&shown, policy)?;
    if let IpAddr::V6(v6) = address {
        check_own_embedded(v6, policy)?;
    }
    check_private(is_private_address(address), &shown, policy)
}

fn check_own_embedded(address: Ipv6Addr, policy: &TargetPolicy<'_>) -> Result<(), TargetError> {
    embedded_v4(address).map_or(Ok(()), |v4| check_own(&v4.to_string(), policy))
}

fn check_own(host: &str, policy: &TargetPolicy<'_>) -> Result<(), TargetError> {
    if (policy.is_own_host)(host) {
        return not_allowed(format!("`{}` serves short links itself: a link must lead elsewhere", excerpt(host)));
    }
    Ok(())
}

fn check_private(is_private: bool, host: &str, policy: &TargetPolicy<'_>) -> Result<(), TargetError> {
    if is_private && policy.private_addresses == PrivateAddresses::Refused {
        return not_allowed(format!("`{}` is a private or special address: use one that is reachable from everywhere", excerpt(host)));
    }
    Ok(())
}

/// A name without a dot has no meaning outside the network that completes it.
fn is_private_name(name: &str) -> bool {
    let is_or_below = |private: &str| name.strip_suffix(private).is_some_and(|above| above.is_empty() || above.ends_with('.'));
    !name.contains('.') || PRIVATE_NAMES.iter().any(|private| is_or_below(private))
}

/// `name` is what the URL parser made of the host: lower case, A-labels. The parser allows more than
/// the DNS does, and says nothing of deceptive spellings.
fn check_name(name: &str) -> Result<(), TargetError> {
    if name.len() > HOST_LEN_MAX {
        return invalid(format!("has a host of more than {HOST_LEN_MAX} characters"));
    }
    name.split('.').try_for_each(check_label)
}

fn check_label(label: &str) -> Result<(), TargetError> {
    if label.is_empty() || label.len() > LABEL_LEN_MAX {
        return invalid(format!("has a host with a part of 0 or more than {LABEL_LEN_MAX} characters between the dots"));
    }
    if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        return invalid("has a host with characters other than letters, digits, `-`, `_` and dots");
    }
    if label.starts_with("xn--") {
        return check_a_label(label);
    }
    Ok(())
}

fn check_a_label(label: &str) -> Result<(), TargetError> {
    let (unicode, valid) = idna::domain_to_unicode(label);
    let round_trips = idna::domain_to_ascii(&unicode).is_ok_and(|ascii| ascii == label);
    if valid.is_err() || unicode.is_ascii() || !round_trips {
        return invalid(format!("has a host part, `{}`, that is no valid international name", excerpt(label)));
    }
    if mixes_scripts(&unicode) {
        return invalid(format!("has a host part, `{}`, that mixes scripts to look like another name", excerpt(label)));
    }
    Ok(())
}

/// The "highly restrictive" level of UTS 39 §5.2: one script, or Latin beside Chinese, Japanese or Korean.
fn mixes_scripts(label: &str) -> bool {
    if !AugmentedScriptSet::for_str(label).is_empty() {
        return false;
    }
    let beside_latin: String = label.chars().filter(|c| !c.is_ascii()).collect();
    let scripts = AugmentedScriptSet::for_str(&beside_latin);
    !(scripts.hanb || scripts.jpan || scripts.kore)
}
