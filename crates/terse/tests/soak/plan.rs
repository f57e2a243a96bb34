//! How long a soak runs, and the dice that decide what breaks when.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One soak at a time: two of them on a small machine starve each other, and what is late then says nothing.
static MACHINE: Mutex<()> = Mutex::new(());

/// By the environment, or a short run whose seed differs each time.
pub(crate) struct Plan {
    pub(crate) is_long: bool,
    pub(crate) length: Duration,
    pub(crate) dice: Dice,
    began: Instant,
    _machine: MutexGuard<'static, ()>,
}

impl Plan {
    /// `short_s` is how long it runs in the ordinary suite, from the first fault on.
    pub(crate) fn of(name: &str, short_s: u64) -> Self {
        let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = from_environment("TERSE_SOAK_SECONDS");
        let seed = from_environment("TERSE_SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
        let length = Duration::from_secs(seconds.unwrap_or(short_s));
        println!("soak {name}: {} s, seed {seed} (again: scripts/soak {name} {} {seed})", length.as_secs(), length.as_secs());
        Self { is_long: seconds.is_some(), length, dice: Dice(seed), began: Instant::now(), _machine: machine }
    }

    /// Starting the servers does not count.
    pub(crate) fn begin(&mut self) {
        self.began = Instant::now();
    }

    pub(crate) fn goes_on(&self) -> bool {
        self.began.elapsed() < self.length
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

#[expect(clippy::disallowed_methods, reason = "scripts/soak tells by environment")]
fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`, not a number")))
}

/// `SplitMix64`: the same seed, the same faults in the same order.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// `0..end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.u64() % end
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("an index")
    }

    pub(crate) fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }

    /// One time of `of`.
    pub(crate) fn once_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

#[test]
fn a_seed_is_a_schedule() {
    let schedule = |seed| {
        let mut dice = Dice::new(seed);
        (0..100).map(|_| dice.below(1_000)).collect::<Vec<_>>()
    };
    assert_eq!(schedule(7), schedule(7));
    assert_ne!(schedule(7), schedule(8));
}
