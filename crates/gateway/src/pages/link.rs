//! Pages about one link: where it leads, or that it is not told.

use bytes::Bytes;
use domain::api::Route;
use http::{Response, StatusCode};
use serde_json::json;

use super::{Frame, JSON, data, escape, escaped, html, varies};
use crate::body::Body;

/// What a page about a link knows besides the link.
pub(crate) struct About<'a> {
    pub(crate) route: &'a Route,
    pub(crate) host: &'a str,
    pub(crate) short_url: &'a str,
    pub(crate) wants_html: bool,
}

/// `/{code}+`: the destination, without going there. Links that count their uses keep it to themselves.
pub(crate) fn preview(about: &About<'_>) -> Response<Body> {
    if about.route.max_clicks.is_some() {
        return hidden(about, "Looking at it here uses none of them, and does not tell where it leads.");
    }
    let title = about.route.title.as_ref().map(domain::Title::as_str);
    let target = about.route.target.as_str();
    if !about.wants_html {
        return answer_json(&json!({"short_url": about.short_url, "target": target, "title": title}));
    }
    let (before, host, after) = split_host(target);
    let mut main = String::with_capacity(target.len() + 1_024);
    main.push_str("<p class=\"over\">This link leads to</p><h1><bdi>");
    escape(&mut main, host);
    main.push_str("</bdi></h1>");
    if let Some(title) = title {
        main.push_str("<p><bdi>");
        escape(&mut main, title);
        main.push_str("</bdi></p>");
    }
    main.push_str("<p class=\"url\"><bdi>");
    escape(&mut main, before);
    main.push_str("<b>");
    escape(&mut main, host);
    main.push_str("</b>");
    escape(&mut main, after);
    main.push_str("</bdi></p><a class=\"go\" rel=\"noopener noreferrer nofollow ugc\" href=\"");
    escape(&mut main, about.short_url);
    main.push_str("\">Continue to <bdi>");
    escape(&mut main, host);
    main.push_str("</bdi></a><p class=\"soft\">Or take it along as a <a href=\"");
    escape(&mut main, about.short_url);
    main.push_str(".qr\">QR code</a>.</p>");
    page(about, &main)
}

/// What a HEAD, a prefetcher or a known bot gets of a link with a click budget: 200, and no target.
pub(crate) fn withheld(about: &About<'_>) -> Response<Body> {
    hidden(about, "It opens when somebody goes there. Programs that look ahead use none of its uses.")
}

fn hidden(about: &About<'_>, why: &str) -> Response<Body> {
    if !about.wants_html {
        return answer_json(&json!({"short_url": about.short_url, "target": null, "title": null}));
    }
    let main = format!(
        "<p class=\"over\">A link with a limited number of uses</p><h1>Its destination is not shown</h1><p>{}</p><a class=\"go\" rel=\"noopener noreferrer nofollow ugc\" href=\"{}\">Open the link</a>",
        escaped(why),
        escaped(about.short_url),
    );
    page(about, &main)
}

fn page(about: &About<'_>, main: &str) -> Response<Body> {
    let frame = Frame { title: about.short_url, host: about.host, main, request: None };
    let mut response = html(StatusCode::OK, frame.render());
    varies(&mut response);
    response
}

fn answer_json(value: &serde_json::Value) -> Response<Body> {
    let mut response = data(StatusCode::OK, JSON, Bytes::from(value.to_string()));
    varies(&mut response);
    response
}

/// What stands before, in and after the host of an absolute URL.
fn split_host(url: &str) -> (&str, &str, &str) {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    (&url[..start], &url[start..end], &url[end..])
}

#[cfg(test)]
pub(super) mod tests {
    use domain::api::Route;
    use domain::{DomainNo, LinkId, Owner, Target, Title, UnixMs};

    use super::*;

    pub(crate) fn text(response: Response<Body>) -> String {
        match response.into_body() {
            Body::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Body::Empty | Body::Api(_) => String::new(),
        }
    }

    fn route(target: &str, title: Option<&str>, max_clicks: Option<u64>) -> Route {
        Route {
            link: LinkId::new(1),
            domain: DomainNo::DEFAULT,
            code: "abc".into(),
            owner: Owner::from_stored("o"),
            version: 1,
            target: Target::from_stored(target),
            title: title.map(Title::from_stored),
            redirect_status: None,
            caching: None,
            forward_query: false,
            starts_at: None,
            expires_at: None,
            max_clicks,
            created_at: UnixMs::new(0),
        }
    }

    fn shown(route: &Route, wants_html: bool) -> String {
        text(preview(&About { route, host: "s.example", short_url: "https://s.example/abc", wants_html }))
    }

    #[test]
    fn the_destination_is_shown_and_harmless() {
        let hostile = route("https://xn--e1awd7f.com/<script>alert(1)</script>?\"'&x", Some("<img src=x onerror=y>"), None);
        let page = shown(&hostile, true);
        assert!(page.contains("<h1><bdi>xn--e1awd7f.com</bdi></h1>"), "{page}");
        assert!(page.contains("/&lt;script&gt;alert(1)&lt;/script&gt;?&quot;&#39;&amp;x"));
        assert!(page.contains("&lt;img src=x onerror=y&gt;") && !page.contains("<script") && !page.contains("<img"));
        assert!(page.contains("href=\"https://s.example/abc\"") && page.len() < 10_000);
    }

    #[test]
    fn data_for_programs() {
        let json: serde_json::Value = serde_json::from_str(&shown(&route("https://e.x/", Some("T"), None), false)).unwrap();
        assert_eq!(json, json!({"short_url": "https://s.example/abc", "target": "https://e.x/", "title": "T"}));
    }

    #[test]
    fn budgeted_links_keep_their_target() {
        let secret = route("https://secret.example/", Some("Secret"), Some(1));
        let about = |wants_html| About { route: &secret, host: "s.example", short_url: "https://s.example/abc", wants_html };
        for wants_html in [true, false] {
            for answer in [preview(&about(wants_html)), withheld(&about(wants_html))] {
                let text = text(answer);
                assert!(!text.to_ascii_lowercase().contains("secret") && text.contains("s.example/abc"), "{text}");
            }
        }
    }

    #[test]
    fn a_long_target_is_shown_whole() {
        let long = format!("https://e.x/{}", "a".repeat(8_000));
        assert!(shown(&route(&long, None, None), true).contains(&"a".repeat(8_000)));
    }

    #[test]
    fn hosts_are_cut_out_of_urls() {
        assert_eq!(split_host("https://e.x:8/a?b"), ("https://", "e.x:8", "/a?b"));
        assert_eq!(split_host("http://e.x?b#c"), ("http://", "e.x", "?b#c"));
        assert_eq!(split_host("http://[::1]"), ("http://", "[::1]", ""));
    }
}
