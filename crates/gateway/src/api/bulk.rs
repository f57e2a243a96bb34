//! Many links at once: creates answered one by one, deletes as a job.

use std::sync::Arc;

use axum::extract::State;
use domain::api::{Created, Selection};
use domain::{Host, LinkDraft, LinkId, Reason, Scope, Tag, limits};
use http::StatusCode;
use http::header::LOCATION;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::draft::{self, NewLinkDoc};
use super::fields::{Fields, STRING};
use super::jobs::JobView;
use super::links::finds_by_content;
use super::once::{self, Begun};
use super::request::{Call, Payload};
use super::view::LinkView;
use super::{Answer, Api, header, json};
use crate::openapi::ProblemDoc;
use crate::problem::Problem;

/// Links to make.
#[derive(ToSchema)]
#[schema(as = NewLinks)]
#[expect(dead_code, reason = "documents what `create` reads by hand")]
pub(crate) struct NewLinksDoc {
    #[schema(min_items = 1, max_items = 1000)]
    links: Vec<NewLinkDoc>,
}

/// What became of one link of a bulk: `link`, or `problem`, whose pointers are relative to the item.
#[derive(Serialize, ToSchema)]
#[schema(as = BulkResult)]
pub(crate) struct ResultView {
    /// What the same request would have answered alone.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ProblemDoc>)]
    problem: Option<Value>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BulkResults)]
pub(crate) struct ResultsView {
    /// In the order of the request.
    results: Vec<ResultView>,
}

/// Makes up to 1,000 links, each on its own.
///
/// Each item costs one creation; more than the limit leaves are refused whole.
#[utoipa::path(post, path = "/api/v1/links/bulk", tag = "links", operation_id = "createLinks", security(("key" = ["links:write"])),
    request_body = NewLinksDoc,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, for the bulk as a whole")),
    responses((status = 200, body = ResultsView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn create(State(api): State<Arc<Api>>, call: Call, payload: Payload) -> Answer {
    call.require(Scope::LinksWrite)?;
    let body = payload.json()?;
    let once = payload.once(&body)?;
    let items = items(body)?;
    let read: Vec<_> = items.into_iter().map(|item| draft::link(item, call.caller())).collect();
    call.charge_creations(&api, read.len()).await?;

    let drafts: Vec<LinkDraft> = read.iter().filter_map(|item| item.as_ref().ok()).cloned().collect();
    let made =
        if drafts.is_empty() { Vec::new() } else { api.gateway.services.links.bulk_create(&call.context, drafts, once.clone()).await? };
    let mut made = made.into_iter();
    let results = read.into_iter().map(|item| match item {
        Err(problem) => refused(&problem, &call),
        Ok(draft) => match made.next() {
            Some(Ok(Created::New(link))) => ResultView { status: 201, link: Some(LinkView::new(&api, &link)), problem: None },
            Some(Ok(Created::Found(link))) => {
                let status = if once.is_some() && !finds_by_content(&draft) { 201 } else { 200 };
                ResultView { status, link: Some(LinkView::new(&api, &link)), problem: None }
            }
            Some(Err(error)) => refused(&error.into(), &call),
            None => refused(&super::internal("a bulk create answered fewer items than asked"), &call),
        },
    });
    json(StatusCode::OK, &ResultsView { results: results.collect() })
}

fn refused(problem: &Problem, call: &Call) -> ResultView {
    problem.log(call.request_id.as_str());
    ResultView { status: problem.status().as_u16(), link: None, problem: Some(problem.to_json(None)) }
}

fn items(body: Value) -> Result<Vec<Value>, Problem> {
    let mut fields = Fields::new(body);
    let items = match fields.take("links") {
        Some(Value::Array(items)) if (1..=limits::BULK_LEN_MAX).contains(&items.len()) => items,
        _ => {
            let detail = format!("expected a list of 1 to {} links", limits::BULK_LEN_MAX);
            fields.fail("/links", Reason::InvalidField, detail);
            Vec::new()
        }
    };
    fields.finish()?;
    Ok(items)
}

/// Which links to delete: exactly one of the three.
#[derive(ToSchema)]
#[schema(as = BulkDelete)]
#[expect(dead_code, reason = "documents what `delete` reads by hand")]
pub(crate) struct SelectionDoc {
    #[schema(min_items = 1, max_items = 100_000)]
    ids: Option<Vec<String>>,
    tag: Option<String>,
    domain: Option<String>,
}

/// Deletes many links, as a job.
///
/// Without an `Idempotency-Key`, asking twice starts a second job, which deletes what has come since.
#[utoipa::path(post, path = "/api/v1/links/bulk-delete", tag = "links", operation_id = "deleteLinks", security(("key" = ["links:write"])),
    request_body = SelectionDoc,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    responses((status = 202, body = JobView, headers(("Location" = String))), (status = "default", body = ProblemDoc)))]
pub(crate) async fn delete(State(api): State<Arc<Api>>, call: Call, payload: Payload) -> Answer {
    call.require(Scope::LinksWrite)?;
    let body = payload.json()?;
    let once = payload.once(&body)?;
    let selection = selection(body)?;
    let links = &api.gateway.services.links;
    let job = match once::begin(&api, &call, once).await? {
        Begun::Again(id) => links.job(&call.context, LinkId::new(id)).await?,
        Begun::First(turn) => {
            let job = links.bulk_delete(&call.context, selection).await?;
            turn.settle(&api, job.id.get()).await;
            job
        }
    };
    let mut response = json(StatusCode::ACCEPTED, &JobView::from(&job))?;
    response.headers_mut().insert(LOCATION, header(&format!("/api/v1/jobs/{}", job.id))?);
    Ok(response)
}

fn selection(body: Value) -> Result<Selection, Problem> {
    let mut fields = Fields::new(body);
    let given = ["ids", "tag", "domain"].into_iter().filter(|name| fields.has(name)).count();
    if fields.errors.is_empty() && given != 1 {
        fields.fail("", Reason::InvalidField, "give exactly one of ids, tag and domain");
    }
    let ids = ids(&mut fields);
    let tag = fields.optional("tag", &STRING).and_then(|text| match Tag::parse(&text) {
        Ok(tag) => Some(tag),
        Err(error) => {
            fields.fail("/tag", Reason::InvalidField, error.to_string());
            None
        }
    });
    let domain = fields.optional("domain", &STRING).and_then(|text| match Host::parse(&text) {
        Ok(host) => Some(host),
        Err(error) => {
            fields.fail("/domain", Reason::InvalidField, error.to_string());
            None
        }
    });
    fields.finish()?;
    let selection = ids.map(Selection::Ids).or_else(|| tag.map(Selection::Tag)).or_else(|| domain.map(Selection::Domain));
    selection.ok_or_else(|| Problem::field("", Reason::InvalidField, "give exactly one of ids, tag and domain"))
}

fn ids(fields: &mut Fields) -> Option<Vec<LinkId>> {
    let texts = fields.strings("ids").apply(None)?;
    if !(1..=limits::BULK_DELETE_IDS_MAX).contains(&texts.len()) {
        fields.fail("/ids", Reason::InvalidField, format!("expected 1 to {} ids", limits::BULK_DELETE_IDS_MAX));
        return None;
    }
    let mut ids = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        match LinkId::parse(text) {
            Some(id) => ids.push(id),
            None => fields.fail(&format!("/ids/{i}"), Reason::InvalidField, "not the id of a link"),
        }
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_selection_and_no_more() {
        assert_eq!(selection(json!({"ids": ["1", "2"]})).unwrap(), Selection::Ids(vec![LinkId::new(1), LinkId::new(2)]));
        assert_eq!(selection(json!({"tag": "old", "ids": null})).unwrap(), Selection::Tag(Tag::from_stored("old")));
        assert_eq!(selection(json!({"domain": "A.example"})).unwrap(), Selection::Domain(Host::from_stored("a.example")));
        for wrong in [
            json!({}),
            json!([]),
            json!({"ids": []}),
            json!({"ids": ["x"]}),
            json!({"ids": [1]}),
            json!({"ids": "1"}),
            json!({"tag": ""}),
            json!({"tag": "a", "domain": "b.example"}),
            json!({"domain": "a b"}),
            json!({"tag": "a", "all": true}),
            json!({"tag": 1}),
        ] {
            assert!(selection(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_have_a_bound() {
        let many = |n: usize| json!({"ids": vec!["1"; n]});
        assert!(selection(many(limits::BULK_DELETE_IDS_MAX)).is_ok());
        assert!(selection(many(limits::BULK_DELETE_IDS_MAX + 1)).is_err());
    }

    #[test]
    fn a_bulk_has_one_to_a_thousand_items() {
        let many = |n: usize| json!({"links": vec![json!({}); n]});
        for (n, fits) in [(0, false), (1, true), (limits::BULK_LEN_MAX, true), (limits::BULK_LEN_MAX + 1, false)] {
            assert_eq!(items(many(n)).is_ok(), fits, "{n}");
        }
        assert!(items(json!({"links": {}})).is_err() && items(json!({"links": [1], "x": 1})).is_err());
    }
}
