//! Failures as clients see them: RFC 9457 `application/problem+json`, one table from reason to status.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use domain::{Error, FieldError, Reason};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

/// Wrong fields named in one answer: enough to mend a request, too few to be an echo chamber.
const FIELDS_MAX: usize = 64;

/// A failure on its way to a client. What the client must not see stays behind for the log.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    reason: Reason,
    detail: String,
    fields: Vec<FieldError>,
    retry_after: Option<Duration>,
    challenge: Option<&'static str>,
    cause: Option<Arc<Error>>,
}

impl Problem {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), fields: Vec::new(), retry_after: None, challenge: None, cause: None }
    }

    /// Every field that is wrong; the problem's own code is the first one's.
    pub(crate) fn fields(fields: Vec<FieldError>) -> Self {
        Error::fields(fields).into()
    }

    pub(crate) fn field(pointer: &str, reason: Reason, detail: impl Into<String>) -> Self {
        Error::field(pointer, reason, detail).into()
    }

    #[must_use]
    pub(crate) fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What `WWW-Authenticate` says on a 401; `Bearer` when nothing is given.
    #[must_use]
    pub(crate) fn with_challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    #[cfg(test)]
    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    pub(crate) fn status(&self) -> StatusCode {
        status(self.reason)
    }

    #[cfg(test)]
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The body, as it stands in an answer or beside an item of a bulk answer.
    pub(crate) fn to_json(&self, request_id: Option<&str>) -> Value {
        let mut body = Map::new();
        body.insert("type".into(), format!("/api/v1/problems#{}", self.reason.code()).into());
        body.insert("title".into(), title(self.reason).into());
        body.insert("status".into(), self.status().as_u16().into());
        body.insert("detail".into(), self.detail.as_str().into());
        body.insert("code".into(), self.reason.code().into());
        if let Some(id) = request_id {
            body.insert("request_id".into(), id.into());
        }
        if !self.fields.is_empty() {
            let fields = self.fields.iter().take(FIELDS_MAX);
            let fields = fields.map(|field| json!({"pointer": field.pointer, "code": field.reason.code(), "detail": field.detail}));
            body.insert("errors".into(), fields.collect());
        }
        Value::Object(body)
    }

    /// The whole answer. Logs the cause of what is ours to mend, once, under the request's id.
    pub(crate) fn respond(self, request_id: &str) -> Response {
        self.log(request_id);
        self.render(Some(request_id))
    }

    pub(crate) fn log(&self, request_id: &str) {
        let code = self.reason.code();
        match (self.status().as_u16(), &self.cause) {
            (500, Some(cause)) => tracing::error!(request_id, code, cause = ?chain(cause), "request failed"),
            (500, None) => tracing::error!(request_id, code, detail = ?self.detail, "request failed"),
            (503 | 504, Some(cause)) => tracing::warn!(request_id, code, cause = ?chain(cause), "request failed"),
            _ => {}
        }
    }

    fn render(&self, request_id: Option<&str>) -> Response {
        let mut response = Response::new(Body::from(self.to_json(request_id).to_string()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if self.reason == Reason::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge.unwrap_or("Bearer")));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = if error.reason() == Reason::Internal {
            "an internal error; the log has the cause under the request id".to_owned()
        } else {
            error.detail().to_owned()
        };
        Self {
            reason: error.reason(),
            detail,
            fields: error.field_errors().to_vec(),
            retry_after: error.retry_after().or_else(|| default_retry_after(error.reason())),
            challenge: None,
            cause: Some(Arc::new(error)),
        }
    }
}

impl From<domain::port::PortError> for Problem {
    fn from(error: domain::port::PortError) -> Self {
        Error::from(error).into()
    }
}

/// Without a request id and without a log line: whoever knows the id takes the problem out of the
/// answer's extensions and calls [`Problem::respond`].
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.render(None);
        response.extensions_mut().insert(self);
        response
    }
}

/// Rounded up: a client that waits this long is not told to wait again.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn default_retry_after(reason: Reason) -> Option<Duration> {
    matches!(reason, Reason::Unavailable | Reason::DeadlineExceeded | Reason::IdempotencyInProgress).then_some(Duration::from_secs(1))
}

fn chain(error: &Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

/// The one table from reason to status.
pub(crate) const fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::InvalidJson => StatusCode::BAD_REQUEST,
        Reason::Unauthenticated => StatusCode::UNAUTHORIZED,
        Reason::Forbidden => StatusCode::FORBIDDEN,
        Reason::NotFound => StatusCode::NOT_FOUND,
        Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Reason::AliasTaken | Reason::IdempotencyInProgress | Reason::DomainTaken | Reason::DomainInUse => StatusCode::CONFLICT,
        Reason::Gone => StatusCode::GONE,
        Reason::VersionMismatch => StatusCode::PRECONDITION_FAILED,
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Reason::WrongHost => StatusCode::MISDIRECTED_REQUEST,
        Reason::InvalidTarget
        | Reason::TargetNotAllowed
        | Reason::InvalidAlias
        | Reason::AliasReserved
        | Reason::InvalidField
        | Reason::UnknownField
        | Reason::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Reason::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

const fn title(reason: Reason) -> &'static str {
    match reason {
        Reason::InvalidTarget => "The target is not a URL that a link can lead to",
        Reason::TargetNotAllowed => "Links must not lead to this target",
        Reason::InvalidAlias => "The alias has a form that is not allowed",
        Reason::AliasReserved => "The alias is reserved",
        Reason::AliasTaken => "The alias is taken",
        Reason::InvalidField => "A field is wrong",
        Reason::UnknownField => "A field is unknown",
        Reason::InvalidJson => "The body is not valid JSON",
        Reason::BodyTooLarge => "The body is too large",
        Reason::Unauthenticated => "A valid API key is needed",
        Reason::Forbidden => "The API key does not allow this",
        Reason::NotFound => "Not found",
        Reason::Gone => "Gone",
        Reason::VersionMismatch => "The object has changed since it was read",
        Reason::IdempotencyMismatch => "The Idempotency-Key was used for another request",
        Reason::IdempotencyInProgress => "A request with this Idempotency-Key is under way",
        Reason::DomainTaken => "The domain exists already",
        Reason::DomainInUse => "The domain is in use",
        Reason::MethodNotAllowed => "The method is not allowed here",
        Reason::UnsupportedMediaType => "The body must be JSON",
        Reason::WrongHost => "This host is not served here",
        Reason::RateLimited => "Too many requests",
        Reason::Unavailable => "Unavailable for the moment",
        Reason::DeadlineExceeded => "The answer took too long",
        Reason::Internal => "An internal error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_status() {
        let table: Vec<(&str, u16)> = Reason::ALL.iter().map(|reason| (reason.code(), status(*reason).as_u16())).collect();
        let expected = [
            ("invalid_target", 422),
            ("target_not_allowed", 422),
            ("invalid_alias", 422),
            ("alias_reserved", 422),
            ("alias_taken", 409),
            ("invalid_field", 422),
            ("unknown_field", 422),
            ("invalid_json", 400),
            ("body_too_large", 413),
            ("unauthenticated", 401),
            ("forbidden", 403),
            ("not_found", 404),
            ("gone", 410),
            ("version_mismatch", 412),
            ("idempotency_mismatch", 422),
            ("idempotency_in_progress", 409),
            ("domain_taken", 409),
            ("domain_in_use", 409),
            ("method_not_allowed", 405),
            ("unsupported_media_type", 415),
            ("wrong_host", 421),
            ("rate_limited", 429),
            ("unavailable", 503),
            ("deadline_exceeded", 504),
            ("internal", 500),
        ];
        assert_eq!(table, expected);
    }

    #[test]
    fn a_problem_names_code_request_and_fields() {
        let problem = Problem::field("/target", Reason::InvalidTarget, "no scheme");
        let expected = json!({
            "type": "/api/v1/problems#invalid_target", "title": "The target is not a URL that a link can lead to", "status": 422,
            "detail": "no scheme", "code": "invalid_target", "request_id": "r1",
            "errors": [{"pointer": "/target", "code": "invalid_target", "detail": "no scheme"}],
        });
        assert_eq!(problem.to_json(Some("r1")).to_string(), expected.to_string());
    }

    #[test]
    fn an_internal_cause_is_not_shown() {
        let error = Error::new(Reason::Internal, "row 17 of /var/secret is broken").with_source("disk fell off");
        let text = Problem::from(error).to_json(Some("r1")).to_string();
        assert!(!text.contains("secret") && !text.contains("disk"), "{text}");
    }

    #[test]
    fn headers_say_when_to_come_back_and_how_to_authenticate() {
        let response = Problem::new(Reason::RateLimited, "wait").with_retry_after(Duration::from_millis(1_001)).respond("r");
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let response = Problem::new(Reason::Unauthenticated, "no key").respond("r");
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    }

    #[test]
    fn a_thousand_wrong_fields_make_a_short_answer() {
        let fields = (0..1_000).map(|i| FieldError::new(format!("/f{i}"), Reason::UnknownField, "unknown")).collect();
        let body = Problem::fields(fields).to_json(None);
        assert_eq!(body["errors"].as_array().unwrap().len(), FIELDS_MAX);
    }
}
