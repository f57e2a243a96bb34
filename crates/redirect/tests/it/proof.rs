//! Never-issued codes: 404 without a store, and only while everything the proof rests on is fresh.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::api::{Answer, Resolver as _};
use domain::code::Issued;
use domain::permutation::Permutation;
use domain::{Code, Directory, Kind};

use crate::world::{World, ask, domain, leads_to, link};

const LIM: u64 = 1_000;

/// The first codes of the generated shape from counter `from` on.
fn codes(permutation: &Permutation, from: u64) -> impl Iterator<Item = String> {
    (from..).filter_map(|counter| Code::generated(permutation.encode(counter))).map(|code| code.to_string())
}

async fn world() -> (Arc<World>, Permutation) {
    let world = World::new().await;
    let permutation = Permutation::new([7; 16], 1);
    *world.issued.lock().unwrap() = Some(Arc::new(Issued::new(vec![(permutation.clone(), LIM)])));
    (world, permutation)
}

#[tokio::test(start_paused = true)]
async fn a_code_that_was_never_issued_touches_no_store() {
    let (world, permutation) = world().await;
    world.store.fail(true);
    for code in codes(&permutation, LIM).take(500) {
        assert_eq!(world.service().try_resolve(&ask(&code)), Some(Answer::NotFound), "{code}");
    }
    assert_eq!(world.reads(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_issued_code_is_looked_up() {
    let (world, permutation) = world().await;
    let code = codes(&permutation, 0).next().unwrap();
    world.write(&link(1, &code));
    assert!(leads_to(&world.follow(&code).await, "https://example.com/1"));
    world.store.fail(true);
    for code in codes(&permutation, 10).take(20) {
        assert_eq!(world.follow(&code).await.unwrap_err().kind(), Kind::Unavailable, "below the bound nothing is proved");
    }
}

#[tokio::test(start_paused = true)]
async fn an_imported_code_of_the_generated_shape_is_found() {
    let (world, permutation) = world().await;
    let code = codes(&permutation, LIM).next().unwrap();
    *world.directory.lock().unwrap() = Arc::new(Directory::new([domain(true)]));
    world.write(&link(1, &code));
    assert!(leads_to(&world.follow(&code).await, "https://example.com/1"));
}

#[tokio::test(start_paused = true)]
async fn without_fresh_bounds_or_flags_nothing_is_proved() {
    let (world, permutation) = world().await;
    let codes: Vec<_> = codes(&permutation, LIM).take(3).collect();
    world.directory_is_fresh.store(false, Ordering::SeqCst);
    assert_eq!(world.follow(&codes[0]).await.unwrap(), Answer::NotFound);
    assert_eq!(world.reads(), 1, "the flag may have been set");
    world.directory_is_fresh.store(true, Ordering::SeqCst);
    *world.issued.lock().unwrap() = None;
    assert_eq!(world.follow(&codes[1]).await.unwrap(), Answer::NotFound);
    assert_eq!(world.reads(), 2, "the bound may have been raised");
    *world.issued.lock().unwrap() = Some(Arc::default());
    *world.directory.lock().unwrap() = Arc::new(Directory::default());
    assert_eq!(world.follow(&codes[2]).await.unwrap(), Answer::NotFound);
    assert_eq!(world.reads(), 3, "no epoch, no domain: no proof");
}

#[tokio::test(start_paused = true)]
async fn texts_that_no_link_can_have_touch_no_store() {
    let world = World::new().await;
    for code in ["", "a b", "a//b", "../etc", "ü", &"x".repeat(129)] {
        assert_eq!(world.service().try_resolve(&ask(code)), Some(Answer::NotFound), "{code:?}");
    }
    assert_eq!(world.reads(), 0);
}
