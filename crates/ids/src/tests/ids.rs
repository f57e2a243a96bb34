use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::api::Ids;
use domain::snowflake::{EPOCH_MS, IDS_PER_MS, MS_MAX, decode};
use domain::{Kind, LinkId, Reason};
use tokio::task::JoinSet;

use super::memory::{Fault, Memory, Swapping, TestClock};
use super::{service, with_options, within_s};
use crate::{Options, Service};

const HOUR_MS: i64 = 3_600_000;

async fn take(service: &Service, count: u32) -> Vec<LinkId> {
    service.next_ids(count, within_s(10)).await.unwrap()
}

/// No id twice, and each within a window whose grant was told.
#[track_caller]
fn assert_sound(store: &Memory, ids: &[LinkId]) {
    let distinct: HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "an id came twice");
    let windows = store.windows();
    for id in ids {
        let parts = decode(*id);
        let granted = windows.iter().any(|w| w.told && w.worker == parts.worker && (w.from..w.until).contains(&parts.at.get()));
        assert!(granted, "{parts:?} lies in none of {windows:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn ids_carry_the_clock_and_the_worker() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let service = with_options(Options { worker: 1_023, ..Options::default() }, &store, &clock);
    let first = take(&service, 1).await[0];
    assert_eq!((decode(first).at.get(), decode(first).worker), (TestClock::START, 1_023));
    clock.step(1_234);
    assert_eq!(decode(take(&service, 1).await[0]).at.get(), TestClock::START + 1_234);
}

#[tokio::test(start_paused = true)]
async fn a_stepped_clock_repeats_nothing() {
    for steps in [[-HOUR_MS, HOUR_MS], [HOUR_MS, -HOUR_MS], [-1, -1], [-HOUR_MS, -HOUR_MS]] {
        let clock = TestClock::new();
        let store = Memory::local(&clock);
        let service = service(&store, &clock);
        let mut ids = take(&service, 5_000).await;
        for step in steps {
            clock.step(step);
            for _ in 0..3 {
                ids.extend(take(&service, 5_000).await);
                clock.step(1);
            }
        }
        assert!(ids.is_sorted_by(|a, b| a < b), "{steps:?}");
        assert_sound(&store, &ids);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_within_the_millisecond_repeats_nothing() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let mut ids = Vec::new();
    for _ in 0..10 {
        let restarted = service(&store, &clock);
        ids.extend(take(&restarted, 10).await);
        clock.step(-1);
    }
    assert_sound(&store, &ids);
}

#[tokio::test(start_paused = true)]
async fn restarts_in_quick_succession_do_not_run_away() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    for _ in 0..40 {
        take(&service(&store, &clock), 1).await;
        clock.step(100);
    }
    let ahead = store.windows().last().unwrap().until - TestClock::START;
    assert!(ahead < 60_000, "{ahead} ms");
}

/// The sabotage: without compare-and-set the same test finds what it is there to find.
#[tokio::test(start_paused = true)]
async fn without_compare_and_set_ids_repeat() {
    let clock = TestClock::new();
    let store = Memory::new(&clock, true, Swapping::Blindly);
    let (a, b) = (service(&store, &clock), service(&store, &clock));
    let (a, b) = tokio::join!(take(&a, 10), take(&b, 10));
    assert_eq!(a, b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_on_two_services_of_one_worker_number() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let services = [service(&store, &clock), service(&store, &clock)];
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (service, clock) = (services[task % 2].clone(), clock.clone());
        tasks.spawn(async move {
            let mut ids = Vec::new();
            for round in 0..50 {
                ids.extend(take(&service, 1 + round * 7).await);
                clock.step(i64::from(round % 5) - 1);
            }
            ids
        });
    }
    let ids: Vec<LinkId> = tasks.join_all().await.into_iter().flatten().collect();
    let distinct: HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
}

#[tokio::test(start_paused = true)]
async fn a_window_of_unknown_outcome_is_never_used() {
    for faults in [
        vec![Fault::UnknownApplied],
        vec![Fault::UnknownNotApplied],
        vec![Fault::UnknownApplied, Fault::UnknownNotApplied],
        vec![Fault::Refused, Fault::UnknownApplied],
    ] {
        let clock = TestClock::new();
        let store = Memory::local(&clock);
        store.fail(faults.clone());
        let ids = take(&service(&store, &clock), 5_000).await;
        assert_sound(&store, &ids);
        assert_eq!(store.writes(), faults.len() + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_failing_is_unavailable_and_then_forgotten() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let service = service(&store, &clock);
    store.fail([Fault::Refused; 3]);
    let error = service.next_ids(1, within_s(10)).await.unwrap_err();
    assert_eq!((error.kind(), store.writes()), (Kind::Unavailable, 3));
    assert_sound(&store, &take(&service, 10).await);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_no_more_than_the_deadline() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let service = service(&store, &clock);
    store.fail([Fault::Hangs]);
    let error = service.next_ids(1, within_s(1)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DeadlineExceeded);
    assert_sound(&store, &take(&service, 10).await);
}

#[tokio::test(start_paused = true)]
async fn the_next_window_is_there_before_the_first_ends() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let service = service(&store, &clock);
    let mut ids = take(&service, 1).await;
    clock.step(4_999);
    ids.extend(take(&service, 1).await);
    assert_eq!(store.windows().len(), 1);
    clock.step(1);
    ids.extend(take(&service, 1).await);
    assert_eq!(store.windows().len(), 2, "half of the first is over");
    store.fail([Fault::Hangs, Fault::Refused, Fault::Refused]);
    clock.step(14_000);
    ids.extend(take(&service, 1).await);
    assert_eq!(store.windows().len(), 2, "ids go on while the store does not");
    assert_sound(&store, &ids);
}

#[tokio::test(start_paused = true)]
async fn a_failed_prefetch_fails_nobody_and_rests() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let service = service(&store, &clock);
    take(&service, 1).await;
    clock.step(6_000);
    store.fail([Fault::Refused]);
    for _ in 0..5 {
        take(&service, 1).await;
    }
    assert_eq!((store.windows().len(), store.writes()), (1, 2));
    tokio::time::advance(Duration::from_secs(2)).await;
    take(&service, 1).await;
    assert_eq!(store.windows().len(), 2);
}

/// The layout's limit, 4,096 ids in every millisecond of a window, is reached and kept.
#[tokio::test(start_paused = true)]
async fn a_window_gives_all_its_ids_and_demand_beyond_ends() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let second = Duration::from_secs(1);
    let service = with_options(Options { window: second, ahead_max: second * 2, ..Options::default() }, &store, &clock);
    let mut last = None;
    let mut count = 0_u64;
    let error = loop {
        match service.next_ids(62_500, within_s(10)).await {
            Ok(ids) => {
                assert!(last < ids.first().copied());
                last = ids.last().copied();
                count += 62_500;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::Unavailable);
    let windows = store.windows();
    let granted: i64 = windows.iter().map(|window| window.until - window.from).sum();
    let all = u64::try_from(granted).unwrap() * IDS_PER_MS;
    assert!(all - count < 62_500, "{count} of {all}");
    assert!(windows.last().unwrap().until <= TestClock::START + 3_100);
    clock.step(60_000);
    assert_eq!(service.next_ids(1, within_s(10)).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn far_ahead_of_the_clock_nothing_is_granted() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    store.put_worker(0, TestClock::START + HOUR_MS);
    let error = service(&store, &clock).next_ids(1, within_s(10)).await.unwrap_err();
    assert_eq!((error.kind(), store.writes()), (Kind::Unavailable, 0));
    let other = with_options(Options { worker: 1, ..Options::default() }, &store, &clock);
    assert_sound(&store, &take(&other, 10).await);
}

#[tokio::test(start_paused = true)]
async fn clocks_outside_the_layout() {
    let clock = TestClock::new();
    clock.step(-TestClock::START);
    let store = Memory::local(&clock);
    let unset = service(&store, &clock);
    let error = unset.next_ids(1, within_s(10)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "a clock in 1970");
    clock.step(EPOCH_MS + i64::try_from(MS_MAX).unwrap());
    let error = service(&store, &clock).next_ids(1, within_s(10)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "a clock in 2094");
}

#[test]
fn options_are_checked() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let make = |options| Service::new(options, store.clone(), clock.clone(), Arc::new(super::Counting::default()), [0; 16]).map(|_| ());
    for options in [
        Options { worker: 1_024, ..Options::default() },
        Options { window: Duration::from_millis(999), ..Options::default() },
        Options { ahead_max: Duration::from_secs(19), ..Options::default() },
    ] {
        assert_eq!(make(options).map_err(|error| error.kind()), Err(Kind::Invalid));
    }
    assert!(make(Options { worker: 1_023, ..Options::default() }).is_ok());
}
