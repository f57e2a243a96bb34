//! `/domains`: the hosts that serve short links, with their defaults.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use domain::port::DomainAdded;
use domain::target::{PrivateAddresses, TargetError, TargetPolicy};
use domain::{Caching, Change, Directory, Domain, DomainNo, Host, Reason, RedirectStatus, Scope, Target};
use http::StatusCode;
use http::header::LOCATION;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::fields::{Fields, Params, STRING, U16};
use super::once::{self, Begun};
use super::request::{Call, Payload, Segments};
use super::{Answer, Api, header, json, no_content, time};
use crate::openapi::ProblemDoc;
use crate::problem::Problem;

/// A host to serve.
#[derive(ToSchema)]
#[schema(as = NewDomain)]
#[expect(dead_code, reason = "documents what `create` reads by hand")]
pub(crate) struct NewDomainDoc {
    #[schema(example = "go.example.com", max_length = 253)]
    host: String,
    /// 301, 302, 307 or 308; 302 when absent.
    redirect_status: Option<u16>,
    /// `exact`, `balanced` or `fast`; `exact` when absent.
    caching: Option<String>,
    /// Where `GET /` leads; the landing page when absent.
    landing_url: Option<String>,
    /// Where browsers are sent for codes that lead nowhere; the 404 page when absent.
    not_found_url: Option<String>,
}

/// Changes to a domain (RFC 7396): `null` restores the default. The host stays.
#[derive(ToSchema)]
#[schema(as = DomainPatch)]
#[expect(dead_code, reason = "documents what `update` reads by hand")]
pub(crate) struct DomainPatchDoc {
    redirect_status: Option<u16>,
    caching: Option<String>,
    landing_url: Option<String>,
    not_found_url: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Domain)]
pub(crate) struct DomainView {
    host: String,
    /// Whether links without a domain are made here.
    default: bool,
    redirect_status: u16,
    caching: &'static str,
    landing_url: Option<String>,
    not_found_url: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<&Domain> for DomainView {
    fn from(domain: &Domain) -> Self {
        Self {
            host: domain.host.to_string(),
            default: domain.is_default(),
            redirect_status: domain.redirect_status.unwrap_or_default().code(),
            caching: domain.caching.unwrap_or_default().as_str(),
            landing_url: domain.landing_url.as_ref().map(ToString::to_string),
            not_found_url: domain.not_found_url.as_ref().map(ToString::to_string),
            created_at: time::format(domain.created_at),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Domains)]
pub(crate) struct DomainsView {
    /// The default domain first, then by host.
    data: Vec<DomainView>,
}

/// What a domain says of its links, as asked for.
#[derive(Default)]
struct Defaults {
    redirect_status: Change<RedirectStatus>,
    caching: Change<Caching>,
    landing_url: Change<Target>,
    not_found_url: Change<Target>,
}

impl Defaults {
    /// `own`: a host beside those served already that targets must not lead to.
    fn read(fields: &mut Fields, directory: &Directory, own: Option<&Host>) -> Self {
        let serves = |host: &str| directory.serves(host) || own.is_some_and(|own| own.name() == host);
        // Operators may send their own people to their own network.
        let policy = TargetPolicy { is_own_host: &serves, private_addresses: PrivateAddresses::Allowed };
        let status = fields.change("redirect_status", &U16);
        let caching = fields.change("caching", &STRING);
        Self {
            redirect_status: checked(fields, "redirect_status", status, |code| {
                RedirectStatus::from_code(code).ok_or_else(|| (Reason::InvalidField, "expected one of 301, 302, 307, 308".into()))
            }),
            caching: checked(fields, "caching", caching, |text| {
                Caching::parse(&text).ok_or_else(|| (Reason::InvalidField, "expected one of exact, balanced, fast".into()))
            }),
            landing_url: target(fields, "landing_url", &policy),
            not_found_url: target(fields, "not_found_url", &policy),
        }
    }

    fn apply(self, domain: Domain) -> Domain {
        Domain {
            redirect_status: self.redirect_status.apply(domain.redirect_status),
            caching: self.caching.apply(domain.caching),
            landing_url: self.landing_url.apply(domain.landing_url),
            not_found_url: self.not_found_url.apply(domain.not_found_url),
            ..domain
        }
    }
}

fn checked<T, U>(fields: &mut Fields, name: &str, change: Change<T>, check: impl FnOnce(T) -> Result<U, (Reason, String)>) -> Change<U> {
    match change {
        Change::Keep => Change::Keep,
        Change::Clear => Change::Clear,
        Change::Set(value) => match check(value) {
            Ok(value) => Change::Set(value),
            Err((reason, detail)) => {
                fields.fail(&format!("/{name}"), reason, detail);
                Change::Keep
            }
        },
    }
}

fn target(fields: &mut Fields, name: &str, policy: &TargetPolicy<'_>) -> Change<Target> {
    let text = fields.change(name, &STRING);
    checked(fields, name, text, |text| {
        Target::parse(&text, policy).map_err(|error| match error {
            TargetError::Invalid(detail) => (Reason::InvalidTarget, detail),
            TargetError::NotAllowed(detail) => (Reason::TargetNotAllowed, detail),
        })
    })
}

/// Adds a host.
///
/// A repeated request with an `Idempotency-Key` is answered with the domain it made.
#[utoipa::path(post, path = "/api/v1/domains", tag = "domains", operation_id = "createDomain", security(("key" = ["admin"])),
    request_body = NewDomainDoc,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 201, body = DomainView, headers(("Location" = String))),
        (status = 409, description = "`domain_taken`", body = ProblemDoc),
        (status = "default", body = ProblemDoc)))]
pub(crate) async fn create(State(api): State<Arc<Api>>, call: Call, payload: Payload) -> Answer {
    call.require(Scope::Admin)?;
    let body = payload.json()?;
    let once = payload.once(&body)?;
    let services = &api.gateway.services;
    let wanted = wanted(body, &services.domains.directory(), services.clock.now())?;
    let may_repeat = once.is_some();
    // A domain is told from others by its host: the claim only keeps the key for this request.
    if let Begun::First(turn) = once::begin(&api, &call, once).await? {
        turn.settle(&api, DomainNo::DEFAULT.get().into()).await;
    }
    let domain = match services.domains.insert(wanted.clone()).await? {
        DomainAdded::Added(domain) => domain,
        DomainAdded::Taken(domain) if may_repeat && same(&domain, &wanted) => domain,
        DomainAdded::Taken(_) => return Err(Problem::field("/host", Reason::DomainTaken, "this host is served already")),
    };
    let mut response = json(StatusCode::CREATED, &DomainView::from(&domain))?;
    response.headers_mut().insert(LOCATION, header(&format!("/api/v1/domains/{}", domain.host))?);
    Ok(response)
}

/// Whether a domain is what this very request would have made.
fn same(stored: &Domain, wanted: &Domain) -> bool {
    let as_made = Domain { no: stored.no, created_at: stored.created_at, foreign_codes: stored.foreign_codes, ..wanted.clone() };
    !stored.is_default() && *stored == as_made
}

fn wanted(body: Value, directory: &Directory, now: domain::UnixMs) -> Result<Domain, Problem> {
    let mut fields = Fields::new(body);
    let host = fields.required("host", &STRING).and_then(|text| match Host::parse(&text) {
        Ok(host) if host.is_loopback() => {
            fields.fail("/host", Reason::InvalidField, "loopback names mean the default domain");
            None
        }
        Ok(host) => Some(host),
        Err(error) => {
            fields.fail("/host", Reason::InvalidField, error.to_string());
            None
        }
    });
    let defaults = Defaults::read(&mut fields, directory, host.as_ref());
    fields.finish()?;
    let host = host.ok_or_else(|| Problem::field("/host", Reason::InvalidField, "is required"))?;
    // The store gives the number.
    let empty = Domain {
        no: DomainNo::DEFAULT,
        host,
        redirect_status: None,
        caching: None,
        landing_url: None,
        not_found_url: None,
        foreign_codes: false,
        created_at: now,
    };
    Ok(defaults.apply(empty))
}

/// The hosts served.
#[utoipa::path(get, path = "/api/v1/domains", tag = "domains", operation_id = "listDomains", security(("key" = ["links:read"])),
    responses((status = 200, body = DomainsView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn list(State(api): State<Arc<Api>>, call: Call, RawQuery(raw): RawQuery) -> Answer {
    call.require(Scope::LinksRead)?;
    Params::new(raw.as_deref()).finish()?;
    let directory = api.gateway.services.domains.directory();
    let mut domains: Vec<_> = directory.iter().collect();
    domains.sort_unstable_by_key(|domain| (!domain.is_default(), domain.host.as_str()));
    let data = domains.into_iter().map(|domain| DomainView::from(domain.as_ref())).collect();
    json(StatusCode::OK, &DomainsView { data })
}

/// One host.
#[utoipa::path(get, path = "/api/v1/domains/{host}", tag = "domains", operation_id = "getDomain", security(("key" = ["links:read"])),
    params(("host" = String, Path)),
    responses((status = 200, body = DomainView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn show(State(api): State<Arc<Api>>, call: Call, Segments(host): Segments<String>) -> Answer {
    call.require(Scope::LinksRead)?;
    json(StatusCode::OK, &DomainView::from(find(&api, &host)?.as_ref()))
}

/// Changes a host's defaults.
#[utoipa::path(patch, path = "/api/v1/domains/{host}", tag = "domains", operation_id = "updateDomain", security(("key" = ["admin"])),
    params(("host" = String, Path)),
    request_body(content(
        (DomainPatchDoc = "application/json"),
        (DomainPatchDoc = "application/merge-patch+json"))),
    responses((status = 200, body = DomainView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn update(State(api): State<Arc<Api>>, call: Call, Segments(host): Segments<String>, payload: Payload) -> Answer {
    call.require(Scope::Admin)?;
    let domain = find(&api, &host)?;
    let mut fields = Fields::new(payload.json()?);
    let defaults = Defaults::read(&mut fields, &api.gateway.services.domains.directory(), None);
    fields.finish()?;
    let changed = defaults.apply(domain.as_ref().clone());
    let stored = api.gateway.services.domains.update(changed).await?.ok_or_else(missing)?;
    json(StatusCode::OK, &DomainView::from(&stored))
}

/// Removes a host that no links belong to.
#[utoipa::path(delete, path = "/api/v1/domains/{host}", tag = "domains", operation_id = "deleteDomain", security(("key" = ["admin"])),
    params(("host" = String, Path)),
    responses(
        (status = 204, description = "Removed"),
        (status = 409, description = "`domain_in_use`: links remain, deleted ones too, or it is the default", body = ProblemDoc),
        (status = "default", body = ProblemDoc)))]
pub(crate) async fn remove(State(api): State<Arc<Api>>, call: Call, Segments(host): Segments<String>) -> Answer {
    call.require(Scope::Admin)?;
    let domain = find(&api, &host)?;
    if domain.is_default() {
        return Err(Problem::new(Reason::DomainInUse, "the default domain cannot be removed"));
    }
    let services = &api.gateway.services;
    if services.links.any_in_domain(&call.context, domain.no).await? {
        return Err(Problem::new(Reason::DomainInUse, "links remain; codes of deleted links stay taken for ever"));
    }
    services.domains.remove(domain.no).await?;
    Ok(no_content())
}

/// By exact host: a name that only means a domain does not change it.
fn find(api: &Api, text: &str) -> Result<Arc<Domain>, Problem> {
    let host = Host::parse(text).map_err(|_| missing())?;
    let directory = api.gateway.services.domains.directory();
    let found = directory.iter().find(|domain| domain.host == host).cloned();
    found.ok_or_else(missing)
}

fn missing() -> Problem {
    Problem::new(Reason::NotFound, "domain not found")
}
