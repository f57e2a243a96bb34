//! Answers as bytes, as the HTTP library would write them.

use std::io::Write as _;
use std::time::Instant;

use domain::UnixMs;
use http::header::CONNECTION;
use http::{Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::body::Body;
use crate::front::Front;
use crate::metrics::RequestKind;
use crate::redirects::Leads;
use crate::traced::Traced;

/// An output buffer that has become larger is not kept.
const KEPT_LEN: usize = 8 * 1024;

/// Whether the connection outlives the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    On,
    No,
}

/// Answers on their way out, in the order of the requests.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) bytes: Vec<u8>,
    date: Date,
}

/// The `Date` line, for as long as it is true.
#[derive(Default)]
struct Date {
    second: i64,
    line: Vec<u8>,
}

impl Date {
    fn line(&mut self, now: UnixMs) -> &[u8] {
        let second = now.get().div_euclid(1_000);
        if self.line.is_empty() || self.second != second {
            self.second = second;
            let timestamp = Timestamp::from_second(second).unwrap_or_default();
            let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&timestamp).unwrap_or_default();
            self.line.clear();
            for part in ["date: ", &date, "\r\n"] {
                self.line.extend_from_slice(part.as_bytes());
            }
        }
        &self.line
    }
}

impl Answers {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_LEN {
            self.bytes = Vec::new();
        }
    }

    /// A redirect, and the count of it.
    pub(super) fn redirect(&mut self, front: &Front, leads: &Leads<'_>, (traced, began): (&Traced, Instant)) -> Goes {
        let goes = if front.activity.is_draining() { Goes::No } else { Goes::On };
        let gateway = &front.door.gateway;
        self.status(leads.status);
        self.field("location", leads.location.as_bytes());
        self.field("cache-control", leads.cache_control.as_bytes());
        if let Some(value) = &leads.cdn_cache_control {
            self.field("cdn-cache-control", value.as_bytes());
        }
        self.bytes.extend_from_slice(b"x-robots-tag: noindex\r\n");
        self.field("referrer-policy", gateway.options.referrer_policy.as_bytes());
        self.field("x-request-id", traced.id.as_str().as_bytes());
        if goes == Goes::No {
            self.bytes.extend_from_slice(b"connection: close\r\n");
        }
        self.bytes.extend_from_slice(b"content-length: 0\r\n");
        self.end_of_head(front);
        let took = began.elapsed();
        gateway.metrics.answered(RequestKind::Redirect, leads.status, took);
        traced.redirected(gateway, leads.status, took);
        goes
    }

    /// Any other answer to a GET of a link: all of them are whole.
    pub(super) fn push(&mut self, front: &Front, response: Response<Body>) -> Goes {
        let goes = if response.headers().contains_key(CONNECTION) { Goes::No } else { Goes::On };
        let (head, body) = response.into_parts();
        self.status(head.status);
        for (name, value) in &head.headers {
            self.field(name.as_str(), value.as_bytes());
        }
        let body = body.into_whole();
        let _ = write!(self.bytes, "content-length: {}\r\n", body.len());
        self.end_of_head(front);
        self.bytes.extend_from_slice(&body);
        goes
    }

    fn status(&mut self, status: StatusCode) {
        if status == StatusCode::FOUND {
            self.bytes.extend_from_slice(b"HTTP/1.1 302 Found\r\n");
            return;
        }
        for part in ["HTTP/1.1 ", status.as_str(), " ", status.canonical_reason().unwrap_or("<none>"), "\r\n"] {
            self.bytes.extend_from_slice(part.as_bytes());
        }
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.bytes.extend_from_slice(part);
        }
    }

    fn end_of_head(&mut self, front: &Front) {
        let now = front.door.gateway.services.clock.now();
        self.bytes.extend_from_slice(self.date.line(now));
        self.bytes.extend_from_slice(b"\r\n");
    }
}
