//! Links as JSON shows them.

use domain::{Domain, Link};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, time};

/// A short link.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Link)]
pub(crate) struct LinkView {
    /// Unique for ever; larger for later links.
    #[schema(example = "7301445920374784")]
    id: String,
    /// The host that serves the link.
    #[schema(example = "localhost:8080")]
    domain: String,
    /// What stands after the slash.
    #[schema(example = "4fK9aQz")]
    code: String,
    /// `generated`, `alias` (found in any case), or `foreign` (made elsewhere and kept as it was).
    #[schema(example = "generated")]
    code_kind: &'static str,
    #[schema(example = "http://localhost:8080/4fK9aQz")]
    short_url: String,
    /// Where the link leads, as canonicalised.
    #[schema(example = "https://example.com/a")]
    target: String,
    title: Option<String>,
    tags: Vec<String>,
    /// `active`, `disabled`, `deleted` or `blocked`. Never tells of expiry.
    state: &'static str,
    /// In effect: the link's own, else its domain's.
    redirect_status: u16,
    /// In effect: `exact`, `balanced` or `fast`.
    caching: &'static str,
    /// Whether the query of a request is appended to the target.
    forward_query: bool,
    #[schema(format = DateTime)]
    starts_at: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Redirects after which the link is used up.
    max_clicks: Option<u64>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// 1 when created, one more for each change.
    version: u32,
    owner: String,
}

impl LinkView {
    pub(crate) fn new(api: &Api, link: &Link) -> Self {
        let directory = api.gateway.services.domains.directory();
        let domain = directory.get(link.domain).map(AsRef::as_ref);
        let code = link.code.as_str();
        Self {
            id: link.id.to_string(),
            domain: domain.map(|domain| domain.host.to_string()).unwrap_or_default(),
            code: code.to_owned(),
            code_kind: link.code.kind().as_str(),
            short_url: domain.map(|domain| api.gateway.short_url(domain, code)).unwrap_or_default(),
            target: link.target.to_string(),
            title: link.title.as_ref().map(ToString::to_string),
            tags: link.tags.iter().map(ToString::to_string).collect(),
            state: link.shown_state().as_str(),
            redirect_status: effective_status(link, domain),
            caching: effective_caching(link, domain),
            forward_query: link.forward_query,
            starts_at: link.starts_at.map(time::format),
            expires_at: link.expires_at.map(time::format),
            max_clicks: link.max_clicks,
            created_at: time::format(link.created_at),
            updated_at: time::format(link.updated_at),
            version: link.version,
            owner: link.owner.to_string(),
        }
    }
}

fn effective_status(link: &Link, domain: Option<&Domain>) -> u16 {
    link.redirect_status.or_else(|| domain?.redirect_status).unwrap_or_default().code()
}

/// A link with a click budget is asked for each time, whatever it or its domain says.
fn effective_caching(link: &Link, domain: Option<&Domain>) -> &'static str {
    if link.max_clicks.is_some() {
        return domain::Caching::Exact.as_str();
    }
    link.caching.or_else(|| domain?.caching).unwrap_or_default().as_str()
}
