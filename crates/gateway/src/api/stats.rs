//! `/stats` and `/links/{id}/stats`: clicks over time, by dimension, and the links clicked most.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use domain::api::{Period, Series, SeriesQuery};
use domain::{Dimension, Interval, LinkId, Reason, Scope, Subject};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::fields::Params;
use super::request::{Call, Segments, link_id};
use super::view::LinkView;
use super::{Answer, Api, json, time};
use crate::openapi::ProblemDoc;
use crate::problem::Problem;

const PERIOD_DEFAULT: std::time::Duration = std::time::Duration::from_hours(30 * 24);
const VALUES_DEFAULT: usize = 50;
const VALUES_MAX: usize = 1_000;
const TOP_DEFAULT: usize = 10;
const TOP_MAX: usize = 100;
/// Links of the top list fetched at once.
const FETCHES_MAX: usize = 8;
/// Bytes of an IANA time zone name.
const TIME_ZONE_LEN_MAX: usize = 64;

#[derive(Serialize, ToSchema)]
#[schema(as = Bucket)]
pub(crate) struct BucketView {
    #[schema(format = DateTime)]
    start: String,
    clicks: u64,
    humans: u64,
    visitors: u64,
}

/// Clicks over time. `total = humans + bots`.
#[derive(Serialize, ToSchema)]
#[schema(as = Series)]
pub(crate) struct SeriesView {
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    interval: &'static str,
    /// Every redirect answered.
    total: u64,
    humans: u64,
    /// HEAD, prefetch, and known crawlers and link-preview fetchers.
    bots: u64,
    /// Distinct within each UTC day, summed over the days.
    visitors: u64,
    /// Zero-filled, in order.
    series: Vec<BucketView>,
}

impl From<&Series> for SeriesView {
    fn from(series: &Series) -> Self {
        let buckets = series.buckets.iter().map(|bucket| BucketView {
            start: time::format(bucket.start),
            clicks: bucket.counts.clicks,
            humans: bucket.counts.humans,
            visitors: bucket.visitors,
        });
        Self {
            from: time::format(series.period.from),
            to: time::format(series.period.to),
            interval: series.interval.as_str(),
            total: series.counts.clicks,
            humans: series.counts.humans,
            bots: series.counts.clicks.saturating_sub(series.counts.humans),
            visitors: series.visitors,
            series: buckets.collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Share)]
pub(crate) struct ShareView {
    /// Empty: not known.
    value: String,
    clicks: u64,
    /// Of all clicks of the period, 0 to 1.
    share: f64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Breakdown)]
pub(crate) struct BreakdownView {
    /// The most frequent first.
    data: Vec<ShareView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TopLink)]
pub(crate) struct TopLinkView {
    link: LinkView,
    clicks: u64,
    humans: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TopLinks)]
pub(crate) struct TopLinksView {
    /// The most clicked first.
    data: Vec<TopLinkView>,
}

/// Clicks of one link over time.
#[utoipa::path(get, path = "/api/v1/links/{id}/stats", tag = "stats", operation_id = "linkStats", security(("key" = ["stats:read"])),
    params(
        ("id" = String, Path),
        ("from" = Option<String>, Query, format = DateTime, description = "Inclusive; 30 days before `to` when absent"),
        ("to" = Option<String>, Query, format = DateTime, description = "Exclusive; now when absent"),
        ("interval" = Option<String>, Query, description = "`hour`, `day` or `month`; `day` when absent"),
        ("tz" = Option<String>, Query, description = "An IANA time zone; `UTC` when absent")),
    responses((status = 200, body = SeriesView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn link_series(
    State(api): State<Arc<Api>>,
    call: Call,
    Segments(id): Segments<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let subject = link_subject(&api, &call, &id).await?;
    answer_series(&api, &call, &subject, raw.as_deref()).await
}

/// Clicks of all the caller's links over time; of all links there are, for an admin.
#[utoipa::path(get, path = "/api/v1/stats", tag = "stats", operation_id = "stats", security(("key" = ["stats:read"])),
    params(
        ("from" = Option<String>, Query, format = DateTime),
        ("to" = Option<String>, Query, format = DateTime),
        ("interval" = Option<String>, Query, description = "`hour`, `day` or `month`; `day` when absent"),
        ("tz" = Option<String>, Query, description = "An IANA time zone; `UTC` when absent")),
    responses((status = 200, body = SeriesView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn series(State(api): State<Arc<Api>>, call: Call, RawQuery(raw): RawQuery) -> Answer {
    call.require(Scope::StatsRead)?;
    answer_series(&api, &call, &own_subject(&call), raw.as_deref()).await
}

/// Clicks of one link by a dimension.
#[utoipa::path(get, path = "/api/v1/links/{id}/stats/{dimension}", tag = "stats", operation_id = "linkBreakdown",
    security(("key" = ["stats:read"])),
    params(
        ("id" = String, Path),
        ("dimension" = String, Path, description = "`countries`, `referrers`, `browsers`, `systems`, `devices`, `languages`, `utm_source`, `utm_medium`, `utm_campaign` or `bots`"),
        ("from" = Option<String>, Query, format = DateTime),
        ("to" = Option<String>, Query, format = DateTime),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "50 when absent")),
    responses((status = 200, body = BreakdownView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn link_breakdown(
    State(api): State<Arc<Api>>,
    call: Call,
    Segments((id, name)): Segments<(String, String)>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let subject = link_subject(&api, &call, &id).await?;
    answer_breakdown(&api, &call, &subject, &name, raw.as_deref()).await
}

/// Clicks of all the caller's links by a dimension.
#[utoipa::path(get, path = "/api/v1/stats/{dimension}", tag = "stats", operation_id = "breakdown", security(("key" = ["stats:read"])),
    params(
        ("dimension" = String, Path, description = "As for one link"),
        ("from" = Option<String>, Query, format = DateTime),
        ("to" = Option<String>, Query, format = DateTime),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "50 when absent")),
    responses((status = 200, body = BreakdownView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn breakdown(
    State(api): State<Arc<Api>>,
    call: Call,
    Segments(name): Segments<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    call.require(Scope::StatsRead)?;
    answer_breakdown(&api, &call, &own_subject(&call), &name, raw.as_deref()).await
}

/// The caller's links that were clicked most.
#[utoipa::path(get, path = "/api/v1/stats/links", tag = "stats", operation_id = "topLinks", security(("key" = ["stats:read"])),
    params(
        ("from" = Option<String>, Query, format = DateTime),
        ("to" = Option<String>, Query, format = DateTime),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "10 when absent")),
    responses((status = 200, body = TopLinksView), (status = "default", body = ProblemDoc)))]
pub(crate) async fn top_links(State(api): State<Arc<Api>>, call: Call, RawQuery(raw): RawQuery) -> Answer {
    call.require(Scope::StatsRead)?;
    let mut params = Params::new(raw.as_deref());
    let period = period(&api, &mut params);
    let limit = params.limit(TOP_DEFAULT, TOP_MAX);
    params.finish()?;
    let services = &api.gateway.services;
    let top = services.stats.top_links(&own_subject(&call), period, limit, call.context.deadline).await?;
    let links = stream::iter(top).map(|top| {
        let context = &call.context;
        async move {
            match services.links.get(context, top.link).await {
                Ok(link) => Ok(Some((top, link))),
                // Counted once, but not theirs to see, or not there: left out.
                Err(error) if error.reason() == Reason::NotFound => Ok(None),
                Err(error) => Err(Problem::from(error)),
            }
        }
    });
    let found: Vec<_> = links.buffered(FETCHES_MAX).try_collect().await?;
    let data = found.into_iter().flatten().map(|(top, link)| TopLinkView {
        link: LinkView::new(&api, &link),
        clicks: top.counts.clicks,
        humans: top.counts.humans,
    });
    json(StatusCode::OK, &TopLinksView { data: data.collect() })
}

/// A link's clicks are for those who may see the link.
async fn link_subject(api: &Api, call: &Call, id: &str) -> Result<Subject, Problem> {
    call.require(Scope::StatsRead)?;
    let id: LinkId = link_id(id)?;
    let link = api.gateway.services.links.get(&call.context, id).await?;
    Ok(Subject::Link(link.id))
}

fn own_subject(call: &Call) -> Subject {
    let caller = call.caller();
    if caller.is_admin() { Subject::Everyone } else { Subject::Owner(caller.owner.clone()) }
}

async fn answer_series(api: &Api, call: &Call, subject: &Subject, raw: Option<&str>) -> Answer {
    let mut params = Params::new(raw);
    let period = period(api, &mut params);
    let interval = params.parsed("interval", "one of hour, day, month", Interval::parse).unwrap_or_default();
    let name = |text: &str| (text.len() <= TIME_ZONE_LEN_MAX && text.is_ascii()).then(|| text.to_owned());
    let time_zone = params.parsed("tz", "an IANA time zone such as Europe/Berlin", name);
    params.finish()?;
    let query = SeriesQuery { period, interval, time_zone };
    let series = api.gateway.services.stats.series(subject, &query, call.context.deadline).await?;
    json(StatusCode::OK, &SeriesView::from(&series))
}

async fn answer_breakdown(api: &Api, call: &Call, subject: &Subject, name: &str, raw: Option<&str>) -> Answer {
    let dimension = Dimension::parse(name).ok_or_else(|| Problem::new(Reason::NotFound, "there is no such dimension"))?;
    let mut params = Params::new(raw);
    let period = period(api, &mut params);
    let limit = params.limit(VALUES_DEFAULT, VALUES_MAX);
    params.finish()?;
    let shares = api.gateway.services.stats.breakdown(subject, dimension, period, limit, call.context.deadline).await?;
    let data = shares.into_iter().map(|share| ShareView { value: share.value, clicks: share.clicks, share: share.share });
    json(StatusCode::OK, &BreakdownView { data: data.collect() })
}

/// `None`: as the service has it, the last 30 days.
fn period(api: &Api, params: &mut Params) -> Option<Period> {
    let (from, to) = (params.time("from"), params.time("to"));
    if from.is_none() && to.is_none() {
        return None;
    }
    let to = to.unwrap_or_else(|| api.gateway.services.clock.now());
    let from = from.unwrap_or_else(|| to.saturating_sub(PERIOD_DEFAULT));
    if from >= to {
        params.fail("from", "must be earlier than `to`");
        return None;
    }
    Some(Period { from, to })
}
