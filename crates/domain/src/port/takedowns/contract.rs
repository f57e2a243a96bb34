//! What every list of takedowns must do. Each test takes an empty one.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;

use super::Takedowns;
use crate::model::BlockReason;
use crate::port::contract::id;

pub async fn the_last_word_counts(takedowns: Arc<dyn Takedowns>) {
    let reason = |text: &str| BlockReason::parse(text).expect("a reason");
    assert_eq!(takedowns.all().await.expect("answers"), []);
    for (number, text) in [(2, "phishing"), (1, "court order"), (3, "malware"), (2, "phishing, confirmed")] {
        takedowns.put(id(number), &reason(text)).await.expect("answers");
    }
    takedowns.remove(id(3)).await.expect("answers");
    takedowns.remove(id(3)).await.expect("lifting twice is no error");
    let mut all = takedowns.all().await.expect("answers");
    all.sort_by_key(|(link, _)| *link);
    assert_eq!(all, [(id(1), reason("court order")), (id(2), reason("phishing, confirmed"))]);
}
