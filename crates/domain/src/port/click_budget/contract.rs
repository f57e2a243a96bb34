//! What every click budget must do. Each test takes an empty one.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;

use super::{Budget, ClickBudget};
use crate::port::contract::{id, join_all};

pub async fn never_more_than_the_limit(store: Arc<dyn ClickBudget>) {
    assert_eq!(store.get(id(1)).await.expect("answers"), None);
    assert_eq!(store.take(id(1), 10, 4).await.expect("answers"), 4);
    assert_eq!(store.get(id(1)).await.expect("answers"), Some(Budget { max: 10, used: 4 }));
    assert_eq!(store.take(id(1), 10, 0).await.expect("answers"), 0);
    assert_eq!(store.take(id(1), 10, 9).await.expect("answers"), 6);
    assert_eq!(store.take(id(1), 10, 1).await.expect("answers"), 0);
    assert_eq!(store.get(id(1)).await.expect("answers"), Some(Budget { max: 10, used: 10 }));
    assert_eq!(store.take(id(2), 1, 5).await.expect("answers"), 1, "another link's");
}

pub async fn the_row_decides_not_the_caller(store: Arc<dyn ClickBudget>) {
    store.set_max(id(1), Some(3)).await.expect("answers");
    assert_eq!(store.take(id(1), 1_000, 5).await.expect("answers"), 3);
    store.set_max(id(1), Some(5)).await.expect("answers");
    assert_eq!(store.get(id(1)).await.expect("answers"), Some(Budget { max: 5, used: 3 }), "what is used stays");
    assert_eq!(store.take(id(1), 3, 5).await.expect("answers"), 2);
    store.set_max(id(1), Some(1)).await.expect("answers");
    assert_eq!(store.take(id(1), 5, 1).await.expect("answers"), 0, "used is above max");
}

pub async fn a_lifted_limit_grants_and_still_counts(store: Arc<dyn ClickBudget>) {
    assert_eq!(store.take(id(1), 2, 2).await.expect("answers"), 2);
    store.set_max(id(1), None).await.expect("answers");
    assert_eq!(store.get(id(1)).await.expect("answers"), None);
    assert_eq!(store.take(id(1), 2, 7).await.expect("answers"), 7, "a replica that has not heard of it yet");
    store.set_max(id(1), Some(10)).await.expect("answers");
    assert_eq!(store.get(id(1)).await.expect("answers"), Some(Budget { max: 10, used: 9 }));
}

pub async fn exact_when_many_take(store: Arc<dyn ClickBudget>) {
    let taken = join_all((0..100).map(|number| store.take(id(1), 100, 1 + number % 3))).await;
    let taken: u32 = taken.into_iter().map(|taken| taken.expect("answers")).sum();
    assert_eq!(taken, 100);
    assert_eq!(store.get(id(1)).await.expect("answers"), Some(Budget { max: 100, used: 100 }));
}
