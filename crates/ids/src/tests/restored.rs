//! A store is put back from an older copy, and goes on.

use std::collections::HashSet;
use std::time::Duration;

use domain::api::Ids as _;
use domain::port::{Clock as _, LeaseStore as _};

use super::memory::{Memory, TestClock};
use super::{service, within_s};
use crate::restored::{Error, move_beyond};

const BLOCK: u32 = 1 << 19;

/// What is leased after a copy was made and lost with it, then what is leased after the copy was put back; whether any
/// counter or id came twice.
async fn repeats(moves: bool, age: Duration) -> (bool, bool) {
    let clock = TestClock::new();
    let store = Memory::shared(&clock);
    let before = service(&store, &clock);
    before.lease_codes(10, within_s(60)).await.unwrap();
    let copied_at = clock.now();
    let copy = store.copy();
    let began = tokio::time::Instant::now();
    let (mut lost_ids, mut lost_codes) = (HashSet::new(), Vec::new());
    // As fast as the rests allow.
    while began.elapsed() < age {
        lost_codes.push(before.lease_codes(BLOCK, within_s(60)).await.unwrap());
        clock.step(i64::try_from(began.elapsed().as_millis()).unwrap() - (clock.now().get() - copied_at.get()));
    }
    lost_ids.extend(before.next_ids(1_000, within_s(60)).await.unwrap());
    store.put_back(copy);
    if moves {
        let moved = move_beyond(store.clone(), copied_at, &*clock, None).await.unwrap();
        assert_eq!((moved.len(), moved[0].from), (1, 10));
    }
    let after = service(&store, &clock);
    let mut again = false;
    for _ in 0..8 {
        let block = after.lease_codes(BLOCK, within_s(60)).await.unwrap();
        again |= lost_codes.iter().any(|lost| lost.start < block.end && block.start < lost.end);
    }
    let ids = after.next_ids(1_000, within_s(60)).await.unwrap();
    (again, ids.iter().any(|id| lost_ids.contains(id)))
}

#[tokio::test(start_paused = true)]
async fn nothing_that_was_lost_is_handed_out_again() {
    for age in [0, 1, 60, 600].map(Duration::from_secs) {
        assert_eq!(repeats(true, age).await, (false, false), "{age:?}");
    }
    // The sabotage: the same watch sees it happen where nothing is moved.
    assert!(repeats(false, Duration::from_mins(1)).await.0);
}

#[tokio::test(start_paused = true)]
async fn older_epochs_grant_nothing_more_and_every_worker_is_moved() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let ids = service(&store, &clock);
    ids.lease_codes(10, within_s(60)).await.unwrap();
    ids.rotate_key([8; 16]).await.unwrap();
    let moved = move_beyond(store.clone(), clock.now(), &*clock, Some(1)).await.unwrap();
    let ranges = store.ranges().await.unwrap();
    assert_eq!(ranges[0].next, ranges[0].open);
    assert_eq!((moved[0].epoch, ranges[1].next, ranges[1].open), (1, moved[0].to, moved[0].to));
    for worker in [0, 7, 1_023] {
        assert!(store.worker_until(worker).await.unwrap() >= clock.now().get(), "{worker}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_from_the_future_or_too_old_a_one_is_refused() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    service(&store, &clock).lease_codes(10, within_s(60)).await.unwrap();
    let copied_at = clock.now();
    let future = move_beyond(store.clone(), copied_at.saturating_add(Duration::from_hours(2)), &*clock, None).await;
    assert!(matches!(future, Err(Error::Future)), "{future:?}");
    clock.step(365 * 86_400_000);
    let old = move_beyond(store.clone(), copied_at, &*clock, None).await;
    assert!(matches!(old, Err(Error::TooOld { age_h: 8_760, .. })), "{old:?}");
    assert!(move_beyond(store, copied_at, &*clock, Some(1_000)).await.is_ok(), "few were made");
}
