//! Visitors: a keyed hash under the salt of the UTC day, so that nobody can be followed from day to day.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::port::{Clock, SaltStore};
use siphasher::sip128::{Hasher128, SipHasher24};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{DAY_MS, day_of};

/// How long before midnight the next day's salt is fetched.
const AHEAD: Duration = Duration::from_mins(15);
/// How often the calendar is looked at.
const LOOK_EACH: Duration = Duration::from_secs(30);
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a user agent that tell visitors apart.
const AGENT_LEN_MAX: usize = 512;

type Salt = [u8; 32];

/// Yesterday's salt is not among them: what is over cannot be linked to any more.
#[derive(Clone, Copy, Default)]
struct Known {
    today: Option<(u32, Salt)>,
    tomorrow: Option<(u32, Salt)>,
}

pub(crate) struct Salts {
    store: Arc<dyn SaltStore>,
    clock: Arc<dyn Clock>,
    known: ArcSwap<Known>,
    /// Stands in for a salt that could not be fetched. Never leaves this process, so that its replicas'
    /// visitors are counted apart; nothing else is lost.
    substitute: RandomState,
}

impl Salts {
    pub(crate) fn new(store: Arc<dyn SaltStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, known: ArcSwap::default(), substitute: RandomState::new() }
    }

    /// `SipHash-2-4` under the day's salt: a pseudo-random function that outsiders cannot search for the 2^32
    /// addresses of IPv4. Half of the salt is its key, the other half goes before the message.
    pub(crate) fn visitor(&self, day: u32, owner: &str, ip: IpAddr, user_agent: &str) -> u64 {
        let salt = self.salt(day);
        let (key, prefix) = salt.split_at(16);
        let mut key_bytes = [0; 16];
        key_bytes.copy_from_slice(key);
        let mut hasher = SipHasher24::new_with_key(&key_bytes);
        hasher.write(prefix);
        let owner_len = u8::try_from(owner.len()).unwrap_or(u8::MAX);
        hasher.write(&[owner_len]);
        hasher.write(owner.as_bytes());
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                hasher.write(&[4]);
                hasher.write(&ip.octets());
            }
            // One household has a whole /64.
            IpAddr::V6(ip) => {
                hasher.write(&[6]);
                hasher.write(&ip.octets()[..8]);
            }
        }
        let agent = user_agent.as_bytes();
        hasher.write(&agent[..agent.len().min(AGENT_LEN_MAX)]);
        hasher.finish128().as_u64().0
    }

    fn salt(&self, day: u32) -> Salt {
        let known = self.known.load();
        let of_day = [known.today, known.tomorrow].into_iter().flatten().find(|(of, _)| *of == day);
        of_day.map_or_else(|| self.substitute(day), |(_, salt)| salt)
    }

    fn substitute(&self, day: u32) -> Salt {
        let mut salt = [0; 32];
        for (part, slot) in salt.chunks_exact_mut(8).enumerate() {
            slot.copy_from_slice(&self.substitute.hash_one((day, part)).to_le_bytes());
        }
        salt
    }

    /// Fetches what is missing for now. A failure is logged; the substitute serves until it is mended.
    pub(crate) async fn refresh(&self) {
        let now = self.clock.now();
        let day = day_of(now);
        let old = **self.known.load();
        let of = |day: u32| [old.today, old.tomorrow].into_iter().flatten().find(|(of, _)| *of == day);
        let mut known = Known { today: of(day), tomorrow: of(day.saturating_add(1)) };
        if known.today.is_none() {
            known.today = self.fetch(day).await;
        }
        let ahead = i64::try_from(AHEAD.as_millis()).unwrap_or(0);
        if known.tomorrow.is_none() && now.get().rem_euclid(DAY_MS) >= DAY_MS - ahead {
            known.tomorrow = self.fetch(day.saturating_add(1)).await;
        }
        self.known.store(Arc::new(known));
    }

    async fn fetch(&self, day: u32) -> Option<(u32, Salt)> {
        match timeout(READ_TIMEOUT, self.store.salt(day)).await {
            Ok(Ok(salt)) => return Some((day, salt)),
            Ok(Err(error)) => tracing::warn!(day, %error, "the day's salt cannot be read; visitors are counted apart meanwhile"),
            Err(_) => tracing::warn!(day, "the day's salt was not read in time; visitors are counted apart meanwhile"),
        }
        None
    }

    pub(crate) async fn run(&self, draining: CancellationToken) {
        loop {
            tokio::select! {
                () = draining.cancelled() => return,
                () = tokio::time::sleep(LOOK_EACH) => {}
            }
            self.refresh().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

    use domain::UnixMs;
    use domain::port::{Outcome, PortError, PortErrorKind, PortResult};

    use super::*;

    #[derive(Default)]
    struct Shared {
        now: AtomicI64,
        away: AtomicBool,
    }

    impl Clock for Shared {
        fn now(&self) -> UnixMs {
            UnixMs::new(self.now.load(Ordering::Relaxed))
        }
    }

    #[async_trait::async_trait]
    impl SaltStore for Shared {
        async fn salt(&self, day: u32) -> PortResult<[u8; 32]> {
            if self.away.load(Ordering::Relaxed) {
                return Err(PortError::new(PortErrorKind::Unavailable, "test: salt", Outcome::NotApplied));
            }
            let mut salt = [7; 32];
            salt[28..].copy_from_slice(&day.to_le_bytes());
            Ok(salt)
        }
    }

    fn salts(shared: &Arc<Shared>) -> Salts {
        Salts::new(shared.clone(), shared.clone())
    }

    impl Salts {
        fn visitor_at(&self, at: UnixMs, ip: &str) -> u64 {
            self.visitor(day_of(at), "me", ip.parse().unwrap(), "Mozilla/5.0")
        }
    }

    fn set(shared: &Shared, now: i64) -> UnixMs {
        shared.now.store(now, Ordering::Relaxed);
        UnixMs::new(now)
    }

    #[tokio::test]
    async fn replicas_agree_within_a_day_and_days_are_unrelated() {
        let shared = Arc::new(Shared::default());
        let (one, two) = (salts(&shared), salts(&shared));
        let noon = set(&shared, 10 * DAY_MS + DAY_MS / 2);
        one.refresh().await;
        two.refresh().await;
        assert_eq!(one.visitor_at(noon, "192.0.2.1"), two.visitor_at(noon, "192.0.2.1"));
        assert_ne!(one.visitor_at(noon, "192.0.2.1"), one.visitor_at(noon, "192.0.2.2"));
        let next = set(&shared, 11 * DAY_MS);
        one.refresh().await;
        assert_ne!(one.visitor_at(next, "192.0.2.1"), two.visitor_at(noon, "192.0.2.1"));
    }

    #[tokio::test]
    async fn every_byte_of_the_salt_matters() {
        let hashes: std::collections::HashSet<u64> = (0..32)
            .map(|at| {
                let shared = Arc::new(Shared::default());
                let salts = salts(&shared);
                let mut salt = [7; 32];
                salt[at] = 8;
                salts.known.store(Arc::new(Known { today: Some((0, salt)), tomorrow: None }));
                salts.visitor_at(UnixMs::new(0), "192.0.2.1")
            })
            .collect();
        assert_eq!(hashes.len(), 32);
    }

    #[tokio::test]
    async fn midnight_needs_no_store() {
        let shared = Arc::new(Shared::default());
        let (one, two) = (salts(&shared), salts(&shared));
        set(&shared, 11 * DAY_MS - 60_000);
        one.refresh().await;
        two.refresh().await;
        shared.away.store(true, Ordering::Relaxed);
        let after = set(&shared, 11 * DAY_MS + 1);
        one.refresh().await;
        two.refresh().await;
        assert_eq!(one.visitor_at(after, "192.0.2.1"), two.visitor_at(after, "192.0.2.1"));
        assert_eq!(one.known.load().today.map(|(day, _)| day), Some(11), "yesterday's is gone");
    }

    #[tokio::test]
    async fn without_a_salt_visitors_are_told_apart_but_not_across_replicas() {
        let shared = Arc::new(Shared::default());
        shared.away.store(true, Ordering::Relaxed);
        let (one, two) = (salts(&shared), salts(&shared));
        let at = set(&shared, DAY_MS);
        one.refresh().await;
        assert_eq!(one.visitor_at(at, "192.0.2.1"), one.visitor_at(at, "192.0.2.1"));
        assert_ne!(one.visitor_at(at, "192.0.2.1"), two.visitor_at(at, "192.0.2.1"));
        assert_ne!(one.visitor_at(at, "192.0.2.1"), one.visitor_at(UnixMs::new(2 * DAY_MS), "192.0.2.1"));
    }

    #[tokio::test]
    async fn a_household_of_ipv6_is_one_visitor_and_mapped_addresses_are_ipv4() {
        let shared = Arc::new(Shared::default());
        let salts = salts(&shared);
        let at = UnixMs::new(0);
        assert_eq!(salts.visitor_at(at, "2001:db8:1:2::1"), salts.visitor_at(at, "2001:db8:1:2:ffff::9"));
        assert_ne!(salts.visitor_at(at, "2001:db8:1:2::1"), salts.visitor_at(at, "2001:db8:1:3::1"));
        assert_eq!(salts.visitor_at(at, "::ffff:192.0.2.1"), salts.visitor_at(at, "192.0.2.1"));
    }
}
