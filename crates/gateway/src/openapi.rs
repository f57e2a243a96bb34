//! The `OpenAPI` 3.1 description of the REST API, made from the handlers' annotations.

use std::sync::LazyLock;

use serde_json::Value;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::api::{self, bulk, domains, history, jobs, keys, links, me, stats, tags};

/// A failure (RFC 9457, `application/problem+json`).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "documents what `problem.rs` writes by hand")]
pub(crate) struct ProblemDoc {
    /// A relative reference that ends in `code`.
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    /// Stable, for programs: `invalid_field`, `alias_taken`, …
    code: String,
    /// As in `X-Request-Id`, and in the log.
    request_id: Option<String>,
    /// One entry for each wrong field.
    errors: Option<Vec<FieldErrorDoc>>,
}

#[derive(ToSchema)]
#[schema(as = FieldError)]
#[expect(dead_code, reason = "documents what `problem.rs` writes by hand")]
pub(crate) struct FieldErrorDoc {
    /// A JSON pointer (RFC 6901) into the body; `/name` for a parameter of the query.
    pointer: String,
    code: String,
    detail: String,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Terse",
        version = "1",
        description = "Short links: make them, change them, count their clicks. Unknown fields are refused, times are RFC 3339 in UTC, ids are strings.",
    ),
    servers((url = "/")),
    security(("key" = [])),
    modifiers(&Key),
    tags(
        (name = "links", description = "Short links"),
        (name = "stats", description = "Clicks"),
        (name = "keys", description = "API keys"),
        (name = "domains", description = "Hosts served"),
        (name = "about", description = "This description"),
    ),
    paths(
        links::create, links::list, links::lookup, links::show, links::update, links::delete,
        links::restore, links::block, links::unblock,
        bulk::create, bulk::delete, jobs::show, tags::list,
        stats::link_series, stats::link_breakdown, stats::series, stats::breakdown, stats::top_links, history::import,
        keys::create, keys::list, keys::revoke, me::show,
        domains::create, domains::list, domains::show, domains::update, domains::remove,
        api::document,
    )
)]
struct Document;

struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description = Some("An API key, `tk_…`".into());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

/// Made once: it says the same as long as the program does.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    let items = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in items.filter_map(Value::as_object_mut).flat_map(|item| item.values_mut()) {
        for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            finish_response(status, response);
        }
    }
    serde_json::to_string_pretty(&document).unwrap_or_default()
});

/// What the annotations need not repeat for each answer: a description, which `OpenAPI` requires, and
/// the media type of problems.
fn finish_response(status: &str, response: &mut Value) {
    let Some(response) = response.as_object_mut() else { return };
    let is_described = response.get("description").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !is_described {
        let description = match status {
            "default" => "Any failure",
            "201" => "Made",
            "202" => "Taken on",
            _ => "As asked",
        };
        response.insert("description".into(), description.into());
    }
    if let Some(content) = response.get_mut("content").and_then(Value::as_object_mut)
        && content["application/json"]["schema"]["$ref"] == "#/components/schemas/Problem"
        && let Some(problem) = content.remove("application/json")
    {
        content.insert("application/problem+json".into(), problem);
    }
}

/// The document as it is served and committed, without a final line break.
pub fn openapi_json() -> String {
    text().to_owned()
}

pub(crate) fn text() -> &'static str {
    &TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == format!("{}\n", text()), "docs/openapi.json is out of date: run `cargo run -- openapi > docs/openapi.json`");
    }

    #[test]
    fn operations_have_names_of_their_own_and_every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(&openapi_json()).unwrap();
        let operations = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
        let mut names: Vec<_> = operations.filter_map(|operation| operation["operationId"].as_str()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), count), (29, 29));
        for (path, item) in document["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                for (status, response) in operation["responses"].as_object().unwrap() {
                    assert!(response["description"].is_string(), "{path} {status}");
                    let is_failure = status == "default" || status.starts_with('4');
                    assert!(!is_failure || response["content"].get("application/problem+json").is_some(), "{path} {status}");
                }
            }
        }
        for reference in openapi_json().split("\"$ref\": \"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
