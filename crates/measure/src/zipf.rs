//! What is asked for how often, repeatably.

/// `SplitMix64`.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    /// From 0 inclusive to 1 exclusive.
    pub(crate) fn unit(&mut self) -> f64 {
        f64::from(u32::try_from(self.roll() >> 32).unwrap_or(0)) / 4_294_967_296.0
    }
}

/// Ranks from 0: the k-th in proportion to 1/(k+1)^s. By a table of sums.
pub(crate) struct Zipf(Vec<f64>);

impl Zipf {
    pub(crate) fn new(count: u32, s: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += f64::from(rank).powf(-s);
            sum
        });
        Self(sums.collect())
    }

    pub(crate) fn rank(&self, dice: &mut Dice) -> usize {
        let wanted = dice.unit() * self.0.last().copied().unwrap_or(0.0);
        self.0.partition_point(|sum| *sum <= wanted).min(self.0.len() - 1)
    }

    /// How often each is asked for in `total` requests, the most popular first.
    pub(crate) fn counts(&self, total: u64) -> impl Iterator<Item = f64> + '_ {
        let (all, mut before) = (self.0.last().copied().unwrap_or(1.0), 0.0);
        self.0.iter().map(move |sum| {
            let weight = sum - before;
            before = *sum;
            super::figures::float(total) * weight / all
        })
    }
}
