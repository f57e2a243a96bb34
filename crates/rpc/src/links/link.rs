//! Links and jobs as messages, and back.

use domain::api::{Created, JobState, JobStatus, Page};
use domain::limits::{
    BLOCK_REASON_LEN_MAX, BULK_LEN_MAX, OWNER_LEN_MAX, PAGE_LEN_MAX, TAG_LEN_MAX, TAGS_MAX, TARGET_LEN_MAX, TITLE_LEN_MAX,
};
use domain::{BlockReason, Caching, Code, CodeKind, Link, LinkId, Owner, RedirectStatus, Result, Slug, State, Tag, Target, Title, UnixMs};

use super::convert::domain_no;
use crate::call::broken;
use crate::{proto, status};

/// UTF-8 bytes of one character.
const CHAR_LEN_MAX: usize = 4;

pub(super) fn to_link(link: Link) -> proto::Link {
    proto::Link {
        id: link.id.get(),
        domain: link.domain.get(),
        code: link.code.as_str().to_owned(),
        code_kind: to_code_kind(link.code.kind()).into(),
        owner: link.owner.as_str().to_owned(),
        target: link.target.as_str().to_owned(),
        title: link.title.map_or_else(String::new, |title| title.as_str().to_owned()),
        tags: link.tags.iter().map(|tag| tag.as_str().to_owned()).collect(),
        state: to_state(link.state).into(),
        blocked: link.blocked.map_or_else(String::new, |reason| reason.as_str().to_owned()),
        redirect_status: to_redirect_status(link.redirect_status),
        caching: to_caching(link.caching).into(),
        forward_query: link.forward_query,
        starts_at_ms: link.starts_at.map(UnixMs::get),
        expires_at_ms: link.expires_at.map(UnixMs::get),
        max_clicks: link.max_clicks,
        created_at_ms: link.created_at.get(),
        updated_at_ms: link.updated_at.get(),
        version: link.version,
        change_id: link.change_id,
    }
}

pub(super) fn link(message: &proto::Link) -> Result<Link> {
    let whole = message.tags.len() <= TAGS_MAX
        && message.tags.iter().all(|tag| is_text(tag, TAG_LEN_MAX))
        && (message.blocked.is_empty() || is_text(&message.blocked, BLOCK_REASON_LEN_MAX));
    let parts = domain_no(message.domain).zip(code(message)).zip(state(message.state)).filter(|_| whole);
    let ((domain, code), state) = parts.ok_or_else(|| broken("a link that is none"))?;
    Ok(Link {
        id: LinkId::new(message.id),
        domain,
        code,
        owner: owner(&message.owner)?,
        target: target(&message.target)?,
        title: title(&message.title)?,
        tags: message.tags.iter().map(|tag| Tag::from_stored(tag)).collect(),
        state,
        blocked: (!message.blocked.is_empty()).then(|| BlockReason::from_stored(&message.blocked)),
        redirect_status: redirect_status(message.redirect_status)?,
        caching: caching(message.caching),
        forward_query: message.forward_query,
        starts_at: message.starts_at_ms.map(UnixMs::new),
        expires_at: message.expires_at_ms.map(UnixMs::new),
        max_clicks: message.max_clicks,
        created_at: UnixMs::new(message.created_at_ms),
        updated_at: UnixMs::new(message.updated_at_ms),
        version: message.version,
        change_id: message.change_id,
    })
}

/// Whether a text can have been accepted once: rules may be stricter today, its length never was more.
fn is_text(text: &str, chars_max: usize) -> bool {
    !text.is_empty() && text.len() <= chars_max * CHAR_LEN_MAX
}

const fn to_code_kind(kind: CodeKind) -> proto::CodeKind {
    match kind {
        CodeKind::Generated => proto::CodeKind::Generated,
        CodeKind::Alias => proto::CodeKind::Alias,
        CodeKind::Foreign => proto::CodeKind::Foreign,
    }
}

fn code(message: &proto::Link) -> Option<Code> {
    let kind = match proto::CodeKind::try_from(message.code_kind).ok()? {
        proto::CodeKind::Generated => CodeKind::Generated,
        proto::CodeKind::Alias => CodeKind::Alias,
        proto::CodeKind::Foreign => CodeKind::Foreign,
        proto::CodeKind::Unspecified => return None,
    };
    Slug::parse(&message.code).map(|slug| Code::from_stored(slug.as_str(), kind))
}

const fn to_state(state: State) -> proto::State {
    match state {
        State::Active => proto::State::Active,
        State::Disabled => proto::State::Disabled,
        State::Deleted => proto::State::Deleted,
    }
}

fn state(number: i32) -> Option<State> {
    match proto::State::try_from(number).ok()? {
        proto::State::Active => Some(State::Active),
        proto::State::Disabled => Some(State::Disabled),
        proto::State::Deleted => Some(State::Deleted),
        proto::State::Unspecified | proto::State::Blocked => None,
    }
}

pub(crate) fn owner(text: &str) -> Result<Owner> {
    is_text(text, OWNER_LEN_MAX).then(|| Owner::from_stored(text)).ok_or_else(|| broken("an owner that is none"))
}

/// It becomes a header: nothing may end it early.
pub(crate) fn target(text: &str) -> Result<Target> {
    let fits = !text.is_empty() && text.len() <= TARGET_LEN_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| Target::from_stored(text)).ok_or_else(|| broken("a target that is none"))
}

pub(crate) fn title(text: &str) -> Result<Option<Title>> {
    if text.is_empty() {
        return Ok(None);
    }
    is_text(text, TITLE_LEN_MAX).then(|| Some(Title::from_stored(text))).ok_or_else(|| broken("a title that is none"))
}

pub(crate) fn to_redirect_status(status: Option<RedirectStatus>) -> u32 {
    status.map_or(0, |status| u32::from(status.code()))
}

pub(crate) fn redirect_status(number: u32) -> Result<Option<RedirectStatus>> {
    if number == 0 {
        return Ok(None);
    }
    let status = u16::try_from(number).ok().and_then(RedirectStatus::from_code);
    status.map(Some).ok_or_else(|| broken("a status that redirects nowhere"))
}

pub(crate) const fn to_caching(caching: Option<Caching>) -> proto::Caching {
    match caching {
        None => proto::Caching::Unspecified,
        Some(Caching::Exact) => proto::Caching::Exact,
        Some(Caching::Balanced) => proto::Caching::Balanced,
        Some(Caching::Fast) => proto::Caching::Fast,
    }
}

pub(crate) fn caching(number: i32) -> Option<Caching> {
    match proto::Caching::try_from(number) {
        Ok(proto::Caching::Unspecified) => None,
        // A mode of a later version: no cache keeps what we do not understand.
        Ok(proto::Caching::Exact) | Err(_) => Some(Caching::Exact),
        Ok(proto::Caching::Balanced) => Some(Caching::Balanced),
        Ok(proto::Caching::Fast) => Some(Caching::Fast),
    }
}

pub(super) fn to_created(created: Created) -> proto::CreateResponse {
    let (link, found) = match created {
        Created::New(link) => (link, false),
        Created::Found(link) => (link, true),
    };
    proto::CreateResponse { link: Some(to_link(link)), found }
}

pub(super) fn created(message: proto::CreateResponse) -> Result<Created> {
    let link = link(&message.link.ok_or_else(|| broken("no link"))?)?;
    Ok(if message.found { Created::Found(link) } else { Created::New(link) })
}

pub(super) fn to_result(result: Result<Created>) -> proto::CreateResult {
    use proto::create_result::Result as Message;
    let result = match result {
        Ok(created) => Message::Created(to_created(created)),
        Err(error) => Message::Problem(status::to_problem(&error)),
    };
    proto::CreateResult { result: Some(result) }
}

pub(super) fn results(message: proto::BulkCreateResponse, asked: usize) -> Result<Vec<Result<Created>>> {
    use proto::create_result::Result as Message;
    if message.results.len() != asked || asked > BULK_LEN_MAX {
        return Err(broken("not one result for each link"));
    }
    let result = |result: proto::CreateResult| match result.result {
        Some(Message::Created(message)) => created(message),
        Some(Message::Problem(problem)) => Err(status::from_problem(&problem)),
        None => Err(broken("no result")),
    };
    Ok(message.results.into_iter().map(result).collect())
}

pub(super) fn to_page(page: Page) -> proto::ListResponse {
    proto::ListResponse { links: page.links.into_iter().map(to_link).collect(), next: page.next.map_or(0, LinkId::get) }
}

pub(super) fn page(message: &proto::ListResponse) -> Result<Page> {
    if message.links.len() > PAGE_LEN_MAX {
        return Err(broken("more links than a page holds"));
    }
    let links = message.links.iter().map(link).collect::<Result<_>>()?;
    Ok(Page { links, next: (message.next != 0).then(|| LinkId::new(message.next)) })
}

/// What jobs do, as far as this version knows.
const JOB_KINDS: [&str; 1] = ["bulk_delete"];
const JOB_KIND_UNKNOWN: &str = "unknown";

pub(super) fn to_job(job: &JobStatus) -> proto::Job {
    let state = match job.state {
        JobState::Running => proto::JobState::Running,
        JobState::Done => proto::JobState::Done,
        JobState::Failed => proto::JobState::Failed,
    };
    proto::Job {
        id: job.id.get(),
        kind: job.kind.to_owned(),
        state: state.into(),
        done: job.done,
        total: job.total,
        errors: job.errors,
        created_at_ms: job.created_at.get(),
        updated_at_ms: job.updated_at.get(),
    }
}

pub(super) fn job(message: &proto::Job) -> Result<JobStatus> {
    let state = match proto::JobState::try_from(message.state) {
        Ok(proto::JobState::Running) => JobState::Running,
        Ok(proto::JobState::Done) => JobState::Done,
        Ok(proto::JobState::Failed) => JobState::Failed,
        Ok(proto::JobState::Unspecified) | Err(_) => return Err(broken("a job in no known state")),
    };
    Ok(JobStatus {
        id: LinkId::new(message.id),
        kind: JOB_KINDS.into_iter().find(|kind| *kind == message.kind).unwrap_or(JOB_KIND_UNKNOWN),
        state,
        done: message.done,
        total: message.total,
        errors: message.errors,
        created_at: UnixMs::new(message.created_at_ms),
        updated_at: UnixMs::new(message.updated_at_ms),
    })
}

pub(super) fn tags(message: proto::TagsResponse) -> Result<Vec<(Tag, u64)>> {
    let tag = |count: proto::TagCount| is_text(&count.tag, TAG_LEN_MAX).then(|| (Tag::from_stored(&count.tag), count.links));
    message.tags.into_iter().map(tag).collect::<Option<_>>().ok_or_else(|| broken("a tag that is none"))
}
