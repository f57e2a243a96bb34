//! Statistics as messages, and back.

use domain::api::{Bucket, HistoryDay, Period, Series, SeriesQuery, Share, TopLink};
use domain::limits::{DIMENSION_VALUES_MAX, HISTORY_LEN_MAX, SERIES_LEN_MAX};
use domain::{Counts, Dimension, Error, Interval, LinkId, Owner, Reason, Result, Subject, UnixMs};

use crate::call::broken;
use crate::proto;

/// Bytes of a time zone's name; the longest known has 32.
const TIME_ZONE_LEN_MAX: usize = 64;
/// Rows of one answer.
pub(super) const ROWS_MAX: usize = 1_000;
/// Bytes of a dimension's value.
const VALUE_LEN_MAX: usize = 1_024;

pub(super) fn to_subject(subject: &Subject) -> proto::Subject {
    use proto::subject::Of;
    let of = match subject {
        Subject::Link(link) => Of::Link(link.get()),
        Subject::Owner(owner) => Of::Owner(owner.as_str().to_owned()),
        Subject::Everyone => Of::Everyone(proto::Everyone {}),
    };
    proto::Subject { of: Some(of) }
}

pub(super) fn subject(message: Option<proto::Subject>) -> Result<Subject> {
    use proto::subject::Of;
    match message.and_then(|subject| subject.of) {
        Some(Of::Link(link)) => Ok(Subject::Link(LinkId::new(link))),
        Some(Of::Owner(owner)) => owner_of(&owner).map(Subject::Owner),
        Some(Of::Everyone(_)) => Ok(Subject::Everyone),
        None => Err(Error::field("/subject", Reason::InvalidField, "say whose clicks: a link, an owner or everyone")),
    }
}

pub(super) fn owner_of(text: &str) -> Result<Owner> {
    Owner::parse(text).map_err(|error| Error::field("/owner", Reason::InvalidField, error.to_string()))
}

pub(super) fn to_period(period: Period) -> proto::Period {
    proto::Period { from_ms: period.from.get(), to_ms: period.to.get() }
}

pub(super) fn period(message: proto::Period) -> Period {
    Period { from: UnixMs::new(message.from_ms), to: UnixMs::new(message.to_ms) }
}

const fn to_interval(interval: Interval) -> proto::Interval {
    match interval {
        Interval::Hour => proto::Interval::Hour,
        Interval::Day => proto::Interval::Day,
        Interval::Month => proto::Interval::Month,
    }
}

fn interval(number: i32) -> Option<Interval> {
    match proto::Interval::try_from(number).ok()? {
        proto::Interval::Unspecified | proto::Interval::Day => Some(Interval::Day),
        proto::Interval::Hour => Some(Interval::Hour),
        proto::Interval::Month => Some(Interval::Month),
    }
}

pub(super) fn to_query(query: &SeriesQuery) -> proto::SeriesQuery {
    proto::SeriesQuery {
        period: query.period.map(to_period),
        interval: to_interval(query.interval).into(),
        time_zone: query.time_zone.clone().unwrap_or_default(),
    }
}

pub(super) fn query(message: Option<proto::SeriesQuery>) -> Result<SeriesQuery> {
    let message = message.unwrap_or_default();
    if message.time_zone.len() > TIME_ZONE_LEN_MAX {
        return Err(Error::field("/tz", Reason::InvalidField, "is no IANA time zone"));
    }
    let interval =
        interval(message.interval).ok_or_else(|| Error::field("/interval", Reason::InvalidField, "expected one of hour, day, month"))?;
    let time_zone = (!message.time_zone.is_empty()).then_some(message.time_zone);
    Ok(SeriesQuery { period: message.period.map(period), interval, time_zone })
}

fn to_counts(counts: Counts) -> Option<proto::Counts> {
    // Most buckets are empty: nothing is sent for them.
    (counts != Counts::default()).then_some(proto::Counts { clicks: counts.clicks, humans: counts.humans })
}

fn counts(message: Option<proto::Counts>) -> Counts {
    message.map_or_else(Counts::default, |counts| Counts { clicks: counts.clicks, humans: counts.humans })
}

pub(super) fn to_series(series: &Series) -> proto::Series {
    let bucket =
        |bucket: &Bucket| proto::Bucket { start_ms: bucket.start.get(), counts: to_counts(bucket.counts), visitors: bucket.visitors };
    proto::Series {
        period: Some(to_period(series.period)),
        interval: to_interval(series.interval).into(),
        counts: to_counts(series.counts),
        visitors: series.visitors,
        buckets: series.buckets.iter().map(bucket).collect(),
    }
}

pub(super) fn series(message: proto::Series) -> Result<Series> {
    let (Some(of), Some(interval)) = (message.period, interval(message.interval)) else {
        return Err(broken("a series without period or interval"));
    };
    if message.buckets.len() > SERIES_LEN_MAX {
        return Err(broken("a series that is too long"));
    }
    let bucket =
        |bucket: proto::Bucket| Bucket { start: UnixMs::new(bucket.start_ms), counts: counts(bucket.counts), visitors: bucket.visitors };
    Ok(Series {
        period: period(of),
        interval,
        counts: counts(message.counts),
        visitors: message.visitors,
        buckets: message.buckets.into_iter().map(bucket).collect(),
    })
}

pub(super) fn to_dimension(dimension: Dimension) -> i32 {
    i32::from(dimension.number())
}

pub(super) fn dimension(number: i32) -> Result<Dimension> {
    let known = u8::try_from(number).ok().and_then(Dimension::from_number);
    known.ok_or_else(|| Error::field("/dimension", Reason::InvalidField, "is none of the dimensions"))
}

/// More than [`ROWS_MAX`] rows are never asked for: an answer must fit its message.
pub(super) fn to_limit(limit: usize) -> u32 {
    u32::try_from(limit.min(ROWS_MAX)).unwrap_or(u32::MAX)
}

pub(super) fn limit(limit: u32) -> Result<usize> {
    usize::try_from(limit)
        .ok()
        .filter(|limit| *limit <= ROWS_MAX)
        .ok_or_else(|| Error::field("/limit", Reason::InvalidField, format!("must be at most {ROWS_MAX}")))
}

pub(super) fn to_share(share: Share) -> proto::Share {
    proto::Share { value: share.value, clicks: share.clicks, share: share.share }
}

pub(super) fn shares(message: proto::BreakdownResponse) -> Result<Vec<Share>> {
    let right = |share: &proto::Share| share.value.len() <= VALUE_LEN_MAX && (0.0..=1.0).contains(&share.share);
    if message.shares.len() > ROWS_MAX.max(DIMENSION_VALUES_MAX) || !message.shares.iter().all(right) {
        return Err(broken("shares that are none"));
    }
    Ok(message.shares.into_iter().map(|share| Share { value: share.value, clicks: share.clicks, share: share.share }).collect())
}

pub(super) fn to_top_link(top: TopLink) -> proto::TopLink {
    proto::TopLink { link: top.link.get(), counts: to_counts(top.counts) }
}

pub(super) fn top_links(message: proto::TopLinksResponse) -> Result<Vec<TopLink>> {
    if message.links.len() > ROWS_MAX {
        return Err(broken("more links than were asked for"));
    }
    Ok(message.links.into_iter().map(|top| TopLink { link: LinkId::new(top.link), counts: counts(top.counts) }).collect())
}

pub(super) fn to_day(day: &HistoryDay) -> proto::HistoryDay {
    proto::HistoryDay { start_ms: day.start.get(), counts: to_counts(day.counts), visitors: day.visitors }
}

pub(super) fn days(messages: Vec<proto::HistoryDay>) -> Result<Vec<HistoryDay>> {
    if messages.len() > HISTORY_LEN_MAX {
        return Err(Error::field("/days", Reason::InvalidField, format!("must be at most {HISTORY_LEN_MAX}")));
    }
    let day = |day: proto::HistoryDay| HistoryDay { start: UnixMs::new(day.start_ms), counts: counts(day.counts), visitors: day.visitors };
    Ok(messages.into_iter().map(day).collect())
}
