//! Failures on the wire and back: the one table between [`Reason`] and gRPC codes.
//!
//! A failure crosses as `google.rpc.Status` with an `ErrorInfo` (its reason is [`Reason::code`]), one
//! `BadRequest` violation for each wrong field and a `RetryInfo` where there is a time to wait. A reader
//! that does not know the reason goes by the gRPC code.

use std::collections::HashMap;
use std::time::Duration;

use domain::{Error, FieldError, Kind, Reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::proto;

/// `ErrorInfo.domain`.
const DOMAIN: &str = "terse";
/// Wrong fields told at most: they travel in the trailers, whose size is bounded.
const FIELDS_MAX: usize = 64;
/// Bytes of a sentence.
const DETAIL_LEN_MAX: usize = 512;
/// Bytes of a pointer.
const POINTER_LEN_MAX: usize = 128;
/// Longest wait that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// The gRPC code a reason travels under.
const fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::InvalidTarget
        | Reason::TargetNotAllowed
        | Reason::InvalidAlias
        | Reason::AliasReserved
        | Reason::InvalidField
        | Reason::UnknownField
        | Reason::InvalidJson
        | Reason::IdempotencyMismatch
        | Reason::MethodNotAllowed
        | Reason::UnsupportedMediaType
        | Reason::WrongHost => Code::InvalidArgument,
        Reason::BodyTooLarge => Code::OutOfRange,
        Reason::Unauthenticated => Code::Unauthenticated,
        Reason::Forbidden => Code::PermissionDenied,
        Reason::NotFound | Reason::Gone => Code::NotFound,
        Reason::AliasTaken | Reason::DomainTaken => Code::AlreadyExists,
        Reason::VersionMismatch | Reason::IdempotencyInProgress => Code::Aborted,
        Reason::DomainInUse => Code::FailedPrecondition,
        Reason::RateLimited => Code::ResourceExhausted,
        Reason::Unavailable => Code::Unavailable,
        Reason::DeadlineExceeded => Code::DeadlineExceeded,
        Reason::Internal => Code::Internal,
    }
}

/// What is left of a failure whose reason is missing or unknown.
const fn reason_of(code: Code) -> Reason {
    match code {
        Code::InvalidArgument => Reason::InvalidField,
        Code::OutOfRange => Reason::BodyTooLarge,
        Code::Unauthenticated => Reason::Unauthenticated,
        Code::PermissionDenied => Reason::Forbidden,
        Code::NotFound => Reason::NotFound,
        Code::AlreadyExists => Reason::AliasTaken,
        Code::Aborted => Reason::VersionMismatch,
        Code::FailedPrecondition => Reason::DomainInUse,
        Code::ResourceExhausted => Reason::RateLimited,
        Code::Unavailable | Code::Cancelled => Reason::Unavailable,
        Code::DeadlineExceeded => Reason::DeadlineExceeded,
        Code::Ok | Code::Internal | Code::Unknown | Code::Unimplemented | Code::DataLoss => Reason::Internal,
    }
}

fn reason_named(name: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| reason.code() == name)
}

/// What a server answers. The cause stays here: it was logged where the failure was met.
pub(crate) fn to_status(error: &Error) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason().code(), DOMAIN, HashMap::new());
    let fields: Vec<_> = error.field_errors().iter().take(FIELDS_MAX).map(violation).collect();
    if !fields.is_empty() {
        details.set_bad_request(fields);
    }
    if let Some(after) = error.retry_after() {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(code_of(error.reason()), cut(error.detail(), DETAIL_LEN_MAX), details)
}

fn violation(field: &FieldError) -> FieldViolation {
    let mut violation = FieldViolation::new(cut(&field.pointer, POINTER_LEN_MAX), cut(&field.detail, DETAIL_LEN_MAX));
    field.reason.code().clone_into(&mut violation.reason);
    violation
}

/// What a client makes of an answer that is not OK.
pub(crate) fn from_status(status: &Status) -> Error {
    // Details that do not parse are as good as none.
    let details = status.check_error_details().unwrap_or_default();
    let told = details.error_info().filter(|info| info.domain == DOMAIN).and_then(|info| reason_named(&info.reason));
    let reason = told.unwrap_or_else(|| reason_of(status.code()));
    let fields = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    let fields = fields.iter().take(FIELDS_MAX).map(|field| FieldError {
        pointer: cut(&field.field, POINTER_LEN_MAX),
        reason: reason_named(&field.reason).unwrap_or(Reason::InvalidField),
        detail: cut(&field.description, DETAIL_LEN_MAX),
    });
    let after = details.retry_info().and_then(|info| info.retry_delay);
    assemble(reason, cut(status.message(), DETAIL_LEN_MAX), fields.collect(), after)
}

fn assemble(reason: Reason, detail: String, fields: Vec<FieldError>, after: Option<Duration>) -> Error {
    // `Error::fields` takes reason and sentence from the first field, as the sender's did.
    let first = fields.first().is_some_and(|field| field.reason == reason);
    let error = if first { Error::fields(fields) } else { Error::new(reason, detail) };
    match after {
        Some(after) => error.with_retry_after(after.min(RETRY_AFTER_MAX)),
        None => error,
    }
}

pub(crate) fn to_problem(error: &Error) -> proto::Problem {
    proto::Problem {
        reason: error.reason().code().to_owned(),
        kind: kind_number(error.kind()).into(),
        detail: cut(error.detail(), DETAIL_LEN_MAX),
        fields: error.field_errors().iter().take(FIELDS_MAX).map(field_problem).collect(),
        retry_after_ms: error.retry_after().map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1)),
    }
}

fn field_problem(field: &FieldError) -> proto::FieldProblem {
    proto::FieldProblem {
        pointer: cut(&field.pointer, POINTER_LEN_MAX),
        reason: field.reason.code().to_owned(),
        detail: cut(&field.detail, DETAIL_LEN_MAX),
    }
}

pub(crate) fn from_problem(problem: &proto::Problem) -> Error {
    let reason = reason_named(&problem.reason).unwrap_or_else(|| reason_of_kind(problem.kind()));
    let fields = problem.fields.iter().take(FIELDS_MAX).map(|field| FieldError {
        pointer: cut(&field.pointer, POINTER_LEN_MAX),
        reason: reason_named(&field.reason).unwrap_or(Reason::InvalidField),
        detail: cut(&field.detail, DETAIL_LEN_MAX),
    });
    let after = (problem.retry_after_ms > 0).then(|| Duration::from_millis(problem.retry_after_ms));
    assemble(reason, cut(&problem.detail, DETAIL_LEN_MAX), fields.collect(), after)
}

const fn kind_number(kind: Kind) -> proto::Kind {
    match kind {
        Kind::Invalid => proto::Kind::Invalid,
        Kind::NotFound => proto::Kind::NotFound,
        Kind::Conflict => proto::Kind::Conflict,
        Kind::RateLimited => proto::Kind::RateLimited,
        Kind::Unavailable => proto::Kind::Unavailable,
        Kind::Internal => proto::Kind::Internal,
    }
}

const fn reason_of_kind(kind: proto::Kind) -> Reason {
    match kind {
        proto::Kind::Invalid => Reason::InvalidField,
        proto::Kind::NotFound => Reason::NotFound,
        proto::Kind::Conflict => Reason::VersionMismatch,
        proto::Kind::RateLimited => Reason::RateLimited,
        proto::Kind::Unavailable => Reason::Unavailable,
        proto::Kind::Unspecified | proto::Kind::Internal => Reason::Internal,
    }
}

/// At most `len_max` bytes of `text`, whole characters only.
pub(crate) fn cut(text: &str, len_max: usize) -> String {
    text[..text.floor_char_boundary(len_max)].to_owned()
}

/// The gRPC code of a failure, for the metrics.
pub(crate) fn code(error: &Error) -> Code {
    code_of(error.reason())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason() -> impl Strategy<Value = Reason> {
        proptest::sample::select(Reason::ALL)
    }

    fn error() -> impl Strategy<Value = Error> {
        let field =
            ("[/a-z0-9]{0,20}", reason(), "\\PC{0,40}").prop_map(|(pointer, reason, detail)| FieldError { pointer, reason, detail });
        let fields = proptest::collection::vec(field, 0..5);
        (reason(), "\\PC{0,80}", fields, proptest::option::of(1_u64..86_400_000)).prop_map(|(reason, detail, fields, after_ms)| {
            let error = if fields.is_empty() { Error::new(reason, detail) } else { Error::fields(fields) };
            match after_ms {
                Some(ms) => error.with_retry_after(Duration::from_millis(ms)),
                None => error,
            }
        })
    }

    fn parts(error: &Error) -> (Reason, String, Vec<FieldError>, Option<Duration>) {
        (error.reason(), error.detail().to_owned(), error.field_errors().to_vec(), error.retry_after())
    }

    /// As it crosses: through headers.
    fn crossed(status: &Status) -> Status {
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        Status::from_header_map(&headers).unwrap()
    }

    proptest! {
        #[test]
        fn a_failure_crosses_whole(error in error()) {
            prop_assert_eq!(parts(&from_status(&crossed(&to_status(&error)))), parts(&error));
            prop_assert_eq!(parts(&from_problem(&to_problem(&error))), parts(&error));
        }

        #[test]
        fn any_details_make_some_failure(code in 0_i32..20, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let status = Status::with_details(Code::from_i32(code), "x", bytes.into());
            let _ = from_status(&status);
        }
    }

    #[test]
    fn an_unknown_reason_keeps_its_kind() {
        for known in Reason::ALL {
            let mut details = ErrorDetails::new();
            details.set_error_info("of_a_later_version", DOMAIN, HashMap::new());
            let status = Status::with_error_details(code_of(*known), "x", details);
            assert_eq!(from_status(&status).kind(), known.kind(), "{known:?}");
            let later = proto::Problem { reason: "of_a_later_version".into(), ..to_problem(&Error::new(*known, "x")) };
            assert_eq!(from_problem(&later).kind(), known.kind(), "{known:?}");
            let foreign = Status::new(code_of(*known), "without details");
            assert_eq!(from_status(&foreign).kind(), known.kind(), "{known:?}");
        }
    }

    #[test]
    fn no_failure_is_larger_than_its_trailers() {
        let fields = (0..100_000).map(|i| FieldError::new(format!("/{i}/{}", "p".repeat(1_000)), Reason::InvalidField, "d".repeat(5_000)));
        let status = to_status(&Error::fields(fields.collect()));
        assert!(status.details().len() < 64 << 10, "{}", status.details().len());
    }
}
