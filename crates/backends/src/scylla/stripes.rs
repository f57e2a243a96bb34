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

impl Stripes {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), stripes: (0..STRIPES).map(|_| Mutex::new(())).collect() }
    }

    pub(super) async fn enter(&self, partition: &(impl Hash + ?Sized)) -> MutexGuard<'_, ()> {
        let stripes = u64::try_from(STRIPES).unwrap_or(1);
        let stripe = usize::try_from(self.hasher.hash_one(partition) % stripes).unwrap_or(0);
        self.stripes[stripe].lock().await
    }
}
