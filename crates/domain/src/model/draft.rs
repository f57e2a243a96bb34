//! What a caller asks for, before and after it is checked.

use super::{BlockReason, Caching, Code, Host, RedirectStatus, State, Tag, Target, Title};
use crate::code::CodeError;
use crate::error::{FieldError, Reason};
use crate::limits;
use crate::target::{TargetError, TargetPolicy};
use crate::time::UnixMs;

/// How the code of a link is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// From a leased block of counters, permuted: 7 characters.
    #[default]
    Leased,
    /// The same with blocks of one.
    Counter,
    /// The link's id through a 64-bit permutation: 11 characters, no lease.
    Snowflake,
    /// From owner, domain and canonical target: the same link for the same target.
    Hash,
    /// Random, for links that must not be guessed.
    Random,
}

impl Strategy {
    pub const ALL: [Self; 5] = [Self::Leased, Self::Counter, Self::Snowflake, Self::Hash, Self::Random];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == text)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leased => "leased",
            Self::Counter => "counter",
            Self::Snowflake => "snowflake",
            Self::Hash => "hash",
            Self::Random => "random",
        }
    }
}

/// A create as it came in: types are right, values are not checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkDraft {
    pub target: String,
    pub alias: Option<String>,
    /// A code made elsewhere; imports and admin keys only.
    pub code: Option<String>,
    pub domain: Option<String>,
    pub title: Option<String>,
    pub tags: Vec<String>,
    pub redirect_status: Option<u16>,
    pub caching: Option<String>,
    pub forward_query: bool,
    pub starts_at: Option<UnixMs>,
    pub expires_at: Option<UnixMs>,
    pub max_clicks: Option<u64>,
    pub find_or_create: bool,
    pub strategy: Option<String>,
    pub code_length: Option<u8>,
}

/// Where the code of a new link comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `None`: as configured.
    Generated { strategy: Option<Strategy>, length: Option<u8> },
    /// An alias, or a code made elsewhere.
    Given(Code),
}

/// A create that passed every check that needs no store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    pub domain: Option<Host>,
    pub naming: Naming,
    pub target: Target,
    pub title: Option<Title>,
    pub tags: Vec<Tag>,
    pub redirect_status: Option<RedirectStatus>,
    pub caching: Option<Caching>,
    pub forward_query: bool,
    pub starts_at: Option<UnixMs>,
    pub expires_at: Option<UnixMs>,
    pub max_clicks: Option<u64>,
    pub find_or_create: bool,
}

/// One field of a merge patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    #[default]
    Keep,
    /// `null`: back to the default.
    Clear,
    Set(T),
}

impl<T> Change<T> {
    fn map<U>(&self, mut f: impl FnMut(&T) -> Option<U>) -> Change<U> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => f(value).map_or(Change::Keep, Change::Set),
        }
    }

    /// The value after this change.
    pub fn apply(self, old: Option<T>) -> Option<T> {
        match self {
            Self::Keep => old,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// A merge patch as it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchDraft {
    pub target: Change<String>,
    pub title: Change<String>,
    pub tags: Change<Vec<String>>,
    pub redirect_status: Change<u16>,
    pub caching: Change<String>,
    pub forward_query: Change<bool>,
    pub starts_at: Change<UnixMs>,
    pub expires_at: Change<UnixMs>,
    pub max_clicks: Change<u64>,
    pub state: Change<String>,
}

/// A merge patch that passed every check that needs no store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkPatch {
    /// Never [`Change::Clear`]: a link has a target.
    pub target: Change<Target>,
    pub title: Change<Title>,
    pub tags: Change<Vec<Tag>>,
    pub redirect_status: Change<RedirectStatus>,
    pub caching: Change<Caching>,
    pub forward_query: Change<bool>,
    pub starts_at: Change<UnixMs>,
    pub expires_at: Change<UnixMs>,
    pub max_clicks: Change<u64>,
    /// Active or disabled; `Clear` means active.
    pub state: Change<State>,
}

/// Collects every wrong field, so that the caller sees all of them at once.
#[derive(Debug, Default)]
struct Check {
    errors: Vec<FieldError>,
}

impl Check {
    fn fail(&mut self, pointer: &str, reason: Reason, detail: impl Into<String>) {
        self.errors.push(FieldError::new(pointer, reason, detail));
    }

    fn keep<T, E: ToString>(&mut self, pointer: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.fail(pointer, Reason::InvalidField, error.to_string())).ok()
    }

    fn named<T>(&mut self, pointer: &str, value: Option<T>, expected: &str) -> Option<T> {
        if value.is_none() {
            self.fail(pointer, Reason::InvalidField, format!("expected one of {expected}"));
        }
        value
    }

    fn target(&mut self, text: &str, policy: &TargetPolicy<'_>) -> Option<Target> {
        match Target::parse(text, policy) {
            Ok(target) => Some(target),
            Err(TargetError::Invalid(detail)) => {
                self.fail("/target", Reason::InvalidTarget, detail);
                None
            }
            Err(TargetError::NotAllowed(detail)) => {
                self.fail("/target", Reason::TargetNotAllowed, detail);
                None
            }
        }
    }

    fn tags(&mut self, tags: &[String]) -> Vec<Tag> {
        if tags.len() > limits::TAGS_MAX {
            self.fail("/tags", Reason::InvalidField, format!("a link has at most {} tags", limits::TAGS_MAX));
            return Vec::new();
        }
        let mut parsed = Vec::with_capacity(tags.len());
        for (i, tag) in tags.iter().enumerate() {
            if let Some(tag) = self.keep(&format!("/tags/{i}"), Tag::parse(tag))
                && !parsed.contains(&tag)
            {
                parsed.push(tag);
            }
        }
        parsed
    }

    fn redirect_status(&mut self, code: u16) -> Option<RedirectStatus> {
        self.named("/redirect_status", RedirectStatus::from_code(code), "301, 302, 307, 308")
    }

    fn caching(&mut self, text: &str) -> Option<Caching> {
        self.named("/caching", Caching::parse(text), "exact, balanced, fast")
    }

    fn max_clicks(&mut self, max: u64) -> Option<u64> {
        let fits = (1..=i64::MAX as u64).contains(&max);
        if !fits {
            self.fail("/max_clicks", Reason::InvalidField, "must be at least 1");
        }
        fits.then_some(max)
    }

    fn code(&mut self, pointer: &str, code: Result<Code, CodeError>) -> Option<Code> {
        match code {
            Ok(code) => Some(code),
            Err(error @ CodeError::Reserved(_)) => {
                self.fail(pointer, Reason::AliasReserved, error.to_string());
                None
            }
            Err(error) => {
                self.fail(pointer, Reason::InvalidAlias, error.to_string());
                None
            }
        }
    }

    fn naming(&mut self, draft: &LinkDraft) -> Option<Naming> {
        let known = "leased, counter, snowflake, hash, random";
        let strategy = draft.strategy.as_deref().and_then(|text| self.named("/strategy", Strategy::parse(text), known));
        let lengths = limits::CODE_LENGTH_MIN..=limits::CODE_LENGTH_MAX;
        if draft.code_length.is_some_and(|length| !lengths.contains(&length)) {
            self.fail("/code_length", Reason::InvalidField, "must be 7 to 22");
        }
        match (&draft.alias, &draft.code) {
            (Some(_), Some(_)) => {
                self.fail("/code", Reason::InvalidField, "give either an alias or a code");
                None
            }
            (Some(alias), None) => self.code("/alias", Code::parse_alias(alias)).map(Naming::Given),
            (None, Some(code)) => self.code("/code", Code::parse_foreign(code)).map(Naming::Given),
            (None, None) => Some(Naming::Generated { strategy, length: draft.code_length }),
        }
    }

    fn window(&mut self, starts_at: Option<UnixMs>, expires_at: Option<UnixMs>) {
        if let (Some(starts), Some(expires)) = (starts_at, expires_at)
            && starts >= expires
        {
            self.fail("/expires_at", Reason::InvalidField, "must be later than starts_at");
        }
    }
}

impl LinkDraft {
    /// # Errors
    /// Every field that is wrong, each with its pointer.
    pub fn check(&self, policy: &TargetPolicy<'_>) -> Result<LinkSpec, Vec<FieldError>> {
        let mut check = Check::default();
        let target = check.target(&self.target, policy);
        let naming = check.naming(self);
        let domain = self.domain.as_deref().and_then(|text| check.keep("/domain", Host::parse(text)));
        let title = self.title.as_deref().and_then(|text| check.keep("/title", Title::parse(text)));
        let tags = check.tags(&self.tags);
        let redirect_status = self.redirect_status.and_then(|code| check.redirect_status(code));
        let caching = self.caching.as_deref().and_then(|text| check.caching(text));
        let max_clicks = self.max_clicks.and_then(|max| check.max_clicks(max));
        check.window(self.starts_at, self.expires_at);
        match (target, naming) {
            (Some(target), Some(naming)) if check.errors.is_empty() => Ok(LinkSpec {
                domain,
                naming,
                target,
                title,
                tags,
                redirect_status,
                caching,
                forward_query: self.forward_query,
                starts_at: self.starts_at,
                expires_at: self.expires_at,
                max_clicks,
                find_or_create: self.find_or_create,
            }),
            _ => Err(check.errors),
        }
    }
}

impl PatchDraft {
    /// # Errors
    /// Every field that is wrong, each with its pointer.
    pub fn check(&self, policy: &TargetPolicy<'_>) -> Result<LinkPatch, Vec<FieldError>> {
        let mut check = Check::default();
        if matches!(self.target, Change::Clear) {
            check.fail("/target", Reason::InvalidTarget, "a link has a target: it cannot be null");
        }
        let patch = LinkPatch {
            target: self.target.map(|text| check.target(text, policy)),
            title: self.title.map(|text| check.keep("/title", Title::parse(text))),
            tags: self.tags.map(|tags| Some(check.tags(tags))),
            redirect_status: self.redirect_status.map(|code| check.redirect_status(*code)),
            caching: self.caching.map(|text| check.caching(text)),
            forward_query: self.forward_query.clone(),
            starts_at: self.starts_at.clone(),
            expires_at: self.expires_at.clone(),
            max_clicks: self.max_clicks.map(|max| check.max_clicks(*max)),
            state: self.state.map(|text| {
                let state = match text.as_str() {
                    "active" => Some(State::Active),
                    "disabled" => Some(State::Disabled),
                    _ => None,
                };
                check.named("/state", state, "active, disabled")
            }),
        };
        if check.errors.is_empty() { Ok(patch) } else { Err(check.errors) }
    }
}

impl LinkPatch {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A takedown's reason, from the caller's text.
///
/// # Errors
/// One field error at `/reason`.
pub fn check_block_reason(text: &str) -> Result<BlockReason, Vec<FieldError>> {
    BlockReason::parse(text).map_err(|error| vec![FieldError::new("/reason", Reason::InvalidField, error.to_string())])
}
