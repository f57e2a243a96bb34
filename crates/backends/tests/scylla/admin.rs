//! Several processes on one keyspace: what each may believe of domains, and who runs a job.

use std::time::{Duration, Instant};

use domain::api::{JobState, Selection};
use domain::port::{DomainAdded, DomainStore as _, Job, JobStore as _};
use domain::{Domain, DomainNo, Host, LinkId, Owner, UnixMs};

use crate::world::{Group, World};

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

async fn until(what: &str, patience: Duration, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < patience, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn foreign_codes_hold_when_every_fresh_reader_must_know() {
    let world = World::new(&[Group::Domains]).await;
    let (ours, theirs) = (world.stores.domains.clone(), world.twin().await.domains);
    let wanted = Domain { no: DomainNo::DEFAULT, ..ours.set_default(&host("a.example.com")).await.unwrap() };
    let DomainAdded::Added(domain) = ours.insert(Domain { host: host("go.example.com"), ..wanted }).await.unwrap() else { panic!("free") };
    until("the other process knows the domain", Duration::from_secs(30), || theirs.directory().get(domain.no).is_some()).await;
    assert!(!ours.foreign_codes_hold(domain.no) && !ours.flags_are_immediate());

    let began = Instant::now();
    assert!(ours.set_foreign_codes(domain.no).await.unwrap());
    let set = Instant::now();
    assert!(ours.directory().get(domain.no).is_some_and(|domain| domain.foreign_codes));
    assert!(!ours.foreign_codes_hold(domain.no), "another process may not know yet");
    assert!(!ours.set_foreign_codes(domain.no).await.unwrap(), "asking again does not set it again");
    let knows = |store: &backends::scylla::DomainStore| store.directory().get(domain.no).is_some_and(|domain| domain.foreign_codes);
    until("it holds", Duration::from_secs(30), || {
        // Whoever would rely on the flag's absence is too old to rely on anything.
        assert!(knows(&theirs) || !theirs.is_fresh() || !ours.foreign_codes_hold(domain.no));
        ours.foreign_codes_hold(domain.no)
    })
    .await;
    assert!(began.elapsed() >= Duration::from_secs(5) && set.elapsed() < Duration::from_secs(20), "{:?}", set.elapsed());

    // Written down by one of the two: a process that starts now need not wait.
    let began = Instant::now();
    while !world.twin().await.domains.foreign_codes_hold(domain.no) {
        assert!(began.elapsed() < Duration::from_mins(1), "a new process has to wait again");
    }
    world.close().await;
}

fn job(id: u64) -> Job {
    Job {
        id: LinkId::new(id),
        owner: Owner::parse("ann").unwrap(),
        everyone: false,
        selection: Selection::Ids(vec![LinkId::new(7)]),
        domain: None,
        state: JobState::Running,
        done: 0,
        total: 1,
        errors: 0,
        cursor: None,
        created_at: UnixMs::new(1_775_689_600_000),
        updated_at: UnixMs::new(1_775_689_600_000),
    }
}

#[tokio::test]
async fn a_job_of_a_silent_process_is_taken_over_once() {
    let world = World::new(&[Group::Jobs]).await;
    let ours = world.stores.jobs.clone();
    let others = [world.twin().await.jobs, world.twin().await.jobs];
    let at = |second: i64| UnixMs::new(1_775_689_700_000 + second * 1_000);
    ours.insert(job(1)).await.unwrap();
    assert!(ours.claim(LinkId::new(1), at(0), at(60)).await.unwrap());
    assert!(!others[0].claim(LinkId::new(1), at(59), at(119)).await.unwrap(), "it is heard of");
    assert!(!others[0].update(&Job { done: 9, ..job(1) }).await.unwrap(), "and nobody else's to change");

    let taken = domain::port::contract::join_all(others.iter().map(|other| other.claim(LinkId::new(1), at(61), at(121)))).await;
    let taken: Vec<bool> = taken.into_iter().map(Result::unwrap).collect();
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{taken:?}");
    let winner = if taken[0] { &others[0] } else { &others[1] };

    // The silent one wakes: it hears so before its next chunk, and its report of the last one changes nothing.
    assert!(!ours.claim(LinkId::new(1), at(62), at(122)).await.unwrap());
    assert!(!ours.update(&Job { done: 5, cursor: Some(5), ..job(1) }).await.unwrap());
    assert!(winner.update(&Job { done: 1, state: JobState::Done, ..job(1) }).await.unwrap());
    assert_eq!(ours.get(LinkId::new(1)).await.unwrap().map(|job| (job.done, job.state)), Some((1, JobState::Done)));
    assert_eq!(ours.running().await.unwrap(), []);
    world.close().await;
}
