//! How a link lies in its row.

use domain::code::{decode_base62, encode_base62, has_generated_shape};
use domain::permutation::Permutation;
use domain::snowflake::created_at;
use domain::{BlockReason, Caching, Code, CodeKind, DomainNo, Link, Owner, RedirectStatus, State, Tag, Target, Title, UnixMs};
use rusqlite::Row;
use rusqlite::types::Type;

use super::value::{bits, broken, from_bits, to_id};

/// Row keys from here on belong to codes that are not numbers.
pub(super) const NAMED_KEYS: i64 = 1 << 62;
const NUMBER_BITS: u32 = 42;

/// What [`read`] reads. `owners` is joined: its rows are few and stay in memory.
pub(super) const COLUMNS: &str = "l.key, l.id, l.change_id, o.name, l.flags, l.version, l.created, l.updated, l.target, \
     l.tags, l.title, l.starts_at, l.expires_at, l.max_clicks, l.blocked, l.domain, l.code";

/// The row key of a code of the generated shape; `None` for all others.
pub(super) fn packed_key(first: &Permutation, domain: DomainNo, code: &str) -> Option<i64> {
    if !has_generated_shape(code) {
        return None;
    }
    let number = first.decode(decode_base62(code.as_bytes())?);
    i64::try_from(number).ok().map(|number| domain_keys(domain).0 + number)
}

/// The first row key of a domain's codes of the generated shape, and the first of the next domain's.
pub(super) fn domain_keys(domain: DomainNo) -> (i64, i64) {
    let first = i64::from(domain.get()) << NUMBER_BITS;
    (first, first + (1 << NUMBER_BITS))
}

fn unpack(first: &Permutation, key: i64, kind: CodeKind) -> Option<(DomainNo, Code)> {
    let domain = u32::try_from(key >> NUMBER_BITS).ok().filter(|no| (1..=DomainNo::MAX).contains(no))?;
    let number = u64::try_from(key & ((1 << NUMBER_BITS) - 1)).ok()?;
    // The permutation is defined on codes only.
    let text = encode_base62(number).and_then(|_| encode_base62(first.encode(number)))?;
    let text = std::str::from_utf8(&text).ok()?;
    Some((DomainNo::new(domain), Code::from_stored(text, kind)))
}

fn flags(link: &Link) -> i64 {
    let state = match link.state {
        State::Active => 0,
        State::Disabled => 1,
        State::Deleted => 2,
    };
    let caching = match link.caching {
        None => 0,
        Some(Caching::Exact) => 1,
        Some(Caching::Balanced) => 2,
        Some(Caching::Fast) => 3,
    };
    let status = match link.redirect_status {
        None => 0,
        Some(RedirectStatus::Moved301) => 1,
        Some(RedirectStatus::Found302) => 2,
        Some(RedirectStatus::Temporary307) => 3,
        Some(RedirectStatus::Permanent308) => 4,
    };
    kind_number(link.code.kind()) | state << 2 | i64::from(link.forward_query) << 4 | caching << 5 | status << 7
}

const fn kind_number(kind: CodeKind) -> i64 {
    match kind {
        CodeKind::Generated => 0,
        CodeKind::Alias => 1,
        CodeKind::Foreign => 2,
    }
}

struct Flags {
    kind: CodeKind,
    state: State,
    caching: Option<Caching>,
    redirect_status: Option<RedirectStatus>,
    forward_query: bool,
}

fn parse_flags(flags: i64) -> Option<Flags> {
    if !(0..1 << 10).contains(&flags) {
        return None;
    }
    Some(Flags {
        kind: [CodeKind::Generated, CodeKind::Alias, CodeKind::Foreign].into_iter().find(|kind| kind_number(*kind) == flags & 3)?,
        state: match flags >> 2 & 3 {
            0 => State::Active,
            1 => State::Disabled,
            2 => State::Deleted,
            _ => return None,
        },
        caching: match flags >> 5 & 3 {
            0 => None,
            1 => Some(Caching::Exact),
            2 => Some(Caching::Balanced),
            _ => Some(Caching::Fast),
        },
        redirect_status: match flags >> 7 {
            0 => None,
            1 => Some(RedirectStatus::Moved301),
            2 => Some(RedirectStatus::Found302),
            3 => Some(RedirectStatus::Temporary307),
            4 => Some(RedirectStatus::Permanent308),
            _ => return None,
        },
        forward_query: flags >> 4 & 1 == 1,
    })
}

fn join_tags(tags: &[Tag]) -> Option<String> {
    (!tags.is_empty()).then(|| tags.iter().map(Tag::as_str).collect::<Vec<_>>().join("\n"))
}

/// The columns that are not as in the link.
pub(super) struct Stored {
    pub(super) id: i64,
    pub(super) change_id: i64,
    pub(super) flags: i64,
    pub(super) created: i64,
    pub(super) updated: i64,
    pub(super) tags: Option<String>,
}

impl Stored {
    pub(super) fn new(link: &Link) -> Self {
        Self {
            id: super::value::id(link.id),
            change_id: bits(link.change_id),
            flags: flags(link),
            created: link.created_at.get().saturating_sub(created_at(link.id).get()),
            updated: link.updated_at.get().saturating_sub(link.created_at.get()),
            tags: join_tags(&link.tags),
        }
    }
}

/// A row of [`COLUMNS`].
pub(super) fn read(first: &Permutation, row: &Row<'_>) -> rusqlite::Result<Link> {
    let key: i64 = row.get(0)?;
    let id = to_id(row.get(1)?, 1)?;
    let flags = parse_flags(row.get(4)?).ok_or_else(|| broken(4, Type::Integer, "flags of a link"))?;
    let (domain, code) = if key < NAMED_KEYS {
        unpack(first, key, flags.kind).ok_or_else(|| broken(0, Type::Integer, "row key of a link"))?
    } else {
        let domain = row.get::<_, u32>(15)?;
        if !(1..=DomainNo::MAX).contains(&domain) {
            return Err(broken(15, Type::Integer, "domain of a link"));
        }
        (DomainNo::new(domain), Code::from_stored(row.get_ref(16)?.as_str()?, flags.kind))
    };
    // Most links are created at the moment within their id, which takes no space.
    let created = created_at(id).get().saturating_add(row.get(6)?);
    let text = |column| -> rusqlite::Result<Option<&str>> { Ok(row.get_ref(column)?.as_str_or_null()?) };
    Ok(Link {
        id,
        domain,
        code,
        owner: Owner::from_stored(row.get_ref(3)?.as_str()?),
        target: Target::from_stored(row.get_ref(8)?.as_str()?),
        title: text(10)?.map(Title::from_stored),
        tags: text(9)?.map(|tags| tags.split('\n').map(Tag::from_stored).collect()).unwrap_or_default(),
        state: flags.state,
        blocked: text(14)?.map(BlockReason::from_stored),
        redirect_status: flags.redirect_status,
        caching: flags.caching,
        forward_query: flags.forward_query,
        starts_at: row.get::<_, Option<i64>>(11)?.map(UnixMs::new),
        expires_at: row.get::<_, Option<i64>>(12)?.map(UnixMs::new),
        max_clicks: row.get::<_, Option<i64>>(13)?.map(from_bits),
        created_at: UnixMs::new(created),
        updated_at: UnixMs::new(created.saturating_add(row.get(7)?)),
        version: row.get(5)?,
        change_id: from_bits(row.get(2)?),
    })
}

#[cfg(test)]
mod tests {
    use domain::limits::CODE_SPACE;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_code_of_the_generated_shape_is_its_row_key(number in 0..CODE_SPACE, no in 1..=DomainNo::MAX, key: [u8; 16]) {
            let first = Permutation::new(key, 0);
            let domain = DomainNo::new(no);
            let (from, to) = domain_keys(domain);
            prop_assert!(to <= NAMED_KEYS);
            if let Some(code) = Code::generated(number) {
                let key = packed_key(&first, domain, code.as_str()).unwrap();
                prop_assert!((from..to).contains(&key));
                prop_assert_eq!(unpack(&first, key, CodeKind::Generated), Some((domain, code)));
            }
        }

        #[test]
        fn no_row_panics(key: i64, bits: i64) {
            let _ = unpack(&Permutation::new([1; 16], 0), key, CodeKind::Foreign);
            let _ = parse_flags(bits);
        }
    }

    #[test]
    fn leased_codes_insert_in_sequence() {
        let first = Permutation::new([7; 16], 0);
        let keys: Vec<i64> = (0..1_000)
            .filter_map(|counter| Code::generated(first.encode(counter)))
            .filter_map(|code| packed_key(&first, DomainNo::DEFAULT, code.as_str()))
            .collect();
        assert!(keys.len() > 500 && keys.is_sorted());
    }
}
