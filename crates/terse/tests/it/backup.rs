//! Backup and restore: nothing acknowledged before a backup is lost, and nothing lost after it comes back as something else.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::clicks::until_counted;
use crate::client::Client;
use crate::cluster::{Cluster, Stack};

/// Codes of so many new links, each answered.
async fn create(client: &Client, what: &str, count: usize) -> BTreeMap<String, String> {
    let mut made = BTreeMap::new();
    for first in (0..count).step_by(1_000) {
        let targets: Vec<_> = (first..count.min(first + 1_000)).map(|i| format!("https://example.com/{what}/{i}")).collect();
        let links: Vec<_> = targets.iter().map(|target| json!({ "target": target })).collect();
        let answer = client.post("/api/v1/links/bulk", &json!({ "links": links })).await.expect(200).json();
        for (result, target) in answer["results"].as_array().expect("results").iter().zip(targets) {
            let code = result["link"]["code"].as_str().unwrap_or_else(|| panic!("{result}"));
            assert!(made.insert(code.to_owned(), target).is_none(), "{code} was given out twice");
        }
    }
    made
}

fn again(lost: &BTreeMap<String, String>, made: &BTreeMap<String, String>) -> usize {
    made.keys().filter(|code| lost.contains_key(*code)).count()
}

#[track_caller]
fn well(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

#[track_caller]
fn refused(command: &mut Command, parts: &[&str]) {
    let output = command.output().expect("terse runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    for part in parts {
        assert!(err.contains(part), "no `{part}` in:\n{err}");
    }
}

fn terse(cluster: &Cluster, args: &[&str], data: &Path) -> Command {
    let mut command = cluster.command();
    command.args(args).arg("--data").arg(data);
    command
}

/// A backup under load, into `folder`.
async fn backup_under_load(cluster: &Cluster, folder: &str) -> (BTreeMap<String, String>, Value) {
    let client = cluster.client();
    let before = create(&client, "before", 2_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (visitor, ends) = (cluster.client(), stop.clone());
    let mut load = JoinSet::new();
    load.spawn(async move {
        let mut made = 0;
        while !ends.load(Ordering::Relaxed) {
            made += create(&visitor, &format!("meanwhile-{made}"), 50).await.len();
        }
        made
    });
    let mut command = terse(cluster, &["backup", folder, "--json"], cluster.data());
    let output = tokio::task::spawn_blocking(move || command.output().expect("terse runs")).await.expect("ended");
    stop.store(true, Ordering::Relaxed);
    let answer: Value = serde_json::from_str(&well(&output)).expect("JSON");
    assert!(load.join_next().await.expect("begun").expect("the load ended") > 0);
    (before, answer["manifest"].clone())
}

/// Moves the data out of the way, as a disk that is lost.
fn lose(cluster: &Cluster, name: &str) -> PathBuf {
    let lost = cluster.folder().join(name);
    std::fs::rename(cluster.data(), &lost).expect("moved");
    lost
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_after_a_backup_is_never_given_out_again() {
    const LOST: usize = 10_000;
    const AFTERWARDS: usize = 100_000;
    // Of small blocks: what is made after the backup is leased after it.
    let mut cluster = Cluster::all_in_one().set("TERSE__CODES__BLOCK_LEN", &100).start();
    let (before, manifest) = backup_under_load(&cluster, "backup").await;
    let files: HashSet<_> = manifest["files"].as_array().expect("files").iter().filter_map(|file| file["name"].as_str()).collect();
    assert!(["links.db", "stats.db", "admin.key", "clicks/log.id"].iter().all(|name| files.contains(name)), "{files:?}");
    assert!(!files.iter().any(|name| name.contains("salt")), "a backup would outlive them: {files:?}");
    let lost = create(&cluster.client(), "lost", LOST).await;
    let data = cluster.data().to_owned();
    cluster.kill();

    lose(&cluster, "disk-1");
    let told = well(&terse(&cluster, &["restore", "backup"], &data).output().expect("terse runs"));
    assert!(told.contains("None that was lost is given out again"), "{told}");
    cluster.start();
    let visitor = cluster.anonymous();
    for (code, target) in before.iter().step_by(97) {
        assert_eq!(visitor.get(&format!("/{code}")).await.expect(302).location(), target);
    }
    for code in lost.keys().step_by(997) {
        visitor.get(&format!("/{code}")).await.expect(404);
    }
    let afterwards = create(&cluster.client(), "afterwards", AFTERWARDS).await;
    assert_eq!(again(&lost, &afterwards) + again(&before, &afterwards), 0);
    cluster.kill();

    // The sabotage: the same files without the command.
    lose(&cluster, "disk-2");
    std::fs::create_dir(&data).expect("made");
    for (from, to) in [("links.db", "terse.db"), ("stats.db", "terse-stats.db"), ("admin.key", "admin.key")] {
        std::fs::copy(cluster.folder().join("backup").join(from), data.join(to)).expect("copied");
    }
    cluster.start();
    assert!(again(&lost, &create(&cluster.client(), "careless", LOST).await) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_click_before_a_backup_is_counted_once_after_it_is_put_back() {
    let mut cluster = Cluster::all_in_one().start();
    let link = cluster.client().create(&json!({"target": "https://example.com/a", "alias": "clicked"})).await;
    let id = link["id"].as_str().expect("an id").to_owned();
    let click = async |cluster: &Cluster, times: usize| {
        let visitor = cluster.anonymous();
        for _ in 0..times {
            visitor.get("/clicked").await.expect(302);
        }
    };
    click(&cluster, 30).await;
    until_counted(&cluster.client(), &id, 30).await;
    // These may be in the log alone.
    click(&cluster, 20).await;
    let data = cluster.data().to_owned();
    well(&terse(&cluster, &["backup", "backup"], &data).output().expect("terse runs"));
    click(&cluster, 7).await;
    until_counted(&cluster.client(), &id, 57).await;
    cluster.kill();
    lose(&cluster, "disk");
    well(&terse(&cluster, &["restore", "backup"], &data).output().expect("terse runs"));
    cluster.start();
    until_counted(&cluster.client(), &id, 50).await;
    click(&cluster, 5).await;
    until_counted(&cluster.client(), &id, 55).await;
    // Counted again from the start of the chunk, and no more for that.
    cluster.kill();
    cluster.start();
    click(&cluster, 1).await;
    until_counted(&cluster.client(), &id, 56).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_right_is_refused_and_leaves_nothing() {
    let mut cluster = Cluster::all_in_one().start();
    let data = cluster.data().to_owned();
    well(&terse(&cluster, &["backup", "backup"], &data).output().expect("terse runs"));
    refused(&mut terse(&cluster, &["backup", "backup"], &data), &["`backup` is there already"]);
    refused(&mut terse(&cluster, &["backup", "no/such/backup"], &data), &["cannot be made"]);
    refused(&mut terse(&cluster, &["backup", "other"], Path::new("nosuch")), &["there is no store at"]);
    let holder = format!("in use by process {}", cluster.pid());
    refused(&mut terse(&cluster, &["restore", "backup"], &data), &[&holder]);
    refused(&mut terse(&cluster, &["restore", "--in-place", "--taken-at", "2026-01-01T00:00:00Z"], &data), &[&holder]);
    assert_eq!(cluster.interrupt(), Some(0));
    refused(&mut terse(&cluster, &["restore", "backup"], &data), &["holds `", "empty folder"]);
    refused(&mut terse(&cluster, &["restore", "nosuch"], Path::new("new")), &["is no backup"]);
    let usage = terse(&cluster, &["restore"], Path::new("new")).output().expect("terse runs");
    assert_eq!(usage.status.code(), Some(2));

    let backup = cluster.folder().join("backup");
    let damaged = |what: &str, change: &dyn Fn(&Path)| {
        let copy = cluster.folder().join(what);
        assert!(Command::new("cp").arg("-r").arg(&backup).arg(&copy).status().expect("cp runs").success());
        change(&copy);
        copy.to_str().expect("UTF-8").to_owned()
    };
    let flipped = damaged("flipped", &|copy| {
        let mut bytes = std::fs::read(copy.join("links.db")).expect("read");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(copy.join("links.db"), bytes).expect("written");
    });
    let missing = damaged("missing", &|copy| std::fs::remove_file(copy.join("stats.db")).expect("removed"));
    let newer = damaged("newer", &|copy| {
        // The version is four bytes at 60: https://sqlite.org/fileformat2.html#user_version_number
        let mut bytes = std::fs::read(copy.join("links.db")).expect("read");
        bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
        std::fs::write(copy.join("links.db"), bytes).expect("written");
    });
    for (backup, why) in [(&flipped, "the backup is damaged"), (&missing, "the backup is damaged"), (&newer, "newer Terse")] {
        refused(&mut terse(&cluster, &["restore", backup], Path::new("new")), &[why]);
        let left: Vec<_> =
            std::fs::read_dir(cluster.folder().join("new")).expect("made").map(|entry| entry.expect("an entry").file_name()).collect();
        assert_eq!(left, ["lock"], "{backup}");
    }
    well(&terse(&cluster, &["restore", "backup"], Path::new("new")).output().expect("terse runs"));
    // Killed in the middle of it: nobody starts on that.
    std::fs::write(cluster.folder().join("new/restore.unfinished"), "").expect("written");
    refused(&mut terse(&cluster, &["migrate"], Path::new("new")), &["restore into this folder was cut off"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_the_servers_gives_no_code_out_again() {
    const LINKS: usize = 300;
    let stack = tokio::task::spawn_blocking(|| Stack::start(1)).await.expect("it starts");
    let mut cluster = Cluster::services().on(&stack).set("TERSE__CODES__BLOCK_LEN", &50).start();
    let keyspace = cluster.setting("TERSE__STORE").rsplit('/').next().expect("a keyspace").to_owned();
    let run = |verb: &str, args: &[&str]| tokio::task::block_in_place(|| stack.server(verb, args));
    let before = create(&cluster.client(), "before", LINKS).await;
    let taken_at = now();
    run("nodetool", &["1", "snapshot", "-t", "before", &keyspace]);
    let lost = create(&cluster.client(), "lost", LINKS).await;
    cluster.kill();

    run("nodetool", &["1", "drain"]);
    run("kill", &["cassandra-1"]);
    put_snapshot_back(&stack.folder_of("cassandra-1").join("data").join(&keyspace), "before");
    run("start", &["cassandra-1"]);
    let command = || {
        let mut command = cluster.command();
        command.args(["restore", "--in-place", "--taken-at", &taken_at, "--json"]);
        command
    };
    let told: Value = serde_json::from_str(&well(&command().output().expect("terse runs"))).expect("JSON");
    let range = &told["code_ranges"][0];
    assert!(range["to"].as_u64() > range["from"].as_u64().map(|from| from + (1 << 21)), "{told}");
    cluster.start();
    let visitor = cluster.anonymous();
    for (code, target) in before.iter().step_by(29) {
        assert_eq!(visitor.get(&format!("/{code}")).await.expect(302).location(), target);
    }
    let afterwards = create(&cluster.client(), "afterwards", LINKS).await;
    assert_eq!(again(&lost, &afterwards) + again(&before, &afterwards), 0);
}

fn now() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().expect("date runs");
    String::from_utf8(output.stdout).expect("ASCII").trim().to_owned()
}

/// What docs/backup.md says to do on each stopped server: the files of a snapshot in the place of those of its table.
fn put_snapshot_back(keyspace: &Path, tag: &str) {
    for table in std::fs::read_dir(keyspace).expect("tables").map(|entry| entry.expect("an entry").path()) {
        for file in std::fs::read_dir(&table).expect("files").map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()) {
            std::fs::remove_file(file).expect("removed");
        }
        for file in std::fs::read_dir(table.join("snapshots").join(tag)).expect("a snapshot").map(|entry| entry.expect("an entry").path()) {
            if file.is_file() {
                std::fs::copy(&file, table.join(file.file_name().expect("a name"))).expect("copied");
            }
        }
    }
}
