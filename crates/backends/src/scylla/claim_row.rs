//! How a claim lies in its row.

use std::fmt::Write as _;

use domain::port::{Claim, ClaimItem, ClaimKey};
use domain::{DomainNo, LinkId, Owner, UnixMs};

use super::error::Broken;
use super::fields::Fields;
use super::value::{self, to_domain, to_ms};

/// The primary key: owner, kind, domain, key.
pub(super) type Columns<'a> = (&'a str, i8, i32, &'a [u8]);

const REQUEST: i8 = 0;
const TARGET: i8 = 1;

pub(super) fn columns(key: &ClaimKey) -> Columns<'_> {
    match key {
        ClaimKey::Request { owner, key } => (owner.as_str(), REQUEST, 0, key.as_bytes()),
        ClaimKey::Target { owner, domain, digest } => (owner.as_str(), TARGET, value::domain(*domain), digest),
    }
}

/// Undoes [`columns`].
pub(super) fn read_key(row: &Fields<'_, '_>) -> Result<ClaimKey, Broken> {
    let (owner, key): (&str, &[u8]) = (row.need("owner")?, row.need("key")?);
    let owner = Owner::from_stored(owner);
    match row.need::<i8>("kind")? {
        REQUEST => {
            let key = std::str::from_utf8(key).map_err(|error| Broken::with_source("key of a claim", error))?;
            Ok(ClaimKey::Request { owner, key: key.to_owned() })
        }
        TARGET => Ok(ClaimKey::Target { owner, domain: to_domain(row.need("domain")?)?, digest: digest(key)? }),
        kind => Err(Broken::new(format!("{kind} is no kind of a claim"))),
    }
}

pub(super) fn read(key: &ClaimKey, row: &Fields<'_, '_>) -> Result<Claim, Broken> {
    Ok(Claim {
        key: key.clone(),
        digest: digest(row.need("digest")?)?,
        items: read_items(row.need("items")?).ok_or_else(|| Broken::new("items of a claim"))?,
        created_at: UnixMs::new(row.need("created_at")?),
        expires_at: to_ms(row, "expires_at")?,
    })
}

fn digest(bytes: &[u8]) -> Result<[u8; 32], Broken> {
    bytes.try_into().map_err(|_| Broken::new("a digest has 32 bytes"))
}

/// One line an item. Codes contain no white space.
pub(super) fn write_items(items: &[ClaimItem]) -> String {
    items.iter().fold(String::new(), |mut text, item| {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{} {} {} {}", item.link, item.domain.get(), item.kind, item.code);
        text
    })
}

fn read_items(text: &str) -> Option<Vec<ClaimItem>> {
    text.lines().map(read_item).collect()
}

fn read_item(text: &str) -> Option<ClaimItem> {
    let mut words = text.splitn(4, ' ');
    let link = LinkId::new(words.next()?.parse().ok()?);
    let domain = words.next()?.parse().ok().filter(|no| (1..=DomainNo::MAX).contains(no))?;
    let kind = words.next()?.parse().ok()?;
    Some(ClaimItem { link, domain: DomainNo::new(domain), kind, code: words.next()?.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn items_come_back(link: u64, no in 1..=DomainNo::MAX, kind: u8, code in "[0-9A-Za-z/_-]{0,64}") {
            let items = vec![ClaimItem { link: LinkId::new(link), domain: DomainNo::new(no), kind, code: code.as_str().into() }; 2];
            prop_assert_eq!(read_items(&write_items(&items)), Some(items));
        }

        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = read_items(&text);
        }
    }
}
