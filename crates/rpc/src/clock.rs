//! How far the clocks of two services are apart. Each answer says when it was given; whoever asked knows between which two
//! moments of its own clock that was.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::HeaderMap;

use crate::metrics;

/// When the answer was given: milliseconds since 1970, by the clock of who gave it.
pub(crate) const HEADER: &str = "terse-clock-ms";

/// The worst of so long is shown: calls go to many replicas in turn, and one of them may be wrong.
const WINDOW: Duration = Duration::from_mins(1);

#[expect(clippy::disallowed_methods, reason = "the clock of this machine is what is compared, not an input of any decision")]
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What was noticed of the clocks of one service's replicas.
#[derive(Debug, Default)]
pub(crate) struct Offset(Mutex<Option<(Instant, i64)>>);

impl Offset {
    /// An answer of `service` came, to a call that was sent at `sent_ms`.
    pub(crate) fn notice(&self, service: &'static str, answer: &HeaderMap, sent_ms: i64) {
        let Some(answered_ms) = answer.get(HEADER).and_then(|value| value.to_str().ok()?.parse().ok()) else { return };
        if let Some(worst_ms) = self.worse(least_offset_ms(answered_ms, sent_ms, now_ms()), Instant::now()) {
            metrics::clock_offset(service, worst_ms);
        }
    }

    /// The worst, if it has changed.
    fn worse(&self, offset_ms: i64, now: Instant) -> Option<i64> {
        let mut worst = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stands =
            worst.is_some_and(|(since, known)| now.duration_since(since) < WINDOW && offset_ms.unsigned_abs() <= known.unsigned_abs());
        if stands {
            return None;
        }
        *worst = Some((now, offset_ms));
        Some(offset_ms)
    }
}

/// The offset next to none that explains when the answer was given: time under way is not taken for an offset.
fn least_offset_ms(answered: i64, sent: i64, received: i64) -> i64 {
    // Our own clock may have been set back in between.
    let (from, to) = (sent.min(received), sent.max(received));
    answered.saturating_sub(answered.clamp(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_under_way_is_no_offset() {
        for (answered, sent, received, offset) in [
            (150, 100, 200, 0),
            (100, 100, 100, 0),
            (5_200, 100, 200, 5_000),
            (50, 1_050, 1_100, -1_000),
            (150, 200, 100, 0),
            (i64::MIN, 0, 1, i64::MIN),
        ] {
            assert_eq!(least_offset_ms(answered, sent, received), offset, "{answered} {sent} {received}");
        }
    }

    #[test]
    fn the_worst_of_a_minute_stands_however_many_replicas_are_right() {
        let (offset, start) = (Offset::default(), Instant::now());
        let at = |s: u64| start + Duration::from_secs(s);
        assert_eq!(offset.worse(0, at(0)), Some(0));
        assert_eq!(offset.worse(-3_000, at(1)), Some(-3_000));
        assert_eq!([offset.worse(0, at(2)), offset.worse(2_000, at(60))], [None, None]);
        assert_eq!(offset.worse(0, at(61)), Some(0));
    }

    #[test]
    fn answers_that_say_nothing_or_nonsense_are_passed_over() {
        let offset = Offset::default();
        for value in ["", "x", "99999999999999999999", "1.5"] {
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(HEADER), value.parse().unwrap())]);
            offset.notice("Ids", &headers, 0);
        }
        offset.notice("Ids", &HeaderMap::new(), 0);
        assert!(offset.0.lock().unwrap().is_none());
    }
}
