//! Limits across requests: all requests per second, and misses per IP.

mod fallback;

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::port::{Allowed, Limit, RateLimiter};
use sha2::{Digest as _, Sha256};
use siphasher::sip::SipHasher24;

pub use fallback::{FallbackLimiter, FallbackOptions};

/// IPs remembered as blocked; the limiter itself still answers for those that do not fit.
const BLOCKED_MAX: usize = 65_536;

/// Turns addresses into what limits are counted by, the same in every gateway: nobody can choose an
/// address that collides with another's, and the address itself is not kept.
pub(crate) struct SubjectKey([u8; 16]);

impl SubjectKey {
    /// `secret` may be used for other things, too.
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        let digest = Sha256::new().chain_update(b"terse: limits of addresses").chain_update(secret).finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }

    /// One subject per IPv4 address, and per IPv6 /64: a subscriber has all of it.
    pub(crate) fn of(&self, ip: IpAddr) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        match network_of(ip) {
            IpAddr::V4(v4) => hasher.write(&v4.octets()),
            IpAddr::V6(v6) => hasher.write(&v6.octets()),
        }
        hasher.finish()
    }
}

pub(crate) fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// At most so many requests in each second of this process.
pub(crate) struct RequestRate {
    per_s: u32,
    began: Instant,
    /// The second in the upper half, the requests in it in the lower.
    window: AtomicU64,
}

impl RequestRate {
    pub(crate) fn new(per_s: u32) -> Self {
        Self { per_s, began: Instant::now(), window: AtomicU64::new(0) }
    }

    pub(crate) fn admits(&self, now: Instant) -> bool {
        if self.per_s == 0 {
            return true;
        }
        let second = now.saturating_duration_since(self.began).as_secs() << 32;
        let seen = self.window.load(Ordering::Relaxed);
        if seen & !0xffff_ffff < second {
            // One of those who see the new second opens it; the others count into it.
            let _ = self.window.compare_exchange(seen, second, Ordering::Relaxed, Ordering::Relaxed);
        }
        if self.window.load(Ordering::Relaxed) & 0xffff_ffff >= u64::from(self.per_s) {
            return false;
        }
        self.window.fetch_add(1, Ordering::Relaxed);
        true
    }
}

/// What an IP that found nothing too often is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted {
    pub(crate) retry_after: Duration,
}

/// Who has used up their misses. Asking costs one load while nobody has.
pub(crate) struct MissBudget {
    limit: Limit,
    blocked: Mutex<HashMap<u64, Instant>>,
    count: AtomicUsize,
}

impl MissBudget {
    pub(crate) fn new(per_min: u32) -> Self {
        let limit = Limit { name: "misses", max: per_min, window: Duration::from_mins(1) };
        Self { limit, blocked: Mutex::default(), count: AtomicUsize::new(0) }
    }

    pub(crate) fn limit(&self) -> &Limit {
        &self.limit
    }

    /// `subject` is computed only when somebody is blocked.
    pub(crate) fn check(&self, now: Instant, subject: impl FnOnce() -> u64) -> Option<Exhausted> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let subject = subject();
        let mut blocked = self.lock();
        let until = *blocked.get(&subject)?;
        if until > now {
            return Some(Exhausted { retry_after: until - now });
        }
        blocked.remove(&subject);
        self.count.store(blocked.len(), Ordering::Relaxed);
        None
    }

    /// Counts a miss. Answers whether this one is already over the budget; with the last of the
    /// budget the IP is blocked from the next request on.
    pub(crate) async fn missed(&self, limiter: &dyn RateLimiter, subject: u64) -> Option<Exhausted> {
        if self.limit.max == 0 {
            return None;
        }
        // A limiter that cannot answer limits nobody.
        let decision = limiter.take(&self.limit, subject, 1).await.ok()?;
        let over = decision.allowed == Allowed::No;
        if over || decision.remaining == 0 {
            self.block(subject, Instant::now(), decision.reset);
        }
        over.then_some(Exhausted { retry_after: decision.reset })
    }

    fn block(&self, subject: u64, now: Instant, reset: Duration) {
        let mut blocked = self.lock();
        if blocked.len() >= BLOCKED_MAX {
            blocked.retain(|_, until| *until > now);
        }
        if blocked.len() < BLOCKED_MAX {
            blocked.insert(subject, now + reset.min(self.limit.window));
        }
        self.count.store(blocked.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_so_many_and_the_next_one_as_many_again() {
        let rate = RequestRate::new(100);
        let admitted = |at: Duration| (0..150).filter(|_| rate.admits(rate.began + at)).count();
        assert_eq!(admitted(Duration::ZERO), 100);
        assert_eq!(admitted(Duration::from_millis(999)), 0);
        assert_eq!(admitted(Duration::from_secs(1)), 100);
        assert_eq!(admitted(Duration::from_hours(1)), 100);
        assert!((0..1_000).all(|_| RequestRate::new(0).admits(Instant::now())));
    }

    #[test]
    fn the_blocked_are_let_go_when_their_time_is_over() {
        let budget = MissBudget::new(30);
        let now = Instant::now();
        assert_eq!(budget.check(now, || unreachable!("nobody is blocked")), None);
        budget.block(7, now, Duration::from_secs(20));
        assert_eq!(budget.check(now, || 7), Some(Exhausted { retry_after: Duration::from_secs(20) }));
        assert_eq!(budget.check(now, || 8), None);
        assert_eq!(budget.check(now + Duration::from_secs(20), || 7), None);
        assert_eq!(budget.check(now, || unreachable!("forgotten")), None);
    }

    #[test]
    fn memory_for_the_blocked_is_bounded() {
        let budget = MissBudget::new(30);
        let now = Instant::now();
        for subject in 0..BLOCKED_MAX as u64 + 100 {
            budget.block(subject, now, Duration::from_secs(20));
        }
        assert_eq!(budget.lock().len(), BLOCKED_MAX);
        budget.block(1 << 40, now + Duration::from_secs(21), Duration::from_secs(20));
        assert_eq!(budget.lock().len(), 1, "those whose time is over make room");
    }

    #[test]
    fn subjects_are_addresses_or_subscribers() {
        let key = SubjectKey::new(&[1; 16]);
        let of = |ip: &str| key.of(ip.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
    }

    #[test]
    fn gateways_of_one_store_count_an_address_together() {
        let subject = |secret: u8| SubjectKey::new(&[secret; 16]).of("192.0.2.1".parse().unwrap());
        assert_eq!(subject(1), subject(1));
        assert_ne!(subject(1), subject(2));
    }
}
