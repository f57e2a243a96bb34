//! What every ID service must do, the client of a remote one included.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CodeBlock, Deadline, Ids};
use crate::code::{BlockCodes, Code};
use crate::error::Kind;
use crate::limits::{CODE_BLOCK_MAX, CODE_SPACE, IDS_BATCH_MAX};
use crate::model::LinkId;
use crate::port::contract::join_all;

fn soon() -> Deadline {
    Deadline::after(Instant::now(), Duration::from_secs(20))
}

async fn ids_of(service: &Arc<dyn Ids>, count: u32) -> Vec<LinkId> {
    service.next_ids(count, soon()).await.expect("ids")
}

async fn block_of(service: &Arc<dyn Ids>, count: u32) -> CodeBlock {
    service.lease_codes(count, soon()).await.expect("a block")
}

pub async fn ids_ascend_and_never_repeat(service: Arc<dyn Ids>) {
    let mut last = None;
    for count in [1, 2, 4_097, IDS_BATCH_MAX, 1] {
        let ids = ids_of(&service, count).await;
        assert_eq!(ids.len(), usize::try_from(count).expect("small"));
        assert!(ids.is_sorted_by(|a, b| a < b), "ascending within a batch");
        assert!(last < ids.first().copied(), "ascending from one call to the next");
        last = ids.last().copied();
    }
}

pub async fn concurrent_calls_share_nothing(service: Arc<dyn Ids>) {
    let batches = join_all((0..64).map(|_| ids_of(&service, 1_000))).await;
    let distinct: HashSet<LinkId> = batches.into_iter().flatten().collect();
    assert_eq!(distinct.len(), 64_000);
    let blocks = join_all((1..=64).map(|count| block_of(&service, count))).await;
    assert_disjoint(&blocks);
}

pub async fn blocks_are_whole_and_disjoint(service: Arc<dyn Ids>) {
    let mut blocks = Vec::new();
    for count in [1, 1, 4_096, CODE_BLOCK_MAX, 1] {
        let block = block_of(&service, count).await;
        assert_eq!(block.end - block.start, u64::from(count));
        assert!(block.end <= CODE_SPACE);
        blocks.push(block);
    }
    assert_disjoint(&blocks);
    let codes: Vec<_> = [block_of(&service, 500).await, block_of(&service, 500).await].iter().flat_map(BlockCodes::new).collect();
    let distinct: HashSet<_> = codes.iter().map(Code::as_str).collect();
    assert_eq!(distinct.len(), codes.len());
    assert!(codes.len() > 500, "most counters become codes");
}

pub async fn counts_are_bounded(service: Arc<dyn Ids>) {
    for count in [0, IDS_BATCH_MAX + 1, u32::MAX] {
        assert_eq!(service.next_ids(count, soon()).await.map_err(|error| error.kind()), Err(Kind::Invalid), "{count} ids");
    }
    for count in [0, CODE_BLOCK_MAX + 1, u32::MAX] {
        assert_eq!(service.lease_codes(count, soon()).await.map_err(|error| error.kind()), Err(Kind::Invalid), "{count} codes");
    }
}

/// Two services of one store, also on one worker number.
pub async fn two_services_share_nothing(a: Arc<dyn Ids>, b: Arc<dyn Ids>) {
    let ids = join_all((0..32).map(|i| ids_of(if i % 2 == 0 { &a } else { &b }, 1_000))).await;
    let distinct: HashSet<LinkId> = ids.into_iter().flatten().collect();
    assert_eq!(distinct.len(), 32_000);
    let blocks = join_all((0..32).map(|i| block_of(if i % 2 == 0 { &a } else { &b }, 100))).await;
    assert_disjoint(&blocks);
}

fn assert_disjoint(blocks: &[CodeBlock]) {
    let mut sorted: Vec<_> = blocks.iter().collect();
    sorted.sort_by_key(|block| (block.epoch, block.start));
    for pair in sorted.windows(2) {
        assert!(pair[0].epoch < pair[1].epoch || pair[0].end <= pair[1].start, "{pair:?}");
        assert!(pair[0].epoch < pair[1].epoch || pair[0].key == pair[1].key, "an epoch has one key");
    }
}
