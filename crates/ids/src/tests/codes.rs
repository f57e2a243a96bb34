use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::Kind;
use domain::api::{CodeBlock, Ids};
use domain::code::BlockCodes;
use domain::limits::{CODE_BLOCK_MAX, CODE_SPACE};
use domain::port::CodeRange;
use tokio::task::JoinSet;

use super::memory::{Counting, Fault, Memory, Swapping, TestClock};
use super::{FIRST_KEY, service, with_options, within_s};
use crate::{Options, Service, first_range};

const REST: Duration = Duration::from_secs(5);

async fn lease(service: &Service, count: u32) -> CodeBlock {
    service.lease_codes(count, within_s(60)).await.unwrap()
}

#[track_caller]
fn assert_disjoint(blocks: &[CodeBlock]) {
    let mut sorted: Vec<_> = blocks.iter().map(|block| (block.epoch, block.start, block.end)).collect();
    sorted.sort_unstable();
    for pair in sorted.windows(2) {
        assert!(pair[0].0 < pair[1].0 || pair[0].2 <= pair[1].1, "{pair:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_range_is_made_once_with_the_key_given() {
    let clock = TestClock::new();
    let store = Memory::shared(&clock);
    let (a, b) = (service(&store, &clock), service(&store, &clock));
    let (a, b) = tokio::join!(lease(&a, 10), lease(&b, 10));
    assert_disjoint(&[a.clone(), b.clone()]);
    assert_eq!((a.key, a.epoch, b.key, b.epoch), (FIRST_KEY, 0, FIRST_KEY, 0));
    let entropy = Counting::default();
    assert_ne!(first_range(&entropy).key, first_range(&entropy).key);
}

/// Takes blocks with pauses between them, and answers whether ever a counter was granted that some
/// replica could still have called "never issued".
async fn outran_the_proof(options: Options) -> bool {
    let clock = TestClock::new();
    let store = Memory::shared(&clock);
    let service = with_options(options, &store, &clock);
    let first_open = lease(&service, 1).await;
    assert_eq!(first_open.start, 0);
    let first_lim = store.last_range().lim;
    for round in 0..12_u64 {
        let block = lease(&service, CODE_BLOCK_MAX / 2).await;
        if block.end > first_lim.max(store.lim_known_for(block.epoch, REST)) {
            return true;
        }
        tokio::time::advance(Duration::from_millis(700 * (round % 4))).await;
    }
    false
}

#[tokio::test(start_paused = true)]
async fn counters_are_granted_only_when_every_replica_knows_their_bound() {
    assert!(!outran_the_proof(Options::default()).await);
    // The sabotage: without the rest the same watch sees it happen.
    assert!(outran_the_proof(Options { rest: Duration::ZERO, ..Options::default() }).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_open_yet_is_waited_for_or_refused() {
    let clock = TestClock::new();
    let store = Memory::shared(&clock);
    store.put_range(CodeRange { epoch: 0, key: FIRST_KEY, next: 100, open: 100, lim: 5_000_000 });
    let service = service(&store, &clock);
    let error = service.lease_codes(10, within_s(1)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.retry_after().is_some_and(|after| after <= REST));
    let block = service.lease_codes(10, within_s(30)).await.unwrap();
    assert_eq!((block.start, store.last_range().open), (100, 5_000_000));
}

#[tokio::test(start_paused = true)]
async fn in_one_process_nothing_rests() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let service = service(&store, &clock);
    let started = tokio::time::Instant::now();
    let mut blocks = Vec::new();
    for _ in 0..10 {
        blocks.push(service.lease_codes(CODE_BLOCK_MAX, within_s(1)).await.unwrap());
    }
    assert_disjoint(&blocks);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_block_of_unknown_outcome_is_never_used() {
    for (faults, start) in [
        (vec![Fault::UnknownApplied], 20),
        (vec![Fault::UnknownNotApplied], 10),
        (vec![Fault::Refused], 10),
        (vec![Fault::UnknownApplied, Fault::UnknownApplied], 30),
    ] {
        let clock = TestClock::new();
        let store = Memory::local(&clock);
        let service = service(&store, &clock);
        lease(&service, 10).await;
        store.fail(faults.clone());
        assert_eq!(lease(&service, 10).await.start, start, "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_failing_is_unavailable() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let service = service(&store, &clock);
    lease(&service, 10).await;
    store.fail([Fault::Refused; 3]);
    assert_eq!(service.lease_codes(10, within_s(10)).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(lease(&service, 10).await.start, 10);
}

#[tokio::test(start_paused = true)]
async fn the_space_ends_with_a_clear_error() {
    let clock = TestClock::new();
    let store = Memory::shared(&clock);
    store.put_range(CodeRange { epoch: 0, key: FIRST_KEY, next: CODE_SPACE - 15, open: CODE_SPACE - 15, lim: CODE_SPACE - 15 });
    let service = service(&store, &clock);
    assert_eq!(lease(&service, 10).await.end, CODE_SPACE - 5);
    let error = service.lease_codes(10, within_s(60)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.detail().contains("used up"), "{error}");
    assert_eq!(lease(&service, 5).await.end, CODE_SPACE);
    assert_eq!(store.last_range().lim, CODE_SPACE);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_used_once_every_replica_can_know_it() {
    let clock = TestClock::new();
    let store = Memory::shared(&clock);
    let service = service(&store, &clock);
    lease(&service, 10).await;
    assert_eq!(service.rotate_key([8; 16]).await.unwrap(), 1);
    assert_eq!(service.rotate_key([8; 16]).await.unwrap(), 1, "asked again");
    assert_eq!(service.rotate_key(FIRST_KEY).await.unwrap_err().kind(), Kind::Invalid);
    let meanwhile = lease(&service, 10).await;
    assert_eq!((meanwhile.epoch, meanwhile.start), (0, 10), "the old key until then");
    tokio::time::advance(REST).await;
    let block = lease(&service, 10).await;
    assert_eq!((block.epoch, block.key, block.start), (1, [8; 16], 0));
}

#[tokio::test(start_paused = true)]
async fn keys_changed_at_once_make_one_epoch_each() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let (a, b) = (service(&store, &clock), service(&store, &clock));
    lease(&a, 1).await;
    let (a_epoch, b_epoch) = tokio::join!(a.rotate_key([8; 16]), b.rotate_key([9; 16]));
    let epochs: HashSet<u32> = [a_epoch.unwrap(), b_epoch.unwrap()].into();
    assert_eq!(epochs, [1, 2].into());
    store.fail([Fault::UnknownApplied]);
    assert_eq!(a.rotate_key([10; 16]).await.unwrap(), 3, "an unknown outcome is looked up");
    assert_eq!(lease(&b, 1).await.epoch, 3);
}

#[tokio::test(start_paused = true)]
async fn without_compare_and_set_blocks_overlap() {
    let clock = TestClock::new();
    let store = Memory::new(&clock, true, Swapping::Blindly);
    let (a, b) = (service(&store, &clock), service(&store, &clock));
    lease(&a, 1).await;
    let (a, b) = tokio::join!(lease(&a, 10), lease(&b, 10));
    assert_eq!(a, b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_million_codes_of_two_services_without_a_duplicate() {
    let clock = TestClock::new();
    let store = Memory::local(&clock);
    let services = [service(&store, &clock), service(&store, &clock)];
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let service: Arc<Service> = services[task % 2].clone();
        tasks.spawn(async move {
            let mut codes = Vec::new();
            while codes.len() < 125_000 {
                let block = lease(&service, 4_096).await;
                codes.extend(BlockCodes::new(&block).map(|code| <[u8; 7]>::try_from(code.as_str().as_bytes()).unwrap()));
            }
            codes
        });
    }
    let codes: Vec<[u8; 7]> = tasks.join_all().await.into_iter().flatten().collect();
    let distinct: HashSet<_> = codes.iter().collect();
    assert!(codes.len() >= 1_000_000);
    assert_eq!(distinct.len(), codes.len());
}
