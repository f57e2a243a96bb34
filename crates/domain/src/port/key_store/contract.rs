//! What every key store must do. Each test takes an empty one.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;

use super::KeyStore;
use crate::model::{ApiKey, KeyHash, KeyId, KeyName, Scope};
use crate::port::contract::{id, owner};
use crate::time::UnixMs;

fn key(number: u8, who: &str) -> ApiKey {
    ApiKey {
        id: KeyId::new(id(number.into()).get()),
        name: KeyName::parse("a key").expect("a name"),
        hash: KeyHash([number; 32]),
        owner: owner(who),
        scopes: [Scope::LinksRead, Scope::Admin].into_iter().collect(),
        created_at: UnixMs::new(1_775_689_600_000),
        expires_at: number.is_multiple_of(2).then_some(UnixMs::new(1_785_689_600_000)),
        revoked_at: None,
    }
}

pub async fn keys_are_found_by_hash_and_id(store: Arc<dyn KeyStore>) {
    assert!(!store.any().await.expect("answers"));
    for number in 1..=2 {
        store.insert(key(number, "ann")).await.expect("answers");
        assert_eq!(store.find(&KeyHash([number; 32])).await.expect("answers"), Some(key(number, "ann")));
        assert_eq!(store.get(key(number, "ann").id).await.expect("answers"), Some(key(number, "ann")));
    }
    assert!(store.any().await.expect("answers"));
    assert_eq!(store.find(&KeyHash([9; 32])).await.expect("answers"), None);
    assert_eq!(store.get(KeyId::new(9)).await.expect("answers"), None);
    assert_eq!(store.get(KeyId::new(u64::MAX)).await.expect("answers"), None);
}

pub async fn lists_newest_first_by_owner(store: Arc<dyn KeyStore>) {
    for (number, who) in [(1, "ann"), (2, "bob"), (3, "ann")] {
        store.insert(key(number, who)).await.expect("answers");
    }
    assert_eq!(store.list(Some(&owner("ann"))).await.expect("answers"), [key(3, "ann"), key(1, "ann")]);
    assert_eq!(store.list(None).await.expect("answers"), [key(3, "ann"), key(2, "bob"), key(1, "ann")]);
    assert_eq!(store.list(Some(&owner("eve"))).await.expect("answers"), []);
}

pub async fn revoking_twice_keeps_the_first_time(store: Arc<dyn KeyStore>) {
    store.insert(key(1, "ann")).await.expect("answers");
    let (first, second) = (UnixMs::new(1_775_689_700_000), UnixMs::new(1_775_689_800_000));
    assert!(store.revoke(key(1, "ann").id, first).await.expect("answers"));
    assert!(store.revoke(key(1, "ann").id, second).await.expect("answers"));
    let revoked = ApiKey { revoked_at: Some(first), ..key(1, "ann") };
    assert_eq!(store.find(&KeyHash([1; 32])).await.expect("answers"), Some(revoked.clone()));
    assert_eq!(store.list(None).await.expect("answers"), [revoked]);
    assert!(!store.revoke(KeyId::new(9), first).await.expect("answers"));
}
