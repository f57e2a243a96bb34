//! The pages people see. Each is one small file without scripts, in the same frame.

mod failure;
mod icon;
mod landing;
mod link;

use std::fmt::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use sha2::{Digest, Sha256};

use crate::body::Body;
use crate::caching::NO_STORE;

pub(crate) use failure::Failure;
pub(crate) use icon::{ico, svg};
pub(crate) use landing::{landing, robots};
pub(crate) use link::{About, preview, withheld};

/// Bytes of a page: what a phone on 3G has in a moment.
const PAGE_LEN_MAX: usize = 9_999;
const STYLE: &str = include_str!("style.css");
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");
const NO_INDEX: HeaderValue = HeaderValue::from_static("noindex");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Nothing may be loaded but our pictures; the one style is named by its hash.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = base64(&Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data: 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Says what a browser may do with a link that leads elsewhere.
pub(crate) fn no_index(headers: &mut HeaderMap) {
    headers.insert(X_ROBOTS_TAG, NO_INDEX);
}

/// Whether the sender wants a page rather than data.
pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(http::header::ACCEPT).iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let html = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("text/html"));
        let refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.bytes().all(|b| matches!(b, b'0' | b'.'))));
        html && !refused
    })
}

/// Every page, whatever is on it.
struct Frame<'a> {
    title: &'a str,
    /// What stands beside the mark: the host, where it is known to be ours.
    host: &'a str,
    main: &'a str,
    /// The request's id, on pages that people may report.
    request: Option<&'a str>,
}

impl Frame<'_> {
    fn render(&self) -> Bytes {
        let mut html = String::with_capacity(STYLE.len() + self.main.len() + 2_048);
        html.push_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"robots\" content=\"noindex\"><meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"/favicon.svg\" type=\"image/svg+xml\"><title>");
        escape(&mut html, self.title);
        html.push_str("</title><style>");
        html.push_str(STYLE);
        html.push_str("</style></head><body><header><a href=\"/\">");
        html.push_str(icon::MARK);
        html.push_str("<span>");
        escape(&mut html, if self.host.is_empty() { "Terse" } else { self.host });
        html.push_str("</span></a></header><main>");
        html.push_str(self.main);
        html.push_str("</main><footer><span>Short links by Terse</span>");
        if let Some(id) = self.request {
            html.push_str("<span>Request <code>");
            escape(&mut html, id);
            html.push_str("</code></span>");
        }
        html.push_str("</footer></body></html>\n");
        html.into()
    }
}

fn escape(html: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    escape(&mut html, text);
    html
}

/// A page, with what every page carries.
fn html(status: StatusCode, page: Bytes) -> Response<Body> {
    let mut response = data(status, HTML, page);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    response
}

/// Anything else that is not a redirect.
fn data(status: StatusCode, content_type: HeaderValue, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Whole(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(10);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    no_index(headers);
    response
}

/// Marks an answer that another `Accept` would have made another one.
fn varies(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.insert(CACHE_CONTROL, NO_STORE);
}

/// A picture or text that may be kept for a while.
pub(crate) fn cacheable(content_type: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = data(StatusCode::OK, HeaderValue::from_static(content_type), bytes);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

/// A redirect that is not a link's.
pub(crate) fn elsewhere(location: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(LOCATION, location);
    varies(&mut response);
    response
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let sextet = usize::try_from(group >> (18 - 6 * i) & 63).unwrap_or(0);
            text.push(if i <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}

/// A number into text that is already being written.
fn push_number(text: &mut String, number: u64) {
    let _ = write!(text, "{number}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_style_that_is_on_the_page() {
        let page = Frame { title: "t", host: "h", main: "", request: None }.render();
        let page = std::str::from_utf8(&page).unwrap();
        let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = base64(&Sha256::digest(style.as_bytes()));
        assert!(POLICY.to_str().unwrap().contains(&format!("'sha256-{hash}'")));
        assert_eq!(page.matches("style").count(), 2, "no other style, inline or linked");
    }

    #[test]
    fn base64_as_in_rfc_4648() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn who_wants_a_page() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("application/json, TEXT/HTML;q=0.5", true),
            ("*/*", false),
            ("application/json", false),
            ("text/html;q=0", false),
            ("text/html; q=0.0, */*", false),
            ("text/html;q=0.1", true),
            ("text/htmlx", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::ACCEPT, accept.parse().unwrap());
            assert_eq!(wants_html(&headers), expected, "{accept}");
        }
        assert!(!wants_html(&HeaderMap::new()));
    }
}
