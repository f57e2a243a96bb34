//! What the driver's errors mean to a caller: of what kind, and whether a write may have been applied.

use std::error::Error as StdError;

use domain::port::{Outcome, PortError, PortErrorKind};
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

/// A row, or an answer, that is not what we write or ask for.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct Broken {
    what: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Broken {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    pub(super) fn with_source(what: impl Into<String>, source: impl StdError + Send + Sync + 'static) -> Self {
        Self { what: what.into(), source: Some(Box::new(source)) }
    }

    pub(super) fn into_error(self, op: &'static str) -> PortError {
        PortError::new(PortErrorKind::Corrupt, op, Outcome::NotApplied).with_source(self)
    }
}

pub(super) fn of_execution(op: &'static str, error: ExecutionError) -> PortError {
    let (kind, outcome) = judge(&error);
    PortError::new(kind, op, outcome).with_source(error)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the driver's errors grow; one it does not know is one of unknown outcome")]
fn judge(error: &ExecutionError) -> (PortErrorKind, Outcome) {
    match error {
        ExecutionError::LastAttemptError(attempt) => judge_attempt(attempt),
        ExecutionError::BadQuery(_) => (PortErrorKind::Corrupt, Outcome::NotApplied),
        ExecutionError::EmptyPlan
        | ExecutionError::PrepareError(_)
        | ExecutionError::ConnectionPoolError(_)
        | ExecutionError::UseKeyspaceError(_) => (PortErrorKind::Unavailable, Outcome::NotApplied),
        _ => (PortErrorKind::Unavailable, Outcome::Unknown),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the driver's errors grow; one it does not know is one of unknown outcome")]
fn judge_attempt(error: &RequestAttemptError) -> (PortErrorKind, Outcome) {
    match error {
        RequestAttemptError::UnableToAllocStreamId => (PortErrorKind::Unavailable, Outcome::NotApplied),
        RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
            (PortErrorKind::Corrupt, Outcome::NotApplied)
        }
        RequestAttemptError::DbError(error, _) => judge_answer(error),
        RequestAttemptError::BodyExtensionsParseError(_)
        | RequestAttemptError::CqlResultParseError(_)
        | RequestAttemptError::CqlErrorParseError(_)
        | RequestAttemptError::UnexpectedResponse(_) => (PortErrorKind::Corrupt, Outcome::Unknown),
        _ => (PortErrorKind::Unavailable, Outcome::Unknown),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the driver's errors grow; one it does not know is one of unknown outcome")]
fn judge_answer(error: &DbError) -> (PortErrorKind, Outcome) {
    match error {
        // Refused before anything was done.
        DbError::Unavailable { .. }
        | DbError::IsBootstrapping
        | DbError::Unprepared { .. }
        | DbError::RateLimitReached { .. }
        | DbError::AuthenticationError
        | DbError::Unauthorized => (PortErrorKind::Unavailable, Outcome::NotApplied),
        DbError::SyntaxError | DbError::Invalid | DbError::ConfigError | DbError::ProtocolError | DbError::AlreadyExists { .. } => {
            (PortErrorKind::Corrupt, Outcome::NotApplied)
        }
        // A timeout, or a failure at any point of the way ("Failed to prepare ballot" among them).
        _ => (PortErrorKind::Unavailable, Outcome::Unknown),
    }
}

/// Whether the server does not know the statement, and so has not run it.
pub(super) fn is_unprepared(error: &ExecutionError) -> bool {
    matches!(error, ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unprepared { .. }, _)))
}

/// The value of the label `reason`.
pub(super) fn reason(error: &PortError) -> &'static str {
    match (error.kind, error.outcome) {
        (PortErrorKind::Unavailable, Outcome::NotApplied) => "unavailable",
        (PortErrorKind::Unavailable, Outcome::Unknown) => "unknown_outcome",
        (PortErrorKind::Full, _) => "full",
        (PortErrorKind::Corrupt, _) => "corrupt",
    }
}

/// Why no session came about, or not one that can be served from. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no server of `{url}` answers: {source}. Are its hosts and ports right, do they run, and may this machine reach them?")]
    Unreachable { url: String, source: Box<dyn StdError + Send + Sync> },
    #[error("`{url}` refuses the login: {source}. Give `scylla://user:password@…`")]
    Login { url: String, source: Box<dyn StdError + Send + Sync> },
    #[error("the cluster of `{url}` has several data centres ({}): say which one is near with `?dc=…`", names.join(", "))]
    WhichDc { url: String, names: Vec<String> },
    #[error("the cluster of `{url}` has no data centre `{dc}`, but {}", names.join(", "))]
    NoSuchDc { url: String, dc: String, names: Vec<String> },
    #[error("`{url}` has no tables of this version yet (it has version {found}, this build needs {known}): run `terse migrate`")]
    NotMigrated { url: String, found: u32, known: u32 },
    #[error(
        "`{url}` was written by a newer Terse: it has schema version {found}, this one knows versions up to {known}. \
         Run Terse {needs} or later"
    )]
    Newer { url: String, found: u32, known: u32, needs: String },
    #[error("step {version} (`{name}`) of the schema failed on `{url}`: {source}. It may be run again with `terse migrate`")]
    Migration { url: String, version: u32, name: &'static str, source: Box<dyn StdError + Send + Sync> },
    #[error(
        "conditional statements do not work in `{url}`: {why}. Terse needs them. A keyspace with tablets needs ScyllaDB 2025.4 or later; \
         on an older one make the keyspace anew `WITH tablets = {{'enabled': false}}`"
    )]
    NoConditions { url: String, why: String },
    #[error("`{url}` failed: {source}")]
    Failed { url: String, source: Box<dyn StdError + Send + Sync> },
}
