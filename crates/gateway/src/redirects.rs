//! `/{code}`, `/{code}+` and `/{code}.qr`. A redirect that the resolver knows is answered at once,
//! without a task, a box or a lock; whatever needs I/O goes on in [`CodeRequest::finish`].

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::api::{Answer, Ask, Deadline, Purpose, Route, Visit};
use domain::code::RESERVED;
use domain::{Caching, Domain, Kind};
use http::header::{ACCEPT_LANGUAGE, ETAG, IF_NONE_MATCH, LOCATION, REFERER, REFERRER_POLICY, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::body::Body;
use crate::caching::{self, Until};
use crate::limits::Exhausted;
use crate::location::{location, location_text};
use crate::metrics;
use crate::pages::{self, About, Failure};
use crate::problem::Problem;
use crate::qr::Picture;
use crate::request::{Fields, Remote, RequestId, X_REQUEST_ID};
use crate::shedding::Class;
use crate::state::Gateway;

/// What is wanted of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Redirect,
    Preview,
    Qr,
}

/// A GET or HEAD of something after the slash.
pub(crate) struct CodeRequest {
    pub(crate) parts: Parts,
    pub(crate) domain: Arc<Domain>,
    pub(crate) remote: Remote,
    pub(crate) id: RequestId,
}

/// What is left to do with a request.
pub(crate) enum Begun {
    Answered(Response<Body>),
    /// Needs I/O: [`CodeRequest::finish`] it with what was found so far.
    Unfinished(CodeRequest, Option<Answer>),
}

impl CodeRequest {
    pub(crate) fn begin(self, gateway: &Gateway, now: Instant) -> Begun {
        let ip = self.client_ip(gateway);
        if let Some(exhausted) = gateway.misses.check(now, || gateway.subjects.of(ip)) {
            return Begun::Answered(self.too_many_misses(gateway, exhausted));
        }
        let Some((code, view)) = split(self.parts.uri.path()) else {
            return Begun::Unfinished(self, Some(Answer::NotFound));
        };
        if view == View::Qr {
            if let Err(wrong) = Picture::parse(self.parts.uri.query().unwrap_or("")) {
                return Begun::Answered(self.fail(&Failure::InvalidField(wrong)));
            }
            drop(code);
            return Begun::Unfinished(self, None);
        }
        let answer = gateway.services.resolver.try_resolve(&self.ask(&code, view, ip));
        drop(code);
        self.begun(gateway, answer, view)
    }

    /// Goes on with what the resolver knows.
    pub(crate) fn begun(self, gateway: &Gateway, answer: Option<Answer>, view: View) -> Begun {
        match answer {
            // A miss is counted, which may take I/O.
            Some(Answer::NotFound) => Begun::Unfinished(self, Some(Answer::NotFound)),
            Some(answer) => Begun::Answered(self.answer(gateway, answer, view)),
            None => Begun::Unfinished(self, None),
        }
    }

    pub(crate) async fn finish(self, gateway: Arc<Gateway>, known: Option<Answer>, began: Instant) -> Response<Body> {
        let Some((code, view)) = split(self.parts.uri.path()) else {
            return self.missed(&gateway, "").await;
        };
        let answer = match known {
            Some(answer) => answer,
            None => match self.resolve(&gateway, &code, view, began).await {
                Ok(answer) => answer,
                Err(response) => return response,
            },
        };
        match (answer, view) {
            (Answer::NotFound, _) => self.missed(&gateway, &code).await,
            (Answer::Found(route), View::Qr) => self.picture(&gateway, &route).await,
            (answer, view) => self.answer(&gateway, answer, view),
        }
    }

    async fn resolve(&self, gateway: &Gateway, code: &str, view: View, began: Instant) -> Result<Answer, Response<Body>> {
        let ip = self.client_ip(gateway);
        let ask = self.ask(code, view, ip);
        if view == View::Qr
            && let Some(answer) = gateway.services.resolver.try_resolve(&ask)
        {
            return Ok(answer);
        }
        let Some(_permit) = gateway.shed.try_acquire(Class::Redirect) else {
            return Err(self.fail(&Failure::Busy));
        };
        let deadline = Deadline::after(began, gateway.options.deadlines.redirect);
        match tokio::time::timeout_at(deadline.at().into(), gateway.services.resolver.resolve(&ask, deadline)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => Err(self.fail(&Failure::Unavailable { retry_after: Duration::from_secs(1) })),
        }
    }

    /// A dependency's failure, logged once under the request's id.
    fn failed(&self, error: domain::Error) -> Response<Body> {
        let retry_after = error.retry_after().unwrap_or(Duration::from_secs(1));
        let failure = match error.kind() {
            // Also where time ran out: a store that hangs is as good as one that is gone.
            Kind::Unavailable => Failure::Unavailable { retry_after },
            Kind::Invalid | Kind::NotFound | Kind::Conflict | Kind::RateLimited | Kind::Internal => Failure::Internal,
        };
        Problem::from(error).log(self.id.as_str());
        self.fail(&failure)
    }

    fn client_ip(&self, gateway: &Gateway) -> IpAddr {
        let options = &gateway.options;
        self.remote.client_ip(&self.parts.headers, options.forwarded_header, &options.trusted_proxies)
    }

    fn ask<'a>(&'a self, code: &'a str, view: View, ip: IpAddr) -> Ask<'a> {
        let query = self.parts.uri.query().unwrap_or("");
        let purpose = purpose(view, &self.parts.method, &self.parts.headers);
        let visit = visit(&self.parts.headers, (self.remote, ip), query, purpose);
        Ask { domain: self.domain.no, code, visit }
    }

    fn answer(&self, gateway: &Gateway, answer: Answer, view: View) -> Response<Body> {
        match answer {
            Answer::Redirect(route) if view == View::Redirect => self.redirect(gateway, &route),
            Answer::Withheld(route) => self.about(gateway, &route, pages::withheld),
            Answer::Found(route) | Answer::Redirect(route) => self.preview(gateway, &route),
            Answer::NotFound => self.not_found(),
            Answer::Gone => self.fail(&Failure::Gone),
            Answer::Blocked { reason } => self.fail(&Failure::Blocked(&reason)),
        }
    }

    fn redirect(&self, gateway: &Gateway, route: &Route) -> Response<Body> {
        let leads = leads(gateway, &self.domain, route, self.parts.uri.query().unwrap_or(""));
        let Ok(location) = HeaderValue::from_str(&leads.location) else {
            tracing::error!(request_id = self.id.as_str(), link = %route.link, "a stored target does not fit into a header");
            return self.fail(&Failure::Internal);
        };
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = leads.status;
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(LOCATION, location);
        caching::apply(&mut headers, (leads.cache_control, leads.cdn_cache_control));
        pages::no_index(&mut headers);
        headers.insert(REFERRER_POLICY, gateway.options.referrer_policy.clone());
        headers.insert(X_REQUEST_ID, self.id.to_header());
        *response.headers_mut() = headers;
        response
    }

    fn preview(&self, gateway: &Gateway, route: &Route) -> Response<Body> {
        let mut response = self.about(gateway, route, pages::preview);
        let html = pages::wants_html(&self.parts.headers);
        let tag = tag(&(route.link, route.version, gateway.short_url(&self.domain, &route.code), html));
        self.or_not_modified(&mut response, tag);
        response
    }

    fn about(&self, gateway: &Gateway, route: &Route, page: fn(&About<'_>) -> Response<Body>) -> Response<Body> {
        let short_url = gateway.short_url(&self.domain, &route.code);
        let wants_html = pages::wants_html(&self.parts.headers);
        let mut response = page(&About { route, host: self.domain.host.as_str(), short_url: &short_url, wants_html });
        response.headers_mut().insert(X_REQUEST_ID, self.id.to_header());
        response
    }

    /// Drawing costs a millisecond or so: apart from the threads that redirect, and few at a time.
    async fn picture(&self, gateway: &Gateway, route: &Route) -> Response<Body> {
        let Ok(picture) = Picture::parse(self.parts.uri.query().unwrap_or("")) else {
            return self.fail(&Failure::InvalidField("format is svg or png, size 64 to 2048"));
        };
        let Some(_permit) = gateway.shed.try_acquire(Class::Stats) else {
            return self.fail(&Failure::Busy);
        };
        let short_url = gateway.short_url(&self.domain, &route.code);
        let tag = tag(&(&short_url, picture));
        let drawn = tokio::task::spawn_blocking(move || picture.draw(&short_url)).await;
        let Ok(Some(bytes)) = drawn else { return self.fail(&Failure::Internal) };
        let mut response = pages::cacheable(picture.content_type(), bytes);
        response.headers_mut().insert(X_REQUEST_ID, self.id.to_header());
        self.or_not_modified(&mut response, tag);
        response
    }

    /// Adds the tag; when the client has this very answer, takes the body out.
    fn or_not_modified(&self, response: &mut Response<Body>, tag: HeaderValue) {
        let known = self.parts.headers.get_all(IF_NONE_MATCH).iter();
        let known = known.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim);
        let matches =
            known.map(|known| known.strip_prefix("W/").unwrap_or(known)).any(|known| known == "*" || known.as_bytes() == tag.as_bytes());
        response.headers_mut().insert(ETAG, tag);
        if matches {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::Empty;
            response.headers_mut().remove(http::header::CONTENT_TYPE);
        }
    }

    /// Counts the miss, unless what was asked for can never be a link (`/apple-touch-icon.png`).
    async fn missed(&self, gateway: &Gateway, code: &str) -> Response<Body> {
        if !is_reserved(code) {
            let subject = gateway.subjects.of(self.client_ip(gateway));
            if let Some(exhausted) = gateway.misses.missed(gateway.services.limiter.as_ref(), subject).await {
                return self.too_many_misses(gateway, exhausted);
            }
        }
        self.not_found()
    }

    fn not_found(&self) -> Response<Body> {
        let elsewhere = self.domain.not_found_url.as_ref().filter(|_| pages::wants_html(&self.parts.headers));
        let Some(location) = elsewhere.and_then(|url| location(url.as_str(), "")) else {
            return self.fail(&Failure::NotFound);
        };
        let mut response = pages::elsewhere(location);
        response.headers_mut().insert(X_REQUEST_ID, self.id.to_header());
        response
    }

    pub(crate) fn too_many_misses(&self, gateway: &Gateway, exhausted: Exhausted) -> Response<Body> {
        metrics::limited("misses");
        self.fail(&Failure::TooManyMisses { retry_after: exhausted.retry_after, max: gateway.misses.limit().max })
    }

    pub(crate) fn fail(&self, failure: &Failure<'_>) -> Response<Body> {
        failure.answer(&self.parts.headers, self.domain.host.as_str(), self.id)
    }
}

/// What a redirect says.
pub(crate) struct Leads<'a> {
    pub(crate) status: StatusCode,
    /// Visible ASCII.
    pub(crate) location: Cow<'a, str>,
    pub(crate) cache_control: HeaderValue,
    pub(crate) cdn_cache_control: Option<HeaderValue>,
}

/// `query` is the request's.
pub(crate) fn leads<'a>(gateway: &Gateway, domain: &Domain, route: &'a Route, query: &str) -> Leads<'a> {
    let status = route.redirect_status.or(domain.redirect_status).unwrap_or_default();
    let caching = route.caching.or(domain.caching).unwrap_or_default();
    let caching = if route.max_clicks.is_some() { Caching::Exact } else { caching };
    let until = Until::expiry(route.expires_at, || gateway.services.clock.now());
    let (cache_control, cdn_cache_control) = caching::values(caching, until);
    Leads {
        status: StatusCode::from_u16(status.code()).unwrap_or(StatusCode::FOUND),
        location: location_text(route.target.as_str(), if route.forward_query { query } else { "" }),
        cache_control,
        cdn_cache_control,
    }
}

/// What the headers say of the sender.
pub(crate) fn visit<'a>(headers: &'a impl Fields, (remote, ip): (Remote, IpAddr), query: &'a str, purpose: Purpose) -> Visit<'a> {
    Visit {
        ip,
        user_agent: text(headers, &USER_AGENT),
        referrer: text(headers, &REFERER),
        language: text(headers, &ACCEPT_LANGUAGE),
        country: remote.country(headers),
        query,
        purpose,
    }
}

/// Code and view of a path. `None`: nothing that could be a code.
fn split(path: &str) -> Option<(Cow<'_, str>, View)> {
    let decoded = decode(path.strip_prefix('/')?)?;
    let views = [("+", View::Preview), (".qr", View::Qr)];
    let view = views.into_iter().find(|(suffix, _)| decoded.ends_with(suffix));
    let (suffix_len, view) = view.map_or((0, View::Redirect), |(suffix, view)| (suffix.len(), view));
    let code = match decoded {
        Cow::Borrowed(code) => Cow::Borrowed(&code[..code.len() - suffix_len]),
        Cow::Owned(mut code) => {
            code.truncate(code.len() - suffix_len);
            Cow::Owned(code)
        }
    };
    Some((code, view))
}

/// Percent-decodes once. `None`: a broken escape, or not UTF-8.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { digit(rest.next())? << 4 | digit(rest.next())? } else { byte });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn is_reserved(code: &str) -> bool {
    let first = code.split('/').next().unwrap_or(code);
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(first))
}

pub(crate) fn purpose(view: View, method: &Method, headers: &impl Fields) -> Purpose {
    const PREFETCH_HEADERS: [HeaderName; 4] = [
        HeaderName::from_static("sec-purpose"),
        HeaderName::from_static("purpose"),
        HeaderName::from_static("x-purpose"),
        HeaderName::from_static("x-moz"),
    ];
    if view != View::Redirect {
        return Purpose::Inspect;
    }
    if *method == Method::HEAD {
        return Purpose::Head;
    }
    let ahead = |value: &str| value.contains("prefetch") || value.contains("prerender") || value.contains("preview");
    if PREFETCH_HEADERS.iter().any(|name| ahead(text(headers, name))) { Purpose::Prefetch } else { Purpose::Follow }
}

fn text<'a>(headers: &'a impl Fields, name: &HeaderName) -> &'a str {
    headers.first(name).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or("")
}

fn tag(of: &impl Hash) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish())).unwrap_or(HeaderValue::from_static("\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once() {
        let parts = |path| split(path).map(|(code, view)| (code.into_owned(), view));
        for (path, code, view) in [
            ("/abc", "abc", View::Redirect),
            ("/abc+", "abc", View::Preview),
            ("/abc%2B", "abc", View::Preview),
            ("/abc.qr", "abc", View::Qr),
            ("/a%62c%2Eqr", "abc", View::Qr),
            ("/team/b", "team/b", View::Redirect),
            ("/team%2fb", "team/b", View::Redirect),
            ("/a%2562", "a%62", View::Redirect),
            ("/%0d%0aX", "\r\nX", View::Redirect),
            ("/a/", "a/", View::Redirect),
            ("/+", "", View::Preview),
            ("/%C3%A9", "\u{e9}", View::Redirect),
        ] {
            assert_eq!(parts(path), Some((code.to_owned(), view)), "{path}");
        }
        for wrong in ["/a%", "/a%2", "/a%zz", "/a%+1", "/%ff", "*", ""] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_can_never_be_a_link_is_no_miss() {
        for path in ["apple-touch-icon.png", ".well-known/security.txt", "API", "admin/x"] {
            assert!(is_reserved(path), "{path}");
        }
        assert!(!is_reserved("abc") && !is_reserved("") && !is_reserved("adminx"));
    }

    #[test]
    fn why_somebody_asks() {
        let with = |view, method: Method, name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            purpose(view, &method, &headers)
        };
        assert_eq!(with(View::Redirect, Method::GET, "accept", "*/*"), Purpose::Follow);
        assert_eq!(with(View::Redirect, Method::HEAD, "accept", "*/*"), Purpose::Head);
        assert_eq!(with(View::Redirect, Method::GET, "sec-purpose", "prefetch;prerender"), Purpose::Prefetch);
        assert_eq!(with(View::Redirect, Method::GET, "x-moz", "prefetch"), Purpose::Prefetch);
        assert_eq!(with(View::Preview, Method::HEAD, "purpose", "prefetch"), Purpose::Inspect);
    }
}
