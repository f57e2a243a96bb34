//! What every shared cache of links must do. Each test takes an empty one.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;
use std::time::Duration;

use super::{LinkCache, Rebuild, Remembered};
use crate::model::{Code, Link, Slug, State};
use crate::port::contract::{DOMAIN, codes, id, join_all, link};

const DELTA: Duration = Duration::from_millis(3);

fn slug(text: &str) -> Slug<'_> {
    Slug::parse(text).expect("a slug")
}

async fn found(cache: &Arc<dyn LinkCache>, typed: &str) -> Option<Remembered> {
    cache.find(DOMAIN, slug(typed)).await.expect("answers").map(|cached| cached.what)
}

fn remembered(link: &Link) -> Remembered {
    Remembered::Link(Box::new(link.clone()))
}

pub async fn what_is_put_is_found_until_a_newer_version_comes(cache: Arc<dyn LinkCache>) {
    let code = codes(1).next().expect("a code");
    let typed = code.as_str().to_owned();
    let first = link(id(1), code);
    assert_eq!(found(&cache, &typed).await, None);
    cache.put(&first, Duration::ZERO, DELTA).await.expect("answers");
    let cached = cache.find(DOMAIN, slug(&typed)).await.expect("answers").expect("cached");
    assert_eq!(cached.what, Remembered::Link(Box::new(first.clone())));
    assert_eq!(cached.delta, DELTA);
    assert!(cached.fresh_for > Duration::from_secs(1), "{:?}", cached.fresh_for);
    let tombstone = Link { version: 3, state: State::Deleted, ..first.clone() };
    cache.put(&tombstone, Duration::ZERO, DELTA).await.expect("answers");
    // A slow reader brings what it had read before the change.
    cache.put(&Link { version: 2, ..first.clone() }, Duration::from_secs(2), DELTA).await.expect("answers");
    cache.put(&first, Duration::ZERO, DELTA).await.expect("answers");
    assert_eq!(found(&cache, &typed).await, Some(remembered(&tombstone)));
}

pub async fn age_is_taken_off_the_freshness(cache: Arc<dyn LinkCache>) {
    let mut codes = codes(1);
    let (young, old) = (link(id(1), codes.next().expect("a code")), link(id(2), codes.next().expect("a code")));
    let age = Duration::from_secs(3);
    cache.put(&young, Duration::ZERO, DELTA).await.expect("answers");
    cache.put(&old, age, DELTA).await.expect("answers");
    let fresh_for = async |link: &Link| cache.find(DOMAIN, slug(link.code.as_str())).await.expect("answers").expect("cached").fresh_for;
    let (old, young) = (fresh_for(&old).await, fresh_for(&young).await);
    assert!(old + Duration::from_secs(2) < young, "{old:?} {young:?}");
    // Far beyond the bound it is fresh no more.
    let ancient = link(id(3), codes.next().expect("a code"));
    cache.put(&ancient, Duration::from_mins(6), DELTA).await.expect("answers");
    let cached = cache.find(DOMAIN, slug(ancient.code.as_str())).await.expect("answers");
    assert!(cached.is_none_or(|cached| cached.fresh_for.is_zero()));
}

pub async fn an_alias_is_found_in_any_case_and_other_codes_are_not(cache: Arc<dyn LinkCache>) {
    let alias = link(id(1), Code::parse_alias("Spring-Sale").expect("an alias"));
    cache.put(&alias, Duration::ZERO, DELTA).await.expect("answers");
    for typed in ["Spring-Sale", "spring-sale", "SPRING-SALE"] {
        assert_eq!(found(&cache, typed).await, Some(remembered(&alias)), "{typed}");
    }
    let foreign = link(id(2), Code::parse_foreign("AbC").expect("a code"));
    cache.put(&foreign, Duration::ZERO, DELTA).await.expect("answers");
    assert_eq!(found(&cache, "AbC").await, Some(remembered(&foreign)));
    assert_eq!(found(&cache, "abc").await, None);
}

pub async fn an_absence_yields_to_a_link_and_never_hides_one(cache: Arc<dyn LinkCache>) {
    let code = codes(1).next().expect("a code");
    let typed = code.as_str().to_owned();
    cache.put_absent(DOMAIN, slug(&typed), Duration::ZERO).await.expect("answers");
    let cached = cache.find(DOMAIN, slug(&typed)).await.expect("answers").expect("noted");
    assert_eq!(cached.what, Remembered::Absent);
    assert!(cached.fresh_for <= Duration::from_secs(5), "{:?}", cached.fresh_for);
    let made = link(id(1), code);
    cache.put(&made, Duration::ZERO, DELTA).await.expect("answers");
    assert_eq!(found(&cache, &typed).await, Some(remembered(&made)));
    cache.put_absent(DOMAIN, slug(&typed), Duration::ZERO).await.expect("answers");
    assert_eq!(found(&cache, &typed).await, Some(remembered(&made)));
    // An alias made after somebody had asked for it in other letters.
    cache.put_absent(DOMAIN, slug("SUMMER"), Duration::ZERO).await.expect("answers");
    let alias = link(id(2), Code::parse_alias("summer").expect("an alias"));
    cache.put(&alias, Duration::ZERO, DELTA).await.expect("answers");
    assert_eq!(found(&cache, "summer").await, Some(remembered(&alias)));
    assert_eq!(found(&cache, "SUMMER").await, Some(remembered(&alias)));
    // A day-old absence is none.
    cache.put_absent(DOMAIN, slug("winter"), Duration::from_secs(6)).await.expect("answers");
    let cached = cache.find(DOMAIN, slug("winter")).await.expect("answers");
    assert!(cached.is_none_or(|cached| cached.fresh_for.is_zero()));
}

pub async fn one_of_many_rebuilds(cache: Arc<dyn LinkCache>) {
    let answers = join_all((0..32).map(|_| cache.rebuild(DOMAIN, slug("hot")))).await;
    let ours = answers.into_iter().filter(|answer| *answer.as_ref().expect("answers") == Rebuild::Ours).count();
    assert_eq!(ours, 1);
    assert_eq!(cache.rebuild(DOMAIN, slug("other")).await.expect("answers"), Rebuild::Ours);
}
