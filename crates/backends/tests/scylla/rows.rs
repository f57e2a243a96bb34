//! Rows that no version of ours writes: an error where they are asked for, and nothing else.

use domain::port::{LinkStore as _, PortErrorKind, Walk};
use domain::{DomainNo, Slug};

use crate::unclear::link;
use crate::world::{Group, World};

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_and_hides_no_other() {
    let world = World::new(&[Group::Links]).await;
    let links = &world.stores.links;
    links.insert(vec![link(1, "good"), link(2, "bad")]).await.unwrap();
    let slug = |text| Slug::parse(text).unwrap();
    for (spoil, mend) in [
        ("format = 9", "format = 1"),
        ("kind = 77", "kind = 1"),
        ("state = -1", "state = 0"),
        ("caching = 5", "caching = null"),
        ("redirect_status = 200", "redirect_status = null"),
        ("id = -5", "id = 167772160000000002"),
        ("target = null", "target = 'https://example.com/a'"),
    ] {
        world.run(&format!("UPDATE links SET {spoil} WHERE domain = 1 AND code = 'bad'")).await;
        let error = links.find(DomainNo::DEFAULT, slug("bad")).await.expect_err(spoil);
        assert_eq!(error.kind, PortErrorKind::Corrupt, "{spoil}");
        assert!(links.find(DomainNo::DEFAULT, slug("good")).await.unwrap().is_some());
        let walked = links.walk(&Walk::Everyone, None, 10).await.unwrap();
        assert_eq!(walked.iter().map(|link| link.code.as_str()).collect::<Vec<_>>(), ["good"], "{spoil}");
        assert!(links.any_in_domain(DomainNo::DEFAULT).await.unwrap());
        world.run(&format!("UPDATE links SET {mend} WHERE domain = 1 AND code = 'bad'")).await;
        assert!(links.find(DomainNo::DEFAULT, slug("bad")).await.unwrap().is_some(), "{mend}");
    }
    world.close().await;
}

#[tokio::test]
async fn rows_of_an_index_without_their_link_say_nothing() {
    let world = World::new(&[Group::Links]).await;
    let links = &world.stores.links;
    let (first, lost) = (link(1, "first"), link(2, "lost"));
    links.insert(vec![first.clone()]).await.unwrap();
    // As a process leaves them that dies between the index and the link, or loses the code.
    let id = lost.id;
    let rows = [
        format!("INSERT INTO links_by_id (id, domain, code) VALUES ({id}, 1, 'lost')"),
        format!("INSERT INTO links_by_id (id, domain, code) VALUES ({id}, 1, 'first')"),
    ];
    for row in &rows {
        world.run(row).await;
    }
    world.run(&format!("INSERT INTO domain_samples (domain, id, code) VALUES (7, {id}, 'lost')")).await;
    let slot = world.row(&format!("SELECT slot FROM owner_slots WHERE owner = '{}'", first.owner)).await;
    let slot = slot.columns[0].as_ref().unwrap().as_int().unwrap();
    for code in ["lost", "first"] {
        let owner = first.owner.as_str();
        world
            .run(&format!("INSERT INTO links_by_owner (owner, slot, id, domain, code) VALUES ('{owner}', {slot}, {id}, 1, '{code}')"))
            .await;
    }
    assert_eq!(links.get(id).await.unwrap(), None);
    assert_eq!(links.walk(&Walk::Owner(first.owner.clone()), None, 1).await.unwrap(), [first]);
    assert!(!links.any_in_domain(DomainNo::new(7)).await.unwrap());
    world.close().await;
}
