//! What is asked of the shortening service, as messages, and back. Values of drafts and patches are checked
//! by the service, which names every wrong one; here only what it cannot see.

use domain::api::{Idempotency, ListQuery, Selection};
use domain::limits::{BULK_DELETE_IDS_MAX, BULK_LEN_MAX, IDEMPOTENCY_KEY_LEN_MAX, PAGE_LEN_MAX, TARGET_LEN_MAX};
use domain::{
    BlockReason, Caller, Change, DomainNo, Error, Host, LinkDraft, LinkId, Owner, PatchDraft, Reason, Result, Scope, ShownState, Tag,
    UnixMs,
};

use crate::proto;

pub(super) fn wrong(pointer: &str, detail: impl Into<String>) -> Error {
    Error::field(pointer, Reason::InvalidField, detail)
}

pub(super) fn to_caller(caller: &Caller) -> proto::Caller {
    let scopes = caller.scopes.iter().map(|scope| i32::from(to_scope(scope))).collect();
    proto::Caller { owner: caller.owner.as_str().to_owned(), scopes }
}

pub(super) fn caller(message: Option<proto::Caller>) -> Result<Caller> {
    let message = message.ok_or_else(|| wrong("/caller", "say on whose behalf"))?;
    let owner = Owner::parse(&message.owner).map_err(|error| wrong("/caller/owner", error.to_string()))?;
    if message.scopes.len() > Scope::ALL.len() {
        return Err(wrong("/caller/scopes", "must name each scope once"));
    }
    let scopes = message.scopes.into_iter().map(scope).collect::<Option<_>>();
    Ok(Caller { owner, scopes: scopes.ok_or_else(|| wrong("/caller/scopes", "names a scope there is not"))? })
}

fn to_scope(scope: Scope) -> proto::Scope {
    match scope {
        Scope::LinksRead => proto::Scope::LinksRead,
        Scope::LinksWrite => proto::Scope::LinksWrite,
        Scope::StatsRead => proto::Scope::StatsRead,
        Scope::KeysWrite => proto::Scope::KeysWrite,
        Scope::Admin => proto::Scope::Admin,
    }
}

fn scope(number: i32) -> Option<Scope> {
    match proto::Scope::try_from(number).ok()? {
        proto::Scope::LinksRead => Some(Scope::LinksRead),
        proto::Scope::LinksWrite => Some(Scope::LinksWrite),
        proto::Scope::StatsRead => Some(Scope::StatsRead),
        proto::Scope::KeysWrite => Some(Scope::KeysWrite),
        proto::Scope::Admin => Some(Scope::Admin),
        proto::Scope::Unspecified => None,
    }
}

pub(super) fn to_once(once: Option<Idempotency>) -> Option<proto::Idempotency> {
    once.map(|once| proto::Idempotency { key: once.key, digest: once.digest.to_vec() })
}

pub(super) fn once(message: Option<proto::Idempotency>) -> Result<Option<Idempotency>> {
    let Some(message) = message else { return Ok(None) };
    if !(1..=IDEMPOTENCY_KEY_LEN_MAX).contains(&message.key.len()) {
        return Err(wrong("/once/key", format!("must have 1 to {IDEMPOTENCY_KEY_LEN_MAX} bytes")));
    }
    let digest = <[u8; 32]>::try_from(message.digest).map_err(|_| wrong("/once/digest", "must be a SHA-256 of 32 bytes"))?;
    Ok(Some(Idempotency { key: message.key, digest }))
}

pub(super) fn to_draft(draft: LinkDraft) -> proto::LinkDraft {
    proto::LinkDraft {
        target: draft.target,
        alias: draft.alias,
        code: draft.code,
        domain: draft.domain,
        title: draft.title,
        tags: draft.tags,
        redirect_status: draft.redirect_status.map(u32::from),
        caching: draft.caching,
        forward_query: draft.forward_query,
        starts_at_ms: draft.starts_at.map(UnixMs::get),
        expires_at_ms: draft.expires_at.map(UnixMs::get),
        max_clicks: draft.max_clicks,
        find_or_create: draft.find_or_create,
        strategy: draft.strategy,
        code_length: draft.code_length.map(u32::from),
    }
}

pub(super) fn draft(message: proto::LinkDraft) -> LinkDraft {
    LinkDraft {
        target: message.target,
        alias: message.alias,
        code: message.code,
        domain: message.domain,
        title: message.title,
        tags: message.tags,
        // What does not fit is wrong in any case; the service says so.
        redirect_status: message.redirect_status.map(|status| u16::try_from(status).unwrap_or(u16::MAX)),
        caching: message.caching,
        forward_query: message.forward_query,
        starts_at: message.starts_at_ms.map(UnixMs::new),
        expires_at: message.expires_at_ms.map(UnixMs::new),
        max_clicks: message.max_clicks,
        find_or_create: message.find_or_create,
        strategy: message.strategy,
        code_length: message.code_length.map(|length| u8::try_from(length).unwrap_or(u8::MAX)),
    }
}

pub(super) fn drafts(messages: Vec<proto::LinkDraft>) -> Result<Vec<LinkDraft>> {
    if messages.len() > BULK_LEN_MAX {
        return Err(wrong("/links", format!("must be at most {BULK_LEN_MAX}")));
    }
    Ok(messages.into_iter().map(draft).collect())
}

/// `None`: as it is; `Some(None)`: back to the default.
#[expect(clippy::option_option, reason = "what a message without a value and no message are")]
fn to_change<T>(change: Change<T>) -> Option<Option<T>> {
    match change {
        Change::Keep => None,
        Change::Clear => Some(None),
        Change::Set(value) => Some(Some(value)),
    }
}

#[expect(clippy::option_option, reason = "what a message without a value and no message are")]
fn change<T>(message: Option<Option<T>>) -> Change<T> {
    match message {
        None => Change::Keep,
        Some(None) => Change::Clear,
        Some(Some(value)) => Change::Set(value),
    }
}

pub(super) fn to_patch(patch: PatchDraft) -> proto::LinkPatch {
    let text = |change| to_change(change).map(|value| proto::TextChange { value });
    let time = |change| to_change(change).map(|value| proto::TimeChange { value_ms: value.map(UnixMs::get) });
    proto::LinkPatch {
        target: text(patch.target),
        title: text(patch.title),
        tags: to_change(patch.tags).map(|tags| proto::TagsChange { value: tags.map(|tags| proto::TagList { tags }) }),
        redirect_status: to_change(patch.redirect_status).map(|value| proto::NumberChange { value: value.map(u64::from) }),
        caching: text(patch.caching),
        forward_query: to_change(patch.forward_query).map(|value| proto::FlagChange { value }),
        starts_at: time(patch.starts_at),
        expires_at: time(patch.expires_at),
        max_clicks: to_change(patch.max_clicks).map(|value| proto::NumberChange { value }),
        state: text(patch.state),
    }
}

pub(super) fn patch(message: Option<proto::LinkPatch>) -> PatchDraft {
    let message = message.unwrap_or_default();
    let text = |text: Option<proto::TextChange>| change(text.map(|text| text.value));
    let time = |time: Option<proto::TimeChange>| change(time.map(|time| time.value_ms.map(UnixMs::new)));
    let status = |status: u64| u16::try_from(status).unwrap_or(u16::MAX);
    PatchDraft {
        target: text(message.target),
        title: text(message.title),
        tags: change(message.tags.map(|tags| tags.value.map(|list| list.tags))),
        redirect_status: change(message.redirect_status.map(|number| number.value.map(status))),
        caching: text(message.caching),
        forward_query: change(message.forward_query.map(|flag| flag.value)),
        starts_at: time(message.starts_at),
        expires_at: time(message.expires_at),
        max_clicks: change(message.max_clicks.map(|number| number.value)),
        state: text(message.state),
    }
}

pub(super) fn to_list(caller: &Caller, query: ListQuery) -> proto::ListRequest {
    proto::ListRequest {
        caller: Some(to_caller(caller)),
        limit: u32::try_from(query.limit).unwrap_or(u32::MAX),
        after: query.after.map_or(0, LinkId::get),
        tag: query.tag.map_or_else(String::new, |tag| tag.as_str().to_owned()),
        state: query.state.map_or(proto::State::Unspecified, to_shown_state).into(),
        text: query.text.unwrap_or_default(),
    }
}

pub(super) fn list(message: proto::ListRequest) -> Result<ListQuery> {
    let limit = usize::try_from(message.limit).ok().filter(|limit| *limit <= PAGE_LEN_MAX);
    // A page that is asked for by text is compared with targets: a longer text is found nowhere.
    if message.text.len() > TARGET_LEN_MAX {
        return Err(wrong("/q", format!("must have at most {TARGET_LEN_MAX} bytes")));
    }
    let tag = (!message.tag.is_empty()).then(|| tag(&message.tag)).transpose()?;
    Ok(ListQuery {
        limit: limit.ok_or_else(|| wrong("/limit", format!("must be at most {PAGE_LEN_MAX}")))?,
        after: (message.after != 0).then(|| LinkId::new(message.after)),
        tag,
        state: shown_state(message.state)?,
        text: (!message.text.is_empty()).then_some(message.text),
    })
}

pub(super) fn tag(text: &str) -> Result<Tag> {
    Tag::parse(text).map_err(|error| wrong("/tag", error.to_string()))
}

const fn to_shown_state(state: ShownState) -> proto::State {
    match state {
        ShownState::Active => proto::State::Active,
        ShownState::Disabled => proto::State::Disabled,
        ShownState::Deleted => proto::State::Deleted,
        ShownState::Blocked => proto::State::Blocked,
    }
}

fn shown_state(number: i32) -> Result<Option<ShownState>> {
    match proto::State::try_from(number) {
        Ok(proto::State::Unspecified) => Ok(None),
        Ok(proto::State::Active) => Ok(Some(ShownState::Active)),
        Ok(proto::State::Disabled) => Ok(Some(ShownState::Disabled)),
        Ok(proto::State::Deleted) => Ok(Some(ShownState::Deleted)),
        Ok(proto::State::Blocked) => Ok(Some(ShownState::Blocked)),
        Err(_) => Err(wrong("/state", "expected one of active, disabled, deleted, blocked")),
    }
}

pub(super) fn block_reason(text: &str) -> Result<Option<BlockReason>> {
    (!text.is_empty()).then(|| domain::check_block_reason(text).map_err(Error::fields)).transpose()
}

pub(super) fn to_selection(selection: Selection) -> proto::bulk_delete_request::Selection {
    use proto::bulk_delete_request::Selection as Message;
    match selection {
        Selection::Ids(ids) => Message::Ids(proto::LinkIds { ids: ids.into_iter().map(LinkId::get).collect() }),
        Selection::Tag(tag) => Message::Tag(tag.as_str().to_owned()),
        Selection::Domain(host) => Message::Domain(host.as_str().to_owned()),
    }
}

pub(super) fn selection(message: Option<proto::bulk_delete_request::Selection>) -> Result<Selection> {
    use proto::bulk_delete_request::Selection as Message;
    match message {
        Some(Message::Ids(list)) if list.ids.len() > BULK_DELETE_IDS_MAX => {
            Err(wrong("/ids", format!("must be at most {BULK_DELETE_IDS_MAX}")))
        }
        Some(Message::Ids(list)) => Ok(Selection::Ids(list.ids.into_iter().map(LinkId::new).collect())),
        Some(Message::Tag(text)) => tag(&text).map(Selection::Tag),
        Some(Message::Domain(text)) => host(&text).map(Selection::Domain),
        None => Err(wrong("", "say which links: ids, tag or domain")),
    }
}

pub(super) fn host(text: &str) -> Result<Host> {
    Host::parse(text).map_err(|error| wrong("/domain", error.to_string()))
}

/// Numbers of domains are bounded by the keys of rows.
pub(crate) fn domain_no(number: u32) -> Option<DomainNo> {
    (1..=DomainNo::MAX).contains(&number).then(|| DomainNo::new(number))
}
