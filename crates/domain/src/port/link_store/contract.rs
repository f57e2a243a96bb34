//! What every link store must do. Each test takes an empty one.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;
use std::time::Duration;

use super::{Inserted, LinkStore, Replaced, Walk};
use crate::model::{BlockReason, Caching, Code, CodeKind, DomainNo, Link, LinkId, RedirectStatus, Slug, State, Tag, Target, Title};
use crate::port::contract::{DOMAIN, codes, id, join_all, link, owner};

fn alias(text: &str) -> Code {
    Code::parse_alias(text).expect("an alias")
}

fn foreign(text: &str) -> Code {
    Code::parse_foreign(text).expect("a foreign code")
}

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| Tag::parse(name).expect("a tag")).collect()
}

async fn insert(store: &Arc<dyn LinkStore>, link: &Link) {
    assert_eq!(store.insert(vec![link.clone()]).await.expect("answers"), [Inserted::Stored], "{}", link.code);
}

async fn found(store: &Arc<dyn LinkStore>, domain: DomainNo, code: &str) -> Option<LinkId> {
    store.find(domain, Slug::parse(code).expect("a slug")).await.expect("answers").map(|link| link.id)
}

/// A link with everything there is.
fn full(number: u64, code: Code) -> Link {
    let plain = link(id(number), code);
    Link {
        owner: owner("b\u{f6}b"),
        target: Target::from_stored(&format!("https://example.com/{}", "x".repeat(8_172))),
        title: Title::parse("An 'odd' \"title\"; DROP TABLE links --").ok(),
        tags: tags(&["one", "zwei \u{fc}", "three, four"]),
        state: State::Disabled,
        blocked: BlockReason::parse("phishing").ok(),
        redirect_status: Some(RedirectStatus::Permanent308),
        caching: Some(Caching::Fast),
        forward_query: true,
        starts_at: Some(plain.created_at.saturating_sub(Duration::from_hours(1))),
        expires_at: Some(plain.created_at.saturating_add(Duration::from_hours(1))),
        max_clicks: Some(1 << 62),
        created_at: plain.created_at.saturating_sub(Duration::from_millis(3)),
        updated_at: plain.created_at.saturating_add(Duration::from_hours(10_000)),
        version: 7,
        change_id: u64::MAX,
        ..plain
    }
}

pub async fn a_link_is_kept_as_it_is(store: Arc<dyn LinkStore>) {
    let generated = codes(500_000_000_000).next().expect("one");
    let statuses = [RedirectStatus::Moved301, RedirectStatus::Found302, RedirectStatus::Temporary307];
    let cachings = [Caching::Exact, Caching::Balanced];
    let mut links = vec![
        link(id(0), generated),
        full(1, codes(0).next().expect("one")),
        full(2, alias("Some-Alias/with_Segments")),
        link(id(3), foreign("~odd!code.txt")),
        Link { domain: DomainNo::new(DomainNo::MAX), ..link(id(4), foreign("zzzzZ9z")) },
        Link { domain: DomainNo::new(DomainNo::MAX), ..full(5, foreign("x")) },
    ];
    for (number, (status, state)) in (6..).zip(statuses.into_iter().zip([State::Active, State::Disabled, State::Deleted])) {
        links.push(Link { redirect_status: Some(status), state, ..link(id(number), foreign(&format!("n{number}"))) });
    }
    for (number, caching) in (9..).zip(cachings) {
        links.push(Link { caching: Some(caching), ..link(id(number), foreign(&format!("n{number}"))) });
    }
    for kept in &links {
        insert(&store, kept).await;
    }
    for kept in &links {
        assert_eq!(store.get(kept.id).await.expect("answers").as_ref(), Some(kept));
        let slug = Slug::parse(kept.code.as_str()).expect("a slug");
        assert_eq!(store.find(kept.domain, slug).await.expect("answers").as_ref(), Some(kept), "{slug:?}");
    }
    let mut many = store.get_many(&[id(3), id(99), id(1), id(5)]).await.expect("answers");
    many.sort_by_key(|link| link.id);
    assert_eq!(many, [links[1].clone(), links[3].clone(), links[5].clone()]);
    assert_eq!(store.get(id(99)).await.expect("answers"), None);
    assert_eq!(store.get(LinkId::new(u64::MAX)).await.expect("answers"), None);
}

pub async fn a_taken_code_answers_its_link(store: Arc<dyn LinkStore>) {
    let generated = codes(7).next().expect("one");
    let first = [link(id(1), generated.clone()), full(2, alias("Hello-World"))];
    store.insert(first.to_vec()).await.expect("answers");
    let again = vec![
        link(id(3), generated.clone()),
        link(id(4), alias("hello-WORLD")),
        // Made elsewhere, but it is the same code.
        link(id(5), Code::from_stored(generated.as_str(), CodeKind::Foreign)),
        link(id(6), foreign("hello-world")),
        link(id(7), alias("free-one")),
        // Free when the call began.
        link(id(8), alias("Free-One")),
    ];
    let free = again[4].clone();
    let expected = [
        Inserted::Taken(first[0].clone()),
        Inserted::Taken(first[1].clone()),
        Inserted::Taken(first[0].clone()),
        Inserted::Taken(first[1].clone()),
        Inserted::Stored,
        Inserted::Taken(free),
    ];
    assert_eq!(store.insert(again).await.expect("answers"), expected);
    for number in [3, 4, 5, 6, 8] {
        assert_eq!(store.get(id(number)).await.expect("answers"), None, "{number} must leave nothing behind");
    }
    let walked = store.walk(&Walk::Everyone, None, 100).await.expect("answers");
    assert_eq!(walked.len(), 3);
}

pub async fn domains_are_apart(store: Arc<dyn LinkStore>) {
    let code = codes(7).next().expect("one");
    let (second, third) = (DomainNo::new(2), DomainNo::new(3));
    insert(&store, &link(id(1), code.clone())).await;
    insert(&store, &Link { domain: second, ..link(id(2), code.clone()) }).await;
    insert(&store, &Link { domain: second, ..link(id(3), alias("hello")) }).await;
    assert_eq!(found(&store, DOMAIN, code.as_str()).await, Some(id(1)));
    assert_eq!(found(&store, second, code.as_str()).await, Some(id(2)));
    assert_eq!(found(&store, third, code.as_str()).await, None);
    assert_eq!(found(&store, DOMAIN, "hello").await, None);
    insert(&store, &Link { domain: third, state: State::Deleted, ..link(id(4), alias("hello")) }).await;
    for (domain, any) in [(DOMAIN, true), (second, true), (third, true), (DomainNo::new(4), false)] {
        assert_eq!(store.any_in_domain(domain).await.expect("answers"), any, "{domain:?}");
    }
}

pub async fn aliases_match_in_any_case_and_nothing_else_does(store: Arc<dyn LinkStore>) {
    let generated = codes(1_000_000_000_000).find(|code| code.as_str().bytes().any(|b| b.is_ascii_lowercase())).expect("one");
    insert(&store, &link(id(1), alias("Hello-World"))).await;
    insert(&store, &link(id(2), foreign("abc"))).await;
    insert(&store, &link(id(3), foreign("Xyz"))).await;
    insert(&store, &link(id(4), foreign("HELLO-WORLD"))).await;
    insert(&store, &link(id(5), generated.clone())).await;
    for (code, link) in [
        ("Hello-World", Some(1)),
        ("hello-world", Some(1)),
        ("hELLO-wORLD", Some(1)),
        // As typed comes first.
        ("HELLO-WORLD", Some(4)),
        ("abc", Some(2)),
        ("ABC", None),
        ("Xyz", Some(3)),
        ("xyz", None),
        (generated.as_str(), Some(5)),
        (&generated.as_str().to_ascii_uppercase(), None),
        (&generated.as_str().to_ascii_lowercase(), None),
        ("nothing", None),
    ] {
        assert_eq!(found(&store, DOMAIN, code).await, link.map(id), "{code}");
    }
}

pub async fn only_the_next_version_replaces(store: Arc<dyn LinkStore>) {
    for (number, code) in [(1, codes(7).next().expect("one")), (2, alias("Hello"))] {
        let first = link(id(number), code.clone());
        insert(&store, &first).await;
        let second = Link { version: 2, created_at: first.created_at, owner: first.owner.clone(), ..full(number, code.clone()) };
        assert_eq!(store.replace(vec![second.clone()]).await.expect("answers"), [Replaced::Stored]);
        assert_eq!(store.get(id(number)).await.expect("answers"), Some(second.clone()));
        let slug = Slug::parse(code.as_str()).expect("a slug");
        assert_eq!(store.find(DOMAIN, slug).await.expect("answers"), Some(second.clone()));
        for version in [0, 1, 2, 4] {
            let stale = Link { version, ..first.clone() };
            assert_eq!(store.replace(vec![stale]).await.expect("answers"), [Replaced::Stale(Some(second.clone()))], "{version}");
        }
        // Everything off again.
        let third = Link { version: 3, updated_at: first.created_at, ..first };
        assert_eq!(store.replace(vec![third.clone()]).await.expect("answers"), [Replaced::Stored]);
        assert_eq!(store.get(id(number)).await.expect("answers"), Some(third));
    }
    let nobody = Link { version: 2, ..link(id(9), alias("nobody")) };
    assert_eq!(store.replace(vec![nobody]).await.expect("answers"), [Replaced::Stale(None)]);
}

pub async fn walks_newest_first_by_cursor(store: Arc<dyn LinkStore>) {
    // Stored out of order, of two owners, in all kinds of codes.
    for number in [5, 1, 9, 3, 7, 2, 8, 4, 6_u64] {
        let code = if number % 3 == 0 { alias(&format!("alias-{number}")) } else { codes(number * 1_000_000).next().expect("one") };
        let who = if number % 2 == 0 { "bob" } else { "ann" };
        let state = if number == 7 { State::Deleted } else { State::Active };
        insert(&store, &Link { owner: owner(who), state, ..link(id(number), code) }).await;
    }
    for (whose, expected) in [
        (Walk::Everyone, vec![9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (Walk::Owner(owner("ann")), vec![9, 7, 5, 3, 1]),
        (Walk::Owner(owner("bob")), vec![8, 6, 4, 2]),
        (Walk::Owner(owner("eve")), vec![]),
    ] {
        let expected: Vec<LinkId> = expected.into_iter().map(id).collect();
        for limit in [1, 2, 4, 100] {
            let (mut walked, mut before) = (Vec::new(), None);
            loop {
                let page = store.walk(&whose, before, limit).await.expect("answers");
                assert!(page.len() <= limit);
                let Some(last) = page.last() else { break };
                before = Some(last.id);
                walked.extend(page.into_iter().map(|link| link.id));
            }
            assert_eq!(walked, expected, "{whose:?} by {limit}");
        }
    }
}

pub async fn tags_are_counted_while_links_live(store: Arc<dyn LinkStore>) {
    let mut first = Link { tags: tags(&["red", "blue"]), ..link(id(1), alias("first")) };
    let mut second = Link { tags: tags(&["red"]), ..link(id(2), codes(7).next().expect("one")) };
    let other = Link { tags: tags(&["red", "green"]), owner: owner("bob"), ..link(id(3), alias("other")) };
    for link in [&first, &second, &other] {
        insert(&store, link).await;
    }
    let ann = Walk::Owner(owner("ann"));
    let expect = async |whose: &Walk, expected: &[(&str, u64)]| {
        let counted = store.tags(whose).await.expect("answers");
        let counted: Vec<_> = counted.iter().map(|(tag, count)| (tag.as_str(), *count)).collect();
        assert_eq!(counted, expected, "{whose:?}");
    };
    expect(&ann, &[("blue", 1), ("red", 2)]).await;
    expect(&Walk::Everyone, &[("blue", 1), ("green", 1), ("red", 3)]).await;
    (first.version, first.tags) = (2, tags(&["blue", "black"]));
    (second.version, second.state) = (2, State::Deleted);
    store.replace(vec![first, second.clone()]).await.expect("answers");
    expect(&ann, &[("black", 1), ("blue", 1)]).await;
    (second.version, second.state) = (3, State::Disabled);
    store.replace(vec![second]).await.expect("answers");
    expect(&ann, &[("black", 1), ("blue", 1), ("red", 1)]).await;
    expect(&Walk::Owner(owner("eve")), &[]).await;
}

pub async fn of_many_one_gets_the_code(store: Arc<dyn LinkStore>) {
    for (round, code) in (0..).zip([alias("Wanted"), codes(7).next().expect("one")]) {
        let contenders = (0..64).map(|number| link(id(round * 100 + number), code.clone()));
        let answers = join_all(contenders.map(|link| store.insert(vec![link]))).await;
        let winner = found(&store, DOMAIN, code.as_str()).await.expect("one has won");
        let mut stored = 0;
        for (number, answer) in (0..).zip(answers) {
            match answer.expect("answers").pop().expect("an answer an item") {
                Inserted::Stored => {
                    stored += 1;
                    assert_eq!(winner, id(round * 100 + number));
                }
                Inserted::Taken(by) => assert_eq!(by.id, winner),
            }
        }
        assert_eq!(stored, 1);
    }
}

pub async fn of_many_changes_one_is_next(store: Arc<dyn LinkStore>) {
    let first = link(id(1), alias("Wanted"));
    insert(&store, &first).await;
    let change = |change_id| Link { version: 2, change_id, ..first.clone() };
    let answers = join_all((0..64).map(|change_id| store.replace(vec![change(change_id)]))).await;
    let stored: Vec<u64> = (0..)
        .zip(answers)
        .filter_map(|(change_id, answer)| (answer.expect("answers") == [Replaced::Stored]).then_some(change_id))
        .collect();
    assert_eq!(stored.len(), 1);
    assert_eq!(store.get(first.id).await.expect("answers"), Some(change(stored[0])));
}

pub async fn a_full_bulk_is_stored(store: Arc<dyn LinkStore>) {
    let links: Vec<Link> = (0..).zip(codes(1 << 40)).take(1_000).map(|(number, code)| link(id(number), code)).collect();
    let answers = store.insert(links.clone()).await.expect("answers");
    assert_eq!(answers, vec![Inserted::Stored; 1_000]);
    let again = store.insert(links.clone()).await.expect("answers");
    let taken: Vec<Inserted> = links.into_iter().map(Inserted::Taken).collect();
    assert!(again == taken, "each is taken by itself: an earlier attempt had won");
    assert_eq!(store.insert(Vec::new()).await.expect("answers"), []);
}
