//! Adding up tallies: of chunks, of slots, of days.

use compact_str::CompactString;

use super::{Dimensions, Tally};
use crate::limits::DIMENSION_VALUES_MAX;
use crate::visitors::{VisitorUnion, VisitorsError, united_lists};

/// What is counted under when a dimension has too many values.
pub const OTHER: &str = "other";

/// A sum of tallies. Visitors of one UTC day are united by their sketches; sums over days add up `visitor_days`.
#[derive(Clone, Debug, Default)]
pub struct TallySum {
    tally: Tally,
    union: Option<VisitorUnion>,
}

impl TallySum {
    /// # Errors
    /// When the sketch is damaged; the rest has been added.
    pub fn add(&mut self, other: &Tally) -> Result<(), VisitorsError> {
        self.tally.counts += other.counts;
        self.tally.visitor_days += other.visitor_days;
        for (dimension, values) in &other.dimensions {
            let sums = self.tally.dimensions.entry(*dimension).or_default();
            for (value, clicks) in values {
                match sums.get_mut(value) {
                    Some(sum) => *sum += clicks,
                    None => drop(sums.insert(value.clone(), *clicks)),
                }
            }
        }
        if other.visitors.is_empty() {
            return Ok(());
        }
        // One sketch is kept as it is: decoding it costs more than all the rest.
        match &mut self.union {
            Some(union) => union.add(&other.visitors),
            None if self.tally.visitors.is_empty() => {
                self.tally.visitors.clone_from(&other.visitors);
                Ok(())
            }
            None => {
                if let Some(both) = united_lists(&self.tally.visitors, &other.visitors) {
                    self.tally.visitors = both;
                    return Ok(());
                }
                let mut union = VisitorUnion::default();
                let added = union.add(&self.tally.visitors).and_then(|()| union.add(&other.visitors));
                self.union = Some(union);
                added
            }
        }
    }

    /// Distinct visitors of what was added, by the sketches alone.
    ///
    /// # Errors
    /// When the one sketch added is damaged.
    pub fn distinct(&self) -> Result<u64, VisitorsError> {
        if let Some(union) = &self.union {
            return Ok(union.estimate());
        }
        let mut union = VisitorUnion::default();
        union.add(&self.tally.visitors)?;
        Ok(union.estimate())
    }

    pub fn finish(mut self) -> Tally {
        if let Some(union) = self.union {
            self.tally.visitors = union.encode();
        }
        self.tally
    }
}

/// Keeps the most frequent values of each dimension, and counts the rest as [`OTHER`].
pub fn cap_dimensions(dimensions: &mut Dimensions) {
    for values in dimensions.values_mut() {
        let over = values.len().saturating_sub(DIMENSION_VALUES_MAX);
        if over == 0 {
            continue;
        }
        let mut by_clicks: Vec<(u64, CompactString)> =
            values.iter().filter(|(value, _)| value.as_str() != OTHER).map(|(value, clicks)| (*clicks, value.clone())).collect();
        by_clicks.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let mut other = 0;
        for (clicks, value) in by_clicks.drain(DIMENSION_VALUES_MAX.min(by_clicks.len())..) {
            values.remove(&value);
            other += clicks;
        }
        if other > 0 {
            *values.entry(CompactString::const_new(OTHER)).or_default() += other;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Counts, Dimension};
    use crate::visitors::Visitors;

    fn tally(clicks: u64, value: &str, visitors: &[u64]) -> Tally {
        let mut sketch = Visitors::default();
        for visitor in visitors {
            sketch.add(*visitor);
        }
        Tally {
            counts: Counts { clicks, humans: clicks },
            dimensions: [(Dimension::Country, [(value.into(), clicks)].into())].into(),
            visitors: sketch.encode(),
            visitor_days: 1,
        }
    }

    #[test]
    fn sums_add_counts_and_unite_visitors() {
        let mut sum = TallySum::default();
        for (clicks, value, visitors) in [(2, "DE", [1, 2]), (3, "FR", [2, 3]), (5, "DE", [1, 3])] {
            sum.add(&tally(clicks, value, &visitors)).unwrap();
        }
        assert_eq!(sum.distinct(), Ok(3));
        let sum = sum.finish();
        assert_eq!(sum.counts, Counts { clicks: 10, humans: 10 });
        assert_eq!(sum.visitor_days, 3);
        assert_eq!(sum.dimensions[&Dimension::Country], [("DE".into(), 7), ("FR".into(), 3)].into());
    }

    #[test]
    fn a_cap_keeps_the_frequent_values_and_every_click() {
        let values: std::collections::BTreeMap<CompactString, u64> = (1..=400_u64).map(|n| (format!("v{n}").into(), n)).collect();
        let total: u64 = values.values().sum();
        let mut dimensions: Dimensions = [(Dimension::Referrer, values)].into();
        for _ in 0..2 {
            cap_dimensions(&mut dimensions);
            let capped = &dimensions[&Dimension::Referrer];
            assert_eq!(capped.len(), DIMENSION_VALUES_MAX + 1);
            assert_eq!(capped.values().sum::<u64>(), total);
            assert_eq!(capped[OTHER], (1..=144).sum::<u64>());
        }
    }
}
