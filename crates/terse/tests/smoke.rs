//! The real binary from start to end: first start, create, redirect, admin port, refusals, drain.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn terse(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_terse"));
    command.args(arguments).arg("--data").arg(data).env_clear();
    command
}

/// A server of its own; killed when the test fails half-way.
struct Server {
    child: Child,
    run: Value,
    admin_key: Option<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(data: &Path) -> Self {
        let arguments = ["serve", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-level", "warn"];
        let mut child = terse(data, &arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let admin_key = said["admin_key"].as_str().map(str::to_owned);
        Self { child, run: said["run"].take(), admin_key }
    }

    fn address(&self, port: &str) -> SocketAddr {
        self.run[port].as_str().unwrap().parse().unwrap()
    }

    /// Head and body of the answer.
    fn ask(&self, port: &str, head: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address(port)).unwrap();
        let host = self.address(port);
        let length = body.len();
        write!(stream, "{head}\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        (head.to_ascii_lowercase(), body.to_owned())
    }

    fn stop(mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code().expect("ended by itself")
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_link_is_made_followed_and_still_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let key = server.admin_key.clone().expect("the first start shows a key");
    assert_eq!(std::fs::read_to_string(data.join("admin.key")).unwrap().trim(), key);
    assert_eq!(std::fs::metadata(data.join("admin.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);

    let head = format!("POST /api/v1/links HTTP/1.1\r\nauthorization: Bearer {key}\r\ncontent-type: application/json");
    let (status, body) = server.ask("public", &head, r#"{"target":"https://example.com/a"}"#);
    assert!(status.starts_with("http/1.1 201"), "{status}\n{body}");
    let link: Value = serde_json::from_str(&body).unwrap();
    let code = link["code"].as_str().unwrap().to_owned();
    assert_eq!(code.len(), 7);
    assert_eq!(link["short_url"], format!("{}/{code}", server.run["public_url"].as_str().unwrap()));
    let follow = format!("GET /{code} HTTP/1.1");
    let (answer, _) = server.ask("public", &follow, "");
    assert!(answer.starts_with("http/1.1 302") && answer.contains("location: https://example.com/a"), "{answer}");

    assert!(server.ask("admin", "GET /readyz HTTP/1.1", "").0.starts_with("http/1.1 200"));
    assert!(server.ask("admin", "GET /metrics HTTP/1.1", "").1.contains("terse_build_info{"));
    let (status, findings) = server.ask("admin", "GET /doctor HTTP/1.1", "");
    assert!(status.starts_with("http/1.1 200"), "{findings}");
    assert!(!server.ask("admin", "GET /config HTTP/1.1", "").1.contains(&key));

    assert_eq!(server.stop(), 0);
    assert!(!data.join("run.json").exists());

    let again = Server::start(&data);
    assert_eq!(again.admin_key, None, "only the first start shows a key");
    assert!(again.ask("public", &follow, "").0.starts_with("http/1.1 302"));
    assert_eq!(again.stop(), 0);
}

#[test]
fn a_data_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let holder = format!("process {}", server.child.id());
    for arguments in [&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"][..], &["migrate"], &["key", "create"]] {
        let refused = terse(folder.path(), arguments).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&refused).contains(&holder) && stderr(&refused).contains("flag --data"), "{}", stderr(&refused));
    }
    let doctor = terse(folder.path(), &["doctor", "--json"]).output().unwrap();
    assert_eq!(doctor.status.code(), Some(0), "{doctor:?}");
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let names: Vec<&str> = report["findings"].as_array().unwrap().iter().filter_map(|finding| finding["name"].as_str()).collect();
    assert!(names.contains(&"server") && names.contains(&"store"), "{names:?}");
    assert_eq!(server.stop(), 0);
}

#[test]
fn what_cannot_start_says_why_and_exits() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a database, but long enough to be looked at as one: 0123456789012345678901234567890123456789").unwrap();
    let store = format!("sqlite:{}", file.display());
    for (arguments, code, words) in [
        (&["serve", "--listen", "8080"][..], 2, "expected ADDRESS:PORT"),
        (&["serve", "--set", "lisen=1", "--set", "log.level=loud"], 2, "2 mistakes"),
        (&["serve", "--store", "redis://x"], 2, "known: sqlite:PATH"),
        (&["serve", "--listen", &taken, "--admin-listen", "127.0.0.1:0"], 1, "another process listens there"),
        (&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--store", &store], 1, "is not a SQLite"),
        (
            &["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--set", "tls.cert=no.pem", "--set", "tls.key=no.pem"],
            1,
            "name two PEM files",
        ),
        (&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--set", "geoip.path=no.mmdb"], 1, "no.mmdb"),
        (&["key", "create", "--store", "sqlite:nowhere/terse.db"], 1, "there is no store"),
        (&["migrate", "--store", &store], 1, "is not a SQLite"),
        (&["doctor", "--store", &store], 1, ""),
        (&["serve", "--nonsense"], 2, "--nonsense"),
    ] {
        let refused = terse(&folder.path().join("data"), arguments).output().unwrap();
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains(words), "{arguments:?}: {}", stderr(&refused));
        assert!(!stderr(&refused).contains("panicked"), "{arguments:?}: {}", stderr(&refused));
    }
}

#[test]
fn a_lost_admin_key_is_replaced_offline() {
    let folder = tempfile::tempdir().unwrap();
    let first = terse(folder.path(), &["migrate", "--json"]).output().unwrap();
    assert!(first.status.success(), "{}", stderr(&first));
    let again: Value = serde_json::from_slice(&terse(folder.path(), &["migrate", "--json"]).output().unwrap().stdout).unwrap();
    assert!(again["steps"].as_array().unwrap().iter().all(|step| step["from"] == step["to"]), "{again}");

    let made = terse(folder.path(), &["key", "create", "--json"]).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let key = serde_json::from_slice::<Value>(&made.stdout).unwrap()["key"].as_str().unwrap().to_owned();
    let server = Server::start(folder.path());
    assert_eq!(server.admin_key, None);
    let (status, body) = server.ask("public", &format!("GET /api/v1/me HTTP/1.1\r\nauthorization: Bearer {key}"), "");
    assert!(status.starts_with("http/1.1 200") && body.contains("admin"), "{status}\n{body}");
    assert_eq!(server.stop(), 0);
}
