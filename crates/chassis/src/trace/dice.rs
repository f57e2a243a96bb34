//! Random numbers for ids and for the choice of what is sampled: cheap, and nothing that must be secret.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

thread_local! {
    static STATE: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
}

/// xoroshiro128+ (Blackman, Vigna, 2018), one for each thread.
#[inline]
pub(super) fn roll() -> u64 {
    STATE.with(|state| {
        let [mut a, mut b] = state.get();
        if (a, b) == (0, 0) {
            let seed = RandomState::new();
            (a, b) = (seed.hash_one(1_u8), seed.hash_one(2_u8) | 1);
        }
        let rolled = a.wrapping_add(b);
        b ^= a;
        state.set([a.rotate_left(24) ^ b ^ b << 16, b.rotate_left(37)]);
        rolled
    })
}
