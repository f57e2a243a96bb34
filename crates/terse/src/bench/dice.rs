//! Repeatable randomness, and the two laws of chance that load follows.

/// `SplitMix64`: cheap, and good enough for choosing what is asked; never for secrets.
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// Other streams of one seed have nothing to do with each other.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed);
        let start = dice.next();
        Self(start ^ stream.wrapping_mul(0xD605_1D04_9D6C_F6AD))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 inclusive to 1 exclusive.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The time to the next arrival of a Poisson process, in units of its mean.
    pub(super) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// From 0 to `count` exclusive, each as likely.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a number of lines, below 2^53"
    )]
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f64) as usize).min(count.saturating_sub(1))
    }
}

/// Ranks of a Zipf law: the k-th of `count` in proportion to 1/k^s. Rejection-inversion (Hörmann and Derflinger 1996): exact,
/// without a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zipf {
    count: f64,
    s: f64,
    area_first: f64,
    area_last: f64,
    accept_below: f64,
}

impl Zipf {
    #[expect(clippy::cast_precision_loss, reason = "a number of lines, below 2^53")]
    pub(super) fn new(count: usize, s: f64) -> Self {
        let count = count.max(1) as f64;
        let mut zipf = Self { count, s, area_first: 0.0, area_last: 0.0, accept_below: 0.0 };
        zipf.area_first = zipf.area(1.5) - 1.0;
        zipf.area_last = zipf.area(count + 0.5);
        zipf.accept_below = 2.0 - zipf.area_inverse(zipf.area(2.5) - 2.0_f64.powf(-s));
        zipf
    }

    /// A rank, from 0.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and a number of lines")]
    pub(super) fn rank(&self, dice: &mut Dice) -> usize {
        loop {
            let under = self.area_last + dice.unit() * (self.area_first - self.area_last);
            let x = self.area_inverse(under);
            let k = x.round().clamp(1.0, self.count);
            if k - x <= self.accept_below || under >= self.area(k + 0.5) - k.powf(-self.s) {
                return k as usize - 1;
            }
        }
    }

    /// The integral of x^-s.
    fn area(&self, x: f64) -> f64 {
        let log = x.ln();
        let part = (1.0 - self.s) * log;
        log * if part.abs() > 1e-8 { part.exp_m1() / part } else { 1.0 + part / 2.0 }
    }

    fn area_inverse(&self, area: f64) -> f64 {
        let part = (area * (1.0 - self.s)).max(-1.0);
        (area * if part.abs() > 1e-8 { part.ln_1p() / part } else { 1.0 - part / 2.0 }).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLS: u32 = 200_000;

    #[test]
    fn ranks_follow_the_law() {
        for (count, s) in [(1, 1.0), (10, 0.0), (10, 0.8), (1_000, 1.0), (1_000, 1.3)] {
            let zipf = Zipf::new(count, s);
            let mut dice = Dice::new(7, 0);
            let mut seen = vec![0_u32; count];
            (0..ROLLS).for_each(|_| seen[zipf.rank(&mut dice)] += 1);
            let weights: Vec<f64> = (1..=count).map(|k| f64::from(u32::try_from(k).unwrap()).powf(-s)).collect();
            let all: f64 = weights.iter().sum();
            for rank in [0, 1, 2, 9, 99].into_iter().filter(|rank| *rank < count) {
                let expected = f64::from(ROLLS) * weights[rank] / all;
                // Five standard deviations: the seed is fixed, so this holds for ever or never.
                let off = (f64::from(seen[rank]) - expected).abs();
                assert!(off <= 5.0 * expected.sqrt(), "rank {rank} of {count}, s {s}: {} for {expected}", seen[rank]);
            }
        }
    }

    #[test]
    fn gaps_have_mean_one_and_streams_differ() {
        let mut dice = Dice::new(1, 0);
        let mean = (0..ROLLS).map(|_| dice.exponential()).sum::<f64>() / f64::from(ROLLS);
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        let first: Vec<u64> = (0..64).map(|stream| Dice::new(1, stream).next()).collect();
        let mut unique = first.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), first.len());
    }
}
