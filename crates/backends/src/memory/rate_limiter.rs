//! An exact sliding-window log, in this process only.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::port::{Allowed, Decision, Limit, PortResult, RateLimiter as Port};

const SHARDS: usize = 16;

#[derive(Clone, Debug)]
pub struct Options {
    /// Subjects remembered at once. Beyond it those are forgotten whose windows end the soonest: they get
    /// fresh ones, which is better than to refuse everybody new.
    pub subjects_max: usize,
    /// Monotonic time; tests bring their own.
    pub now: fn() -> Instant,
}

impl Default for Options {
    fn default() -> Self {
        Self { subjects_max: 200_000, now: Instant::now }
    }
}

pub struct RateLimiter {
    shards: [Mutex<Shard>; SHARDS],
    subjects_max_per_shard: usize,
    now: fn() -> Instant,
}

/// Which limit on whom. The limit's bounds are not part of it: they may be changed while it runs.
type Key = (&'static str, u64);

#[derive(Default)]
struct Shard {
    windows: HashMap<Key, Window>,
}

/// What was taken and when, oldest first. Calls of one instant share an entry.
struct Window {
    taken: VecDeque<(Instant, u32)>,
    sum: u64,
    /// From then on nothing of it counts any more.
    until: Instant,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { taken: VecDeque::new(), sum: 0, until: now }
    }

    fn forget(&mut self, now: Instant, window: Duration) {
        while let Some((at, cost)) = self.taken.front().copied()
            && now.saturating_duration_since(at) >= window
        {
            self.sum -= u64::from(cost);
            self.taken.pop_front();
        }
    }

    fn add(&mut self, now: Instant, cost: u32) {
        self.sum += u64::from(cost);
        match self.taken.back_mut() {
            // No overflow: the sum is at most the limit, which is a u32.
            Some((at, taken)) if *at == now => *taken += cost,
            _ => self.taken.push_back((now, cost)),
        }
    }

    /// Until enough of what is counted has left the window for `cost` to fit; the whole window when it
    /// never will.
    fn fits_in(&self, now: Instant, limit: &Limit, cost: u32) -> Duration {
        let mut sum = self.sum + u64::from(cost);
        for (at, taken) in &self.taken {
            sum -= u64::from(*taken);
            if sum <= u64::from(limit.max) {
                return (*at + limit.window).saturating_duration_since(now);
            }
        }
        limit.window
    }

    fn take(&mut self, now: Instant, limit: &Limit, cost: u32) -> Decision {
        self.forget(now, limit.window);
        let fits = self.sum + u64::from(cost) <= u64::from(limit.max);
        if fits && cost > 0 {
            self.add(now, cost);
            self.until = now + limit.window;
        }
        let left = u64::from(limit.max).saturating_sub(self.sum);
        let reset = match (fits, self.taken.front()) {
            (true, Some((oldest, _))) => (*oldest + limit.window).saturating_duration_since(now),
            (true, None) => Duration::ZERO,
            (false, _) => self.fits_in(now, limit, cost),
        };
        Decision { allowed: if fits { Allowed::Yes } else { Allowed::No }, remaining: u32::try_from(left).unwrap_or(u32::MAX), reset }
    }
}

impl Shard {
    /// Makes room: drops what counts for nothing any more, or else what will the soonest.
    fn make_room(&mut self, now: Instant, subjects_max: usize) {
        if self.windows.len() < subjects_max {
            return;
        }
        self.windows.retain(|_, window| now < window.until);
        // An eighth at once, so that a flood of new subjects does not pay a whole pass each.
        let doomed = self.windows.len().saturating_sub(subjects_max - subjects_max.div_ceil(8));
        if doomed > 0 {
            let mut ends: Vec<_> = self.windows.iter().map(|(key, window)| (window.until, *key)).collect();
            ends.select_nth_unstable_by_key(doomed - 1, |(until, _)| *until);
            for (_, key) in &ends[..doomed] {
                self.windows.remove(key);
            }
        }
    }
}

impl RateLimiter {
    pub fn new(options: &Options) -> Self {
        Self { shards: Default::default(), subjects_max_per_shard: options.subjects_max.div_ceil(SHARDS).max(1), now: options.now }
    }

    fn shard(&self, subject: u64) -> &Mutex<Shard> {
        // Subjects are hashes or ids; their bits are mixed so that neither all fall into one shard.
        let mixed = subject.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60;
        &self.shards[usize::try_from(mixed).unwrap_or(0) % SHARDS]
    }

    /// How many subjects are remembered.
    pub fn subjects(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).windows.len()).sum()
    }
}

impl Default for RateLimiter {
    fn default() -> Self {
        Self::new(&Options::default())
    }
}

#[async_trait]
impl Port for RateLimiter {
    async fn take(&self, limit: &Limit, subject: u64, cost: u32) -> PortResult<Decision> {
        let mut shard = self.shard(subject).lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that the log of a subject is in order.
        let now = (self.now)();
        let key = (limit.name, subject);
        if let Some(window) = shard.windows.get_mut(&key) {
            return Ok(window.take(now, limit, cost));
        }
        let mut window = Window::new(now);
        let decision = window.take(now, limit, cost);
        // Who only asked, or was refused, need not be remembered.
        if window.sum > 0 {
            shard.make_room(now, self.subjects_max_per_shard);
            shard.windows.insert(key, window);
        }
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use super::*;

    const LIMIT: Limit = Limit { name: "test", max: 3, window: Duration::from_mins(1) };

    thread_local! {
        static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    fn now() -> Instant {
        NOW.with(|now| now.get().unwrap_or_else(|| now.replace(Some(Instant::now())).unwrap_or_else(Instant::now)))
    }

    fn advance(by: Duration) {
        let then = now() + by;
        NOW.with(|now| now.set(Some(then)));
    }

    fn limiter(subjects_max: usize) -> RateLimiter {
        NOW.with(|now| now.set(Some(Instant::now())));
        RateLimiter::new(&Options { subjects_max, now })
    }

    #[tokio::test]
    async fn the_window_slides_entry_by_entry() {
        let limiter = limiter(100);
        for left in [2, 1, 0] {
            let decision = limiter.take(&LIMIT, 1, 1).await.unwrap();
            assert_eq!((decision.allowed, decision.remaining), (Allowed::Yes, left));
            advance(Duration::from_secs(10));
        }
        // Taken at 0, 10 and 20 s; it is 30 s now.
        let refused = limiter.take(&LIMIT, 1, 2).await.unwrap();
        assert_eq!((refused.allowed, refused.remaining, refused.reset), (Allowed::No, 0, Duration::from_secs(40)));
        advance(Duration::from_secs(30));
        let decision = limiter.take(&LIMIT, 1, 1).await.unwrap();
        assert_eq!((decision.allowed, decision.remaining, decision.reset), (Allowed::Yes, 0, Duration::from_secs(10)));
        assert_eq!(limiter.take(&LIMIT, 1, 1).await.unwrap().allowed, Allowed::No);
    }

    #[tokio::test]
    async fn subjects_are_bounded_and_the_lasting_ones_stay() {
        let limiter = limiter(16 * 8);
        let hour = Limit { name: "hour", max: 1, window: Duration::from_hours(1) };
        assert_eq!(limiter.take(&hour, 7, 1).await.unwrap().allowed, Allowed::Yes);
        for subject in 0..10_000 {
            limiter.take(&LIMIT, subject, 1).await.unwrap();
        }
        assert!(limiter.subjects() <= 16 * 8, "{}", limiter.subjects());
        assert_eq!(limiter.take(&hour, 7, 1).await.unwrap().allowed, Allowed::No);
    }

    #[tokio::test]
    async fn who_only_asks_or_is_refused_is_not_remembered() {
        let limiter = limiter(100);
        assert_eq!(limiter.take(&LIMIT, 1, 0).await.unwrap().remaining, 3);
        let refused = limiter.take(&LIMIT, 2, 4).await.unwrap();
        assert_eq!((refused.allowed, refused.reset), (Allowed::No, LIMIT.window));
        assert_eq!(limiter.subjects(), 0);
    }

    #[test]
    fn exact_among_threads() {
        let limiter = Arc::new(RateLimiter::default());
        let limit = Limit { name: "test", max: 1_000, window: Duration::from_hours(1) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        let allowed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let take = || (0..500).filter(|_| handle.block_on(limiter.take(&limit, 9, 1)).unwrap().allowed == Allowed::Yes).count();
                    scope.spawn(take)
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(allowed, 1_000);
    }
}
