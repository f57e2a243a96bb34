//! Failures as callers see them: what they may do about it (`Kind`), why (`Reason`), and where.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller may do: fix the request, stop, choose another, wait, retry later, report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Invalid,
    NotFound,
    Conflict,
    RateLimited,
    Unavailable,
    Internal,
}

macro_rules! reasons {
    ($($variant:ident => $code:literal, $kind:ident;)*) => {
        /// Why a request failed. The strings are public and never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($variant),* }

        impl Reason {
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),*];

            /// The stable machine-readable code, as in the `code` of problem+json.
            pub const fn code(self) -> &'static str {
                match self { $(Reason::$variant => $code),* }
            }

            pub const fn kind(self) -> Kind {
                match self { $(Reason::$variant => Kind::$kind),* }
            }
        }
    };
}

reasons! {
    InvalidTarget => "invalid_target", Invalid;
    TargetNotAllowed => "target_not_allowed", Invalid;
    InvalidAlias => "invalid_alias", Invalid;
    AliasReserved => "alias_reserved", Invalid;
    AliasTaken => "alias_taken", Conflict;
    InvalidField => "invalid_field", Invalid;
    UnknownField => "unknown_field", Invalid;
    InvalidJson => "invalid_json", Invalid;
    BodyTooLarge => "body_too_large", Invalid;
    Unauthenticated => "unauthenticated", Invalid;
    Forbidden => "forbidden", Invalid;
    NotFound => "not_found", NotFound;
    Gone => "gone", NotFound;
    VersionMismatch => "version_mismatch", Conflict;
    IdempotencyMismatch => "idempotency_mismatch", Invalid;
    IdempotencyInProgress => "idempotency_in_progress", Conflict;
    DomainTaken => "domain_taken", Conflict;
    DomainInUse => "domain_in_use", Conflict;
    MethodNotAllowed => "method_not_allowed", Invalid;
    UnsupportedMediaType => "unsupported_media_type", Invalid;
    WrongHost => "wrong_host", Invalid;
    RateLimited => "rate_limited", RateLimited;
    Unavailable => "unavailable", Unavailable;
    DeadlineExceeded => "deadline_exceeded", Unavailable;
    Internal => "internal", Internal;
}

/// One wrong field: a JSON pointer into the request body, why, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub pointer: String,
    pub reason: Reason,
    pub detail: String,
}

impl FieldError {
    pub fn new(pointer: impl Into<String>, reason: Reason, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), reason, detail: detail.into() }
    }
}

/// A request that failed. `detail` is safe to show to the caller; `source` is for the log only.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    reason: Reason,
    detail: String,
    fields: Vec<FieldError>,
    retry_after: Option<Duration>,
    never_sent: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner { reason, detail: detail.into(), fields: Vec::new(), retry_after: None, never_sent: false, source: None }))
    }

    /// The request names fields that are wrong. The reason is the first field's.
    pub fn fields(fields: Vec<FieldError>) -> Self {
        let (reason, detail) = fields.first().map_or((Reason::InvalidField, String::new()), |field| (field.reason, field.detail.clone()));
        let mut error = Self::new(reason, detail);
        error.0.fields = fields;
        error
    }

    pub fn field(pointer: &str, reason: Reason, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::new(pointer, reason, detail)])
    }

    /// Also used for what belongs to somebody else: its existence is not told.
    pub fn not_found(what: &str) -> Self {
        Self::new(Reason::NotFound, format!("{what} not found"))
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// The request provably never reached whoever was to serve it: it may be sent again, elsewhere.
    #[must_use]
    pub fn with_never_sent(mut self) -> Self {
        self.0.never_sent = true;
        self
    }

    pub fn was_never_sent(&self) -> bool {
        self.0.never_sent
    }

    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    pub fn kind(&self) -> Kind {
        self.0.reason.kind()
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn field_errors(&self) -> &[FieldError] {
        &self.0.fields
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.reason.code(), self.0.detail)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
