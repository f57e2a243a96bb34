//! Stores without the mechanism that a promise rests on: the contract tests have to notice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::LinkId;
use domain::port::contract::click_budget;
use domain::port::{Budget, ClickBudget, PortResult};

/// Whether a contract test fails.
async fn is_noticed(test: impl Future<Output = ()> + Send + 'static) -> bool {
    let mut tests = tokio::task::JoinSet::new();
    tests.spawn(test);
    tests.join_next().await.expect("one test").is_err_and(|error| error.is_panic())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    /// Looks how much is left, and takes it later.
    ReadThenWrite,
    /// Believes whoever asks, whatever the row says.
    TrustsTheCaller,
}

/// A budget in memory that is right but for its sabotage.
struct Frail {
    rows: Mutex<HashMap<LinkId, (Option<u64>, u64)>>,
    sabotage: Sabotage,
}

impl Frail {
    fn new(sabotage: Sabotage) -> Arc<Self> {
        Arc::new(Self { rows: Mutex::default(), sabotage })
    }

    fn row(&self, link: LinkId, max: u64) -> (Option<u64>, u64) {
        *self.rows.lock().unwrap().entry(link).or_insert((Some(max), 0))
    }
}

#[async_trait]
impl ClickBudget for Frail {
    async fn set_max(&self, link: LinkId, max: Option<u64>) -> PortResult<()> {
        self.rows.lock().unwrap().entry(link).or_insert((max, 0)).0 = max;
        Ok(())
    }

    async fn take(&self, link: LinkId, max: u64, count: u32) -> PortResult<u32> {
        let (of_row, mut used) = self.row(link, max);
        if self.sabotage == Sabotage::ReadThenWrite {
            tokio::task::yield_now().await;
        } else {
            used = self.row(link, max).1;
        }
        let max = if self.sabotage == Sabotage::TrustsTheCaller { Some(max) } else { of_row };
        let granted = max.map_or(count, |max| u32::try_from(max.saturating_sub(used)).unwrap_or(u32::MAX).min(count));
        self.rows.lock().unwrap().entry(link).and_modify(|row| row.1 = used + u64::from(granted));
        Ok(granted)
    }

    async fn get(&self, link: LinkId) -> PortResult<Option<Budget>> {
        let rows = self.rows.lock().unwrap();
        Ok(rows.get(&link).and_then(|(max, used)| Some(Budget { max: (*max)?, used: *used })))
    }
}

#[tokio::test]
async fn a_budget_that_is_not_taken_at_once_is_noticed() {
    assert!(!is_noticed(click_budget::exact_when_many_take(Frail::new(Sabotage::None))).await);
    assert!(is_noticed(click_budget::exact_when_many_take(Frail::new(Sabotage::ReadThenWrite))).await);
    // One after the other it is right: only the test with many at once can know.
    assert!(!is_noticed(click_budget::never_more_than_the_limit(Frail::new(Sabotage::ReadThenWrite))).await);
}

#[tokio::test]
async fn a_budget_that_trusts_the_caller_is_noticed() {
    assert!(!is_noticed(click_budget::the_row_decides_not_the_caller(Frail::new(Sabotage::None))).await);
    assert!(is_noticed(click_budget::the_row_decides_not_the_caller(Frail::new(Sabotage::TrustsTheCaller))).await);
}
