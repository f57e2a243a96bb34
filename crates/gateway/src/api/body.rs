//! Bodies: bounded before they are parsed, parsed before they are believed.

use axum::body::Body;
use bytes::Bytes;
use domain::{Reason, limits};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::problem::Problem;

/// Values in one body: what a bulk of the longest links needs, and what keeps the parsed form of
/// 8 MiB of brackets from taking hundreds.
const VALUES_MAX: usize = 250_000;

/// Reads at most `max` bytes.
///
/// # Errors
/// `body_too_large`; `invalid_json` when the client goes away half-way.
pub(crate) async fn read(body: Body, max: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(Problem::new(Reason::BodyTooLarge, format!("a body here has at most {max} bytes")))
        }
        Err(_) => Err(Problem::new(Reason::InvalidJson, "the body ended early")),
    }
}

/// `application/json`, for PATCH also `application/merge-patch+json`, or no type at all.
///
/// # Errors
/// `unsupported_media_type`.
pub(crate) fn check_type(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or("?").split(';').next().unwrap_or("").trim();
    let is_json = essence.eq_ignore_ascii_case("application/json");
    let is_patch = method == Method::PATCH && essence.eq_ignore_ascii_case("application/merge-patch+json");
    if is_json || is_patch {
        return Ok(());
    }
    Err(Problem::new(Reason::UnsupportedMediaType, "send Content-Type: application/json"))
}

/// # Errors
/// `invalid_json` with the position; `body_too_large` for more values than any request needs.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    check_shape(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| Problem::new(Reason::InvalidJson, error.to_string()))
}

/// One pass over the bytes, before anything is allocated for them.
fn check_shape(bytes: &[u8]) -> Result<(), Problem> {
    let (mut depth, mut values, mut in_string, mut escaped) = (0_usize, 1_usize, false, false);
    for (i, byte) in bytes.iter().enumerate() {
        if in_string {
            (in_string, escaped) = (escaped || *byte != b'"', !escaped && *byte == b'\\');
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                values += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > limits::JSON_DEPTH_MAX {
            let detail = format!("nested deeper than {} levels at byte {i}", limits::JSON_DEPTH_MAX);
            return Err(Problem::new(Reason::InvalidJson, detail));
        }
        if values > VALUES_MAX {
            return Err(Problem::new(Reason::BodyTooLarge, format!("a body has at most {VALUES_MAX} values")));
        }
    }
    Ok(())
}

/// The same text for the same content, whatever the order of keys and the spaces between them.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, value) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(value, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nesting_has_a_bound() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(limits::JSON_DEPTH_MAX).as_bytes()).is_ok());
        let problem = parse(nested(limits::JSON_DEPTH_MAX + 1).as_bytes()).unwrap_err();
        assert_eq!(problem.reason(), Reason::InvalidJson);
        assert!(problem.detail().contains("byte 16"), "{}", problem.detail());
        // Brackets within strings nest nothing.
        assert!(parse(format!("[\"\\\"{}\"]", "[".repeat(100)).as_bytes()).is_ok());
    }

    #[test]
    fn values_have_a_bound() {
        let many = |n: usize| format!("[{}0]", "0,".repeat(n));
        assert!(parse(many(VALUES_MAX - 2).as_bytes()).is_ok());
        assert_eq!(parse(many(VALUES_MAX - 1).as_bytes()).unwrap_err().reason(), Reason::BodyTooLarge);
    }

    #[test]
    fn mistakes_have_a_position() {
        for wrong in ["", "{", "{\"a\":}", "{\"a\":1}x", "nul", "\u{feff}{}", "{\"a\":\"\\ud800\"}", "{'a':1}", "[1,]", "NaN"] {
            let problem = parse(wrong.as_bytes()).unwrap_err();
            assert_eq!(problem.reason(), Reason::InvalidJson, "{wrong}");
            assert!(problem.detail().contains("line 1 column"), "{}", problem.detail());
        }
        assert_eq!(parse(b"{\"a\":\"\xff\"}").unwrap_err().reason(), Reason::InvalidJson);
    }

    #[test]
    fn order_and_spaces_do_not_matter() {
        let a = parse(br#"{ "b": [1, {"y":null,"x":"\u0041"}], "a": true }"#).unwrap();
        let b = parse(br#"{"a":true,"b":[1,{"x":"A","y":null}]}"#).unwrap();
        assert_eq!(canonical(&a), canonical(&b));
        assert_eq!(canonical(&b), r#"{"a":true,"b":[1,{"x":"A","y":null}]}"#);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = parse(&bytes) {
                prop_assert_eq!(parse(canonical(&value).as_bytes()).unwrap(), value);
            }
        }
    }
}
