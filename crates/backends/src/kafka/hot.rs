//! Which links are clicked so often that one partition should not have them all.

use std::time::{Duration, Instant};

/// Counters of one second. Links share one when they are many: then a link is spread that need not be.
const COUNTERS: usize = 1 << 14;
const WINDOW: Duration = Duration::from_secs(1);

pub(super) struct HotLinks {
    counters: Box<[u32]>,
    since: Instant,
    /// Clicks a second from which a link is hot.
    from: u32,
    /// Keys of a hot link.
    keys: u8,
    turn: u8,
}

impl HotLinks {
    pub(super) fn new(from: u32, keys: u8, now: Instant) -> Self {
        Self { counters: vec![0; COUNTERS].into(), since: now, from: from.max(1), keys: keys.max(1), turn: 0 }
    }

    /// `None` for the link's only key; else which of the hot link's keys this click goes under.
    pub(super) fn salt(&mut self, link: u64, now: Instant) -> Option<u8> {
        if now.duration_since(self.since) >= WINDOW {
            // What was hot stays so for a moment instead of going back to one key each second.
            self.counters.iter_mut().for_each(|counter| *counter /= 2);
            self.since = now;
        }
        let slot = link.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - COUNTERS.trailing_zeros());
        let counter = &mut self.counters[usize::try_from(slot).unwrap_or(0)];
        *counter = counter.saturating_add(1);
        if *counter <= self.from {
            return None;
        }
        self.turn = (self.turn + 1) % self.keys;
        Some(self.turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_spread_when_it_grows_hot_and_not_for_long_after() {
        let begun = Instant::now();
        let mut hot = HotLinks::new(100, 8, begun);
        let used = |hot: &mut HotLinks, clicks: u32, now| {
            let salts: Vec<_> = (0..clicks).filter_map(|_| hot.salt(7, now)).collect();
            let mut keys = salts.clone();
            keys.sort_unstable();
            keys.dedup();
            (salts.len(), keys.len())
        };
        assert_eq!(used(&mut hot, 100, begun), (0, 0));
        assert_eq!(used(&mut hot, 800, begun), (800, 8));
        assert_eq!(hot.salt(8, begun), None, "another link");
        let mut now = begun;
        for _ in 0..4 {
            now += WINDOW;
            hot.salt(7, now);
        }
        assert_eq!(used(&mut hot, 10, now), (0, 0), "900 clicks are 57 after four halvings");
    }
}
