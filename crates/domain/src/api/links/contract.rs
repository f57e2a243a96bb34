//! What every implementation of [`Links`] must do, however it is reached.
#![expect(clippy::unwrap_used, reason = "a contract test fails by a panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Context, Created, Deadline, Idempotency, JobState, Links, ListQuery, Selection};
use crate::model::{BlockReason, Caller, Change, LinkDraft, LinkId, Owner, PatchDraft, Scope, ShownState, Slug, State, Tag};
use crate::{Kind, Reason};

fn context(owner: &str, scopes: &[Scope]) -> Context {
    let caller = Caller { owner: Owner::parse(owner).unwrap(), scopes: scopes.iter().copied().collect() };
    Context { caller, deadline: Deadline::after(Instant::now(), Duration::from_secs(30)) }
}

fn draft(target: &str) -> LinkDraft {
    LinkDraft { target: target.into(), ..LinkDraft::default() }
}

/// Runs on an empty store with a default domain that no target below belongs to. `pause` is awaited
/// between two looks at a running job.
pub async fn all<F: Future<Output = ()>>(links: Arc<dyn Links>, pause: impl Fn() -> F) {
    let alice = context("alice", &[Scope::LinksRead, Scope::LinksWrite]);
    created_and_read(&*links, &alice).await;
    refused(&*links, &alice).await;
    once_each(&*links, &alice).await;
    changed_and_deleted(&*links, &alice).await;
    listed(&*links).await;
    mass_deleted(&*links, pause).await;
}

async fn created_and_read(links: &dyn Links, alice: &Context) {
    let link = links.create(alice, draft("https://example.com/1"), None).await.unwrap().link().clone();
    assert_eq!((link.version, link.state, link.code.as_str().len()), (1, State::Active, 7));
    assert_eq!(links.get(alice, link.id).await.unwrap(), link);
    assert_eq!(links.lookup(alice, None, Slug::parse(link.code.as_str()).unwrap()).await.unwrap(), link);
    let bob = context("bob", &[Scope::LinksRead]);
    assert_eq!(links.get(&bob, link.id).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(links.get(&context("root", &[Scope::Admin]), link.id).await.unwrap(), link);
    assert_eq!(links.get(alice, LinkId::new(1)).await.unwrap_err().reason(), Reason::NotFound);
}

async fn refused(links: &dyn Links, alice: &Context) {
    let wrong = LinkDraft { alias: Some("a".into()), max_clicks: Some(0), caching: Some("x".into()), ..draft("ftp://example.com") };
    let error = links.create(alice, wrong, None).await.unwrap_err();
    let pointers: Vec<_> = error.field_errors().iter().map(|field| field.pointer.as_str()).collect();
    assert_eq!(pointers, ["/target", "/alias", "/caching", "/max_clicks"]);
    let aliased = LinkDraft { alias: Some("Taken-One".into()), ..draft("https://example.com/2") };
    links.create(alice, aliased.clone(), None).await.unwrap();
    let again = LinkDraft { alias: Some("taken-one".into()), ..aliased };
    assert_eq!(links.create(alice, again, None).await.unwrap_err().reason(), Reason::AliasTaken);
    let foreign = LinkDraft { code: Some("Ab12345".into()), ..draft("https://example.com/3") };
    assert_eq!(links.create(alice, foreign, None).await.unwrap_err().reason(), Reason::Forbidden);
    let elsewhere = LinkDraft { domain: Some("nowhere.example".into()), ..draft("https://example.com/4") };
    assert_eq!(links.create(alice, elsewhere, None).await.unwrap_err().field_errors()[0].pointer, "/domain");
}

async fn once_each(links: &dyn Links, alice: &Context) {
    let once = Idempotency { key: "k".into(), digest: [7; 32] };
    let drafts = vec![draft("https://example.com/5"), draft("not a url"), draft("https://example.com/6")];
    let first = links.bulk_create(alice, drafts.clone(), Some(once.clone())).await.unwrap();
    let again = links.bulk_create(alice, drafts.clone(), Some(once.clone())).await.unwrap();
    assert_eq!(first[0].as_ref().unwrap().link(), again[0].as_ref().unwrap().link());
    assert_eq!(first[2].as_ref().unwrap().link(), again[2].as_ref().unwrap().link());
    assert!(first[1].is_err() && again[1].is_err());
    let other = Idempotency { digest: [8; 32], ..once };
    assert_eq!(links.bulk_create(alice, drafts, Some(other)).await.unwrap_err().reason(), Reason::IdempotencyMismatch);
    let find = LinkDraft { find_or_create: true, ..draft("https://example.com/7") };
    let made = links.create(alice, find.clone(), None).await.unwrap();
    assert!(matches!(made, Created::New(_)));
    assert_eq!(links.create(alice, find.clone(), None).await.unwrap(), Created::Found(made.link().clone()));
    links.delete(alice, made.link().id, None).await.unwrap();
    let next = links.create(alice, find, None).await.unwrap();
    assert!(matches!(&next, Created::New(link) if link.id != made.link().id));
}

async fn changed_and_deleted(links: &dyn Links, alice: &Context) {
    let link = links.create(alice, draft("https://example.com/8"), None).await.unwrap().link().clone();
    let patch = |target: &str| PatchDraft { target: Change::Set(target.into()), ..PatchDraft::default() };
    let changed = links.update(alice, link.id, patch("https://example.com/9"), Some(1)).await.unwrap();
    assert_eq!((changed.version, changed.target.as_str()), (2, "https://example.com/9"));
    let stale = links.update(alice, link.id, patch("https://example.com/10"), Some(1)).await.unwrap_err();
    assert_eq!(stale.reason(), Reason::VersionMismatch);
    let reason = BlockReason::parse("phishing").unwrap();
    assert_eq!(links.block(alice, link.id, Some(reason.clone())).await.unwrap_err().reason(), Reason::Forbidden);
    let root = context("root", &[Scope::Admin]);
    assert_eq!(links.block(&root, link.id, Some(reason)).await.unwrap().shown_state(), ShownState::Blocked);
    assert_eq!(links.block(&root, link.id, None).await.unwrap().shown_state(), ShownState::Active);
    links.delete(alice, link.id, None).await.unwrap();
    links.delete(alice, link.id, None).await.unwrap();
    let gone = links.update(alice, link.id, patch("https://example.com/11"), None).await.unwrap_err();
    assert_eq!(gone.reason(), Reason::Gone);
    assert_eq!(links.restore(alice, link.id).await.unwrap().state, State::Active);
}

async fn listed(links: &dyn Links) {
    let carol = context("carol", &[Scope::LinksRead, Scope::LinksWrite]);
    let drafts = (0..7).map(|i| LinkDraft { tags: vec![format!("t{}", i % 2)], ..draft(&format!("https://example.com/c/{i}")) });
    let made = links.bulk_create(&carol, drafts.collect(), None).await.unwrap();
    let mut ids: Vec<_> = made.iter().map(|made| made.as_ref().unwrap().link().id).collect();
    ids.reverse();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = links.list(&carol, ListQuery { limit: 3, after, ..ListQuery::default() }).await.unwrap();
        seen.extend(page.links.iter().map(|link| link.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids);
    let tagged = ListQuery { limit: 10, tag: Tag::parse("t0").ok(), ..ListQuery::default() };
    assert_eq!(links.list(&carol, tagged).await.unwrap().links.len(), 4);
    let tags: Vec<_> = links.tags(&carol).await.unwrap().into_iter().map(|(tag, count)| (tag.to_string(), count)).collect();
    assert_eq!(tags, [("t0".to_owned(), 4), ("t1".to_owned(), 3)]);
}

async fn mass_deleted<F: Future<Output = ()>>(links: &dyn Links, pause: impl Fn() -> F) {
    let dave = context("dave", &[Scope::LinksRead, Scope::LinksWrite]);
    let drafts = (0..700).map(|i| LinkDraft { tags: vec!["old".into()], ..draft(&format!("https://example.com/d/{i}")) });
    links.bulk_create(&dave, drafts.collect(), None).await.unwrap();
    let mut job = links.bulk_delete(&dave, Selection::Tag(Tag::parse("old").unwrap())).await.unwrap();
    while job.state == JobState::Running {
        pause().await;
        job = links.job(&dave, job.id).await.unwrap();
    }
    assert_eq!((job.state, job.done, job.total, job.errors), (JobState::Done, 700, 700, 0));
    assert_eq!(links.list(&dave, ListQuery { limit: 10, ..ListQuery::default() }).await.unwrap().links, []);
    let nobody = context("nobody", &[Scope::LinksRead]);
    assert_eq!(links.job(&nobody, job.id).await.unwrap_err().kind(), Kind::NotFound);
}
