//! Entity tags of links: `"v3-9f86d081"`, the version and a digest of what is shown.

use domain::Reason;
use http::HeaderMap;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// Strong: a domain's new defaults change the text of a link, and its tag, but not its version.
pub(crate) fn tag(version: u32, shown: &str) -> String {
    let digest = Sha256::digest(shown.as_bytes());
    let digest = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    format!("\"v{version}-{digest:08x}\"")
}

/// What a change is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    None,
    /// One of these versions.
    Versions(Vec<u32>),
}

/// Reads `If-Match`. `*` asks only that the link exists, which every change does.
///
/// # Errors
/// `version_mismatch` for tags we cannot have given: they match nothing.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Condition, Problem> {
    let mismatch = || Problem::new(Reason::VersionMismatch, "If-Match names no version of this link, as its ETag gives it");
    let mut versions = Vec::new();
    let mut given = false;
    for value in headers.get_all(IF_MATCH) {
        given = true;
        for tag in value.to_str().map_err(|_| mismatch())?.split(',').map(str::trim) {
            if tag == "*" {
                return Ok(Condition::None);
            }
            versions.extend(version(tag));
        }
    }
    match (given, versions.is_empty()) {
        (false, _) => Ok(Condition::None),
        (true, true) => Err(mismatch()),
        (true, false) => Ok(Condition::Versions(versions)),
    }
}

/// Whether the client has what `tag` names. Weak comparison, as for every GET.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn version(tag: &str) -> Option<u32> {
    let inner = tag.strip_prefix("\"v")?.strip_suffix('"')?;
    let digits = inner.split('-').next()?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &http::HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_tag_gives_its_version_back() {
        let tag = tag(7, "{}");
        assert_eq!(if_match(&headers(&IF_MATCH, &[&tag])).unwrap(), Condition::Versions(vec![7]));
        assert_ne!(super::tag(7, "{ }"), tag);
    }

    #[test]
    fn if_match_forms() {
        let read = |values: &[&str]| if_match(&headers(&IF_MATCH, values)).map_err(|problem| problem.reason());
        assert_eq!(read(&[]), Ok(Condition::None));
        assert_eq!(read(&["*"]), Ok(Condition::None));
        assert_eq!(read(&["\"v1\", \"v2-00\""]), Ok(Condition::Versions(vec![1, 2])));
        assert_eq!(read(&["\"v1\"", "nonsense"]), Ok(Condition::Versions(vec![1])));
        for wrong in ["", "v1", "\"1\"", "W/\"v1\"", "\"v\"", "\"v+1\"", "\"v99999999999\"", "\"v1"] {
            assert_eq!(read(&[wrong]), Err(Reason::VersionMismatch), "{wrong}");
        }
    }

    #[test]
    fn if_none_match_forms() {
        let known = |value: &str| is_known(&headers(&IF_NONE_MATCH, &[value]), "\"v1-ab\"");
        assert!(known("\"v1-ab\"") && known("W/\"v1-ab\"") && known("*") && known("\"x\", \"v1-ab\""));
        assert!(!known("\"v1\"") && !known("v1-ab") && !known(""));
    }
}
