//! What every domain store must do. Each test takes an empty one.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;

use super::{DomainAdded, DomainStore};
use crate::model::{Caching, Domain, DomainNo, Host, RedirectStatus, Target};
use crate::port::contract::join_all;
use crate::time::UnixMs;

fn host(text: &str) -> Host {
    Host::parse(text).expect("a host")
}

fn domain(text: &str) -> Domain {
    Domain {
        no: DomainNo::new(77),
        host: host(text),
        redirect_status: None,
        caching: None,
        landing_url: None,
        not_found_url: None,
        foreign_codes: false,
        created_at: UnixMs::new(1_775_689_600_000),
    }
}

async fn added(store: &Arc<dyn DomainStore>, text: &str) -> Domain {
    match store.insert(domain(text)).await.expect("answers") {
        DomainAdded::Added(domain) => domain,
        DomainAdded::Taken(by) => panic!("{text} is taken by {by:?}"),
    }
}

pub async fn the_default_keeps_its_number(store: Arc<dyn DomainStore>) {
    let other = added(&store, "go.example.com").await;
    assert_ne!(other.no, DomainNo::DEFAULT, "kept for the default, even before there is one");
    let first = store.set_default(&host("a.example.com")).await.expect("answers");
    assert_eq!((first.no, first.host.as_str()), (DomainNo::DEFAULT, "a.example.com"));
    assert_eq!(store.set_default(&host("a.example.com")).await.expect("answers"), first);
    store.set_foreign_codes(DomainNo::DEFAULT).await.expect("answers");
    let second = store.set_default(&host("b.example.com")).await.expect("answers");
    assert_eq!(second, Domain { host: host("b.example.com"), foreign_codes: true, ..first });
    assert_eq!(store.directory().default_domain().map(|domain| (**domain).clone()), Some(second.clone()));
    assert!(store.directory().find(&host("a.example.com")).is_none());
    assert!(store.set_default(&host("go.example.com")).await.is_err(), "another domain's host");
    assert_eq!(store.directory().default_domain().map(|domain| (**domain).clone()), Some(second));
}

pub async fn a_domain_is_kept_as_it_is(store: Arc<dyn DomainStore>) {
    let full = Domain {
        redirect_status: Some(RedirectStatus::Permanent308),
        caching: Some(Caching::Fast),
        landing_url: Some(Target::from_stored("https://example.com/")),
        not_found_url: Some(Target::from_stored("https://example.com/404")),
        foreign_codes: true,
        ..domain("go.example.com:8443")
    };
    let DomainAdded::Added(stored) = store.insert(full.clone()).await.expect("answers") else { panic!("it was free") };
    assert_eq!(stored, Domain { no: stored.no, ..full.clone() });
    assert_eq!(store.insert(full).await.expect("answers"), DomainAdded::Taken(stored.clone()));
    assert_eq!(store.directory().get(stored.no).map(|domain| (**domain).clone()), Some(stored.clone()));
    let wanted = Domain { host: host("elsewhere.example.com"), foreign_codes: false, caching: None, ..stored.clone() };
    let updated = store.update(wanted).await.expect("answers");
    assert_eq!(updated, Some(Domain { caching: None, ..stored.clone() }), "host and foreign_codes are kept");
    assert_eq!(store.directory().get(stored.no).map(|domain| (**domain).clone()), updated);
    let nobody = Domain { no: DomainNo::new(4_711), ..domain("nobody.example.com") };
    assert_eq!(store.update(nobody).await.expect("answers"), None);
}

pub async fn numbers_are_not_given_out_again(store: Arc<dyn DomainStore>) {
    let first = added(&store, "one.example.com").await;
    store.remove(first.no).await.expect("answers");
    assert!(store.directory().get(first.no).is_none());
    store.remove(first.no).await.expect("removing twice is no error");
    assert_ne!(added(&store, "one.example.com").await.no, first.no);
}

pub async fn foreign_codes_is_known_when_set(store: Arc<dyn DomainStore>) {
    let domain = added(&store, "one.example.com").await;
    let set = join_all((0..8).map(|_| store.set_foreign_codes(domain.no))).await;
    let news = set.into_iter().filter(|set| matches!(set, Ok(true))).count();
    assert_eq!(news, 1, "it was not set before, once");
    if store.flags_are_immediate() {
        assert!(store.is_fresh());
        assert!(store.directory().get(domain.no).is_some_and(|domain| domain.foreign_codes));
    }
    assert!(!store.set_foreign_codes(DomainNo::new(4_711)).await.expect("answers"));
}

pub async fn of_many_one_gets_the_host(store: Arc<dyn DomainStore>) {
    let answers =
        join_all((0..16).map(|number| store.insert(domain(if number % 2 == 0 { "one.example.com" } else { "two.example.com" })))).await;
    let added: Vec<_> =
        answers.into_iter().filter_map(|answer| if let Ok(DomainAdded::Added(domain)) = answer { Some(domain) } else { None }).collect();
    assert_eq!(added.len(), 2);
    assert_ne!(added[0].no, added[1].no);
    assert_eq!(store.directory().iter().count(), 2);
}
