//! Who is asked: a snapshot of the replicas in use, and the four ways to choose among them. Choosing
//! allocates nothing and takes no lock.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::api::Ask;
use domain::code::has_generated_shape;
use domain::limits::FOREIGN_CODE_LEN_MAX;
use siphasher::sip::SipHasher13;

use super::Member;

/// With so few requests in flight at it no replica is overloaded, whatever the mean is: placement
/// is worth more.
const BUSY_FROM: usize = 4;
const DOMAIN_LEN: usize = 4;

/// How a replica is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The two replicas of the highest hash with the code; the one with fewer requests in flight, or
    /// the next ones while those are above the bound.
    #[default]
    Rendezvous,
    /// The first replica after the code's place on a ring that is not above the bound.
    Ring {
        virtual_nodes: u16,
    },
    /// Two at random, the one with fewer requests in flight.
    P2c,
    RoundRobin,
}

impl Policy {
    /// Even enough (1.16 times the mean at most with 32 replicas) and still cheap to build.
    pub const RING: Self = Self::Ring { virtual_nodes: 160 };
}

/// The place of a code. The same in every gateway, release after release; whoever finds codes that
/// meet at one replica is stopped by the bound on its load.
pub(super) fn key_of(ask: &Ask<'_>) -> u64 {
    let mut bytes = [0; DOMAIN_LEN + FOREIGN_CODE_LEN_MAX];
    bytes[..DOMAIN_LEN].copy_from_slice(&ask.domain.get().to_le_bytes());
    // No link has a longer code.
    let code = ask.code.as_bytes();
    let code = &code[..code.len().min(FOREIGN_CODE_LEN_MAX)];
    let typed = &mut bytes[DOMAIN_LEN..DOMAIN_LEN + code.len()];
    typed.copy_from_slice(code);
    // Other codes may be aliases, which are the same in any case.
    if !has_generated_shape(ask.code) {
        typed.make_ascii_lowercase();
    }
    stable_hash(&bytes[..DOMAIN_LEN + code.len()])
}

/// Unlike the standard library's, promised never to change.
pub(super) fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The finaliser of `SplitMix64`: every bit of the input moves half of the output.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Cheap randomness; never for anything that must not be guessed.
pub(super) struct Dice(AtomicU64);

impl Dice {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(RandomState::new().hash_one(0_u8)))
    }

    fn roll(&self) -> u64 {
        mix(self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed))
    }

    pub(super) fn below(&self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.roll() % bound).unwrap_or(0)
    }
}

/// Who may be asked at the moment. Replaced as a whole.
#[derive(Default)]
pub(super) struct Placement {
    policy: Policy,
    load_bound_permille: u64,
    members: Box<[Arc<Member>]>,
    /// In the order of `members`, close together.
    seeds: Box<[u64]>,
    /// Places of the virtual nodes, ascending, and whose they are.
    ring: Box<[(u64, usize)]>,
    turn: AtomicU64,
    /// Left out, to be asked when nobody else is there.
    others: Box<[Arc<Member>]>,
}

pub(super) struct Chosen<'a> {
    pub(super) member: &'a Arc<Member>,
    /// It would have been another one, were that one not too busy.
    pub(super) spilled: bool,
}

/// A member, after its hash with the code.
type Weight = (u64, usize);

impl Placement {
    pub(super) fn new(policy: Policy, load_bound: f64, members: Vec<Arc<Member>>, others: Vec<Arc<Member>>) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; not-a-number becomes 0")]
        let load_bound_permille = (load_bound.clamp(1.0, 1_000.0) * 1_000.0) as u64;
        let mut ring = Vec::new();
        if let Policy::Ring { virtual_nodes } = policy {
            ring.reserve_exact(members.len() * usize::from(virtual_nodes));
            for (index, member) in members.iter().enumerate() {
                let places = 1..=u64::from(virtual_nodes.max(1));
                ring.extend(places.map(|place| (mix(member.seed ^ mix(place)), index)));
            }
            ring.sort_unstable();
        }
        Self {
            policy,
            load_bound_permille: load_bound_permille.max(1_000),
            seeds: members.iter().map(|member| member.seed).collect(),
            members: members.into(),
            ring: ring.into(),
            turn: AtomicU64::new(0),
            others: others.into(),
        }
    }

    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        self.members.len()
    }

    /// `in_flight`: at all replicas.
    pub(super) fn choose(&self, key: u64, except: Option<&Arc<Member>>, in_flight: usize, dice: &Dice) -> Option<Chosen<'_>> {
        let except_index = except.and_then(|except| self.members.iter().position(|member| Arc::ptr_eq(member, except)));
        let choices = self.members.len() - usize::from(except_index.is_some());
        if choices == 0 {
            return self.last_resort(except);
        }
        let (index, spilled) = match self.policy {
            Policy::Rendezvous => self.rendezvous(key, except_index, self.busy_from(in_flight))?,
            Policy::Ring { .. } => self.on_ring(key, except_index, self.busy_from(in_flight))?,
            Policy::P2c => (self.p2c(except_index, choices, dice), false),
            Policy::RoundRobin => (skip(except_index, self.next_turn(choices)), false),
        };
        Some(Chosen { member: &self.members[index], spilled })
    }

    fn last_resort(&self, except: Option<&Arc<Member>>) -> Option<Chosen<'_>> {
        let others = self.others.iter().filter(|member| except.is_none_or(|except| !Arc::ptr_eq(member, except)));
        others.min_by_key(|member| member.health.in_flight()).map(|member| Chosen { member, spilled: false })
    }

    fn load(&self, index: usize) -> usize {
        self.members[index].health.in_flight()
    }

    /// In flight at one replica from which on it takes nothing more: consistent hashing with bounded
    /// loads (Mirrokni, Thorup, Zadimoghaddam), `⌈c·(m + 1)/n⌉`.
    fn busy_from(&self, in_flight: usize) -> usize {
        let replicas = u64::try_from(self.members.len()).unwrap_or(u64::MAX).max(1);
        let total = u64::try_from(in_flight).unwrap_or(u64::MAX).saturating_add(1);
        let bound = total.saturating_mul(self.load_bound_permille).div_ceil(replicas.saturating_mul(1_000));
        usize::try_from(bound).unwrap_or(usize::MAX).max(BUSY_FROM)
    }

    /// Each member's hash with the code. No two are equal: `mix` can be undone, and the seeds differ.
    fn weights(&self, key: u64, except: usize) -> impl Iterator<Item = Weight> + '_ {
        let weights = self.seeds.iter().enumerate().map(move |(index, seed)| (mix(key ^ seed), index));
        weights.filter(move |(_, index)| *index != except)
    }

    fn rendezvous(&self, key: u64, except: Option<usize>, busy_from: usize) -> Option<(usize, bool)> {
        let nobody = self.members.len();
        let except = except.unwrap_or(nobody);
        let (mut first, mut second): (Weight, Weight) = ((0, nobody), (0, nobody));
        for weight in self.weights(key, except) {
            if weight.0 >= first.0 {
                second = first;
                first = weight;
            } else if weight.0 >= second.0 {
                second = weight;
            }
        }
        if second.1 == nobody {
            return (first.1 != nobody).then_some((first.1, false));
        }
        let (first_load, second_load) = (self.load(first.1), self.load(second.1));
        let best = if second_load < first_load { second.1 } else { first.1 };
        if first_load.min(second_load) < busy_from {
            return Some((best, false));
        }
        let mut above = second.0;
        while let Some((weight, next)) = self.weights(key, except).filter(|(weight, _)| *weight < above).max() {
            if self.load(next) < busy_from {
                return Some((next, true));
            }
            above = weight;
        }
        Some((best, false))
    }

    fn on_ring(&self, key: u64, except: Option<usize>, busy_from: usize) -> Option<(usize, bool)> {
        let start = self.ring.partition_point(|(place, _)| *place < key);
        let clockwise = self.ring[start..].iter().chain(&self.ring[..start]).map(|(_, index)| *index);
        let mut candidates = clockwise.filter(|index| Some(*index) != except);
        let home = candidates.next()?;
        if self.load(home) < busy_from {
            return Some((home, false));
        }
        let spilled = candidates.find(|index| self.load(*index) < busy_from);
        Some(spilled.map_or((home, false), |index| (index, true)))
    }

    fn p2c(&self, except: Option<usize>, choices: usize, dice: &Dice) -> usize {
        let one = dice.below(choices);
        if choices == 1 {
            return skip(except, one);
        }
        let other = (one + 1 + dice.below(choices - 1)) % choices;
        let (one, other) = (skip(except, one), skip(except, other));
        if self.load(other) < self.load(one) { other } else { one }
    }

    fn next_turn(&self, choices: usize) -> usize {
        let choices = u64::try_from(choices).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.turn.fetch_add(1, Ordering::Relaxed) % choices).unwrap_or(0)
    }
}

/// The place of the `nth` member when one is passed over.
fn skip(except: Option<usize>, nth: usize) -> usize {
    nth + usize::from(except.is_some_and(|except| nth >= except))
}

#[cfg(test)]
mod tests;
