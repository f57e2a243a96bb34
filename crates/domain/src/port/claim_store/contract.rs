//! What every claim store must do. Each test takes an empty one.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;
use std::time::Duration;

use super::{Claim, ClaimItem, ClaimKey, ClaimStore, Claimed};
use crate::model::{DomainNo, LinkId};
use crate::port::contract::{DOMAIN, id, join_all, owner};
use crate::time::UnixMs;

const NOW: UnixMs = UnixMs::new(1_775_689_600_000);

fn item(link: LinkId, code: &str) -> ClaimItem {
    ClaimItem { link, domain: DOMAIN, code: code.into(), kind: 1 }
}

fn request(who: &str, key: &str) -> ClaimKey {
    ClaimKey::Request { owner: owner(who), key: key.into() }
}

fn target(who: &str, domain: DomainNo, byte: u8) -> ClaimKey {
    ClaimKey::Target { owner: owner(who), domain, digest: [byte; 32] }
}

fn claim(key: ClaimKey, number: u64) -> Claim {
    Claim { key, digest: [7; 32], items: vec![item(id(number), "Some-Alias")], created_at: NOW, expires_at: None }
}

pub async fn a_claim_is_kept_as_it_is(store: Arc<dyn ClaimStore>) {
    let mut kept = claim(request("ann", "k 1 \u{fc}"), 1);
    kept.expires_at = Some(NOW.saturating_add(Duration::from_hours(24)));
    // One that was refused, and one of the largest numbers there are.
    kept.items.push(ClaimItem { link: LinkId::new(0), domain: DOMAIN, code: "".into(), kind: 0 });
    kept.items.push(ClaimItem {
        link: LinkId::new(i64::MAX.cast_unsigned()),
        domain: DomainNo::new(DomainNo::MAX),
        code: "a/b".into(),
        kind: 2,
    });
    assert_eq!(store.get(&kept.key).await.expect("answers"), None);
    assert_eq!(store.claim(kept.clone()).await.expect("answers"), Claimed::Ours);
    assert_eq!(store.get(&kept.key).await.expect("answers"), Some(kept.clone()));
    assert_eq!(store.claim(claim(kept.key.clone(), 2)).await.expect("answers"), Claimed::Theirs(kept));
}

pub async fn keys_are_apart(store: Arc<dyn ClaimStore>) {
    let keys = [
        request("ann", "k"),
        request("bob", "k"),
        request("ann", "l"),
        target("ann", DOMAIN, 1),
        target("bob", DOMAIN, 1),
        target("ann", DomainNo::new(2), 1),
        target("ann", DOMAIN, 2),
    ];
    for (number, key) in (0..).zip(&keys) {
        assert_eq!(store.claim(claim(key.clone(), number)).await.expect("answers"), Claimed::Ours, "{key:?}");
    }
    for (number, key) in (0..).zip(keys) {
        assert_eq!(store.get(&key).await.expect("answers"), Some(claim(key, number)));
    }
}

pub async fn an_expired_claim_is_free(store: Arc<dyn ClaimStore>) {
    let mut old = claim(request("ann", "k"), 1);
    old.expires_at = Some(NOW.saturating_add(Duration::from_secs(10)));
    store.claim(old.clone()).await.expect("answers");
    let mut new = claim(old.key.clone(), 2);
    new.created_at = NOW.saturating_add(Duration::from_millis(9_999));
    assert_eq!(store.claim(new.clone()).await.expect("answers"), Claimed::Theirs(old));
    new.created_at = NOW.saturating_add(Duration::from_secs(10));
    assert_eq!(store.claim(new.clone()).await.expect("answers"), Claimed::Ours);
    assert_eq!(store.get(&new.key).await.expect("answers"), Some(new));
}

pub async fn replacing_needs_the_same_items(store: Arc<dyn ClaimStore>) {
    let (first, second, third) =
        (claim(target("ann", DOMAIN, 1), 1), claim(target("ann", DOMAIN, 1), 2), claim(target("ann", DOMAIN, 1), 3));
    store.claim(first.clone()).await.expect("answers");
    assert_eq!(store.replace(&first, second.clone()).await.expect("answers"), Claimed::Ours);
    assert_eq!(store.replace(&first, third).await.expect("answers"), Claimed::Theirs(second.clone()));
    assert_eq!(store.get(&second.key).await.expect("answers"), Some(second));
}

pub async fn of_many_one_wins(store: Arc<dyn ClaimStore>) {
    for key in [request("ann", "k"), target("ann", DOMAIN, 1)] {
        let answers = join_all((0..64).map(|number| store.claim(claim(key.clone(), number)))).await;
        let winner = store.get(&key).await.expect("answers").expect("one has won");
        let mut ours = 0;
        for (number, answer) in (0..).zip(answers) {
            match answer.expect("answers") {
                Claimed::Ours => {
                    ours += 1;
                    assert_eq!(winner, claim(key.clone(), number));
                }
                Claimed::Theirs(theirs) => assert_eq!(theirs, winner),
            }
        }
        assert_eq!(ours, 1);
        let replaced = join_all((100..164).map(|number| store.replace(&winner, claim(key.clone(), number)))).await;
        let ours = replaced.into_iter().filter(|answer| matches!(answer, Ok(Claimed::Ours))).count();
        assert_eq!(ours, 1, "of those who replace the same claim");
    }
}

pub async fn the_sweep_takes_the_expired_only(store: Arc<dyn ClaimStore>) {
    for number in 0..10_u64 {
        let mut some = claim(request("ann", &number.to_string()), number);
        some.expires_at = (number < 8).then(|| NOW.saturating_add(Duration::from_secs(number)));
        store.claim(some).await.expect("answers");
    }
    // Those of 0 to 5 seconds have ended.
    let now = NOW.saturating_add(Duration::from_secs(5));
    assert_eq!(store.sweep(now, 4).await.expect("answers"), 4);
    assert_eq!(store.sweep(now, 4).await.expect("answers"), 2);
    assert_eq!(store.sweep(now, 4).await.expect("answers"), 0);
    for number in 6..10_u64 {
        assert!(store.get(&request("ann", &number.to_string())).await.expect("answers").is_some(), "{number}");
    }
}
