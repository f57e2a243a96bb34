//! What the caches are told of each change: the row first, then the news, and only of what is stored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::api::{Context, JobState, Links as _, Selection};
use domain::port::{
    Cached, Inserted, LinkCache, LinkChanged, LinkEvents, LinkStore, Listener, Outcome, PortError, PortErrorKind, PortResult, Rebuild,
    Replaced, Walk,
};
use domain::{BlockReason, Change, DomainNo, Link, LinkDraft, LinkId, PatchDraft, Scope, Slug, State, Tag};
use tokio::sync::Semaphore;

use super::{World, alice, draft, world_with};

#[derive(Clone, Debug, PartialEq)]
enum Told {
    Put { link: LinkId, version: u32, state: State },
    News { link: LinkId, version: u32, blocked: bool },
}

/// The shared cache and the news, one log for both.
#[derive(Default)]
struct Ear {
    told: Mutex<Vec<Told>>,
    cache_fails: AtomicBool,
    cache_hangs: AtomicBool,
}

impl Ear {
    fn told(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    async fn wait_for(&self, what: &Told) {
        let until = Instant::now() + Duration::from_secs(10);
        while !self.told.lock().unwrap().contains(what) {
            assert!(Instant::now() < until, "{what:?} was never told");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[async_trait]
impl LinkCache for Ear {
    async fn find(&self, _: DomainNo, _: Slug<'_>) -> PortResult<Option<Cached>> {
        unreachable!("links reads from the store")
    }

    async fn put(&self, link: &Link, age: Duration, _: Duration) -> PortResult<()> {
        assert_eq!(age, Duration::ZERO);
        if self.cache_hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.cache_fails.load(Ordering::SeqCst) {
            return Err(PortError::new(PortErrorKind::Unavailable, "test: put", Outcome::Unknown));
        }
        self.told.lock().unwrap().push(Told::Put { link: link.id, version: link.version, state: link.state });
        Ok(())
    }

    async fn put_absent(&self, _: DomainNo, _: Slug<'_>, _: Duration) -> PortResult<()> {
        unreachable!("links notes no absence")
    }

    async fn rebuild(&self, _: DomainNo, _: Slug<'_>) -> PortResult<Rebuild> {
        unreachable!("links rebuilds nothing")
    }
}

#[async_trait]
impl LinkEvents for Ear {
    async fn publish(&self, event: LinkChanged) -> PortResult<()> {
        let LinkChanged { link, version, blocked, .. } = event;
        self.told.lock().unwrap().push(Told::News { link, version, blocked });
        Ok(())
    }

    fn subscribe(&self, _: Listener) {}

    fn are_certain(&self) -> bool {
        true
    }
}

/// The real store; `replace` waits at the gate once it has written, and may then lose its answer.
struct Slow {
    store: Arc<dyn LinkStore>,
    gate: Arc<Semaphore>,
    loses_answers: Arc<AtomicBool>,
}

#[async_trait]
impl LinkStore for Slow {
    async fn insert(&self, links: Vec<Link>) -> PortResult<Vec<Inserted>> {
        self.store.insert(links).await
    }

    async fn find(&self, domain: DomainNo, code: Slug<'_>) -> PortResult<Option<Link>> {
        self.store.find(domain, code).await
    }

    async fn get(&self, id: LinkId) -> PortResult<Option<Link>> {
        self.store.get(id).await
    }

    async fn get_many(&self, ids: &[LinkId]) -> PortResult<Vec<Link>> {
        self.store.get_many(ids).await
    }

    async fn replace(&self, links: Vec<Link>) -> PortResult<Vec<Replaced>> {
        let replaced = self.store.replace(links).await;
        let _permit = self.gate.acquire().await.unwrap();
        if self.loses_answers.swap(false, Ordering::SeqCst) {
            return Err(PortError::new(PortErrorKind::Unavailable, "test: replace", Outcome::Unknown));
        }
        replaced
    }

    async fn walk(&self, whose: &Walk, before: Option<LinkId>, limit: usize) -> PortResult<Vec<Link>> {
        self.store.walk(whose, before, limit).await
    }

    async fn tags(&self, whose: &Walk) -> PortResult<Vec<(Tag, u64)>> {
        self.store.tags(whose).await
    }

    async fn any_in_domain(&self, domain: DomainNo) -> PortResult<bool> {
        self.store.any_in_domain(domain).await
    }
}

struct Setting {
    world: World,
    ear: Arc<Ear>,
    gate: Arc<Semaphore>,
    loses_answers: Arc<AtomicBool>,
}

async fn setting() -> Setting {
    let (ear, gate, loses_answers) = (Arc::new(Ear::default()), Arc::new(Semaphore::new(1_000)), Arc::new(AtomicBool::new(false)));
    let slow = |store| Slow { store, gate: gate.clone(), loses_answers: loses_answers.clone() };
    let world = world_with(|ids| ids, |stores| Arc::new(slow(stores.links.clone())), (ear.clone(), ear.clone())).await;
    Setting { world, ear, gate, loses_answers }
}

fn admin() -> Context {
    let mut context = alice();
    context.caller.scopes = [Scope::Admin].into_iter().collect();
    context
}

fn put(link: LinkId, version: u32, state: State) -> Told {
    Told::Put { link, version, state }
}

fn news(link: LinkId, version: u32, blocked: bool) -> Told {
    Told::News { link, version, blocked }
}

fn titled(title: &str) -> PatchDraft {
    PatchDraft { title: Change::Set(title.to_owned()), ..PatchDraft::default() }
}

#[tokio::test]
async fn every_change_is_put_first_and_announced_then() {
    let Setting { world, ear, .. } = setting().await;
    let link = world.service.create(&alice(), draft(1), None).await.unwrap().link().id;
    assert_eq!(ear.told(), [put(link, 1, State::Active)], "a new link is no news");
    world.service.update(&alice(), link, titled("a"), None).await.unwrap();
    assert_eq!(ear.told(), [put(link, 2, State::Active), news(link, 2, false)]);
    world.service.update(&alice(), link, titled("a"), None).await.unwrap();
    assert_eq!(ear.told(), [], "nothing changed");
    world.service.delete(&alice(), link, None).await.unwrap();
    assert_eq!(ear.told(), [put(link, 3, State::Deleted), news(link, 3, false)], "a tombstone");
    world.service.restore(&alice(), link).await.unwrap();
    assert_eq!(ear.told(), [put(link, 4, State::Active), news(link, 4, false)]);
    world.service.block(&admin(), link, Some(BlockReason::from_stored("malware"))).await.unwrap();
    assert_eq!(ear.told(), [put(link, 5, State::Active), news(link, 5, true)]);
}

#[tokio::test]
async fn a_row_in_the_way_of_an_insert_is_put_as_it_is() {
    let Setting { world, ear, .. } = setting().await;
    let named = |i| LinkDraft { alias: Some("taken".into()), ..draft(i) };
    let link = world.service.create(&alice(), named(1), None).await.unwrap().link().id;
    world.service.update(&alice(), link, titled("a"), None).await.unwrap();
    ear.told();
    world.service.create(&alice(), named(2), None).await.unwrap_err();
    assert_eq!(ear.told(), [put(link, 2, State::Active)]);
}

#[tokio::test]
async fn a_cache_that_fails_or_hangs_fails_nothing_and_costs_little() {
    let Setting { world, ear, .. } = setting().await;
    ear.cache_fails.store(true, Ordering::SeqCst);
    let link = world.service.create(&alice(), draft(1), None).await.unwrap().link().id;
    world.service.update(&alice(), link, titled("a"), None).await.unwrap();
    assert_eq!(ear.told(), [news(link, 2, false)], "the news goes out all the same");
    ear.cache_hangs.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let made = world.service.bulk_create(&alice(), (0..500).map(draft).collect(), None).await.unwrap();
    assert!(made.iter().all(Result::is_ok));
    assert!(began.elapsed() < Duration::from_secs(5), "not 500 times 20 ms");
}

#[tokio::test]
async fn who_gives_up_waiting_does_not_stop_the_news() {
    let Setting { world, ear, gate, .. } = setting().await;
    let link = world.service.create(&alice(), draft(1), None).await.unwrap().link().id;
    let permits = gate.forget_permits(usize::MAX);
    let (patience, context) = (Duration::from_millis(50), alice());
    let given_up = tokio::time::timeout(patience, world.service.update(&context, link, titled("a"), None)).await;
    assert!(given_up.is_err(), "written, but not answered");
    gate.add_permits(permits);
    ear.wait_for(&news(link, 2, false)).await;
    assert_eq!(ear.told()[1..], [put(link, 2, State::Active), news(link, 2, false)]);
}

#[tokio::test]
async fn a_mass_delete_tells_of_each_link_also_when_an_answer_is_lost() {
    let Setting { world, ear, loses_answers, .. } = setting().await;
    let made = world.service.bulk_create(&alice(), (0..20).map(draft).collect(), None).await.unwrap();
    let ids: Vec<_> = made.iter().map(|made| made.as_ref().unwrap().link().id).collect();
    for loses in [false, true] {
        ear.told();
        loses_answers.store(loses, Ordering::SeqCst);
        let half: Vec<_> = ids.iter().copied().skip(if loses { 10 } else { 0 }).take(10).collect();
        let job = world.service.bulk_delete(&alice(), Selection::Ids(half.clone())).await.unwrap();
        while world.service.job(&alice(), job.id).await.unwrap().state == JobState::Running {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let told = ear.told();
        for id in half {
            assert!(told.contains(&news(id, 2, false)), "{told:?}");
            assert_eq!(told.contains(&put(id, 2, State::Deleted)), !loses, "what may not be stored is put nowhere");
        }
    }
}
