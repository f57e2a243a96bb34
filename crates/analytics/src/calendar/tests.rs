//! Zones with whole, half and quarter offsets, and days that are not 24 hours long.

use domain::Kind;

use super::*;

fn ms(text: &str) -> UnixMs {
    UnixMs::new(text.parse::<Timestamp>().unwrap().as_millisecond())
}

fn query(from: &str, to: &str, interval: Interval, zone: &str) -> SeriesQuery {
    SeriesQuery { period: Some(Period { from: ms(from), to: ms(to) }), interval, time_zone: Some(zone.into()) }
}

fn plan(query: &SeriesQuery) -> Result<Buckets> {
    Buckets::plan(query, ms("2026-11-23T21:07:00Z"))
}

fn text(slot: Slot) -> String {
    Timestamp::from_millisecond(slot.start().get()).unwrap().to_string()
}

/// Minutes of each bucket.
fn lengths(buckets: &Buckets) -> Vec<u32> {
    buckets.ranges().map(|(from, to)| (to.get() - from.get()) * 15).collect()
}

#[test]
fn days_are_as_long_as_the_zone_says() {
    for (zone, from, to, minutes) in [
        ("UTC", "2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z", vec![1_440, 1_440]),
        // Clocks go forward an hour on the 29th, back on 25 October.
        ("Europe/Berlin", "2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z", vec![1_440, 1_380, 1_440]),
        ("Europe/Berlin", "2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z", vec![1_440, 1_500, 1_440]),
        // +05:45 the whole year.
        ("Asia/Kathmandu", "2026-05-01T18:15:00Z", "2026-05-03T18:15:00Z", vec![1_440, 1_440]),
        // Half an hour of daylight saving: back on 5 April, forward on 4 October.
        ("Australia/Lord_Howe", "2026-04-03T13:00:00Z", "2026-04-06T13:30:00Z", vec![1_440, 1_470, 1_440]),
        ("Australia/Lord_Howe", "2026-10-02T13:30:00Z", "2026-10-05T13:00:00Z", vec![1_440, 1_410, 1_440]),
        // Midnight of 24 April does not exist.
        ("Africa/Cairo", "2026-04-22T22:00:00Z", "2026-04-24T21:00:00Z", vec![1_440, 1_380]),
    ] {
        let buckets = plan(&query(from, to, Interval::Day, zone)).unwrap();
        assert_eq!(lengths(&buckets), minutes, "{zone} {from}");
    }
}

#[test]
fn hours_are_cut_where_the_offset_changes() {
    for (zone, from, to, starts) in [
        ("Asia/Kathmandu", "2026-05-01T18:00:00Z", "2026-05-01T20:00:00Z", vec!["18:00", "18:15", "19:15"]),
        // 02:00+11 becomes 01:30+10:30, which is then an hour's second half again.
        ("Australia/Lord_Howe", "2026-04-04T14:00:00Z", "2026-04-04T16:30:00Z", vec!["14:00", "15:00", "15:30"]),
        ("Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z", vec!["00:00", "01:00", "02:00"]),
    ] {
        let buckets = plan(&query(from, to, Interval::Hour, zone)).unwrap();
        let found: Vec<_> = buckets.starts.iter().map(|start| text(*start)[11..16].to_owned()).collect();
        assert_eq!(found, starts, "{zone}");
    }
}

#[test]
fn a_period_that_cuts_buckets_cuts_them() {
    let buckets = plan(&query("2026-01-15T10:07:00Z", "2026-03-02T00:01:00Z", Interval::Month, "UTC")).unwrap();
    let starts: Vec<_> = buckets.starts.iter().map(|start| text(*start)).collect();
    assert_eq!(starts, ["2026-01-15T10:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"]);
    assert_eq!(text(buckets.to), "2026-03-02T00:15:00Z");
    assert_eq!(buckets.index_of(Slot::at(ms("2026-01-31T23:59:00Z"))), 0);
    assert_eq!(buckets.index_of(Slot::at(ms("2026-02-01T00:00:00Z"))), 1);
}

#[test]
fn thirty_days_and_today_when_no_period_is_said() {
    let query = SeriesQuery { period: None, interval: Interval::Day, time_zone: Some("Asia/Kathmandu".into()) };
    let buckets = plan(&query).unwrap();
    assert_eq!(buckets.starts.len(), 30);
    assert_eq!(text(buckets.from()), "2026-10-25T18:15:00Z", "it is already the 24th there");
    assert_eq!(text(buckets.to), "2026-11-23T21:15:00Z");
    let utc = plan(&SeriesQuery { time_zone: None, ..query }).unwrap();
    assert_eq!((text(utc.from()), utc.starts.len()), ("2026-10-25T00:00:00Z".into(), 30));
}

#[test]
fn what_cannot_be_answered_names_its_field() {
    let day = Interval::Day;
    for (query, pointer) in [
        (query("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", day, "UTC"), "/to"),
        (query("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", day, "UTC"), "/to"),
        (query("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", day, "Mars/Olympus"), "/tz"),
        (query("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", day, "../../etc/passwd"), "/tz"),
        (query("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", day, &"x".repeat(10_000)), "/tz"),
        (query("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", day, ""), "/tz"),
        (query("2023-01-01T00:00:00Z", "2026-01-02T00:00:00Z", day, "UTC"), "/interval"),
        (query("0001-01-01T00:00:00Z", "9999-12-30T00:00:00Z", Interval::Hour, "UTC"), "/interval"),
        (
            SeriesQuery {
                period: Some(Period { from: UnixMs::new(i64::MAX - 1), to: UnixMs::new(i64::MAX) }),
                interval: day,
                time_zone: None,
            },
            "/to",
        ),
        (SeriesQuery { period: Some(Period { from: UnixMs::new(i64::MIN), to: UnixMs::new(-5) }), interval: day, time_zone: None }, "/to"),
    ] {
        let error = plan(&query).unwrap_err();
        assert_eq!((error.kind(), error.field_errors()[0].pointer.as_str()), (Kind::Invalid, pointer), "{query:?}");
    }
    let longest = query("2026-01-01T00:00:00Z", "2026-02-11T16:00:00Z", Interval::Hour, "UTC");
    assert_eq!(plan(&longest).unwrap().starts.len(), SERIES_LEN_MAX);
}

#[test]
fn months_and_their_first_days_agree() {
    for day in 0..60_000 {
        let month = month_of(day);
        assert!(first_day(month) <= day && day < first_day(month + 1), "{day}");
    }
    assert_eq!((month_of(0), month_of(30), month_of(31)), (0, 0, 1));
}
