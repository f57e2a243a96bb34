//! Statistics cross whole; anything else is refused without a panic.

use domain::api::{Bucket, HistoryDay, Period, Series, SeriesQuery, Share, TopLink};
use domain::{Counts, Dimension, Interval, LinkId, Owner, Subject, UnixMs};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use prost::Message;

use super::convert;
use crate::proto;

fn crossed<T: Message + Default>(message: &T) -> T {
    T::decode(&*message.encode_to_vec()).unwrap()
}

fn period((from, to): (i64, i64)) -> Period {
    Period { from: UnixMs::new(from), to: UnixMs::new(to) }
}

fn counts((clicks, humans): (u64, u64)) -> Counts {
    Counts { clicks, humans }
}

const INTERVALS: [Interval; 3] = [Interval::Hour, Interval::Day, Interval::Month];

proptest! {
    #[test]
    fn questions_cross(of_period in of(any::<(i64, i64)>()), zone in of("[A-Z][a-z]{1,9}/[A-Z][a-z]{1,9}"), link in any::<u64>(), limit in 0_usize..=1_000) {
        for interval in INTERVALS {
            let query = SeriesQuery { period: of_period.map(period), interval, time_zone: zone.clone() };
            prop_assert_eq!(convert::query(Some(crossed(&convert::to_query(&query)))).unwrap(), query);
        }
        for subject in [Subject::Link(LinkId::new(link)), Subject::Owner(Owner::parse("ann").unwrap()), Subject::Everyone] {
            prop_assert_eq!(convert::subject(Some(crossed(&convert::to_subject(&subject)))).unwrap(), subject);
        }
        prop_assert_eq!(convert::limit(convert::to_limit(limit)).unwrap(), limit);
    }

    #[test]
    fn answers_cross(of_period in any::<(i64, i64)>(), total in any::<(u64, u64)>(), visitors in any::<u64>(), rows in vec(any::<(i64, (u64, u64), u64)>(), 0..20), share in 0.0..=1.0_f64) {
        let buckets: Vec<_> = rows.iter().map(|row| Bucket { start: UnixMs::new(row.0), counts: counts(row.1), visitors: row.2 }).collect();
        for interval in INTERVALS {
            let series = Series { period: period(of_period), interval, counts: counts(total), visitors, buckets: buckets.clone() };
            prop_assert_eq!(convert::series(crossed(&convert::to_series(&series))).unwrap(), series);
        }
        let shares: Vec<_> = rows.iter().map(|row| Share { value: row.0.to_string(), clicks: row.2, share }).collect();
        let message = proto::BreakdownResponse { shares: shares.iter().cloned().map(convert::to_share).collect() };
        prop_assert_eq!(convert::shares(crossed(&message)).unwrap(), shares);
        let top: Vec<_> = rows.iter().map(|row| TopLink { link: LinkId::new(row.2), counts: counts(row.1) }).collect();
        let message = proto::TopLinksResponse { links: top.iter().copied().map(convert::to_top_link).collect() };
        prop_assert_eq!(convert::top_links(crossed(&message)).unwrap(), top);
        let days: Vec<_> = rows.iter().map(|row| HistoryDay { start: UnixMs::new(row.0), counts: counts(row.1), visitors: row.2 }).collect();
        prop_assert_eq!(convert::days(days.iter().map(|day| crossed(&convert::to_day(day))).collect()).unwrap(), days);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = proto::SeriesQuery::decode(&*bytes).map(|query| convert::query(Some(query)));
        let _ = proto::Series::decode(&*bytes).map(convert::series);
        let _ = proto::BreakdownResponse::decode(&*bytes).map(convert::shares);
        let _ = proto::Subject::decode(&*bytes).map(|subject| convert::subject(Some(subject)));
    }
}

#[test]
fn dimensions_keep_their_numbers() {
    for dimension in Dimension::ALL {
        assert_eq!(convert::dimension(convert::to_dimension(dimension)).unwrap(), dimension);
        assert!(proto::Dimension::try_from(convert::to_dimension(dimension)).is_ok());
    }
    for wrong in [0, 11, -1, 256 + 1] {
        assert!(convert::dimension(wrong).is_err());
    }
}
