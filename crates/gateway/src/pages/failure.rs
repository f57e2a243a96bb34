//! What a request for a page or a link gets when it gets nothing else: a page for people, problem+json
//! for programs, both saying the same.

use std::time::Duration;

use bytes::Bytes;
use domain::Reason;
use http::header::{ALLOW, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::{Frame, data, escape, html, push_number, varies, wants_html};
use crate::body::Body;
use crate::problem::{Problem, whole_seconds};
use crate::request::{RequestId, X_REQUEST_ID};

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure<'a> {
    NotFound,
    Gone,
    Blocked(&'a str),
    /// Too many misses, out of so many a minute.
    TooManyMisses {
        retry_after: Duration,
        max: u32,
    },
    TooManyRequests,
    Busy,
    Unavailable {
        retry_after: Duration,
    },
    WrongHost,
    NoSingleHost(&'static str),
    MethodNotAllowed,
    /// A query parameter is wrong.
    InvalidField(&'static str),
    Internal,
}

/// How a failure is told.
struct Telling {
    status: StatusCode,
    reason: Reason,
    headline: &'static str,
    detail: &'static str,
}

impl Failure<'_> {
    fn telling(&self) -> Telling {
        let (status, reason, headline, detail) = match self {
            Self::NotFound => (
                404,
                Reason::NotFound,
                "There is nothing here",
                "This link does not exist, or not any more. If you typed it, compare it once more, capital and small letters too.",
            ),
            Self::Gone => (410, Reason::Gone, "This link has ended", "It has expired, or it was used as often as it was meant to be."),
            Self::Blocked(_) => (451, Reason::Gone, "This link was taken down", "It is not followed any more."),
            Self::TooManyMisses { .. } => (
                429,
                Reason::RateLimited,
                "Too many wrong links",
                "Many links that do not exist were asked for from your network, so that for a moment none is answered.",
            ),
            Self::TooManyRequests | Self::Busy => (
                503,
                Reason::Unavailable,
                "Too busy for the moment",
                "More is asked of this server than it can answer. Try again in a second.",
            ),
            Self::Unavailable { .. } => (
                503,
                Reason::Unavailable,
                "Not to be reached for the moment",
                "The link may well exist, but it cannot be looked up just now. Try again soon.",
            ),
            Self::WrongHost => (421, Reason::WrongHost, "Not a host of ours", "No links are served under this name here."),
            Self::NoSingleHost(detail) => (400, Reason::WrongHost, "Not a request we understand", *detail),
            Self::MethodNotAllowed => {
                (405, Reason::MethodNotAllowed, "That cannot be done here", "Links can be followed, with GET or HEAD, and nothing else.")
            }
            Self::InvalidField(detail) => (422, Reason::InvalidField, "Not a picture we can draw", *detail),
            Self::Internal => (500, Reason::Internal, "Our mistake", "An internal error; the log has the cause under the request's id."),
        };
        Telling { status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), reason, headline, detail }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyMisses { retry_after, .. } | Self::Unavailable { retry_after } => Some((*retry_after).max(Duration::from_secs(1))),
            Self::TooManyRequests | Self::Busy => Some(Duration::from_secs(1)),
            Self::NotFound
            | Self::Gone
            | Self::Blocked(_)
            | Self::WrongHost
            | Self::NoSingleHost(_)
            | Self::MethodNotAllowed
            | Self::InvalidField(_)
            | Self::Internal => None,
        }
    }

    /// `host` is shown beside the mark, and must be one of ours.
    pub(crate) fn answer(&self, request: &HeaderMap, host: &str, id: RequestId) -> Response<Body> {
        let telling = self.telling();
        let mut response = if wants_html(request) {
            html(telling.status, self.page(&telling, host, id))
        } else {
            data(telling.status, PROBLEM_JSON, self.problem(&telling, id))
        };
        varies(&mut response);
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, id.to_header());
        if let Some(after) = self.retry_after() {
            headers.insert(RETRY_AFTER, whole_seconds(after).into());
        }
        if *self == Self::MethodNotAllowed {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if let Self::TooManyMisses { retry_after, max } = self {
            rate_limit(headers, *max, *retry_after);
        }
        response
    }

    fn page(&self, telling: &Telling, host: &str, id: RequestId) -> Bytes {
        let mut main = String::with_capacity(512);
        main.push_str("<p class=\"over\">");
        main.push_str(telling.status.as_str());
        main.push_str("</p><h1>");
        main.push_str(telling.headline);
        main.push_str("</h1><p>");
        main.push_str(telling.detail);
        main.push_str("</p>");
        if let Self::Blocked(reason) = self {
            main.push_str("<p>The reason given: <bdi>");
            escape(&mut main, reason);
            main.push_str("</bdi></p>");
        }
        if let Self::TooManyMisses { retry_after, .. } = self {
            main.push_str("<p>It goes on in ");
            push_number(&mut main, whole_seconds(*retry_after).max(1));
            main.push_str(" s.</p>");
        }
        Frame { title: telling.headline, host, main: &main, request: Some(id.as_str()) }.render()
    }

    fn problem(&self, telling: &Telling, id: RequestId) -> Bytes {
        let detail =
            if let Self::Blocked(reason) = self { format!("this link was taken down: {reason}") } else { telling.detail.to_owned() };
        let mut body = Problem::new(telling.reason, detail).to_json(Some(id.as_str()));
        body["status"] = telling.status.as_u16().into();
        if matches!(self, Self::Blocked(_)) {
            body["type"] = "/api/v1/problems#blocked".into();
            body["code"] = "blocked".into();
            body["title"] = telling.headline.into();
        }
        body.to_string().into()
    }
}

fn rate_limit(headers: &mut HeaderMap, max: u32, reset: Duration) {
    let reset = whole_seconds(reset).max(1);
    for (name, value) in [
        (HeaderName::from_static("ratelimit-policy"), format!("\"misses\";q={max};w=60")),
        (HeaderName::from_static("ratelimit"), format!("\"misses\";r=0;t={reset}")),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::link::tests::text;

    fn all() -> Vec<(Failure<'static>, u16, &'static str)> {
        let retry_after = Duration::from_millis(1_500);
        vec![
            (Failure::NotFound, 404, "not_found"),
            (Failure::Gone, 410, "gone"),
            (Failure::Blocked("<b>phishing</b>"), 451, "blocked"),
            (Failure::TooManyMisses { retry_after, max: 30 }, 429, "rate_limited"),
            (Failure::TooManyRequests, 503, "unavailable"),
            (Failure::Busy, 503, "unavailable"),
            (Failure::Unavailable { retry_after }, 503, "unavailable"),
            (Failure::WrongHost, 421, "wrong_host"),
            (Failure::NoSingleHost("one Host header, not several"), 400, "wrong_host"),
            (Failure::MethodNotAllowed, 405, "method_not_allowed"),
            (Failure::InvalidField("size is 64 to 2048"), 422, "invalid_field"),
            (Failure::Internal, 500, "internal"),
        ]
    }

    #[test]
    fn people_and_programs_are_told_the_same() {
        let id = RequestId::parse(b"request-1").unwrap();
        let mut browser = HeaderMap::new();
        browser.insert(http::header::ACCEPT, HeaderValue::from_static("text/html"));
        for (failure, status, code) in all() {
            for (request, kind) in [(&browser, "text/html; charset=utf-8"), (&HeaderMap::new(), "application/problem+json")] {
                let answer = failure.answer(request, "s.example", id);
                assert_eq!(answer.status(), status, "{failure:?}");
                let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
                assert_eq!(header("content-type").unwrap(), kind);
                assert_eq!(header("vary").unwrap(), "accept");
                assert_eq!(header("cache-control").unwrap(), "no-store");
                assert_eq!(header("x-robots-tag").unwrap(), "noindex");
                assert_eq!(header("x-request-id").unwrap(), "request-1");
                assert_eq!(header("retry-after").is_some(), matches!(status, 429 | 503), "{failure:?}");
                assert_eq!(header("allow").is_some(), status == 405);
                let body = text(answer);
                assert!(body.contains("request-1") && body.len() < 10_000, "{body}");
                if kind.starts_with("text") {
                    assert!(body.contains(&format!(">{status}<")) && !body.contains("<b>phishing"));
                } else {
                    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
                    assert_eq!((body["code"].as_str().unwrap(), body["status"].as_u64().unwrap()), (code, u64::from(status)));
                }
            }
        }
    }

    #[test]
    fn waiting_times_are_rounded_up_and_named() {
        let failure = Failure::TooManyMisses { retry_after: Duration::from_millis(1_500), max: 30 };
        let answer = failure.answer(&HeaderMap::new(), "", RequestId::parse(b"request-1").unwrap());
        assert_eq!(answer.headers()["retry-after"], "2");
        assert_eq!(answer.headers()["ratelimit-policy"], "\"misses\";q=30;w=60");
        assert_eq!(answer.headers()["ratelimit"], "\"misses\";r=0;t=2");
    }
}
