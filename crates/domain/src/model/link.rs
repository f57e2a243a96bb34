//! A link: what a code leads to, and until when.

use std::fmt;

use super::{BlockReason, Code, Owner, Tag, Target, Title};
use crate::time::UnixMs;

/// A Snowflake: unique for ever, larger for later links. Orders listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

impl LinkId {
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    /// Decimal digits, as in JSON and paths.
    pub fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= 19 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok().map(Self)).flatten()
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The small stable integer behind a host name. Below `2^20`, so that row keys fit 63 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainNo(u32);

impl DomainNo {
    /// The domain that is always there.
    pub const DEFAULT: Self = Self(1);
    pub const MAX: u32 = (1 << 20) - 1;

    /// # Panics
    /// When `no` is 0 or above [`Self::MAX`]: numbers come from our own store.
    pub const fn new(no: u32) -> Self {
        assert!(no > 0 && no <= Self::MAX, "domain numbers are 1 to 2^20 - 1");
        Self(no)
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RedirectStatus {
    Moved301,
    #[default]
    Found302,
    Temporary307,
    Permanent308,
}

impl RedirectStatus {
    pub const fn from_code(code: u16) -> Option<Self> {
        match code {
            301 => Some(Self::Moved301),
            302 => Some(Self::Found302),
            307 => Some(Self::Temporary307),
            308 => Some(Self::Permanent308),
            _ => None,
        }
    }

    pub const fn code(self) -> u16 {
        match self {
            Self::Moved301 => 301,
            Self::Found302 => 302,
            Self::Temporary307 => 307,
            Self::Permanent308 => 308,
        }
    }
}

/// How far shared caches may keep a redirect, and so leave clicks uncounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Caching {
    /// Never stored: every click is counted.
    #[default]
    Exact,
    /// A short time at the CDN, never in the browser.
    Balanced,
    /// An hour at the CDN, a minute in the browser.
    Fast,
}

impl Caching {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "exact" => Some(Self::Exact),
            "balanced" => Some(Self::Balanced),
            "fast" => Some(Self::Fast),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Balanced => "balanced",
            Self::Fast => "fast",
        }
    }
}

/// What its owner wants of a link. A takedown is apart from it ([`Link::blocked`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    #[default]
    Active,
    Disabled,
    Deleted,
}

/// The state as listed and shown: a takedown covers everything but deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShownState {
    Active,
    Disabled,
    Deleted,
    Blocked,
}

impl ShownState {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "active" => Some(Self::Active),
            "disabled" => Some(Self::Disabled),
            "deleted" => Some(Self::Deleted),
            "blocked" => Some(Self::Blocked),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
            Self::Blocked => "blocked",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub id: LinkId,
    pub domain: DomainNo,
    /// As shown; see [`Code::key`] for what it is matched by.
    pub code: Code,
    pub owner: Owner,
    pub target: Target,
    pub title: Option<Title>,
    pub tags: Vec<Tag>,
    pub state: State,
    pub blocked: Option<BlockReason>,
    /// `None`: the domain's default.
    pub redirect_status: Option<RedirectStatus>,
    /// `None`: the domain's default.
    pub caching: Option<Caching>,
    pub forward_query: bool,
    pub starts_at: Option<UnixMs>,
    pub expires_at: Option<UnixMs>,
    pub max_clicks: Option<u64>,
    pub created_at: UnixMs,
    pub updated_at: UnixMs,
    /// 1 when created, one more for each change.
    pub version: u32,
    /// Random for each change, so that an unknown outcome can be told from somebody else's change.
    pub change_id: u64,
}

impl Link {
    pub fn shown_state(&self) -> ShownState {
        match (self.state, &self.blocked) {
            (State::Deleted, _) => ShownState::Deleted,
            (_, Some(_)) => ShownState::Blocked,
            (State::Active, None) => ShownState::Active,
            (State::Disabled, None) => ShownState::Disabled,
        }
    }
}
