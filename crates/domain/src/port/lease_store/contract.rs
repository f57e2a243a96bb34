//! What every lease store must do. Each test takes an empty one.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;

use super::{CodeRange, IssuedBounds, LeaseStore};
use crate::limits::CODE_SPACE;
use crate::model::{Code, Slug};
use crate::permutation::Permutation;
use crate::port::contract::join_all;

/// Not the first epoch: a store may begin with a range of its own.
fn range(epoch: u32) -> CodeRange {
    CodeRange { epoch, key: [3; 16], next: 0, open: 0, lim: 0 }
}

pub async fn epochs_are_added_once(store: Arc<dyn LeaseStore>) {
    let before = store.ranges().await.expect("answers").len();
    let added = join_all((0..8).map(|_| store.add_range(range(1_000)))).await;
    assert_eq!(added.into_iter().filter(|added| matches!(added, Ok(true))).count(), 1);
    assert!(store.add_range(range(1_001)).await.expect("answers"));
    assert!(!store.add_range(CodeRange { lim: 9, ..range(1_000) }).await.expect("answers"));
    let ranges = store.ranges().await.expect("answers");
    assert_eq!(ranges.len(), before + 2);
    assert!(ranges.is_sorted_by_key(|range| range.epoch), "{ranges:?}");
    assert_eq!(ranges[before..], [range(1_000), range(1_001)]);
}

pub async fn only_the_whole_row_is_swapped(store: Arc<dyn LeaseStore>) {
    store.add_range(range(1_000)).await.expect("answers");
    let new = CodeRange { next: 10, open: 20, lim: CODE_SPACE, ..range(1_000) };
    for wrong in [
        CodeRange { next: 1, ..range(1_000) },
        CodeRange { open: 1, ..range(1_000) },
        CodeRange { lim: 1, ..range(1_000) },
        CodeRange { epoch: 1_001, ..range(1_000) },
    ] {
        assert!(!store.swap_range(&wrong, &CodeRange { epoch: wrong.epoch, ..new }).await.expect("answers"), "{wrong:?}");
    }
    assert!(store.swap_range(&range(1_000), &new).await.expect("answers"));
    assert!(!store.swap_range(&range(1_000), &new).await.expect("answers"), "twice");
    assert_eq!(store.ranges().await.expect("answers").last(), Some(&new));
}

pub async fn no_block_is_granted_twice(store: Arc<dyn LeaseStore>) {
    let mut old = CodeRange { open: 1_000, lim: 1_000, ..range(1_000) };
    store.add_range(old).await.expect("answers");
    for _ in 0..5 {
        let answers = join_all((1..=32).map(|len| {
            let (store, new) = (&store, CodeRange { next: old.next + len, ..old });
            async move { (new, store.swap_range(&old, &new).await.expect("answers")) }
        }))
        .await;
        let granted: Vec<_> = answers.into_iter().filter_map(|(new, granted)| granted.then_some(new)).collect();
        assert_eq!(granted.len(), 1);
        old = granted[0];
        assert_eq!(store.ranges().await.expect("answers").last(), Some(&old));
    }
}

pub async fn windows_are_disjoint(store: Arc<dyn LeaseStore>) {
    assert_eq!(store.worker_until(5).await.expect("answers"), 0);
    assert!(!store.swap_worker(5, 1, 2).await.expect("answers"));
    let granted = join_all((1..=32).map(|end| store.swap_worker(5, 0, end))).await;
    let granted: Vec<i64> = (1..).zip(granted).filter_map(|(end, granted)| granted.expect("answers").then_some(end)).collect();
    assert_eq!(granted.len(), 1);
    assert_eq!(store.worker_until(5).await.expect("answers"), granted[0]);
    assert_eq!(store.worker_until(6).await.expect("answers"), 0, "another worker's");
    assert!(store.swap_worker(6, 0, 1_775_689_600_000).await.expect("answers"));
    assert_eq!(store.worker_until(6).await.expect("answers"), 1_775_689_600_000);
}

/// For stores whose bounds are immediate: `issued` never denies a code once its counter may be granted.
pub async fn the_proof_never_denies_what_was_granted<S: LeaseStore + IssuedBounds>(store: Arc<S>) {
    assert!(store.bounds_are_immediate());
    let permutation = Permutation::new([3; 16], 1_000);
    let code = |counter| Code::generated(permutation.encode(counter));
    let old = range(1_000);
    store.add_range(old).await.expect("answers");
    let denied = |counter| {
        let issued = store.issued().expect("fresh");
        code(counter).is_none_or(|code| issued.never_issued(Slug::parse(code.as_str()).expect("a slug")))
    };
    assert!((0..2_000).all(denied), "nothing was granted yet");
    let new = CodeRange { next: 500, open: 1_000, lim: 1_000, ..old };
    assert!(store.swap_range(&old, &new).await.expect("answers"));
    assert!((0..1_000).all(|counter| code(counter).is_none() || !denied(counter)), "from `lim` down anything may exist");
    assert!((1_000..2_000).all(denied));
    let more = CodeRange { lim: 1_500, ..new };
    assert!(!store.swap_range(&old, &more).await.expect("answers"));
    assert!((1_000..2_000).all(denied), "what was not swapped raises nothing");
}
