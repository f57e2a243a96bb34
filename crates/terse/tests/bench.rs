//! `terse bench` against servers of the tests, at real sockets: ones that stall, close, lie or are not there.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

const REDIRECT: &str = "HTTP/1.1 302 Found\r\nlocation: https://example.com/\r\ncontent-length: 0\r\n\r\n";

/// What a server does with its `n`th request, counted over all connections.
type Answer = dyn Fn(u64) -> Option<&'static str> + Send + Sync;

/// Answers until the test ends: each connection has a thread, which asks `answer` one at a time. `None` closes.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(u64) -> Option<&'static str> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (answer, seen): (Arc<Answer>, _) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let requests = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, requests) = (answer.clone(), requests.clone());
                std::thread::spawn(move || serve(&stream, &*answer, &requests));
            }
        });
        Self { address, seen }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Request line and body of each.
    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no thread panicked").clone()
    }
}

fn serve(stream: &TcpStream, answer: &Answer, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let reply = {
            let mut seen = seen.lock().expect("no thread panicked");
            seen.push(request);
            answer(u64::try_from(seen.len()).expect("few"))
        };
        let Some(reply) = reply else { return };
        let mut writer = stream;
        if writer.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<String> {
    let (mut first, mut body_len) = (String::new(), 0);
    reader.read_line(&mut first).ok().filter(|len| *len > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|len| *len > 0)?;
        if line == "\r\n" {
            break;
        }
        if let Some(len) = line.strip_prefix("content-length: ") {
            body_len = len.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; body_len];
    reader.read_exact(&mut body).ok()?;
    Some(format!("{} {}", first.trim(), String::from_utf8(body).expect("UTF-8")).trim().to_owned())
}

/// Planned, but not sent: what a busy machine does not get to.
fn sent(report: &Value) -> Option<u64> {
    Some(report["planned"].as_u64()? - report["unsent"].as_u64()?)
}

/// Exit code and report.
fn bench(args: &[&str]) -> (Option<i32>, Value) {
    let done = terse(args, &["--json"]);
    let text = String::from_utf8(done.stdout).expect("UTF-8");
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}{}", String::from_utf8_lossy(&done.stderr)));
    (done.status.code(), report)
}

fn terse(args: &[&str], more: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_terse"));
    command.env_clear().arg("bench").args(args).args(more).stdin(Stdio::null()).output().expect("terse runs")
}

#[test]
fn a_stall_is_charged_for_all_who_would_have_come() {
    const STALL: Duration = Duration::from_secs(1);
    const STALL_AT: u64 = 200;
    // All wait while one does: not for a state that would come by itself, it is the stall that is to be seen.
    let server = Server::start(|number| {
        if number == STALL_AT {
            std::thread::sleep(STALL);
        }
        Some(REDIRECT)
    });
    let (code, report) = bench(&[&server.url(), "--rate", "400", "--connections", "8", "--duration", "3s"]);
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} in {report}"));
    assert_eq!((code, &report["loop"], &report["failed"]["timeout"]), (Some(0), &json!("open"), &json!(0)), "{report}");
    assert!((1_000.0..1_400.0).contains(&number("/planned")), "about 1,200: {report}");
    assert_eq!((report["answered"].as_u64(), &report["statuses"]["302"]), (sent(&report), &report["answered"]), "{report}");
    // A third of the arrivals fell into the stall; the longest waited for all of it.
    assert!(number("/latency_ms/max") >= 990.0 && number("/latency_ms/p99") >= 900.0, "{report}");
    assert!(number("/latency_ms/p90") >= 500.0, "{report}");
    assert!(number("/late/no_connection_free") >= 300.0, "{report}");
    // What a closed loop sees: eight slow answers of 1,200.
    assert!(number("/from_sending_ms/p90") < 500.0 && number("/from_sending_ms/max") >= 900.0, "{report}");
    assert!(number("/connections_opened") <= 8.0, "connections are kept: {report}");
}

#[test]
fn a_closed_loop_asks_when_it_was_answered() {
    let server = Server::start(|_| Some(REDIRECT));
    let (code, report) = bench(&[&server.url(), "--rate", "0", "--connections", "2", "--duration", "2s"]);
    assert_eq!((code, &report["loop"], &report["planned"]), (Some(0), &json!("closed"), &report["answered"]));
    assert_eq!(report["planned"].as_u64(), u64::try_from(server.seen().len()).ok());
}

#[test]
fn nothing_answered_is_a_failure_and_what_was_not_sent_is_told() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    let args = [url.as_str(), "--rate", "200", "--connections", "1", "--duration", "500ms", "--timeout", "1s"];
    let (code, report) = bench(&args);
    let unsent = report["unsent"].as_u64().expect("a number");
    assert_eq!((code, &report["answered"], &report["failed"]["timeout"]), (Some(1), &json!(0), &json!(1)), "{report}");
    assert_eq!(report["planned"].as_u64(), Some(unsent + 1));
    assert!((60..140).contains(&unsent), "about 100: {report}");
    assert!(report["latency_ms"]["p50"].as_f64().is_some_and(|ms| ms >= 500.0), "they waited to the end: {report}");
    let text = String::from_utf8(terse(&args, &[]).stdout).expect("UTF-8");
    assert!(text.contains("the plan was not kept") && text.contains("nothing answered") && text.contains("1 timeout"), "{text}");
}

#[test]
fn failures_are_told_apart() {
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let closing = Server::start(|_| None);
    let lying = Server::start(|_| Some("SSH-2.0-OpenSSH_9.2\r\n\r\n"));
    for (url, kind) in [(format!("http://{gone}/"), "connect"), (closing.url(), "closed"), (lying.url(), "protocol")] {
        let (code, report) = bench(&[&url, "--rate", "100", "--connections", "2", "--duration", "200ms"]);
        assert_eq!((code, &report["answered"]), (Some(1), &json!(0)), "{report}");
        let failed = report["failed"].as_object().expect("kinds");
        assert!(failed.iter().all(|(name, number)| (name == kind) == (number.as_u64() > Some(0))), "only {kind}: {report}");
        assert_eq!((report["failed"][kind].as_u64(), report["first_failures"][kind].is_string()), (sent(&report), true), "{report}");
        assert_eq!(report["from_sending_ms"], json!({}), "quick refusals make nothing faster");
    }
}

#[test]
fn a_server_that_closes_after_each_answer_is_no_failure() {
    let server = Server::start(|_| Some("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 4\r\n\r\nnone"));
    let (code, report) = bench(&[&server.url(), "--rate", "200", "--connections", "2", "--duration", "300ms"]);
    assert_eq!(
        (code, report["answered"].as_u64(), &report["connections_opened"]),
        (Some(0), sent(&report), &report["answered"]),
        "{report}"
    );
    assert_eq!((&report["good_per_s"], &report["good_latency_ms"]), (&json!(0.0), &json!({})), "a 404 is an answer, and not a good one");
    assert_eq!(report["body_bytes"].as_u64(), report["answered"].as_u64().map(|answered| answered * 4));
}

#[test]
fn what_is_asked_is_what_was_said() {
    let server = Server::start(|_| Some(REDIRECT));
    let folder = tempfile::tempdir().expect("a folder");
    let codes = folder.path().join("codes");
    std::fs::write(&codes, "4fK9aQz\nspring\n").expect("written");
    let codes = codes.to_str().expect("UTF-8");
    // Long enough for a few of them on any machine.
    let quick = ["--rate", "0", "--duration", "2s", "--connections", "1"];
    bench(&[&[&server.url(), "--codes", codes, "--in-order"][..], &quick].concat());
    assert_eq!(server.seen()[..3], ["GET /4fK9aQz HTTP/1.1", "GET /spring HTTP/1.1", "GET /4fK9aQz HTTP/1.1"]);

    let server = Server::start(|_| Some(REDIRECT));
    bench(&[&[&server.url(), "--method", "POST", "--body", r#"{"n":{i}}"#][..], &quick].concat());
    assert_eq!(server.seen()[..2], [r#"POST / HTTP/1.1 {"n":0}"#, r#"POST / HTTP/1.1 {"n":1}"#]);

    for wrong in [
        &[][..],
        &["nonsense"],
        &["http://x", "--rate", "-1"],
        &["http://x", "--zipf", "1", "--in-order"],
        &["http://x", "--duration", "0s"],
    ] {
        assert_eq!(terse(wrong, &[]).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(terse(&["http://x", "--codes", "nosuch"], &[]).status.code(), Some(1));
}
