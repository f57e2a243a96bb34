//! Statements whose answer is lost, and what is sent along with them.

use std::sync::Arc;
use std::time::Duration;

use backends::scylla::{Options, Url};
use domain::port::contract::join_all;
use domain::port::{
    Budget, ClaimStore as _, ClickBudget as _, CodeRange, LeaseStore as _, LinkStore as _, Outcome, PortError, Takedowns as _,
};
use domain::port::{Claim, ClaimItem, ClaimKey, Claimed, Inserted, Replaced};
use domain::{BlockReason, Code, DomainNo, Link, LinkId, Owner, State, Target, UnixMs};
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::timestamp_generator::SimpleTimestampGenerator;

use crate::proxy::Proxy;
use crate::world::{Group, World, open_with, patient};

pub(crate) fn link(number: u64, alias: &str) -> Link {
    let at = UnixMs::new(1_775_689_600_000);
    Link {
        id: LinkId::new((40_000_000_000 << 22) + number),
        domain: DomainNo::DEFAULT,
        code: Code::parse_alias(alias).unwrap(),
        owner: Owner::parse("ann").unwrap(),
        target: Target::from_stored("https://example.com/a"),
        title: None,
        tags: Vec::new(),
        state: State::Active,
        blocked: None,
        redirect_status: None,
        caching: None,
        forward_query: false,
        starts_at: None,
        expires_at: None,
        max_clicks: None,
        created_at: at,
        updated_at: at,
        version: 1,
        change_id: number,
    }
}

fn claim(link: &Link) -> Claim {
    Claim {
        key: ClaimKey::Request { owner: link.owner.clone(), key: "k".into() },
        digest: [7; 32],
        items: vec![ClaimItem { link: link.id, domain: link.domain, code: link.code.as_str().into(), kind: 1 }],
        created_at: link.created_at,
        expires_at: None,
    }
}

/// Gives an answer up soon, and has time enough to find out about it.
fn quick() -> Options {
    Options { write_timeout: Duration::from_secs(3), settle_timeout: Duration::from_mins(1), ..patient() }
}

struct Wire {
    world: World,
    proxy: Proxy,
    stores: backends::scylla::Stores,
}

impl Wire {
    async fn new(groups: &[Group]) -> Self {
        let world = World::new(groups).await;
        let proxy = Proxy::start();
        let url = Url::parse(&format!("scylla://{}/{}", proxy.address, world.url.keyspace())).unwrap();
        let stores = open_with(&url, quick(), &world.lifecycle).await;
        Self { world, proxy, stores }
    }

    /// Runs `call` while the answer to the statement that begins so is lost.
    async fn losing<T>(&self, begin: &str, call: impl Future<Output = T>) -> T {
        let lost = self.proxy.lost();
        self.proxy.lose_answer(begin);
        let answer = call.await;
        assert_eq!(self.proxy.lost(), lost + 1, "{begin} was not sent");
        answer
    }
}

fn is_unknown<T>(answer: &Result<T, PortError>) -> bool {
    answer.as_ref().is_err_and(|error| error.outcome == Outcome::Unknown)
}

#[tokio::test]
async fn an_insert_without_answer_is_looked_up() {
    let wire = Wire::new(&[Group::Links]).await;
    let (links, first) = (&wire.stores.links, link(1, "Wanted"));
    let stored = wire.losing("INSERT INTO links (", links.insert(vec![first.clone()])).await;
    assert_eq!(stored.unwrap(), [Inserted::Stored]);
    assert_eq!(links.get(first.id).await.unwrap(), Some(first.clone()));
    let taken = wire.losing("INSERT INTO links (", links.insert(vec![link(2, "wanted")])).await;
    assert_eq!(taken.unwrap(), [Inserted::Taken(first)]);
    wire.world.close().await;
}

#[tokio::test]
async fn a_change_without_answer_is_looked_up() {
    let wire = Wire::new(&[Group::Links]).await;
    let (links, first) = (&wire.stores.links, link(1, "Wanted"));
    links.insert(vec![first.clone()]).await.unwrap();
    let second = Link { version: 2, change_id: 22, ..first.clone() };
    let stored = wire.losing("UPDATE links ", links.replace(vec![second.clone()])).await;
    assert_eq!(stored.unwrap(), [Replaced::Stored]);
    assert_eq!(links.get(first.id).await.unwrap(), Some(second));
    wire.world.close().await;
}

#[tokio::test]
async fn a_claim_without_answer_is_looked_up() {
    let wire = Wire::new(&[Group::Claims]).await;
    let claims = &wire.stores.claims;
    let (ours, next) = (claim(&link(1, "first")), claim(&link(2, "second")));
    assert_eq!(wire.losing("INSERT INTO claims", claims.claim(ours.clone())).await.unwrap(), Claimed::Ours);
    assert_eq!(wire.losing("UPDATE claims", claims.replace(&ours, next.clone())).await.unwrap(), Claimed::Ours);
    assert_eq!(claims.get(&ours.key).await.unwrap(), Some(next));
    wire.world.close().await;
}

#[tokio::test]
async fn what_grants_is_not_looked_up_but_given_up() {
    let wire = Wire::new(&[Group::Budgets, Group::Leases, Group::Takedowns]).await;
    let (budgets, leases, takedowns) = (&wire.stores.budgets, &wire.stores.leases, &wire.stores.takedowns);
    let id = link(1, "one").id;
    assert_eq!(budgets.take(id, 10, 1).await.unwrap(), 1);
    assert!(is_unknown(&wire.losing("UPDATE click_budgets", budgets.take(id, 10, 4)).await));
    assert_eq!(budgets.get(id).await.unwrap(), Some(Budget { max: 10, used: 5 }), "spent");

    assert!(is_unknown(&wire.losing("INSERT INTO id_workers", leases.swap_worker(5, 0, 10)).await));
    assert_eq!(leases.worker_until(5).await.unwrap(), 10, "nobody's");
    let range = CodeRange { epoch: 1_000, key: [3; 16], next: 0, open: 100, lim: 100 };
    assert!(is_unknown(&wire.losing("INSERT INTO id_ranges", leases.add_range(range)).await));
    let next = CodeRange { next: 10, ..range };
    assert!(is_unknown(&wire.losing("UPDATE id_ranges", leases.swap_range(&range, &next)).await));
    assert!(!leases.swap_range(&range, &next).await.unwrap(), "not granted by asking again");

    // Saying it twice is saying it once.
    let reason = BlockReason::parse("phishing").unwrap();
    wire.losing("INSERT INTO takedowns", takedowns.put(id, &reason)).await.unwrap();
    assert_eq!(takedowns.all().await.unwrap(), [(id, reason)]);
    wire.losing("DELETE FROM takedowns", takedowns.remove(id)).await.unwrap();
    assert_eq!(takedowns.all().await.unwrap(), []);
    wire.world.close().await;
}

#[tokio::test]
async fn no_clients_clock_reaches_a_row() {
    let wire = Wire::new(&[Group::Links, Group::Claims, Group::Budgets]).await;
    let first = link(1, "Wanted");
    wire.stores.claims.claim(claim(&first)).await.unwrap();
    wire.stores.links.insert(vec![first.clone()]).await.unwrap();
    wire.stores.links.replace(vec![Link { version: 2, ..first.clone() }]).await.unwrap();
    wire.stores.budgets.take(first.id, 3, 1).await.unwrap();
    let executed = wire.proxy.executed();
    for begin in ["INSERT INTO links (", "UPDATE links ", "INSERT INTO claims", "INSERT INTO click_budgets", "INSERT INTO links_by_id"] {
        assert!(executed.iter().any(|(text, _)| text.starts_with(begin)), "{begin} went another way");
    }
    let timed: Vec<&str> = executed.iter().filter(|(_, timed)| *timed).map(|(text, _)| text.as_str()).collect();
    assert!(timed.is_empty(), "{timed:?}");

    // A session with a generator would have been seen.
    let generator = Arc::new(SimpleTimestampGenerator::new());
    let session = SessionBuilder::new().known_node(&wire.proxy.address).timestamp_generator(generator).build().await.unwrap();
    let text = format!("UPDATE {}.click_budgets SET used = 2 WHERE link = 77 IF EXISTS", wire.world.url.keyspace());
    let statement = session.prepare(text.as_str()).await.unwrap();
    session.execute_unpaged(&statement, ()).await.unwrap();
    assert!(wire.proxy.executed().contains(&(text, true)));
    wire.world.close().await;
}

#[tokio::test]
async fn two_processes_on_one_row_agree() {
    let world = World::new(&[Group::Links, Group::Budgets]).await;
    let (one, two) = (&world.stores, world.twin().await);
    let id = link(1, "one").id;
    let takes = (0..20).map(|number| if number % 2 == 0 { one.budgets.take(id, 20, 2) } else { two.budgets.take(id, 20, 2) });
    let taken: u32 = join_all(takes).await.into_iter().map(|taken| taken.unwrap_or(0)).sum();
    let used = one.budgets.get(id).await.unwrap().unwrap().used;
    assert!(taken <= 20 && u64::from(taken) <= used && used <= 20, "{taken} of {used}");

    let inserts = (0..20).map(|number| {
        let stores = if number % 2 == 0 { one } else { &two };
        stores.links.insert(vec![link(number, "Wanted")])
    });
    let stored = join_all(inserts).await.into_iter().filter(|answer| answer.as_ref().unwrap() == &[Inserted::Stored]).count();
    assert_eq!(stored, 1);
    world.close().await;
}
