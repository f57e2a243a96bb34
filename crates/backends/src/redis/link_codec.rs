//! Links as Redis keeps them: as few bytes as a whole link takes.
//!
//! A value is its kind, version and expiry (which the script writes and reads) and the body: flags, the
//! link's id and change id, what the read took, the owner, then whatever differs from the usual. What the
//! field already says (domain and code) is left out, like the time of creation that the id says.

use std::time::Duration;

use domain::{
    BlockReason, Caching, Code, CodeKind, DomainNo, Link, LinkId, Owner, RedirectStatus, Slug, State, Tag, Target, Title, UnixMs, limits,
    snowflake,
};

use super::url_codec;

const LINK: u8 = 0xA1;
const LINK_LATER: u8 = 0xA4;
const ELSEWHERE: u8 = 0xC4;
const ABSENT: u8 = 0xB0;
/// Milliseconds of a unit of stored times: 32 bits of them last until 2059.
pub(super) const TICK_MS: u64 = 250;

/// What stands before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) version: u32,
    /// By the server's clock, in [`TICK_MS`] since 2025.
    pub(super) expiry: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Link,
    /// The link is too long for its bucket and has a key of its own.
    Elsewhere,
    Absent,
}

/// Head and body; `None` for what is not ours, or of a version that is not known here.
pub(super) fn split(value: &[u8]) -> Option<(Head, &[u8])> {
    let (&kind, rest) = value.split_first()?;
    let (kind, version, rest) = match kind {
        LINK => (Kind::Link, u32::from(*rest.first()?), rest.get(1..)?),
        LINK_LATER | ELSEWHERE => {
            let (version, rest) = rest.split_first_chunk()?;
            (if kind == ELSEWHERE { Kind::Elsewhere } else { Kind::Link }, u32::from_be_bytes(*version), rest)
        }
        ABSENT => (Kind::Absent, 0, rest),
        _ => return None,
    };
    let (expiry, body) = rest.split_first_chunk()?;
    (kind == Kind::Link || body.is_empty()).then_some((Head { kind, version, expiry: u32::from_be_bytes(*expiry) }, body))
}

/// Flags, the common ones lowest: they are stored as a varint.
mod flag {
    pub(super) const KIND_SHIFT: u32 = 0; // 2 bits: generated, alias, foreign
    pub(super) const URL_PACKED: u32 = 1 << 2;
    pub(super) const UPDATED: u32 = 1 << 3;
    pub(super) const EXPIRES: u32 = 1 << 4;
    pub(super) const TITLE: u32 = 1 << 5;
    pub(super) const TAGS: u32 = 1 << 6;
    pub(super) const STATE_SHIFT: u32 = 7; // 2 bits
    pub(super) const FORWARD_QUERY: u32 = 1 << 9;
    pub(super) const CACHING_SHIFT: u32 = 10; // 2 bits: 0 none
    pub(super) const STATUS_SHIFT: u32 = 12; // 3 bits: 0 none
    pub(super) const STARTS: u32 = 1 << 15;
    pub(super) const MAX_CLICKS: u32 = 1 << 16;
    pub(super) const BLOCKED: u32 = 1 << 17;
    pub(super) const CREATED: u32 = 1 << 18;
    /// The code as shown differs from the key.
    pub(super) const CODE: u32 = 1 << 19;
    pub(super) const ALL: u32 = (1 << 20) - 1;
}

pub(super) fn encode(link: &Link, delta: Duration) -> Vec<u8> {
    let url = url_codec::pack(link.target.as_str());
    let mut out = Vec::with_capacity(64 + link.target.as_str().len());
    let shown = link.code.key() != link.code.as_str();
    let when = |set: bool, flag: u32| if set { flag } else { 0 };
    let created = snowflake::created_at(link.id);
    let flags = code_kind(link.code.kind()) << flag::KIND_SHIFT
        | when(url.is_some(), flag::URL_PACKED)
        | when(link.updated_at != created, flag::UPDATED)
        | when(link.expires_at.is_some(), flag::EXPIRES)
        | when(link.title.is_some(), flag::TITLE)
        | when(!link.tags.is_empty(), flag::TAGS)
        | state(link.state) << flag::STATE_SHIFT
        | when(link.forward_query, flag::FORWARD_QUERY)
        | caching(link.caching) << flag::CACHING_SHIFT
        | status(link.redirect_status) << flag::STATUS_SHIFT
        | when(link.starts_at.is_some(), flag::STARTS)
        | when(link.max_clicks.is_some(), flag::MAX_CLICKS)
        | when(link.blocked.is_some(), flag::BLOCKED)
        | when(link.created_at != created, flag::CREATED)
        | when(shown, flag::CODE);
    put_number(&mut out, u64::from(flags));
    out.extend_from_slice(&link.id.get().to_be_bytes());
    out.extend_from_slice(&link.change_id.to_be_bytes());
    put_number(&mut out, u64::try_from(delta.as_micros()).unwrap_or(u64::MAX));
    put_text(&mut out, link.owner.as_str().as_bytes());
    match url {
        Some(url) => out.extend_from_slice(&url),
        None => put_text(&mut out, link.target.as_str().as_bytes()),
    }
    if flags & flag::UPDATED != 0 {
        put_time(&mut out, link.updated_at);
    }
    for at in [link.expires_at, link.starts_at].into_iter().flatten() {
        put_time(&mut out, at);
    }
    if flags & flag::CREATED != 0 {
        put_time(&mut out, link.created_at);
    }
    if let Some(max) = link.max_clicks {
        put_number(&mut out, max);
    }
    if shown {
        put_text(&mut out, link.code.as_str().as_bytes());
    }
    if let Some(title) = &link.title {
        put_text(&mut out, title.as_str().as_bytes());
    }
    if let Some(reason) = &link.blocked {
        put_text(&mut out, reason.as_str().as_bytes());
    }
    if !link.tags.is_empty() {
        put_number(&mut out, u64::try_from(link.tags.len()).unwrap_or(u64::MAX));
        for tag in &link.tags {
            put_text(&mut out, tag.as_str().as_bytes());
        }
    }
    out
}

/// The link that stands under `key`, and what reading it took.
pub(super) fn decode(domain: DomainNo, key: &str, head: Head, body: &[u8]) -> Option<(Link, Duration)> {
    let mut from = Reader(body);
    let flags = u32::try_from(from.number()?).ok().filter(|flags| flags & !flag::ALL == 0)?;
    let has = |flag: u32| flags & flag != 0;
    let id = LinkId::new(from.word()?);
    let change_id = from.word()?;
    let delta = Duration::from_micros(from.number()?);
    let owner = Owner::parse(from.text(4 * limits::OWNER_LEN_MAX)?).ok()?;
    let target = target(if has(flag::URL_PACKED) { from.packed_url()? } else { from.bytes(limits::TARGET_LEN_MAX)?.to_vec() })?;
    let mut time = |set: bool, usual: Option<UnixMs>| if set { from.time().map(Some) } else { Some(usual) };
    let created_by_id = snowflake::created_at(id);
    let updated_at = time(has(flag::UPDATED), Some(created_by_id))?;
    let expires_at = time(has(flag::EXPIRES), None)?;
    let starts_at = time(has(flag::STARTS), None)?;
    let created_at = time(has(flag::CREATED), Some(created_by_id))?;
    let link = Link {
        id,
        domain,
        owner,
        target,
        state: [State::Active, State::Disabled, State::Deleted].get(bits(flags, flag::STATE_SHIFT, 3)).copied()?,
        redirect_status: *STATUSES.get(bits(flags, flag::STATUS_SHIFT, 7))?,
        caching: *CACHINGS.get(bits(flags, flag::CACHING_SHIFT, 3))?,
        forward_query: has(flag::FORWARD_QUERY),
        starts_at,
        expires_at,
        created_at: created_at?,
        updated_at: updated_at?,
        version: head.version,
        change_id,
        max_clicks: if has(flag::MAX_CLICKS) { Some(from.number()?) } else { None },
        code: code(key, if has(flag::CODE) { Some(from.text(limits::FOREIGN_CODE_LEN_MAX)?) } else { None }, flags)?,
        title: if has(flag::TITLE) { Some(Title::parse(from.text(4 * limits::TITLE_LEN_MAX)?).ok()?) } else { None },
        blocked: if has(flag::BLOCKED) { Some(BlockReason::parse(from.text(4 * limits::BLOCK_REASON_LEN_MAX)?).ok()?) } else { None },
        tags: if has(flag::TAGS) { from.tags()? } else { Vec::new() },
    };
    from.0.is_empty().then_some((link, delta))
}

const STATUSES: [Option<RedirectStatus>; 5] = [
    None,
    Some(RedirectStatus::Moved301),
    Some(RedirectStatus::Found302),
    Some(RedirectStatus::Temporary307),
    Some(RedirectStatus::Permanent308),
];
const CACHINGS: [Option<Caching>; 4] = [None, Some(Caching::Exact), Some(Caching::Balanced), Some(Caching::Fast)];

fn status(status: Option<RedirectStatus>) -> u32 {
    status.map_or(0, |status| match status {
        RedirectStatus::Moved301 => 1,
        RedirectStatus::Found302 => 2,
        RedirectStatus::Temporary307 => 3,
        RedirectStatus::Permanent308 => 4,
    })
}

fn caching(caching: Option<Caching>) -> u32 {
    caching.map_or(0, |caching| match caching {
        Caching::Exact => 1,
        Caching::Balanced => 2,
        Caching::Fast => 3,
    })
}

fn state(state: State) -> u32 {
    match state {
        State::Active => 0,
        State::Disabled => 1,
        State::Deleted => 2,
    }
}

fn code_kind(kind: CodeKind) -> u32 {
    match kind {
        CodeKind::Generated => 0,
        CodeKind::Alias => 1,
        CodeKind::Foreign => 2,
    }
}

fn bits(flags: u32, shift: u32, mask: u32) -> usize {
    usize::try_from(flags >> shift & mask).unwrap_or(usize::MAX)
}

/// A code that is not matched by the key it was found under is not believed.
fn code(key: &str, shown: Option<&str>, flags: u32) -> Option<Code> {
    let kind = *[CodeKind::Generated, CodeKind::Alias, CodeKind::Foreign].get(bits(flags, flag::KIND_SHIFT, 3))?;
    let shown = shown.unwrap_or(key);
    Slug::parse(shown)?;
    let code = Code::from_stored(shown, kind);
    (code.key() == key).then_some(code)
}

/// What is put into a header must be fit for one, whoever wrote it.
fn target(bytes: Vec<u8>) -> Option<Target> {
    let text = String::from_utf8(bytes).ok()?;
    let is_http = text.starts_with("https://") || text.starts_with("http://");
    (is_http && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Target::from_stored(&text))
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7F).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

/// Times of ours are positive; others survive all the same.
fn put_time(out: &mut Vec<u8>, at: UnixMs) {
    let ms = at.get();
    put_number(out, (ms << 1 ^ ms >> 63).cast_unsigned());
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_number(out, u64::try_from(text.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(text);
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let part = u64::from(byte & 0x7F);
            if part << shift >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*word))
    }

    fn time(&mut self) -> Option<UnixMs> {
        let number = self.number()?;
        Some(UnixMs::new((number >> 1).cast_signed() ^ -(number & 1).cast_signed()))
    }

    fn bytes(&mut self, len_max: usize) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok().filter(|len| *len <= len_max)?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self, len_max: usize) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(len_max)?).ok()
    }

    fn packed_url(&mut self) -> Option<Vec<u8>> {
        let (url, rest) = url_codec::unpack(self.0, limits::TARGET_LEN_MAX)?;
        self.0 = rest;
        Some(url)
    }

    fn tags(&mut self) -> Option<Vec<Tag>> {
        let count = usize::try_from(self.number()?).ok().filter(|count| *count <= limits::TAGS_MAX)?;
        (0..count).map(|_| Tag::parse(self.text(4 * limits::TAG_LEN_MAX)?).ok()).collect()
    }
}

#[cfg(test)]
mod tests;
