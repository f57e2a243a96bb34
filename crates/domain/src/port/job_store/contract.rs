//! What every job store must do. Each test takes an empty one.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;

use super::{Job, JobStore};
use crate::api::{JobState, Selection};
use crate::model::{DomainNo, Host, LinkId, Tag};
use crate::port::contract::{id, owner};
use crate::time::UnixMs;

fn job(number: u64, selection: Selection) -> Job {
    Job {
        id: id(number),
        owner: owner("ann"),
        everyone: false,
        domain: matches!(selection, Selection::Domain(_)).then(|| DomainNo::new(3)),
        selection,
        state: JobState::Running,
        done: 0,
        total: 10,
        errors: 0,
        cursor: None,
        created_at: UnixMs::new(1_775_689_600_000),
        updated_at: UnixMs::new(1_775_689_600_000),
    }
}

pub async fn a_job_is_kept_as_it_is(store: Arc<dyn JobStore>) {
    let selections = [
        Selection::Ids((0..100_000).map(id).collect()),
        Selection::Ids(Vec::new()),
        Selection::Tag(Tag::parse("r\u{fc}ckgabe").expect("a tag")),
        Selection::Domain(Host::parse("go.example.com").expect("a host")),
    ];
    assert_eq!(store.get(id(0)).await.expect("answers"), None);
    for (number, selection) in (0..).zip(selections) {
        let job = Job { everyone: number == 1, ..job(number, selection) };
        store.insert(job.clone()).await.expect("answers");
        assert_eq!(store.get(job.id).await.expect("answers"), Some(job));
    }
}

pub async fn progress_is_kept_and_nothing_else_changes(store: Arc<dyn JobStore>) {
    let begun = job(1, Selection::Ids(vec![id(7)]));
    store.insert(begun.clone()).await.expect("answers");
    let cursor = Some(u64::MAX);
    let later = Job { state: JobState::Failed, done: 5, total: 12, errors: 2, cursor, updated_at: UnixMs::new(1_775_689_700_000), ..begun };
    let update = Job { selection: Selection::Ids(Vec::new()), owner: owner("bob"), ..later.clone() };
    assert!(store.update(&update).await.expect("answers"));
    assert_eq!(store.get(later.id).await.expect("answers"), Some(later));
}

pub async fn running_jobs_oldest_first(store: Arc<dyn JobStore>) {
    for number in [3, 1, 2, 4] {
        store.insert(job(number, Selection::Ids(Vec::new()))).await.expect("answers");
    }
    for (number, state) in [(2, JobState::Done), (4, JobState::Failed)] {
        store.update(&Job { state, ..job(number, Selection::Ids(Vec::new())) }).await.expect("answers");
    }
    let running: Vec<LinkId> = store.running().await.expect("answers").into_iter().map(|job| job.id).collect();
    assert_eq!(running, [id(1), id(3)]);
}

pub async fn a_claim_is_kept_and_only_running_jobs_have_one(store: Arc<dyn JobStore>) {
    let begun = job(1, Selection::Ids(vec![id(7)]));
    let (now, until) = (UnixMs::new(1_775_689_700_000), UnixMs::new(1_775_689_760_000));
    assert!(!store.claim(id(1), now, until).await.expect("answers"), "there is no such job");
    store.insert(begun.clone()).await.expect("answers");
    for _ in 0..2 {
        assert!(store.claim(id(1), now, until).await.expect("answers"), "ours, and still ours");
    }
    assert!(store.update(&Job { state: JobState::Done, ..begun }).await.expect("answers"));
    assert!(!store.claim(id(1), now, until).await.expect("answers"), "it is done");
}
