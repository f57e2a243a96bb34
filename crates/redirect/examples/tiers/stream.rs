//! The clicks that reach the origin.

/// `SplitMix64`.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        float((z ^ (z >> 31)) >> 11) / float(1 << 53)
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are enough")]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

/// What a CDN leaves over. A real one lies between the two.
#[derive(Clone, Copy)]
pub(crate) enum Seen {
    /// There is none.
    All,
    /// It answers so many percent of each code's clicks: many places that each ask anew.
    Evenly(f64),
    /// It holds the most popular codes, which together have so many percent of the clicks, and no others.
    Tail(f64),
}

pub(crate) struct Clicks {
    /// Of weights, by rank.
    sums: Vec<f64>,
    first: u32,
    pub(crate) per_s: f64,
}

impl Clicks {
    pub(crate) fn new(codes: u32, s: f64, per_s: f64, seen: Seen) -> Self {
        let weight = |rank: u32| f64::from(rank + 1).powf(-s);
        let all: f64 = (0..codes).map(weight).sum();
        let (mut first, mut share) = (0, 1.0);
        match seen {
            Seen::All => {}
            Seen::Evenly(percent) => share = 1.0 - percent / 100.0,
            Seen::Tail(percent) => {
                let mut held = 0.0;
                while first + 1 < codes && held + weight(first) <= all * percent / 100.0 {
                    held += weight(first);
                    first += 1;
                }
                share = 1.0 - held / all;
            }
        }
        let mut sum = 0.0;
        let sums = (first..codes).map(|rank| {
            sum += weight(rank);
            sum
        });
        Self { sums: sums.collect(), first, per_s: per_s * share }
    }

    /// The number of a code.
    pub(crate) fn next(&self, dice: &mut Dice) -> u32 {
        let wanted = dice.unit() * self.sums.last().copied().unwrap_or(0.0);
        let at = self.sums.partition_point(|sum| *sum <= wanted).min(self.sums.len() - 1);
        self.first + u32::try_from(at).unwrap_or(0)
    }
}
