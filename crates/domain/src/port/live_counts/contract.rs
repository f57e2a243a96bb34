//! What every store of live counts must do.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::collections::HashMap;
use std::sync::Arc;

use super::{LiveClicks, LiveCounts};
use crate::port::contract::{DOMAIN, join_all};

/// `read` answers what is stored of the code.
pub async fn counts_add_up(counts: Arc<dyn LiveCounts>, read: impl AsyncFn(&str) -> Option<u64>) {
    let of = |code: &str, clicks| LiveClicks { domain: DOMAIN, code: code.into(), clicks };
    let calls = [vec![of("aaaaaA1", 2), of("bbbbbB1", 1)], vec![of("aaaaaA1", 40)], vec![]];
    for answer in join_all(calls.iter().map(|call| counts.add(call))).await {
        answer.expect("answers");
    }
    let mut stored = HashMap::new();
    for code in ["aaaaaA1", "bbbbbB1", "cccccC1"] {
        stored.insert(code, read(code).await);
    }
    assert_eq!(stored, HashMap::from([("aaaaaA1", Some(42)), ("bbbbbB1", Some(1)), ("cccccC1", None)]));
}
