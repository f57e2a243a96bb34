//! `/links/{id}/history`: clicks counted elsewhere, before the link came here.

use std::sync::Arc;

use axum::extract::State;
use domain::api::HistoryDay;
use domain::{Counts, FieldError, Reason, Scope, limits};
use serde_json::Value;
use utoipa::ToSchema;

use super::fields::{Fields, TIME, U64};
use super::request::{Call, Payload, Segments, link_id};
use super::{Answer, Api, no_content};
use crate::openapi::ProblemDoc;
use crate::problem::Problem;

/// Days that a link was clicked on elsewhere.
#[derive(ToSchema)]
#[schema(as = History)]
#[expect(dead_code, reason = "documents what `import` reads by hand")]
pub(crate) struct HistoryDoc {
    #[schema(min_items = 1, max_items = 1000)]
    days: Vec<HistoryDayDoc>,
}

#[derive(ToSchema)]
#[schema(as = HistoryDay)]
#[expect(dead_code, reason = "documents what `import` reads by hand")]
pub(crate) struct HistoryDayDoc {
    /// Midnight UTC, not later than now.
    #[schema(format = DateTime, example = "2026-11-01T00:00:00Z")]
    start: String,
    clicks: u64,
    /// No more than `clicks`.
    humans: u64,
    /// Distinct within the day; no more than `humans`.
    visitors: u64,
}

/// Adds clicks counted elsewhere.
///
/// Importing a day again changes nothing, unless it has more clicks than before: then these replace it.
#[utoipa::path(post, path = "/api/v1/links/{id}/history", tag = "stats", operation_id = "importHistory", security(("key" = ["admin"])),
    params(("id" = String, Path)),
    request_body = HistoryDoc,
    responses(
        (status = 204, description = "Counted"),
        (status = 422, description = "One entry in `errors` for each wrong field", body = ProblemDoc),
        (status = "default", body = ProblemDoc)))]
pub(crate) async fn import(State(api): State<Arc<Api>>, call: Call, Segments(id): Segments<String>, payload: Payload) -> Answer {
    call.require(Scope::Admin)?;
    let id = link_id(&id)?;
    let days = read(payload.json()?)?;
    let services = &api.gateway.services;
    let link = services.links.get(&call.context, id).await?;
    services.history.import(link.id, &link.owner, &days, call.context.deadline).await?;
    Ok(no_content())
}

fn read(body: Value) -> Result<Vec<HistoryDay>, Problem> {
    let mut fields = Fields::new(body);
    let mut days = Vec::new();
    match fields.take("days") {
        Some(Value::Array(items)) if (1..=limits::HISTORY_LEN_MAX).contains(&items.len()) => {
            for (i, item) in items.into_iter().enumerate() {
                match day(item) {
                    Ok(day) => days.push(day),
                    Err(errors) => errors
                        .iter()
                        .for_each(|error| fields.fail(&format!("/days/{i}{}", error.pointer), error.reason, error.detail.as_str())),
                }
            }
        }
        Some(_) | None => fields.fail("/days", Reason::InvalidField, format!("expected a list of 1 to {} days", limits::HISTORY_LEN_MAX)),
    }
    fields.finish()?;
    Ok(days)
}

fn day(item: Value) -> Result<HistoryDay, Vec<FieldError>> {
    let mut fields = Fields::new(item);
    let start = fields.required("start", &TIME);
    let [clicks, humans, visitors] = ["clicks", "humans", "visitors"].map(|name| fields.required(name, &U64));
    fields.refuse_rest();
    match (start, clicks, humans, visitors) {
        (Some(start), Some(clicks), Some(humans), Some(visitors)) if fields.errors.is_empty() => {
            Ok(HistoryDay { start, counts: Counts { clicks, humans }, visitors })
        }
        _ => Err(fields.errors),
    }
}
