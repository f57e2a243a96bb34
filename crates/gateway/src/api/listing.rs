//! Pages of lists: opaque cursors and the `Link` header that leads on.

use domain::limits;
use http::HeaderValue;
use http::header::LINK;
use serde::Serialize;
use url::form_urlencoded::{self, Serializer};

use super::fields::Params;
use super::{Answer, header, json};
use crate::problem::Problem;

/// The first byte of every cursor: what follows is an id.
const CURSOR_VERSION: &str = "01";

#[derive(Serialize)]
pub(crate) struct PageView<T> {
    pub(crate) data: Vec<T>,
    pub(crate) next_cursor: Option<String>,
}

/// `limit` and `cursor`, as every list takes them.
pub(crate) fn window(params: &mut Params) -> (usize, Option<u64>) {
    let limit = params.limit(limits::PAGE_LEN_DEFAULT, limits::PAGE_LEN_MAX);
    let after = params.parsed("cursor", "a next_cursor of an earlier page", parse_cursor);
    (limit, after)
}

/// A page of the list at `path`, asked for with `query`.
pub(crate) fn page<T: Serialize>(path: &str, query: Option<&str>, data: Vec<T>, next: Option<u64>) -> Answer {
    let next_cursor = next.map(cursor);
    let link = next_cursor.as_deref().map(|cursor| next_link(path, query, cursor)).transpose()?;
    let mut response = json(http::StatusCode::OK, &PageView { data, next_cursor })?;
    if let Some(link) = link {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

fn next_link(path: &str, query: Option<&str>, cursor: &str) -> Result<HeaderValue, Problem> {
    let others = form_urlencoded::parse(query.unwrap_or("").as_bytes()).filter(|(name, _)| name != "cursor");
    let query = Serializer::new(String::new()).extend_pairs(others).append_pair("cursor", cursor).finish();
    header(&format!("<{path}?{query}>; rel=\"next\""))
}

fn cursor(id: u64) -> String {
    format!("{CURSOR_VERSION}{id:016x}")
}

fn parse_cursor(text: &str) -> Option<u64> {
    let digits = text.strip_prefix(CURSOR_VERSION)?;
    let is_ours = digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_ours { u64::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursors_come_back(id: u64) {
            prop_assert_eq!(parse_cursor(&cursor(id)), Some(id));
        }

        #[test]
        fn only_our_cursors_are_read(text in "[0-9a-fA-F+-]{0,20}") {
            if let Some(id) = parse_cursor(&text) {
                prop_assert_eq!(cursor(id), text);
            }
        }
    }

    #[test]
    fn the_next_link_keeps_the_filters() {
        let link = next_link("/api/v1/links", Some("tag=a%20b&cursor=old&q=%3E%22"), "c1").unwrap();
        assert_eq!(link, "</api/v1/links?tag=a+b&q=%3E%22&cursor=c1>; rel=\"next\"");
    }
}
