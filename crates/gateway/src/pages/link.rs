//! Pages about one link: where it leads, or that it is not told.

use bytes::Bytes;
use domain::api::Route;
use http::{Response, StatusCode};
use serde_json::json;

use super::{Frame, JSON, PAGE_LEN_MAX, data, escape, escaped, html, varies};
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
    let whole = shown(about, (before, host, after));
    let excess = frame(about, &whole).render().len().saturating_sub(PAGE_LEN_MAX);
    if excess == 0 {
        return page(about, &whole);
    }
    page(about, &shown(about, (before, host, &without_middle(after, excess))))
}

fn shown(about: &About<'_>, (before, host, after): (&str, &str, &str)) -> String {
    let mut main = String::with_capacity(after.len() + 1_024);
    main.push_str("<p class=\"over\">This link leads to</p><h1><bdi>");
    escape(&mut main, host);
    main.push_str("</bdi></h1>");
    if let Some(title) = &about.route.title {
        main.push_str("<p><bdi>");
        escape(&mut main, title.as_str());
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
    main
}

/// Without as much as takes `excess` bytes of a page, from before the last characters.
fn without_middle(text: &str, excess: usize) -> String {
    const TAIL_LEN: usize = 64;
    const MARK_LEN_MAX: usize = 32;
    let (front, tail) = text.split_at(text.floor_char_boundary(text.len().saturating_sub(TAIL_LEN)));
    let (mut kept, mut saved) = (front.len(), 0);
    for (at, c) in front.char_indices().rev() {
        if saved >= excess + MARK_LEN_MAX {
            break;
        }
        kept = at;
        saved += escaped(c.encode_utf8(&mut [0; 4])).len();
    }
    format!("{}[… {} characters …]{tail}", &front[..kept], front.len() - kept)
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

fn frame<'a>(about: &About<'a>, main: &'a str) -> Frame<'a> {
    Frame { title: about.short_url, host: about.host, main, request: None }
}

fn page(about: &About<'_>, main: &str) -> Response<Body> {
    let mut response = html(StatusCode::OK, frame(about, main).render());
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

    fn page(route: &Route, wants_html: bool) -> String {
        text(preview(&About { route, host: "s.example", short_url: "https://s.example/abc", wants_html }))
    }

    #[test]
    fn the_destination_is_shown_and_harmless() {
        let hostile = route("https://xn--e1awd7f.com/<script>alert(1)</script>?\"'&x", Some("<img src=x onerror=y>"), None);
        let page = page(&hostile, true);
        assert!(page.contains("<h1><bdi>xn--e1awd7f.com</bdi></h1>"), "{page}");
        assert!(page.contains("/&lt;script&gt;alert(1)&lt;/script&gt;?&quot;&#39;&amp;x"));
        assert!(page.contains("&lt;img src=x onerror=y&gt;") && !page.contains("<script") && !page.contains("<img"));
        assert!(page.contains("href=\"https://s.example/abc\"") && page.len() < 10_000);
    }

    #[test]
    fn data_for_programs() {
        let json: serde_json::Value = serde_json::from_str(&page(&route("https://e.x/", Some("T"), None), false)).unwrap();
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
    fn a_page_stays_small_whatever_the_target() {
        let fits = format!("https://e.x/{}", "a".repeat(5_000));
        assert!(page(&route(&fits, None, None), true).contains(&"a".repeat(5_000)));
        let title = "\"".repeat(512);
        for filler in ["a", "'", "&"] {
            let long = format!("https://e.x/begin{}?end=1", filler.repeat(8_192 - 24));
            let page = page(&route(&long, Some(&title), None), true);
            assert!((9_000..10_000).contains(&page.len()), "{} bytes", page.len());
            assert!(page.contains("</b>/begin") && page.contains(" characters …]") && page.contains("?end=1</bdi>"), "{page}");
            assert!(page.contains("QR code</a>"));
        }
    }

    #[test]
    fn data_has_the_whole_target() {
        let long = format!("https://e.x/{}", "a".repeat(8_000));
        assert!(page(&route(&long, None, None), false).contains(&long));
    }

    #[test]
    fn hosts_are_cut_out_of_urls() {
        assert_eq!(split_host("https://e.x:8/a?b"), ("https://", "e.x:8", "/a?b"));
        assert_eq!(split_host("http://e.x?b#c"), ("http://", "e.x", "?b#c"));
        assert_eq!(split_host("http://[::1]"), ("http://", "[::1]", ""));
    }
}
