//! Migration, and which keyspaces are refused.

use std::time::Duration;

use backends::scylla::{OpenError, Scylla, Url, inspect, migrate};
use chassis::Lifecycle;
use domain::port::LeaseStore as _;
use domain::port::contract::join_all;

use crate::world::{drop_keyspace, new_url, open, patient, raw, run, servers};

#[tokio::test]
async fn several_migrate_at_once_and_again() {
    let url = new_url();
    let before = inspect(&url, patient()).await.unwrap();
    assert_eq!(before.found, 0);
    let refused = Scylla::connect(&url, patient()).await.unwrap_err();
    assert!(matches!(refused, OpenError::NotMigrated { found: 0, .. }) && refused.to_string().contains("terse migrate"), "{refused}");

    let migrated = join_all((0..3).map(|_| migrate(&url, patient()))).await;
    for steps in migrated {
        let steps = steps.unwrap();
        assert!(steps.last().is_none_or(|last| last.version == before.known), "{steps:?}");
    }
    assert_eq!(inspect(&url, patient()).await.unwrap().found, before.known);
    assert_eq!(migrate(&url, patient()).await.unwrap(), [], "nothing is left to do");

    // Twenty processes start at once: they find one range.
    let lifecycle = Lifecycle::new(Duration::from_secs(5));
    let opened = join_all((0..20).map(|_| open(&url, &lifecycle))).await;
    let ranges = join_all(opened.iter().map(|stores| stores.leases.ranges())).await;
    let ranges: Vec<_> = ranges.into_iter().map(Result::unwrap).collect();
    assert_eq!((ranges[0].len(), ranges[0][0].epoch), (1, 0));
    assert!(ranges.iter().all(|found| *found == ranges[0]));
    lifecycle.drain_in_order().await;

    let session = raw().await;
    let newer = format!(
        "INSERT INTO {}.schema_steps (part, version, name, needs_terse) VALUES (0, 99, 'x', '7.0.0') IF NOT EXISTS",
        url.keyspace()
    );
    run(&session, &newer).await;
    for error in [Scylla::connect(&url, patient()).await.unwrap_err(), migrate(&url, patient()).await.unwrap_err()] {
        assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
        assert!(error.to_string().contains("7.0.0"), "{error}");
    }
    drop_keyspace(&url).await;
}

#[tokio::test]
async fn a_step_that_was_cut_off_is_run_again() {
    let url = new_url();
    let session = raw().await;
    run(
        &session,
        &format!(
            "CREATE KEYSPACE {} WITH replication = {{'class': 'NetworkTopologyStrategy', 'dc1': 1}} AND durable_writes = true",
            url.keyspace()
        ),
    )
    .await;
    run(
        &session,
        &format!(
            "CREATE TABLE {}.schema_steps (part tinyint, version int, name text, needs_terse text, PRIMARY KEY ((part), version))",
            url.keyspace()
        ),
    )
    .await;
    run(&session, &format!("CREATE TABLE {}.id_workers (worker int PRIMARY KEY, until_ms bigint)", url.keyspace())).await;
    assert_eq!(inspect(&url, patient()).await.unwrap().found, 0);
    let steps = migrate(&url, patient()).await.unwrap();
    assert_eq!(steps.first().map(|step| (step.version, step.name)), Some((1, "001_links.cql")));
    Scylla::connect(&url, patient()).await.unwrap();
    drop_keyspace(&url).await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_named() {
    let impatient = backends::scylla::Options { connect_patience: Duration::from_secs(1), ..patient() };
    let url = Url::parse("scylla://127.0.0.1:1/terse").unwrap();
    let error = Scylla::connect(&url, impatient).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }) && error.to_string().contains("127.0.0.1:1/terse"), "{error}");

    let url = Url::parse(&format!("scylla://{}/terse?dc=nowhere", servers())).unwrap();
    let error = Scylla::connect(&url, patient()).await.unwrap_err();
    assert!(matches!(&error, OpenError::NoSuchDc { names, .. } if !names.is_empty()), "{error}");
}
