//! Distinct visitors, estimated: a `HyperLogLog` of `2^14` registers, whose standard error is 0.81 %
//! (1.04 / √16384), and a plain list while there are few. Unions are idempotent, so that what is counted
//! twice counts once.

use datasketches::hll::{HllSketch, HllType, HllUnion};

const LG_REGISTERS: u8 = 14;
/// A sketch of up to this many visitors is stored as its bare list: four bytes each, without the header.
const BARE_LEN_MAX: usize = 8;
const HEADER_LEN: usize = 8;
const COUNT_AT: usize = 6;
const COUPON_LEN: usize = 4;

/// Stored bytes are not a sketch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sketch of visitors: {0}")]
pub struct VisitorsError(String);

/// Who was there, added one by one.
#[derive(Clone, Debug)]
pub struct Visitors(HllSketch);

impl Default for Visitors {
    fn default() -> Self {
        Self(HllSketch::new(LG_REGISTERS, HllType::Hll4).expect("the number of registers is within the sketch's bounds"))
    }
}

impl Visitors {
    pub fn add(&mut self, visitor: u64) {
        self.0.update(visitor);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn estimate(&self) -> u64 {
        rounded(self.0.estimate())
    }

    /// Empty when there were none.
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.0)
    }
}

/// Who was in any of several stored sketches.
#[derive(Clone, Debug)]
pub struct VisitorUnion(HllUnion);

impl Default for VisitorUnion {
    fn default() -> Self {
        Self(HllUnion::new(LG_REGISTERS).expect("the number of registers is within the sketch's bounds"))
    }
}

impl VisitorUnion {
    /// # Errors
    /// When the bytes were not made by [`Visitors::encode`] or [`Self::encode`].
    pub fn add(&mut self, encoded: &[u8]) -> Result<(), VisitorsError> {
        if let Some(sketch) = decode(encoded)? {
            self.0.update(&sketch);
        }
        Ok(())
    }

    pub fn estimate(&self) -> u64 {
        rounded(self.0.estimate())
    }

    pub fn encode(&self) -> Vec<u8> {
        encode(&self.0.to_sketch(HllType::Hll4))
    }
}

/// The union of two sketches that are short lists, or the same: what nearly all of them are. `None` for others.
pub(crate) fn united_lists(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    if one == other {
        return Some(one.to_vec());
    }
    let is_list = |bytes: &[u8]| bytes.len() <= BARE_LEN_MAX * COUPON_LEN && bytes.len().is_multiple_of(COUPON_LEN);
    if !is_list(one) || !is_list(other) {
        return None;
    }
    let mut both = one.to_vec();
    for coupon in other.chunks_exact(COUPON_LEN).filter(|coupon| !one.chunks_exact(COUPON_LEN).any(|known| known == *coupon)) {
        both.extend_from_slice(coupon);
    }
    // A list that is full has become another kind of sketch: one more visitor would be lost on it.
    (both.len() < BARE_LEN_MAX * COUPON_LEN).then_some(both)
}

fn encode(sketch: &HllSketch) -> Vec<u8> {
    if sketch.is_empty() {
        return Vec::new();
    }
    let mut bytes = sketch.serialize();
    if bytes.len() <= HEADER_LEN + BARE_LEN_MAX * COUPON_LEN {
        bytes.drain(..HEADER_LEN);
    }
    bytes
}

fn decode(bytes: &[u8]) -> Result<Option<HllSketch>, VisitorsError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let sketch =
        if bytes.len() <= BARE_LEN_MAX * COUPON_LEN { HllSketch::deserialize(&with_header(bytes)?) } else { HllSketch::deserialize(bytes) };
    let sketch = sketch.map_err(|error| VisitorsError(error.to_string()))?;
    if sketch.lg_config_k() != LG_REGISTERS {
        return Err(VisitorsError(format!("2^{} registers instead of 2^{LG_REGISTERS}", sketch.lg_config_k())));
    }
    Ok(Some(sketch))
}

/// The header that [`encode`] took off: that of any list but for its length.
fn with_header(bare: &[u8]) -> Result<Vec<u8>, VisitorsError> {
    if !bare.len().is_multiple_of(COUPON_LEN) {
        return Err(VisitorsError(format!("{} bytes", bare.len())));
    }
    let mut one = Visitors::default();
    one.add(0);
    let mut bytes = one.0.serialize();
    bytes.truncate(HEADER_LEN);
    bytes[COUNT_AT] = u8::try_from(bare.len() / COUPON_LEN).unwrap_or(u8::MAX);
    bytes.extend_from_slice(bare);
    Ok(bytes)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "estimates are between 0 and 2^53")]
fn rounded(estimate: f64) -> u64 {
    estimate.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(visitors: impl IntoIterator<Item = u64>) -> Visitors {
        let mut sketch = Visitors::default();
        visitors.into_iter().for_each(|visitor| sketch.add(visitor.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        sketch
    }

    #[test]
    fn every_size_survives_its_encoding() {
        for count in [0, 1, 2, 7, 8, 9, 20, 100, 1_000, 2_000, 50_000] {
            let sketch = of(0..count);
            let mut union = VisitorUnion::default();
            union.add(&sketch.encode()).unwrap();
            assert_eq!(union.estimate(), sketch.estimate(), "{count}");
            let mut again = VisitorUnion::default();
            again.add(&union.encode()).unwrap();
            assert_eq!(again.estimate(), union.estimate(), "{count}");
        }
    }

    #[test]
    fn one_visitor_takes_four_bytes() {
        assert_eq!(of([]).encode().len(), 0);
        assert_eq!(of([7]).encode().len(), 4);
        assert_eq!(of(0..5).encode().len(), 20);
    }

    /// Four standard errors of 0.81 %: missed by chance once in 16,000.
    #[test]
    fn the_error_is_within_its_bound_alone_and_in_unions() {
        for count in [10_u64, 1_000, 20_000, 200_000] {
            let mut union = VisitorUnion::default();
            for part in 0..8 {
                // Each overlaps its neighbour by half.
                let (from, to) = (part * count / 10, (part + 2) * count / 10);
                union.add(&of(from..to).encode()).unwrap();
            }
            for (estimate, truth) in [(of(0..count).estimate(), count), (union.estimate(), count * 9 / 10)] {
                assert!(estimate.abs_diff(truth) * 10_000 <= truth * 4 * 81, "{estimate} for {truth}");
            }
        }
    }

    #[test]
    fn short_lists_are_united_as_sketches_are() {
        for (one, other) in [(0..1, 0..1), (0..3, 2..6), (0..4, 4..8), (0..8, 4..12), (0..0, 0..2), (0..100, 0..100), (0..100, 0..2)] {
            let (a, b) = (of(one.clone()).encode(), of(other.clone()).encode());
            let mut union = VisitorUnion::default();
            union.add(&a).unwrap();
            union.add(&b).unwrap();
            let distinct = one.end.max(other.end) - one.start.min(other.start);
            let Some(both) = united_lists(&a, &b) else {
                assert!(distinct >= 8, "{one:?} {other:?}");
                continue;
            };
            let mut read = VisitorUnion::default();
            for (sketch, bytes) in [(&mut read, &both), (&mut union, &Vec::new())] {
                sketch.add(bytes).unwrap();
                sketch.add(&of(500..502).encode()).unwrap();
            }
            assert_eq!(read.estimate(), union.estimate(), "{one:?} {other:?}");
        }
        assert_eq!(united_lists(&[1, 2, 3], &[1, 2, 3, 4]), None, "foreign bytes are left to who refuses them");
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for bytes in [&b"abc"[..], &[1; 33], &[0xFF; 64], &[2, 1, 7, 12, 3, 8, 1, 0, 1, 0, 0, 0, 9, 9, 9, 9]] {
            let refused = VisitorUnion::default().add(bytes);
            assert!(refused.is_err() || bytes.len() <= 32, "{bytes:?}");
        }
    }
}
