//! What the never-issued proof rests on: the ranges as a read found them, for as long as the read is recent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use domain::code::Issued;
use domain::permutation::Permutation;
use domain::port::CodeRange;

/// Between two reads.
pub(super) const POLL: Duration = Duration::from_secs(2);
/// Counters below a raised bound are granted 5 s after it was known to be stored: whoever began to read
/// within less than that has it.
const FRESH: Duration = Duration::from_secs(4);

#[derive(Default)]
pub(super) struct Bounds(ArcSwapOption<Known>);

struct Known {
    began: Instant,
    lims: Vec<(u32, u64)>,
    issued: Arc<Issued>,
}

impl Bounds {
    /// `began`: before the read was sent.
    pub(super) fn read(&self, began: Instant, ranges: &[CodeRange]) {
        let lims: Vec<(u32, u64)> = ranges.iter().map(|range| (range.epoch, range.lim)).collect();
        let known = self.0.load();
        // A permutation costs its key schedule: it is kept while nothing has changed.
        let issued = match known.as_deref().filter(|known| known.lims == lims) {
            Some(known) => known.issued.clone(),
            None => Arc::new(Issued::new(ranges.iter().map(|range| (Permutation::new(range.key, range.epoch), range.lim)).collect())),
        };
        self.0.store(Some(Arc::new(Known { began, lims, issued })));
    }

    pub(super) fn issued(&self) -> Option<Arc<Issued>> {
        self.issued_at(Instant::now())
    }

    fn issued_at(&self, now: Instant) -> Option<Arc<Issued>> {
        let known = self.0.load();
        known.as_deref().filter(|known| now.saturating_duration_since(known.began) <= FRESH).map(|known| known.issued.clone())
    }
}

#[cfg(test)]
mod tests {
    use domain::{Code, Slug};

    use super::*;

    fn never_issued(bounds: &Bounds, now: Instant, counter: u64) -> Option<bool> {
        let code = Permutation::new([3; 16], 0).encode(counter);
        let issued = bounds.issued_at(now)?;
        Code::generated(code).map(|code| issued.never_issued(Slug::parse(code.as_str()).unwrap()))
    }

    #[test]
    fn nothing_is_proved_by_an_old_read() {
        let (bounds, began) = (Bounds::default(), Instant::now());
        let counters = |bound: u64| {
            (bound..bound + 64).find(|counter| Code::generated(Permutation::new([3; 16], 0).encode(*counter)).is_some()).unwrap()
        };
        assert!(bounds.issued_at(began).is_none());
        let range = CodeRange { epoch: 0, key: [3; 16], next: 0, open: 0, lim: 1_000 };
        bounds.read(began, &[range]);
        assert_eq!(never_issued(&bounds, began + FRESH, counters(1_000)), Some(true));
        assert_eq!(never_issued(&bounds, began + FRESH, counters(0)), Some(false));
        assert_eq!(never_issued(&bounds, began + FRESH + Duration::from_millis(1), counters(1_000)), None);
        bounds.read(began + FRESH, &[CodeRange { lim: 2_000, ..range }]);
        assert_eq!(never_issued(&bounds, began + FRESH, counters(1_000)), Some(false));
        assert_eq!(never_issued(&bounds, began + FRESH, counters(2_000)), Some(true));
    }
}
