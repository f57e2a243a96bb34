//! How a link lies in its row.

use domain::{BlockReason, Caching, Code, CodeKind, Link, Owner, RedirectStatus, State, Tag, Target, Title, UnixMs};
use scylla::value::MaybeUnset;

use super::error::Broken;
use super::fields::Fields;
use super::value::{self, from_bits, to_domain, to_id, to_ms};

/// Of the rows this build writes, and the only one it reads.
pub(super) const FORMAT: i8 = 1;

/// What [`read`] reads.
pub(super) const COLUMNS: &str = "domain, code, format, id, change_id, version, shown, kind, owner, target, title, tags, state, blocked, \
     redirect_status, caching, forward_query, starts_at, expires_at, max_clicks, created_at, updated_at";

const fn kind_number(kind: CodeKind) -> i8 {
    match kind {
        CodeKind::Generated => 0,
        CodeKind::Alias => 1,
        CodeKind::Foreign => 2,
    }
}

const fn state_number(state: State) -> i8 {
    match state {
        State::Active => 0,
        State::Disabled => 1,
        State::Deleted => 2,
    }
}

const fn caching_number(caching: Caching) -> i8 {
    match caching {
        Caching::Exact => 1,
        Caching::Balanced => 2,
        Caching::Fast => 3,
    }
}

/// The one of `all` that has the number.
fn of_number<T: Copy>(all: &[T], number: impl Fn(T) -> i8, stored: i8, what: &str) -> Result<T, Broken> {
    let found = all.iter().copied().find(|one| number(*one) == stored);
    found.ok_or_else(|| Broken::new(format!("{stored} is no {what}")))
}

fn status(stored: i16) -> Result<RedirectStatus, Broken> {
    let status = u16::try_from(stored).ok().and_then(RedirectStatus::from_code);
    status.ok_or_else(|| Broken::new(format!("{stored} is no redirect status")))
}

/// A value that may be missing: unset in a new row, where a null would leave a tombstone; null in an old one.
type Maybe<T> = MaybeUnset<Option<T>>;

/// A new row, by the names of its columns.
#[derive(scylla::SerializeRow)]
pub(super) struct New<'a> {
    domain: i32,
    code: &'a str,
    format: i8,
    id: i64,
    shown: &'a str,
    kind: i8,
    owner: &'a str,
    created_at: i64,
    #[scylla(flatten)]
    changing: Changing<'a>,
}

/// A changed row, with what it must be to be changed.
#[derive(scylla::SerializeRow)]
pub(super) struct Changed<'a> {
    domain: i32,
    code: &'a str,
    id: i64,
    old_version: i32,
    #[scylla(flatten)]
    changing: Changing<'a>,
}

/// What may change of a link. Code, domain, owner and creation never do.
#[derive(scylla::SerializeRow)]
struct Changing<'a> {
    change_id: i64,
    version: i32,
    target: &'a str,
    title: Maybe<&'a str>,
    tags: Maybe<Vec<&'a str>>,
    state: i8,
    blocked: Maybe<&'a str>,
    redirect_status: Maybe<i16>,
    caching: Maybe<i8>,
    forward_query: bool,
    starts_at: Maybe<i64>,
    expires_at: Maybe<i64>,
    max_clicks: Maybe<i64>,
    updated_at: i64,
}

pub(super) const INSERT: &str = "INSERT INTO links (domain, code, format, id, change_id, version, shown, kind, owner, target, title, tags, \
     state, blocked, redirect_status, caching, forward_query, starts_at, expires_at, max_clicks, created_at, updated_at) VALUES (:domain, \
     :code, :format, :id, :change_id, :version, :shown, :kind, :owner, :target, :title, :tags, :state, :blocked, :redirect_status, :caching, \
     :forward_query, :starts_at, :expires_at, :max_clicks, :created_at, :updated_at) IF NOT EXISTS";

pub(super) const UPDATE: &str = "UPDATE links SET change_id = :change_id, version = :version, target = :target, title = :title, \
     tags = :tags, state = :state, blocked = :blocked, redirect_status = :redirect_status, caching = :caching, \
     forward_query = :forward_query, starts_at = :starts_at, expires_at = :expires_at, max_clicks = :max_clicks, updated_at = :updated_at \
     WHERE domain = :domain AND code = :code IF id = :id AND version = :old_version";

/// `key`: [`Code::key`] of the link.
pub(super) fn new<'a>(link: &'a Link, key: &'a str) -> New<'a> {
    New {
        domain: value::domain(link.domain),
        code: key,
        format: FORMAT,
        id: value::id(link.id),
        shown: link.code.as_str(),
        kind: kind_number(link.code.kind()),
        owner: link.owner.as_str(),
        created_at: link.created_at.get(),
        changing: changing(link, |missing| if missing { MaybeUnset::Unset } else { MaybeUnset::Set(()) }),
    }
}

/// `None` where there is no version before the link's.
pub(super) fn changed<'a>(link: &'a Link, key: &'a str) -> Option<Changed<'a>> {
    Some(Changed {
        domain: value::domain(link.domain),
        code: key,
        id: value::id(link.id),
        old_version: version_number(link.version.checked_sub(1)?),
        changing: changing(link, |_| MaybeUnset::Set(())),
    })
}

fn version_number(version: u32) -> i32 {
    version.cast_signed()
}

/// `write` says of a value, by whether it is missing, whether it is written.
fn changing(link: &Link, write: impl Fn(bool) -> MaybeUnset<()>) -> Changing<'_> {
    fn put<T>(value: Option<T>, write: impl Fn(bool) -> MaybeUnset<()>) -> Maybe<T> {
        match write(value.is_none()) {
            MaybeUnset::Unset => MaybeUnset::Unset,
            MaybeUnset::Set(()) => MaybeUnset::Set(value),
        }
    }
    let tags = (!link.tags.is_empty()).then(|| link.tags.iter().map(Tag::as_str).collect());
    Changing {
        change_id: value::bits(link.change_id),
        version: version_number(link.version),
        target: link.target.as_str(),
        title: put(link.title.as_ref().map(Title::as_str), &write),
        tags: put(tags, &write),
        state: state_number(link.state),
        blocked: put(link.blocked.as_ref().map(BlockReason::as_str), &write),
        redirect_status: put(link.redirect_status.map(|status| status.code().cast_signed()), &write),
        caching: put(link.caching.map(caching_number), &write),
        forward_query: link.forward_query,
        starts_at: put(value::ms(link.starts_at), &write),
        expires_at: put(value::ms(link.expires_at), &write),
        max_clicks: put(link.max_clicks.map(value::bits), &write),
        updated_at: link.updated_at.get(),
    }
}

/// A row, of whatever answer has all of [`COLUMNS`].
pub(super) fn read(row: &Fields<'_, '_>) -> Result<Link, Broken> {
    let format: i8 = row.need("format")?;
    if format != FORMAT {
        return Err(Broken::new(format!("a link of format {format}; this build knows {FORMAT}")));
    }
    let kind = of_number(&[CodeKind::Generated, CodeKind::Alias, CodeKind::Foreign], kind_number, row.need("kind")?, "kind of a code")?;
    let state = of_number(&[State::Active, State::Disabled, State::Deleted], state_number, row.need("state")?, "state of a link")?;
    let cachings = [Caching::Exact, Caching::Balanced, Caching::Fast];
    let caching = row.get("caching")?.map(|stored| of_number(&cachings, caching_number, stored, "caching mode")).transpose()?;
    let tags: Option<Vec<&str>> = row.get("tags")?;
    Ok(Link {
        id: to_id(row.need("id")?)?,
        domain: to_domain(row.need("domain")?)?,
        code: Code::from_stored(row.need("shown")?, kind),
        owner: Owner::from_stored(row.need("owner")?),
        target: Target::from_stored(row.need("target")?),
        title: row.get("title")?.map(Title::from_stored),
        tags: tags.unwrap_or_default().into_iter().map(Tag::from_stored).collect(),
        state,
        blocked: row.get("blocked")?.map(BlockReason::from_stored),
        redirect_status: row.get("redirect_status")?.map(status).transpose()?,
        caching,
        forward_query: row.get("forward_query")?.unwrap_or(false),
        starts_at: to_ms(row, "starts_at")?,
        expires_at: to_ms(row, "expires_at")?,
        max_clicks: row.get("max_clicks")?.map(from_bits),
        created_at: UnixMs::new(row.need("created_at")?),
        updated_at: UnixMs::new(row.need("updated_at")?),
        version: row.need::<i32>("version")?.cast_unsigned(),
        change_id: from_bits(row.need("change_id")?),
    })
}
