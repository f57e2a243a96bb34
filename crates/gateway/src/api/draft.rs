//! Requests about links: how their fields are read, and how they are documented.

use domain::target::{PrivateAddresses, TargetPolicy};
use domain::{Caller, FieldError, LinkDraft, PatchDraft, Reason};
use serde_json::Value;
use utoipa::ToSchema;

use super::fields::{FLAG, Fields, STRING, TIME, U8, U16, U64};
use crate::problem::Problem;

/// A link to make. Unknown fields are refused; `null` is as good as absent.
#[derive(ToSchema)]
#[schema(as = NewLink)]
#[expect(dead_code, reason = "documents what `link` reads by hand, so that every wrong field is named at once")]
pub(crate) struct NewLinkDoc {
    /// Where the link leads: an absolute http or https URL.
    #[schema(example = "https://example.com/a", max_length = 8192)]
    target: String,
    /// A code of your choice: 3 to 64 letters, digits, `-`, `_`, with `/` between segments.
    #[schema(example = "launch", min_length = 3, max_length = 64)]
    alias: Option<String>,
    /// A code made elsewhere, matched as typed. Admin keys only.
    #[schema(max_length = 128)]
    code: Option<String>,
    /// One of the hosts served; the default domain when absent.
    domain: Option<String>,
    #[schema(max_length = 512)]
    title: Option<String>,
    #[schema(max_items = 32)]
    tags: Option<Vec<String>>,
    /// 301, 302, 307 or 308; the domain's default when absent.
    redirect_status: Option<u16>,
    /// `exact`, `balanced` or `fast`; the domain's default when absent.
    caching: Option<String>,
    /// Whether the query of a request is appended to the target.
    forward_query: Option<bool>,
    #[schema(format = DateTime)]
    starts_at: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Redirects after which the link is used up.
    #[schema(minimum = 1)]
    max_clicks: Option<u64>,
    /// Answers the link that an earlier `find_or_create` made for the same target, if there is one.
    find_or_create: Option<bool>,
    /// `leased`, `counter`, `snowflake`, `hash` or `random`; as configured when absent.
    strategy: Option<String>,
    /// Characters of a `hash` or `random` code.
    #[schema(minimum = 7, maximum = 22)]
    code_length: Option<u8>,
}

/// Changes to a link (RFC 7396): absent fields stay, `null` restores the default.
#[derive(ToSchema)]
#[schema(as = LinkPatch)]
#[expect(dead_code, reason = "documents what `patch` reads by hand, so that every wrong field is named at once")]
pub(crate) struct LinkPatchDoc {
    /// Cannot be `null`.
    target: Option<String>,
    title: Option<String>,
    tags: Option<Vec<String>>,
    redirect_status: Option<u16>,
    caching: Option<String>,
    forward_query: Option<bool>,
    #[schema(format = DateTime)]
    starts_at: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(minimum = 1)]
    max_clicks: Option<u64>,
    /// `active` or `disabled`.
    state: Option<String>,
}

/// # Errors
/// Every field of the wrong type, every unknown one, and then every value that no store is needed
/// to refuse. `forbidden` for a `code` from a key that is not an admin's.
pub(crate) fn link(value: Value, caller: &Caller) -> Result<LinkDraft, Problem> {
    let mut fields = Fields::new(value);
    let draft = LinkDraft {
        target: fields.required("target", &STRING).unwrap_or_default(),
        alias: fields.optional("alias", &STRING),
        code: fields.optional("code", &STRING),
        domain: fields.optional("domain", &STRING),
        title: fields.optional("title", &STRING),
        tags: fields.strings("tags").apply(None).unwrap_or_default(),
        redirect_status: fields.optional("redirect_status", &U16),
        caching: fields.optional("caching", &STRING),
        forward_query: fields.optional("forward_query", &FLAG).unwrap_or_default(),
        starts_at: fields.optional("starts_at", &TIME),
        expires_at: fields.optional("expires_at", &TIME),
        max_clicks: fields.optional("max_clicks", &U64),
        find_or_create: fields.optional("find_or_create", &FLAG).unwrap_or_default(),
        strategy: fields.optional("strategy", &STRING),
        code_length: fields.optional("code_length", &U8),
    };
    fields.refuse_rest();
    reject(fields.errors, || draft.check(&PERMISSIVE).err())?;
    if draft.code.is_some() && !caller.is_admin() {
        return Err(Problem::field("/code", Reason::Forbidden, "only admin keys may set a code; `alias` is yours to choose"));
    }
    Ok(draft)
}

/// # Errors
/// As [`link`]. Nothing to change is not an error.
pub(crate) fn patch(value: Value) -> Result<PatchDraft, Problem> {
    let mut fields = Fields::new(value);
    let draft = PatchDraft {
        target: fields.change("target", &STRING),
        title: fields.change("title", &STRING),
        tags: fields.strings("tags"),
        redirect_status: fields.change("redirect_status", &U16),
        caching: fields.change("caching", &STRING),
        forward_query: fields.change("forward_query", &FLAG),
        starts_at: fields.change("starts_at", &TIME),
        expires_at: fields.change("expires_at", &TIME),
        max_clicks: fields.change("max_clicks", &U64),
        state: fields.change("state", &STRING),
    };
    fields.refuse_rest();
    reject(fields.errors, || draft.check(&PERMISSIVE).err())?;
    Ok(draft)
}

/// The links service has the last word on targets: it knows the domains and the policy.
const PERMISSIVE: TargetPolicy<'static> = TargetPolicy { is_own_host: &|_| false, private_addresses: PrivateAddresses::Allowed };

/// Fields of the wrong type, with the values of the others that are wrong too.
fn reject(mut errors: Vec<FieldError>, check: impl FnOnce() -> Option<Vec<FieldError>>) -> Result<(), Problem> {
    if errors.is_empty() {
        return Ok(());
    }
    for error in check().unwrap_or_default() {
        if errors.iter().all(|known| known.pointer != error.pointer) {
            errors.push(error);
        }
    }
    Err(Problem::fields(errors))
}

#[cfg(test)]
mod tests {
    use domain::{Change, Owner, Scope};
    use serde_json::json;
    use utoipa::PartialSchema;

    use super::*;

    fn caller(scope: Scope) -> Caller {
        Caller { owner: Owner::from_stored("me"), scopes: [scope].into_iter().collect() }
    }

    fn properties(schema: &impl serde::Serialize) -> Vec<String> {
        serde_json::to_value(schema).unwrap()["properties"].as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn what_is_documented_is_read_and_nothing_else() {
        for name in properties(&NewLinkDoc::schema()) {
            // No field takes an object: a known field is `invalid_field`, an unknown one `unknown_field`.
            let problem = link(json!({ &name: {} }), &caller(Scope::Admin)).unwrap_err().to_json(None);
            let errors = problem["errors"].as_array().unwrap();
            let own = errors.iter().find(|error| error["pointer"] == format!("/{name}")).expect(&name);
            assert_eq!(own["code"], "invalid_field", "{name}");
        }
        for name in properties(&LinkPatchDoc::schema()) {
            let problem = patch(json!({ &name: {} })).unwrap_err().to_json(None);
            assert_eq!(problem["code"], "invalid_field", "{name}");
        }
        let documented = properties(&LinkPatchDoc::schema());
        for fixed in ["alias", "domain", "strategy", "find_or_create", "code", "code_length", "password", "id", "version"] {
            assert!(!documented.contains(&fixed.to_owned()));
            assert_eq!(patch(json!({ fixed: null })).unwrap_err().reason(), Reason::UnknownField, "{fixed}");
        }
    }

    #[test]
    fn types_and_values_are_reported_together() {
        let body = json!({"target": 1, "title": " ", "tags": ["ok", 2], "caching": "maybe", "max_clicks": 0, "nope": 1});
        let problem = link(body, &caller(Scope::LinksWrite)).unwrap_err().to_json(None);
        let mut pointers: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["/caching", "/max_clicks", "/nope", "/tags/1", "/target", "/title"]);
    }

    #[test]
    fn a_code_is_for_admins() {
        let body = json!({"target": "https://example.com", "code": "Old1"});
        assert_eq!(link(body.clone(), &caller(Scope::LinksWrite)).unwrap_err().reason(), Reason::Forbidden);
        assert_eq!(link(body, &caller(Scope::Admin)).unwrap().code.as_deref(), Some("Old1"));
    }

    #[test]
    fn a_patch_tells_null_from_absence() {
        let draft = patch(json!({"title": null, "max_clicks": 3})).unwrap();
        assert_eq!(draft, PatchDraft { title: Change::Clear, max_clicks: Change::Set(3), ..PatchDraft::default() });
    }
}
