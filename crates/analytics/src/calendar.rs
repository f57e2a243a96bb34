//! Periods and buckets in a time zone, in whole quarter-hours.
//!
//! Every zone's offset is a multiple of 15 minutes, so its hours, days and months begin with a slot, those
//! of 23, 25 or 23½ hours too.

use domain::api::{Period, SeriesQuery};
use domain::limits::SERIES_LEN_MAX;
use domain::{Error, Interval, Reason, Result, Slot, UnixMs};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// Days of the period when none is said, today included.
const DEFAULT_DAYS: i64 = 30;
/// Longer than any IANA name.
const ZONE_NAME_LEN_MAX: usize = 64;

/// Buckets that follow each other without a gap: bucket `i` is `starts[i]..starts[i + 1]`, the last ends at `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    pub(crate) starts: Vec<Slot>,
    pub(crate) to: Slot,
}

impl Buckets {
    pub(crate) fn from(&self) -> Slot {
        self.starts.first().copied().unwrap_or(self.to)
    }

    pub(crate) fn ranges(&self) -> impl Iterator<Item = (Slot, Slot)> {
        self.starts.iter().copied().zip(self.starts.iter().copied().skip(1).chain([self.to]))
    }

    /// The bucket that `slot`, within the period, lies in.
    pub(crate) fn index_of(&self, slot: Slot) -> usize {
        self.starts.partition_point(|start| *start <= slot).saturating_sub(1)
    }

    pub(crate) fn one(from: Slot, to: Slot) -> Self {
        Self { starts: vec![from], to }
    }

    /// The buckets of a query. A bucket that the period cuts begins and ends with the period.
    pub(crate) fn plan(query: &SeriesQuery, now: UnixMs) -> Result<Self> {
        let zone = zone(query.time_zone.as_deref())?;
        let (from, to) = slots(query.period, &zone, now)?;
        let mut starts = vec![from];
        let mut at = zoned(from, &zone, "/from")?;
        loop {
            at = next_start(&at, query.interval).map_err(|error| out_of_range("/to", error))?;
            let start = Slot::at(UnixMs::new(at.timestamp().as_millisecond()));
            if start >= to {
                break;
            }
            if starts.last().is_some_and(|last| *last < start) {
                starts.push(start);
            }
            if starts.len() > SERIES_LEN_MAX {
                let detail = format!(
                    "the period has more than {SERIES_LEN_MAX} buckets of one {}; choose a shorter one, or a longer interval",
                    query.interval.as_str()
                );
                return Err(Error::field("/interval", Reason::InvalidField, detail));
            }
        }
        Ok(Self { starts, to })
    }
}

fn zone(name: Option<&str>) -> Result<TimeZone> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    let found = (name.len() <= ZONE_NAME_LEN_MAX).then(|| TimeZone::get(name).ok()).flatten();
    found.ok_or_else(|| Error::field("/tz", Reason::InvalidField, "not a time zone; give an IANA name such as `Europe/Berlin`"))
}

/// The quarter-hours of a period: its start is moved down, its end up. When none is said, 30 days of the
/// zone, the last of them today, until now.
pub(crate) fn slots(period: Option<Period>, zone: &TimeZone, now: UnixMs) -> Result<(Slot, Slot)> {
    let Some(period) = period else {
        let to = ceil(now);
        let today = zoned(Slot::at(now), zone, "/to")?;
        let first = today.checked_sub(Span::new().days(DEFAULT_DAYS - 1)).and_then(|day| day.start_of_day());
        let first = first.map_err(|error| out_of_range("/from", error))?;
        return Ok((Slot::at(UnixMs::new(first.timestamp().as_millisecond())), to));
    };
    let (from, to) = (Slot::at(period.from), ceil(period.to));
    if period.from >= period.to || from >= to {
        return Err(Error::field("/to", Reason::InvalidField, "the period ends before it begins"));
    }
    Ok((from, to))
}

fn ceil(at: UnixMs) -> Slot {
    Slot::at(UnixMs::new(at.get().saturating_add(Slot::LEN_MS - 1)))
}

fn zoned(slot: Slot, zone: &TimeZone, pointer: &str) -> Result<Zoned> {
    let at = Timestamp::from_millisecond(slot.start().get()).map_err(|error| out_of_range(pointer, error))?;
    Ok(at.to_zoned(zone.clone()))
}

fn out_of_range(pointer: &str, error: jiff::Error) -> Error {
    Error::field(pointer, Reason::InvalidField, "outside of the years 1970 to 9999").with_source(error)
}

/// The first start of an hour, day or month after `at`.
fn next_start(at: &Zoned, interval: Interval) -> Result<Zoned, jiff::Error> {
    match interval {
        Interval::Hour => next_hour(at),
        Interval::Day => at.date().tomorrow()?.to_zoned(at.time_zone().clone())?.start_of_day(),
        Interval::Month => {
            let next = at.date().first_of_month().checked_add(Span::new().months(1))?;
            next.to_zoned(at.time_zone().clone())?.start_of_day()
        }
    }
}

/// Where the zone's offset changes, the hour is cut: half an hour that repeats gets a bucket of its own.
fn next_hour(at: &Zoned) -> Result<Zoned, jiff::Error> {
    let into_hour = Span::new().minutes(i64::from(at.minute())).seconds(i64::from(at.second()));
    let next = at.timestamp().checked_sub(into_hour)?.checked_add(Span::new().hours(1))?;
    let change = at.time_zone().following(at.timestamp()).next().map(|transition| transition.timestamp());
    let next = change.filter(|change| *change < next).unwrap_or(next);
    Ok(next.to_zoned(at.time_zone().clone()))
}

/// The month of a UTC day, both counted from 1970.
pub(crate) fn month_of(day: u32) -> u32 {
    let date = jiff::civil::date(1970, 1, 1).saturating_add(Span::new().days(i64::from(day.min(2_900_000))));
    let months = (i32::from(date.year()) - 1970) * 12 + i32::from(date.month()) - 1;
    u32::try_from(months).unwrap_or(0)
}

/// The first UTC day of a month, both counted from 1970.
pub(crate) fn first_day(month: u32) -> u32 {
    let epoch = jiff::civil::date(1970, 1, 1);
    let first = epoch.saturating_add(Span::new().months(i64::from(month.min(96_000))));
    epoch.until(first).ok().and_then(|span| u32::try_from(span.get_days()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
