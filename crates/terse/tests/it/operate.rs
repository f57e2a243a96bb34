//! What an operator asks: is it well, and what would a migration do.

use std::process::Command;

use serde_json::Value;

use crate::cluster::{Cluster, Role};

/// `terse doctor` with the settings of the fleet and these; its exit code and findings.
fn doctor(cluster: &Cluster, set: &[(&str, &str)]) -> (Option<i32>, Vec<Value>) {
    let mut command = cluster.command();
    command.args(["doctor", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"]).arg(cluster.data());
    command.envs(set.iter().copied());
    let output = command.output().expect("terse runs");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), report["findings"].as_array().expect("findings").clone())
}

#[track_caller]
fn finding<'a>(findings: &'a [Value], name: &str) -> &'a Value {
    findings.iter().find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("no {name} in {findings:#?}"))
}

/// Fails unless the finding has this status; one that is not ok ends with a mend that holds `mend`.
#[track_caller]
fn is(findings: &[Value], name: &str, status: &str, mend: &str) {
    let found = finding(findings, name);
    let told = found["mend"].as_str().unwrap_or_default();
    assert!(found["status"] == status && told.contains(mend) && told.is_empty() == (status == "ok"), "{found:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_of_five_services_on_real_servers() {
    let mut cluster = Cluster::services().start();
    let (code, findings) = doctor(&cluster, &[]);
    assert!(code == Some(0) && findings.iter().all(|finding| finding["status"] != "fail"), "{findings:#?}");
    for name in [
        "store",
        "store version",
        "store clocks",
        "store schema",
        "store conditions",
        "codes",
        "api keys",
        "kafka",
        "kafka groups",
        "kafka topics",
        "redis cache",
        "redis cache slots",
        "redis cache clocks",
        "service ids",
        "service links",
        "service redirect",
        "service analytics",
        "service clocks",
        "settings",
    ] {
        is(&findings, name, "ok", "");
    }
    // As these servers are set up for tests.
    is(&findings, "store copies", "warn", "backed up");
    is(&findings, "redis cache memory", "warn", "limits.url");

    // A keyspace and topics that nobody made; a node of a cluster taken for a single Redis; a replica that is gone.
    let redis = cluster.setting("TERSE__CACHE").trim_start_matches("redis-cluster://").to_owned();
    let store = format!("{}_other", cluster.setting("TERSE__STORE"));
    let clicks = cluster.setting("TERSE__CLICKS__URL").replace(".clicks", ".other");
    cluster.service(Role::Redirect, 0).kill();
    cluster.service(Role::Ids, 0).kill();
    let limits = format!("redis://{redis}");
    let wrong = [("TERSE__STORE", store.as_str()), ("TERSE__CLICKS__URL", clicks.as_str()), ("TERSE__LIMITS__URL", limits.as_str())];
    let (code, findings) = doctor(&cluster, &wrong);
    assert_eq!(code, Some(1));
    is(&findings, "store schema", "fail", "terse migrate");
    is(&findings, "kafka topics", "fail", "terse migrate");
    is(&findings, "redis limits", "fail", "redis-cluster://");
    is(&findings, "service redirect", "warn", "terse redirect");
    is(&findings, "service ids", "fail", "terse ids");
    is(&findings, "redis cache", "ok", "");

    // Nobody there at all.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let (store, cache) = (format!("scylla://{gone}/terse"), format!("redis-cluster://{gone}"));
    let (code, findings) = doctor(&cluster, &[("TERSE__STORE", &store), ("TERSE__CACHE", &cache)]);
    assert_eq!(code, Some(1));
    is(&findings, "store", "fail", "nodetool status");
    is(&findings, "redis cache", "fail", "start it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_a_migration_does_and_does_nothing() {
    let cluster = Cluster::services().start();
    let migrate = |store: &str, clicks: &str, args: &[&str]| -> Value {
        let mut command: Command = cluster.command();
        command.env("TERSE__STORE", store).env("TERSE__CLICKS__URL", clicks).args(["migrate", "--json", "--data", "planned"]).args(args);
        let output = command.output().expect("terse runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let store = format!("{}_plan", cluster.setting("TERSE__STORE"));
    let clicks = cluster.setting("TERSE__CLICKS__URL").replace("/t", "/planned-t").replace("link_events=t", "link_events=planned-t");
    let versions = |plan: &Value| -> Vec<(i64, i64)> {
        let steps = plan["plan"].as_array().or_else(|| plan["steps"].as_array()).expect("steps");
        steps.iter().map(|step| (step["from"].as_i64().expect("from"), step["to"].as_i64().expect("to"))).collect()
    };
    for _ in 0..2 {
        let plan = migrate(&store, &clicks, &["--plan"]);
        assert_eq!(versions(&plan)[1..], [(0, 1), (0, 1)], "{plan:#}");
        let keyspace = &plan["plan"][0];
        assert!(
            keyspace["from"] == 0 && keyspace["statements"][0].as_str().is_some_and(|text| text.starts_with("CREATE KEYSPACE")),
            "{plan:#}"
        );
        assert!(!cluster.folder().join("planned").exists());
    }
    let planned = versions(&migrate(&store, &clicks, &["--plan"]));
    assert_eq!(versions(&migrate(&store, &clicks, &[])), planned);
    let after = migrate(&store, &clicks, &["--plan"]);
    assert!(versions(&after).iter().all(|(from, to)| from == to) && after["plan"][0]["statements"].is_null(), "{after:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_files() {
    let mut cluster = Cluster::all_in_one().start();
    // Whoever stops it in the very moment that it is ready may be faster than its handler of signals.
    cluster.kill();
    let plan = |data: &str| {
        let output = cluster.command().args(["migrate", "--plan", "--data", data]).output().expect("terse runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let there = plan(cluster.data().to_str().expect("UTF-8"));
    assert!(there.contains("nothing to do") && there.contains("Nothing was changed.\n") && !there.contains("would be"), "{there}");
    let new = plan("nosuch");
    assert!(new.contains("nosuch/terse.db  would be made at version") && new.contains("Do it with:  terse migrate"), "{new}");
    assert!(!cluster.folder().join("nosuch").exists());
}
