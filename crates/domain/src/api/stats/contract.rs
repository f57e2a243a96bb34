//! What every statistics service must do, the client of a remote one included. Each test takes one without
//! any clicks.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Deadline, Period, SeriesQuery, Stats};
use crate::error::Kind;
use crate::limits::SERIES_LEN_MAX;
use crate::model::{Counts, Dimension, Interval, LinkId, Owner, Slot, Subject};
use crate::time::UnixMs;

const HOUR_MS: i64 = 3_600_000;
/// 2026-09-04T00:00Z.
const DAY: UnixMs = UnixMs::new(20_700 * 24 * HOUR_MS);

fn soon() -> Deadline {
    Deadline::after(Instant::now(), Duration::from_secs(10))
}

fn subjects() -> [Subject; 3] {
    [Subject::Link(LinkId::new(9)), Subject::Owner(Owner::from_stored("ann")), Subject::Everyone]
}

fn hours(from: UnixMs, hours: i64) -> SeriesQuery {
    let period = Period { from, to: UnixMs::new(from.get() + hours * HOUR_MS) };
    SeriesQuery { period: Some(period), interval: Interval::Hour, time_zone: None }
}

pub async fn a_series_is_filled_with_zeros<S: Stats>(stats: Arc<S>) {
    for subject in subjects() {
        let series = stats.series(&subject, &hours(DAY, 30), soon()).await.expect("a series");
        assert_eq!((series.interval, series.counts, series.visitors), (Interval::Hour, Counts::default(), 0));
        let begins: Vec<_> = series.buckets.iter().map(|bucket| bucket.start.get()).collect();
        assert_eq!(begins, (0..30).map(|hour| DAY.get() + hour * HOUR_MS).collect::<Vec<_>>());
        assert!(series.buckets.iter().all(|bucket| bucket.counts == Counts::default() && bucket.visitors == 0));
    }
}

pub async fn a_period_is_moved_to_quarter_hours<S: Stats>(stats: Arc<S>) {
    let series = stats.series(&Subject::Everyone, &hours(UnixMs::new(DAY.get() + 1), 1), soon()).await.expect("a series");
    assert_eq!(series.period, Period { from: DAY, to: UnixMs::new(DAY.get() + HOUR_MS + Slot::LEN_MS) });
}

pub async fn thirty_days_when_no_period_is_said<S: Stats>(stats: Arc<S>) {
    let query = SeriesQuery { period: None, interval: Interval::Day, time_zone: None };
    let series = stats.series(&Subject::Everyone, &query, soon()).await.expect("a series");
    assert_eq!(series.buckets.len(), 30);
}

pub async fn wrong_questions_name_the_field<S: Stats>(stats: Arc<S>) {
    let over = i64::try_from(SERIES_LEN_MAX).expect("a small number") + 1;
    let elsewhere = SeriesQuery { time_zone: Some("Mars/Olympus".into()), ..hours(DAY, 1) };
    for (query, pointer) in [(hours(DAY, 0), "/to"), (hours(DAY, -5), "/to"), (hours(DAY, over), "/interval"), (elsewhere, "/tz")] {
        let error = stats.series(&Subject::Everyone, &query, soon()).await.expect_err("a wrong question");
        assert_eq!(error.kind(), Kind::Invalid);
        assert_eq!(error.field_errors().first().map(|field| field.pointer.as_str()), Some(pointer));
    }
    assert_eq!(stats.series(&Subject::Everyone, &hours(DAY, over - 1), soon()).await.expect("a series").buckets.len(), SERIES_LEN_MAX);
}

pub async fn without_clicks_there_is_nothing_to_rank<S: Stats>(stats: Arc<S>) {
    for subject in subjects() {
        for dimension in Dimension::ALL {
            assert!(stats.breakdown(&subject, dimension, None, 10, soon()).await.expect("a breakdown").is_empty());
        }
        assert!(stats.top_links(&subject, None, 10, soon()).await.expect("top links").is_empty());
    }
}
