//! What every store of salts must do. Each test takes an empty one.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;

use super::SaltStore;
use crate::port::contract::join_all;

const DAY: u32 = 20_780;

pub async fn one_salt_a_day(store: Arc<dyn SaltStore>) {
    let first = store.salt(DAY).await.expect("answers");
    let second = store.salt(DAY + 1).await.expect("answers");
    assert_ne!(first, second);
    assert_ne!(first, [0; 32]);
    assert_eq!(store.salt(DAY + 1).await.expect("answers"), second);
    // The day before is still needed by clicks around midnight.
    assert_eq!(store.salt(DAY).await.expect("answers"), first);
}

pub async fn old_salts_are_destroyed(store: Arc<dyn SaltStore>) {
    let first = store.salt(DAY).await.expect("answers");
    store.salt(DAY + 2).await.expect("answers");
    assert_ne!(store.salt(DAY).await.expect("answers"), first, "a destroyed salt came back");
}

pub async fn of_many_all_get_the_same(store: Arc<dyn SaltStore>) {
    let salts = join_all((0..32).map(|_| store.salt(DAY))).await;
    let first = salts[0].as_ref().expect("answers");
    assert!(salts.iter().all(|salt| salt.as_ref().is_ok_and(|salt| salt == first)));
}
