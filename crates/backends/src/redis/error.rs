//! What Redis's errors mean to a caller.

use std::path::PathBuf;

use domain::port::{Outcome, PortError, PortErrorKind};
use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::meters::Op;

/// An address that can never work, whatever Redis does.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`{}` cannot be read: {source}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the address or the certificates of Redis cannot be used: {0}")]
    Client(#[from] RedisError),
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("Redis did not answer a moment ago and is not asked again yet")]
    Skipped,
    #[error("too many requests to Redis are under way")]
    Busy,
    #[error("no answer in time")]
    Timeout,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl Failure {
    /// The value of the label `outcome`.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Redis(error) if error.is_timeout() => "timeout",
            Self::Redis(error) if is_refusal(error) => "refused",
            Self::Redis(_) => "error",
        }
    }

    /// Whether Redis answered, but not with what was asked for: it lives, and waiting would not help.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Redis(error) if is_refusal(error))
    }

    pub(super) fn into_port_error(self, op: Op) -> PortError {
        let (kind, outcome) = match &self {
            Self::Skipped | Self::Busy => (PortErrorKind::Unavailable, Outcome::NotApplied),
            Self::Timeout => (PortErrorKind::Unavailable, Outcome::Unknown),
            Self::Redis(error) => kind(error),
        };
        PortError::new(kind, op.name(), outcome).with_source(self)
    }
}

fn kind(error: &RedisError) -> (PortErrorKind, Outcome) {
    let kind = error.kind();
    if is_full(error) {
        // With `noeviction` and its memory full, Redis takes no writes.
        (PortErrorKind::Full, Outcome::NotApplied)
    } else if matches!(kind, ErrorKind::UnexpectedReturnType | ErrorKind::Parse) {
        (PortErrorKind::Corrupt, Outcome::Unknown)
    } else if matches!(kind, ErrorKind::Server(_)) {
        (PortErrorKind::Unavailable, Outcome::NotApplied)
    } else {
        (PortErrorKind::Unavailable, Outcome::Unknown)
    }
}

fn is_full(error: &RedisError) -> bool {
    let answers = error.clone().into_server_errors();
    answers.is_some_and(|answers| answers.iter().any(|(_, answer)| answer.code() == "OOM"))
}

/// States of a node that starts, fails over or lost its cluster are no refusals: they pass, like silence.
fn is_refusal(error: &RedisError) -> bool {
    let kind = error.kind();
    let ErrorKind::Server(server) = kind else {
        return kind == ErrorKind::UnexpectedReturnType || error.code().is_some() || is_full(error);
    };
    !matches!(
        server,
        ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask
    )
}
