//! `/` and `/robots.txt`.

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};

use super::{Frame, html};
use crate::body::Body;

const MAIN: &str = "<h1>Short links, and nothing else.</h1>\
<p>This address belongs to a URL shortener. A link here is one short word after the slash, and leads to a longer address elsewhere.</p>\
<dl><div><dt>Where does it lead?</dt><dd>Add <code>+</code> to any link to see its destination without going there.</dd></div>\
<div><dt>For paper and screens</dt><dd>Add <code>.qr</code> to any link for its QR code.</dd></div>\
<div><dt>Made by programs</dt><dd>Links are made through the <a href=\"/api/v1/openapi.json\">API</a>, with a key from whoever runs this host.</dd></div>\
<div><dt>Counted, not followed</dt><dd>No cookies and no scripts. Clicks are counted; IP addresses are not kept.</dd></div></dl>";

pub(crate) fn landing(host: &str) -> Response<Body> {
    let page = Frame { title: "Short links by Terse", host, main: MAIN, request: None }.render();
    let mut response = html(StatusCode::OK, page);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

/// Links may be followed (previews in chats obey this file); what is not a link need not be.
pub(crate) fn robots() -> Bytes {
    Bytes::from_static(b"User-agent: *\nDisallow: /api/\nDisallow: /*+$\nDisallow: /*.qr$\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::link::tests::text;

    #[test]
    fn small_without_scripts_and_naming_the_host() {
        let page = text(landing("s.example"));
        assert!(page.len() < 10_000, "{} bytes", page.len());
        assert!(page.contains("<span>s.example</span>") && !page.contains("<script"));
    }
}
