//! The clock and the randomness of the machine.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::UnixMs;
use domain::port::{Clock, Entropy};

#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that all others take")]
    fn now(&self) -> UnixMs {
        let now = SystemTime::now();
        // A clock set before 1970 counts backwards, as the rest of the arithmetic expects.
        let ms = now.duration_since(UNIX_EPOCH).map_or_else(
            |before| i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
            |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        );
        UnixMs::new(ms)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has randomness to give");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_in_this_century_and_entropy_differs() {
        // 2025-01-01 and 2100-01-01.
        assert!((1_735_689_600_000..4_102_444_800_000).contains(&SystemClock.now().get()));
        assert_ne!(SystemEntropy.u64(), SystemEntropy.u64());
    }
}
