//! Numbers that need not be secret: jitter, and the choice of a replica.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) fn roll() -> u64 {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static ROLLS: AtomicU64 = AtomicU64::new(0);
    SEED.hash_one(ROLLS.fetch_add(1, Ordering::Relaxed))
}

/// From 0 to below 1.
pub(super) fn part() -> f64 {
    f64::from(u32::try_from(roll() >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}
