//! The wall clock. Monotonic time is `std::time::Instant`; ids and expiry need the date.

use crate::time::UnixMs;

pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> UnixMs;
}
