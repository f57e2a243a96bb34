//! The commands as people and scripts use them: what they print, what they answer with `--json`, how they fail.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, POLL, Shape, both_shapes};

both_shapes!(
    links_from_create_to_restore,
    lists_and_deleting_all_with_a_tag,
    stats_for_people_and_machines,
    domains,
    errors_name_the_value_its_origin_and_the_fix,
    a_closed_pipe_ends_a_command_quietly,
);

/// How long clicks may take to be counted on a busy machine.
const COUNTED_MAX: Duration = Duration::from_secs(20);

/// What a command left behind.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    /// Fails unless the exit code is 0 and stderr is empty.
    #[track_caller]
    fn well(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// Fails unless the exit code is `code`, stdout is empty, and stderr holds every one of `parts`.
    #[track_caller]
    fn fails(self, code: i32, parts: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "no `{part}` in:\n{}", self.err);
        }
    }
}

fn run(command: &mut Command) -> Said {
    command.stdin(Stdio::null()).output().expect("terse runs").into()
}

/// `terse ARGS` against the cluster, as its administrator.
fn client(cluster: &Cluster) -> Command {
    let mut command = cluster.command();
    command.env("TERSE__CLIENT__SERVER", format!("http://{}", cluster.public())).env("TERSE__CLIENT__KEY", cluster.admin_key());
    command
}

fn terse(cluster: &Cluster, args: &[&str]) -> Said {
    run(client(cluster).args(args))
}

/// The answer with `--json`: one document and nothing else.
#[track_caller]
fn answer(cluster: &Cluster, args: &[&str]) -> Value {
    let text = run(client(cluster).args(args).arg("--json")).well();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

async fn links_from_create_to_restore(shape: Shape) {
    let cluster = shape.cluster().start();
    let url =
        terse(&cluster, &["link", "create", "https://example.com/a", "--alias", "spring", "--tag", "sale", "--title", "Spring"]).well();
    assert!(url.starts_with("http://") && url.ends_with("/spring\n"), "{url}");
    let link = answer(&cluster, &["link", "show", "spring"]);
    assert_eq!((&link["target"], &link["tags"], &link["title"]), (&json!("https://example.com/a"), &json!(["sale"]), &json!("Spring")));
    assert_eq!(link, cluster.client().get("/api/v1/links/lookup?code=spring").await.expect(200).json(), "as the API says it");
    let id = link["id"].as_str().expect("an id");
    for name in [id, url.trim(), &format!("{}/?utm_source=x#y", url.trim())] {
        assert_eq!(answer(&cluster, &["link", "show", name]), link, "{name}");
    }
    let text = terse(&cluster, &["link", "show", "spring"]).well();
    assert!(text.contains("target           https://example.com/a\n") && !text.contains("max_clicks"), "{text}");

    let changed = answer(&cluster, &["link", "update", "spring", "--title", "", "--max-clicks", "7", "--if-version", "1"]);
    assert_eq!((&changed["title"], &changed["max_clicks"], &changed["version"]), (&Value::Null, &json!(7), &json!(2)));
    terse(&cluster, &["link", "update", "spring", "--title", "x", "--if-version", "1"]).fails(1, &["at version 2, not 1"]);

    assert_eq!(answer(&cluster, &["link", "delete", "spring"]), json!({ "deleted": id }));
    cluster.anonymous().get("/spring").await.expect(404);
    let restored = answer(&cluster, &["link", "restore", id]);
    assert_eq!(restored["state"], "active");
    let undo = terse(&cluster, &["link", "delete", "spring"]).well();
    assert!(undo.contains(&format!("terse link restore {id}")), "{undo}");
}

async fn lists_and_deleting_all_with_a_tag(shape: Shape) {
    let cluster = shape.cluster().start();
    assert!(terse(&cluster, &["link", "list"]).well().contains("terse link create"));
    assert_eq!(answer(&cluster, &["link", "list"]), json!([]));
    for i in 0..3 {
        let target = format!("https://example.com/{i}");
        answer(&cluster, &["link", "create", &target, "--tag", if i == 0 { "new" } else { "old" }]);
    }
    let targets = |args: &[&str]| -> Vec<Value> {
        let list = answer(&cluster, args);
        list.as_array().expect("a list").iter().map(|link| link["target"].clone()).collect()
    };
    assert_eq!(targets(&["link", "list", "--tag", "old"]), ["https://example.com/2", "https://example.com/1"]);
    assert_eq!(targets(&["link", "list", "--limit", "1"]), ["https://example.com/2"]);
    let text = terse(&cluster, &["link", "list", "--limit", "2"]).well();
    assert!(text.starts_with("short url") && text.contains("--limit shows more"), "{text}");
    assert!(terse(&cluster, &["link", "list", "--tag", "none"]).well().contains("No link matches"));

    let job = answer(&cluster, &["link", "delete", "--tag", "old"]);
    assert_eq!((&job["state"], &job["done"], &job["errors"]), (&json!("done"), &json!(2), &json!(0)));
    assert_eq!(targets(&["link", "list"]), ["https://example.com/0"]);
    let text = terse(&cluster, &["link", "delete", "--tag", "new"]);
    assert_eq!((text.code, text.out.as_str()), (Some(0), "1 deleted, 0 failed\n"), "{}", text.err);
}

async fn stats_for_people_and_machines(shape: Shape) {
    let cluster = shape.cluster().start();
    answer(&cluster, &["link", "create", "https://example.com/a", "--alias", "spring"]);
    let visitor = cluster.anonymous().with("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0");
    for _ in 0..3 {
        visitor.get("/spring").await.expect(302);
    }
    cluster.anonymous().with("user-agent", "Googlebot/2.1").get("/spring").await.expect(302);
    let began = Instant::now();
    let stats = loop {
        let stats = answer(&cluster, &["stats", "spring"]);
        if stats["stats"]["total"] == 4 {
            break stats;
        }
        assert!(began.elapsed() < COUNTED_MAX, "{stats}");
        tokio::time::sleep(POLL).await;
    };
    assert_eq!((&stats["stats"]["humans"], &stats["stats"]["bots"], &stats["link"]["code"]), (&json!(3), &json!(1), &json!("spring")));
    assert!(stats["stats"]["series"].as_array().is_some_and(|series| series.len() >= 30), "{stats}");
    let dimensions: Vec<_> = stats["breakdowns"].as_object().expect("breakdowns").keys().collect();
    assert_eq!(dimensions.len(), 10, "{dimensions:?}");

    let text = terse(&cluster, &["stats", "spring"]).well();
    assert!(text.contains("clicks  by people  by bots  visitors\n     4          3        1         1\n"), "{text}");
    assert!(text.contains("█  at most 4 a day\n") && text.contains("Firefox"), "{text}");
    assert!(!text.contains("country"), "nothing is known of countries:\n{text}");
    terse(&cluster, &["stats", "spring", "--interval", "week"]).fails(1, &["interval: expected one of hour, day, month"]);
    terse(&cluster, &["stats", "spring", "--limit", "0"]).fails(2, &["--limit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_through_the_api_and_beside_it() {
    let mut cluster = Cluster::all_in_one().start();
    let made = answer(&cluster, &["key", "create", "--name", "ci", "--scope", "links:read", "--owner", "team-a"]);
    assert_eq!((&made["name"], &made["owner"], &made["scopes"]), (&json!("ci"), &json!("team-a"), &json!(["links:read"])));
    let (id, key) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key"));
    assert_eq!(run(client(&cluster).args(["link", "list", "--json", "--key", key])).well(), "[]\n");
    let listed = answer(&cluster, &["key", "list"]);
    let ids: Vec<_> = listed.as_array().expect("a list").iter().map(|key| &key["id"]).collect();
    assert!(ids.len() == 2 && ids.contains(&&json!(id)) && listed[0]["key"].is_null(), "{listed}");
    assert!(terse(&cluster, &["key", "list"]).well().contains("team-a"));
    assert_eq!(answer(&cluster, &["key", "revoke", id]), json!({ "revoked": id }));
    run(client(&cluster).args(["link", "list", "--key", key])).fails(1, &["unknown, expired or revoked", "--key"]);
    terse(&cluster, &["key", "revoke", "12345"]).fails(1, &["key not found"]);
    terse(&cluster, &["key", "create", "--scope", "nonsense"]).fails(1, &["scopes/0: expected one of links:read"]);
    terse(&cluster, &["key", "create", "--name", "x"]).fails(2, &["--scope"]);
    terse(&cluster, &["key", "create", "--scope", "admin", "--data", "x"]).fails(2, &["cannot be used with"]);

    let data = cluster.data().to_str().expect("UTF-8").to_owned();
    let holder = format!("in use by process {}", cluster.pid());
    terse(&cluster, &["key", "create", "--data", &data]).fails(1, &["flag --data", &holder]);
    terse(&cluster, &["key", "create", "--data", "nosuch"]).fails(1, &["nosuch", "no store", "terse serve"]);
    assert_eq!(cluster.interrupt(), Some(0));
    let mut offline = cluster.command();
    let made: Value = serde_json::from_str(&run(offline.args(["key", "create", "--json", "--data", &data])).well()).expect("JSON");
    cluster.start();
    assert_eq!(made["key"], cluster.admin_key());
    cluster.client().get("/api/v1/keys").await.expect(200);
}

async fn domains(shape: Shape) {
    let cluster = shape.cluster().start();
    let made = answer(&cluster, &["domain", "create", "go.example.com", "--redirect-status", "301"]);
    assert_eq!((&made["host"], &made["redirect_status"]), (&json!("go.example.com"), &json!(301)));
    terse(&cluster, &["domain", "create", "go.example.com"]).fails(1, &["served already"]);
    let changed = answer(&cluster, &["domain", "update", "go.example.com", "--landing-url", "https://example.com/"]);
    assert_eq!(changed["landing_url"], "https://example.com/");
    let emptied = answer(&cluster, &["domain", "update", "go.example.com", "--landing-url", ""]);
    assert_eq!(emptied["landing_url"], Value::Null);
    terse(&cluster, &["domain", "update", "go.example.com"]).fails(2, &["nothing to change"]);
    assert_eq!(answer(&cluster, &["domain", "list"]).as_array().map(Vec::len), Some(2));
    assert!(terse(&cluster, &["domain", "list"]).well().contains("go.example.com"));
    assert_eq!(answer(&cluster, &["domain", "delete", "go.example.com"]), json!({"deleted": "go.example.com"}));
    terse(&cluster, &["domain", "delete", "go.example.com"]).fails(1, &["domain not found"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_and_doctor() {
    let cluster = Cluster::all_in_one().start();
    let shown = terse(&cluster, &["config", "show", "--origin"]).well();
    assert!(shown.contains("# environment TERSE__CLIENT__SERVER") && shown.contains("# default"), "{shown}");
    assert!(!shown.contains(&cluster.admin_key()), "secrets are masked");
    let values = answer(&cluster, &["config", "show", "--origin"]);
    assert_eq!(
        values["client.server"],
        json!({"value": format!("http://{}", cluster.public()), "origin": "environment TERSE__CLIENT__SERVER"})
    );

    let data = cluster.data().to_str().expect("UTF-8");
    let report = answer(&cluster, &["doctor", "--data", data]);
    let findings = report["findings"].as_array().expect("findings");
    let server = findings.iter().find(|finding| finding["name"] == "server").expect("the server is asked");
    assert_eq!((&server["status"], findings.iter().any(|finding| finding["status"] == "fail")), (&json!("ok"), false), "{report}");
    let text = terse(&cluster, &["doctor", "--data", data]).well();
    assert!(text.contains(&format!("process {} is ready", cluster.pid())), "{text}");
    let wrong = terse(&cluster, &["doctor", "--set", "lisen=1"]);
    assert!(wrong.code == Some(1) && wrong.out.contains("did you mean"), "{wrong:?}");
}

async fn errors_name_the_value_its_origin_and_the_fix(shape: Shape) {
    let cluster = shape.cluster().start();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let list = |more: &[&str]| terse(&cluster, &[&["link", "list"], more].concat());
    list(&["--server", &format!("http://{gone}")]).fails(1, &[&gone.to_string(), "terse serve", "--server"]);
    list(&["--server", &format!("http://{}", cluster.admin())]).fails(1, &["not as the API of Terse does", "--server"]);
    for address in ["nonsense", "localhost:8080", "ftp://example.com", "http://", ""] {
        list(&["--server", address]).fails(2, &[&format!("client.server = {address:?}"), "flag --server", "http://localhost:8080"]);
    }
    list(&["--key", "wrong"]).fails(1, &["unknown, expired or revoked", "flag --key"]);
    for key in ["", "a\nb", "ü"] {
        list(&["--key", key]).fails(2, &["flag --key", "tk_"]);
    }
    list(&["--limit", "0"]).fails(2, &["--limit"]);
    run(client(&cluster).args(["link", "list"]).env("TERSE__CLIENT__KEYY", "x")).fails(2, &["TERSE__CLIENT__KEYY", "client.key"]);
    run(client(&cluster).args(["link", "list"]).env_remove("TERSE__CLIENT__KEY").env("TERSE__DATA", "nosuch"))
        .fails(1, &["no API key", "nosuch/admin.key", "--key", "TERSE__CLIENT__KEY"]);
    // The folder's key is found where the server keeps it.
    assert_eq!(run(client(&cluster).args(["link", "list", "--json"]).env_remove("TERSE__CLIENT__KEY")).well(), "[]\n");

    for command in ["show", "delete", "restore"] {
        terse(&cluster, &["link", command, "nosuch"]).fails(1, &["no link `nosuch`", "terse link list"]);
        for empty in ["", "http://x/"] {
            terse(&cluster, &["link", command, empty]).fails(2, &["names no link"]);
        }
        terse(&cluster, &["link", command, "a\u{1b}[2J\nb"]).fails(1, &["a\\u{1b}[2J\\nb"]);
    }
    terse(&cluster, &["stats", "nosuch"]).fails(1, &["no link `nosuch`"]);
    terse(&cluster, &["link", "update", "nosuch"]).fails(2, &["nothing to change"]);
    terse(&cluster, &["link", "create", "nonsense"]).fails(1, &["target: must begin with http:// or https://"]);
    let both = ["link", "create", "https://example.com", "--expires-at", "tomorrow", "--max-clicks", "x"];
    terse(&cluster, &both).fails(1, &["expires_at: expected a time", "max_clicks: expected a whole number"]);
    for wrong in [&["nonsense"][..], &["link"], &["link", "delete"], &["link", "delete", "a", "--tag", "b"], &["stats"], &[]] {
        terse(&cluster, wrong).fails(2, &["Usage"]);
    }
    let said = terse(&cluster, &["link", "show", "nosuch", "--json"]);
    let error: Value = serde_json::from_str(&said.err).expect("JSON on stderr");
    assert_eq!((said.code, said.out.as_str(), &error["exit_code"]), (Some(1), "", &json!(1)));
    assert!(error["error"].as_str().is_some_and(|text| text.contains("no link `nosuch`")), "{error}");
}

async fn a_closed_pipe_ends_a_command_quietly(shape: Shape) {
    let cluster = shape.cluster().start();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    for args in [&["link", "list"][..], &["config", "show"], &["stats", "--help"]] {
        let said: Said = client(&cluster).args(args).stdout(writer.try_clone().expect("a pipe")).output().expect("terse runs").into();
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{args:?}");
    }
}
