//! What the machine does to a server: a full disk, a folder that may not be written, no more files. What cannot start says
//! why; what runs goes on, refuses what it must, and mends itself.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::cluster::{Cluster, POLL};

/// Fills the file system `folder` lies on, leaving nothing; dropping it gives the room back.
struct Filler(std::path::PathBuf);

impl Filler {
    fn fill(folder: &Path) -> Self {
        let path = folder.join("filler");
        let mut file = std::fs::File::create(&path).expect("a file");
        let block = vec![0_u8; 64 * 1024];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A small file system of its own, where this user may mount one; elsewhere there is nothing to test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder.path()).output();
        mount.is_ok_and(|done| done.status.success()).then_some(Self(folder))
    }

    fn make_read_only(&self) {
        let done = Command::new("mount").args(["-o", "remount,ro"]).arg(self.0.path()).output().expect("mount runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_creates_and_redirects_go_on() {
    let Some(disk) = SmallDisk::mount("64m") else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let cluster = Cluster::all_in_one().set("TERSE__CLICKS__SEGMENT_BYTES", &(4 * 1024 * 1024)).start_in(disk.0.path());
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    client.create(&json!({"target": "https://example.com/a", "alias": "steady"})).await;
    visitor.get("/steady").await.expect(302);
    let filler = Filler::fill(disk.0.path());
    let mut refused = 0;
    for i in 0..400 {
        let reply = client.post("/api/v1/links", &json!({"target": format!("https://example.com/{i}/{}", "x".repeat(4_000))})).await;
        match reply.status.as_u16() {
            201 => {}
            503 => {
                refused += 1;
                assert_eq!(reply.problem(), "unavailable");
                assert!(!reply.header("retry-after").is_empty());
            }
            status => panic!("{status}: {}", reply.text()),
        }
        visitor.get("/steady").await.expect(302);
    }
    assert!(refused > 0, "the disk was never full");
    drop(filler);
    let began = std::time::Instant::now();
    while client.post("/api/v1/links", &json!({"target": "https://example.com/after"})).await.status != 201 {
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "creates do not come back");
        tokio::time::sleep(crate::cluster::POLL).await;
    }
    visitor.get("/steady").await.expect(302);
}

/// `terse ARGS` as somebody whom permissions bind, who root is not.
fn as_nobody(args: &[&str], data: &Path) -> std::process::Output {
    let terse = env!("CARGO_BIN_EXE_terse");
    let mut command = Command::new(terse);
    if rustix::process::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", terse]);
    }
    command.args(args).arg("--data").arg(data).env_clear().current_dir("/").stdin(Stdio::null());
    command.output().expect("terse runs")
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("allowed");
}

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

/// Exit code 1, the value, where it came from, and how to mend it.
#[track_caller]
fn refused(output: &std::process::Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for part in parts {
        assert!(said.contains(part), "no `{part}` in:\n{said}");
    }
}

#[test]
fn a_folder_that_may_not_be_written_is_refused_at_start() {
    let folder = tempfile::tempdir().expect("a folder");
    allow(folder.path(), 0o777);
    let data = folder.path().join("terse-data");
    assert!(as_nobody(&["migrate"], &data).status.success());
    let (store, clicks) = (data.join("terse.db"), data.join("clicks"));
    std::fs::create_dir(&clicks).expect("made");
    allow(&clicks, 0o777);

    let locked = folder.path().join("locked");
    std::fs::create_dir(&locked).expect("made");
    allow(&locked, 0o555);
    let inside = locked.join("terse-data");
    refused(&as_nobody(&SERVE, &inside), &[&inside.display().to_string(), "flag --data", "Make it a folder that this user may write"]);

    for (path, mode, key) in [(&clicks, 0o555, "clicks.url = "), (&store, 0o444, "store = "), (&data, 0o555, "store = ")] {
        let before = std::fs::metadata(path).expect("there").permissions().mode();
        allow(path, mode);
        refused(&as_nobody(&SERVE, &data), &[&path.display().to_string(), key, "(default)", "write"]);
        allow(path, before);
    }
}

#[test]
fn a_read_only_file_system_is_refused_at_start() {
    let Some(disk) = SmallDisk::mount("64m") else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let data = disk.0.path().join("terse-data");
    let terse = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_terse")).args(args).arg("--data").arg(&data).env_clear().output();
    assert!(terse(&["migrate"]).expect("terse runs").status.success());
    disk.make_read_only();
    refused(&terse(&SERVE).expect("terse runs"), &[&data.display().to_string(), "flag --data", "Read-only file system", "may write"]);
}

/// Seconds of processor time that a process has used.
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
    // Linux counts a hundred a second in what it shows, on every machine.
    Duration::from_millis(10 * ticks)
}

/// A request on a connection that stays open; `None` while nobody has accepted it.
async fn ask(stream: &mut TcpStream, patience: Duration) -> Option<String> {
    stream.write_all(b"GET /steady HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    hear(stream, patience).await
}

async fn hear(stream: &mut TcpStream, patience: Duration) -> Option<String> {
    let mut buffer = [0; 4_096];
    let read = tokio::time::timeout(patience, stream.read(&mut buffer)).await.ok()?.expect("read");
    Some(String::from_utf8_lossy(&buffer[..read]).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_files_left_connections_wait_and_nothing_spins() {
    let cluster = Cluster::all_in_one().start();
    cluster.client().create(&json!({"target": "https://example.com/a", "alias": "steady"})).await;
    // Connected before there are none left, and kept.
    let operator = Client::new(cluster.admin());
    let refusals = async || {
        let text = operator.get("/metrics").await.text();
        let lines = text.lines().filter(|line| line.starts_with("terse_gateway_connections_refused_total{reason=\"system\"}"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    assert_eq!(refusals().await, 0);
    let mut regular = TcpStream::connect(cluster.public()).await.expect("connected");
    assert!(ask(&mut regular, Duration::from_secs(10)).await.expect("an answer").starts_with("HTTP/1.1 302"));
    let pid = Pid::from_raw(i32::try_from(cluster.pid()).expect("a process id"));
    let open = std::fs::read_dir(format!("/proc/{}/fd", cluster.pid())).expect("its files").count() as u64;
    let few = Rlimit { current: Some(open + 16), maximum: Some(open + 16) };
    prlimit(pid, Resource::Nofile, few).expect("limited");

    let mut crowd = Vec::new();
    for _ in 0..64 {
        crowd.push(TcpStream::connect(cluster.public()).await.expect("the system accepts it for the server"));
    }
    while refusals().await == 0 {
        tokio::time::sleep(POLL).await;
    }
    let (first, began, used) = (refusals().await, std::time::Instant::now(), processor_time(cluster.pid()));
    while refusals().await < first + 20 {
        assert!(began.elapsed() < Duration::from_secs(30), "it does not go on trying");
        tokio::time::sleep(10 * POLL).await;
    }
    let (elapsed, used) = (began.elapsed(), processor_time(cluster.pid()).saturating_sub(used));
    assert!(used < elapsed / 2, "{used:?} of processor time in {elapsed:?} of doing nothing");
    // Whoever was there before is served.
    assert!(ask(&mut regular, Duration::from_secs(10)).await.expect("an answer").starts_with("HTTP/1.1 302"));
    let told = |words: &str| cluster.log().lines().filter(|line| line.contains(words)).count();
    assert_eq!(told("cannot accept connections"), 1, "{}", cluster.log());

    // The last of the crowd was not accepted; it is as soon as the others have gone.
    let mut last = crowd.pop().expect("one of them");
    assert_eq!(ask(&mut last, Duration::from_millis(100)).await, None);
    drop(crowd);
    assert!(hear(&mut last, Duration::from_secs(10)).await.expect("an answer").starts_with("HTTP/1.1 302"));
    assert!(told("connections are accepted again") > 0, "{}", cluster.log());
    cluster.anonymous().get("/steady").await.expect(302);
    cluster.client().create(&json!({"target": "https://example.com/b"})).await;
}
