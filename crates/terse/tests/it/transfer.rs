//! Moving to another server: every code leads where it led, and no click is lost.

use std::process::Output;

use serde_json::{Value, json};

use crate::clicks::until_counted;
use crate::client::Client;
use crate::cluster::{Cluster, Shape, both_shapes};

both_shapes!(a_server_moves_with_its_history, a_table_makes_the_same_links, bad_lines_are_named_and_the_others_made,);

/// Runs a command against the cluster, as its admin.
async fn terse(cluster: &Cluster, args: &[&str]) -> Output {
    let mut command = cluster.command();
    command.args(["--json"]).args(args);
    command.env("TERSE__CLIENT__SERVER", format!("http://{}", cluster.public())).env("TERSE__CLIENT__KEY", cluster.admin_key());
    tokio::task::spawn_blocking(move || command.output().expect("terse runs")).await.expect("it ends")
}

#[track_caller]
fn answer(output: &Output, code: i32) -> Value {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"))
}

async fn import(cluster: &Cluster, file: &str, code: i32) -> Value {
    answer(&terse(cluster, &["import", file]).await, code)
}

fn counts(summary: &Value) -> [u64; 3] {
    ["made", "present", "failed"].map(|name| summary[name].as_u64().expect("a number"))
}

/// Host and path with what they lead to.
type Way = (&'static str, String);

/// One link of each sort; answers the ways to them. Seven links, nine clicks.
async fn fill(cluster: &Cluster) -> Vec<Way> {
    let client = cluster.client();
    client.post("/api/v1/domains", &json!({"host": "go.example"})).await.expect(201);
    let (home, away) = ("localhost:8080", "go.example");
    let mut ways = vec![
        (home, "/Summer-Sale".to_owned()),
        (home, "/summer-sale".to_owned()),
        (home, "/aB9xY".to_owned()),
        (home, "/ab9xy".to_owned()),
    ];
    ways.extend([(home, "/off".to_owned()), (away, "/Summer-Sale".to_owned()), (home, "/dated".to_owned())]);
    let sale = json!({"target": "https://example.com/sale?a=1", "alias": "Summer-Sale", "tags": ["q4", "mail, or not"], "title": "'=Sale, \"big\"", "redirect_status": 307});
    let sale = client.create(&sale).await;
    assert_eq!(sale["code_kind"], "alias");
    client.create(&json!({"target": "https://example.com/away", "alias": "Summer-Sale", "domain": away})).await;
    assert_eq!(client.create(&json!({"target": "https://example.com/foreign", "code": "aB9xY"})).await["code_kind"], "foreign");
    let off = client.create(&json!({"target": "https://example.com/off", "alias": "off"})).await;
    client.patch(&format!("/api/v1/links/{}", id(&off)), &json!({"state": "disabled"})).await.expect(200);
    client
        .create(
            &json!({"target": "https://example.com/dated", "alias": "dated", "expires_at": "2999-01-01T00:00:00Z", "forward_query": true}),
        )
        .await;
    for i in 0..2 {
        let link = client.create(&json!({"target": format!("https://example.com/generated/{i}")})).await;
        assert_eq!(link["code_kind"], "generated");
        ways.push((home, format!("/{}", link["code"].as_str().expect("a code"))));
    }
    for i in 0..9 {
        let visitor = cluster.anonymous().with("user-agent", if i < 6 { "Mozilla/5.0 Firefox/130.0" } else { "Slackbot 1.0" });
        visitor.get("/summer-SALE").await.expect(307);
    }
    until_counted(&client, id(&sale), 9).await;
    ways
}

fn id(link: &Value) -> &str {
    link["id"].as_str().expect("an id")
}

/// Status and location of each way, as a visitor sees them.
async fn answers(client: &Client, ways: &[Way]) -> Vec<(u16, String)> {
    let mut answers = Vec::new();
    for (host, path) in ways {
        let reply = client.clone().with("host", host).get(path).await;
        answers.push((reply.status.as_u16(), reply.location().to_owned()));
    }
    answers
}

async fn totals(client: &Client) -> Value {
    let stats = client.get("/api/v1/stats").await.expect(200).json();
    json!([stats["total"], stats["humans"], stats["bots"], stats["visitors"], stats["series"]])
}

async fn links(client: &Client) -> Vec<Value> {
    let mut links = client.get("/api/v1/links").await.expect(200).json()["data"].as_array().expect("links").clone();
    links.sort_by_key(|link| link["target"].to_string());
    links
}

async fn a_server_moves_with_its_history(shape: Shape) {
    let (old, new) = (shape.cluster().start(), shape.cluster().start());
    let ways = fill(&old).await;
    new.client().post("/api/v1/domains", &json!({"host": "go.example"})).await.expect(201);
    let file = old.data().with_file_name("links.jsonl");
    let file = file.to_str().expect("a path");
    assert_eq!(answer(&terse(&old, &["export", file, "--history"]).await, 0)["links"], 7);
    let counted = totals(&old.client()).await;
    assert_eq!((&counted[0], &counted[1], &counted[2]), (&json!(9), &json!(6), &json!(3)));

    let dry = answer(&terse(&new, &["import", file, "--dry-run"]).await, 0);
    assert_eq!((counts(&dry), links(&new.client()).await.len()), ([7, 0, 0], 0));
    assert_eq!(counts(&import(&new, file, 0).await), [7, 0, 0]);
    assert_eq!(totals(&new.client()).await, counted);
    let moved = links(&new.client()).await;
    for (before, after) in links(&old.client()).await.iter().zip(&moved) {
        for name in ["code", "target", "title", "tags", "state", "redirect_status", "caching", "forward_query", "expires_at", "max_clicks"]
        {
            assert_eq!(before[name], after[name], "{name} of {before}");
        }
    }
    assert_eq!(counts(&import(&new, file, 0).await), [0, 7, 0]);
    assert_eq!(counts(&import(&old, file, 0).await), [0, 7, 0]);
    assert_eq!(links(&new.client()).await, moved);
    for cluster in [&old, &new] {
        assert_eq!(totals(&cluster.client()).await, counted, "imported again, also where it came from");
    }

    let (before, after) = (answers(&old.anonymous(), &ways).await, answers(&new.anonymous(), &ways).await);
    assert_eq!(before, after);
    let statuses: Vec<_> = before.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [307, 307, 302, 404, 404, 302, 302, 302, 302], "{ways:?}");
}

async fn a_table_makes_the_same_links(shape: Shape) {
    let (old, new) = (shape.cluster().start(), shape.cluster().start());
    let ways = fill(&old).await;
    new.client().post("/api/v1/domains", &json!({"host": "go.example"})).await.expect(201);
    let file = old.data().with_file_name("links.csv");
    let file = file.to_str().expect("a path");
    assert_eq!(answer(&terse(&old, &["export", file]).await, 0)["links"], 7);
    assert!(!terse(&old, &["export", file, "--history"]).await.status.success(), "a table has no room for history");
    assert_eq!(counts(&import(&new, file, 0).await), [7, 0, 0]);
    assert_eq!(counts(&import(&new, file, 0).await), [0, 7, 0]);
    assert_eq!(answers(&old.anonymous(), &ways).await, answers(&new.anonymous(), &ways).await);
    let title = |links: Vec<Value>| links.iter().map(|link| (link["title"].clone(), link["tags"].clone())).collect::<Vec<_>>();
    assert_eq!(title(links(&old.client()).await), title(links(&new.client()).await));
}

async fn bad_lines_are_named_and_the_others_made(shape: Shape) {
    let cluster = shape.cluster().start();
    let file = cluster.data().with_file_name("bad.jsonl");
    let lines = [
        r#"{"target": "https://example.com/1", "code": "one", "code_kind": "alias"}"#,
        "nonsense",
        r#"{"target": "not a url", "code": "three"}"#,
        "",
        r#"{"target": "https://example.com/5", "code": "one", "code_kind": "alias"}"#,
        r#"{"target": "https://example.com/6", "code": "six"}"#,
    ];
    std::fs::write(&file, lines.join("\n")).expect("written");
    let summary = import(&cluster, file.to_str().expect("a path"), 1).await;
    assert_eq!(counts(&summary), [2, 0, 3]);
    let problems: Vec<_> = summary["problems"].as_array().expect("problems").iter().filter_map(Value::as_str).collect();
    for (line, code) in [(2, "not a JSON object"), (3, "invalid_target"), (5, "alias_taken")] {
        let begin = format!("line {line}: {code}");
        assert!(problems.iter().any(|problem| problem.starts_with(&begin)), "{begin}: {problems:?}");
    }
    cluster.anonymous().get("/ONE").await.expect(302);
    cluster.anonymous().get("/six").await.expect(302);
    let table = cluster.data().with_file_name("other.csv");
    std::fs::write(&table, "Foo,bar\n1,2\n").expect("written");
    let refused = terse(&cluster, &["import", table.to_str().expect("a path")]).await;
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("its columns are: Foo, bar"), "{refused:?}");
}
