//! Conditional statements of one process on one partition, one at a time: those that would only make each
//! other fail wait here instead of at the servers.

use std::hash::{BuildHasher as _, Hash, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// So many that two partitions under way seldom share one.
const STRIPES: usize = 1_024;

pub(super) struct Stripes {
    hasher: RandomState,
    stripes: Vec<Mutex<()>>,
}

/// Until dropped, no other statement of this process is sent to the partition.
pub(super) struct Turn<'a> {
    /// Somebody was there before, and may have decided already what is asked.
    pub(super) has_waited: bool,
    _guard: MutexGuard<'a, ()>,
}

impl Stripes {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), stripes: (0..STRIPES).map(|_| Mutex::new(())).collect() }
    }

    pub(super) async fn enter(&self, partition: &(impl Hash + ?Sized)) -> Turn<'_> {
        let stripes = u64::try_from(STRIPES).unwrap_or(1);
        let stripe = usize::try_from(self.hasher.hash_one(partition) % stripes).unwrap_or(0);
        let stripe = &self.stripes[stripe];
        match stripe.try_lock() {
            Ok(guard) => Turn { has_waited: false, _guard: guard },
            Err(_) => Turn { has_waited: true, _guard: stripe.lock().await },
        }
    }
}
