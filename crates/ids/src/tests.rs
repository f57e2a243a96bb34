mod codes;
mod contract;
mod ids;
mod memory;
mod restored;

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::api::Deadline;

use self::memory::{Counting, Memory, TestClock};
use crate::{Options, Service};

const FIRST_KEY: [u8; 16] = [7; 16];

fn service(store: &Arc<Memory>, clock: &Arc<TestClock>) -> Arc<Service> {
    with_options(Options::default(), store, clock)
}

fn with_options(options: Options, store: &Arc<Memory>, clock: &Arc<TestClock>) -> Arc<Service> {
    Arc::new(Service::new(options, store.clone(), clock.clone(), Arc::new(Counting::default()), FIRST_KEY).unwrap())
}

fn within_s(seconds: u64) -> Deadline {
    Deadline::after(Instant::now(), Duration::from_secs(seconds))
}
