//! How many took how long: buckets that grow with the value, as in HdrHistogram, so that none is off by more than 0.4 %.

use std::time::Duration;

/// Of the bits of a value, those that are kept below the highest one.
const KEPT_BITS: u32 = 8;
const KEPT: usize = 1 << KEPT_BITS;
/// All 64-bit values have a bucket.
const BUCKETS: usize = (64 - KEPT_BITS as usize + 1) * KEPT;

/// Times in microseconds.
#[derive(Clone)]
pub(super) struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into(), count: 0, sum: 0, max: 0 }
    }
}

fn bucket_of(value: u64) -> usize {
    let exponent = value.max(1).ilog2();
    let Some(shift) = exponent.checked_sub(KEPT_BITS) else { return usize::try_from(value).unwrap_or(0) };
    let kept = usize::try_from(value >> shift).unwrap_or(KEPT);
    (usize::try_from(shift).unwrap_or(0) + 1) * KEPT + kept - KEPT
}

/// The largest value of a bucket: a percentile is never told better than it was.
fn largest_in(bucket: usize) -> u64 {
    let (group, kept) = (bucket / KEPT, bucket % KEPT);
    let kept = u64::try_from(kept).unwrap_or(0);
    match u32::try_from(group).unwrap_or(0).checked_sub(1) {
        None => kept,
        Some(shift) => ((kept + KEPT as u64) << shift) | ((1 << shift) - 1),
    }
}

impl Histogram {
    pub(super) fn record(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket_of(us)] += 1;
        self.count += 1;
        self.sum += u128::from(us);
        self.max = self.max.max(us);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    pub(super) fn len(&self) -> u64 {
        self.count
    }

    pub(super) fn max_us(&self) -> u64 {
        self.max
    }

    pub(super) fn mean_us(&self) -> u64 {
        u64::try_from(self.sum / u128::from(self.count.max(1))).unwrap_or(u64::MAX)
    }

    /// At most so long took `per_100_000` of 100,000.
    pub(super) fn percentile_us(&self, per_100_000: u64) -> u64 {
        let wanted = (u128::from(self.count) * u128::from(per_100_000)).div_ceil(100_000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= wanted {
                return largest_in(bucket).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        let mut last = None;
        for value in (0..2_000).chain((11..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1])).chain([u64::MAX]) {
            let bucket = bucket_of(value);
            assert!(bucket < BUCKETS && last.is_none_or(|last| bucket >= last), "{value}");
            let largest = largest_in(bucket);
            assert!(largest >= value && largest - value <= value / 256, "{value}: {largest}");
            assert_eq!(bucket_of(largest), bucket);
            last = Some(bucket);
        }
    }

    #[test]
    fn percentiles_of_known_times() {
        let mut all = Histogram::default();
        let mut half = Histogram::default();
        for ms in 1..=1_000 {
            (if ms % 2 == 0 { &mut all } else { &mut half }).record(Duration::from_millis(ms));
        }
        all.add(&half);
        assert_eq!((all.len(), all.max_us(), all.mean_us()), (1_000, 1_000_000, 500_500));
        for (per_100_000, ms) in [(0, 1), (50_000, 500), (99_000, 990), (99_900, 999), (100_000, 1_000)] {
            let us = all.percentile_us(per_100_000);
            assert!((ms * 1_000..=ms * 1_004).contains(&us), "{per_100_000}: {us}");
        }
        assert_eq!(Histogram::default().percentile_us(99_000), 0);
    }
}
