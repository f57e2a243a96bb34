use domain::api::{Ids, contract};
use std::sync::Arc;

use super::memory::{Memory, TestClock};
use super::service;

fn both_kinds() -> [Arc<dyn Ids>; 2] {
    let clock = TestClock::new();
    [service(&Memory::local(&clock), &clock), service(&Memory::shared(&clock), &clock)]
}

#[tokio::test(start_paused = true)]
async fn ids_ascend_and_never_repeat() {
    for ids in both_kinds() {
        contract::ids::ids_ascend_and_never_repeat(ids).await;
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_calls_share_nothing() {
    for ids in both_kinds() {
        contract::ids::concurrent_calls_share_nothing(ids).await;
    }
}

#[tokio::test(start_paused = true)]
async fn blocks_are_whole_and_disjoint() {
    for ids in both_kinds() {
        contract::ids::blocks_are_whole_and_disjoint(ids).await;
    }
}

#[tokio::test(start_paused = true)]
async fn counts_are_bounded() {
    for ids in both_kinds() {
        contract::ids::counts_are_bounded(ids).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_services_on_one_worker_number_share_nothing() {
    let clock = TestClock::new();
    for store in [Memory::local(&clock), Memory::shared(&clock)] {
        contract::ids::two_services_share_nothing(service(&store, &clock), service(&store, &clock)).await;
    }
}
