//! Starts Terse as its users do: the real binary, on real ports and files.
//!
//! `Cluster::all_in_one()` is one process on SQLite. Tests talk to `cluster.client()` and never ask
//! what runs behind it, so that the same tests serve every shape.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;

/// How long a process may take to start on a busy machine.
const START_MAX: Duration = Duration::from_secs(30);

/// Between two looks at something that is awaited.
pub(crate) const POLL: Duration = Duration::from_millis(10);

pub(crate) struct Cluster {
    data: PathBuf,
    settings: Vec<(String, String)>,
    process: Option<Process>,
    _folder: TempDir,
}

struct Process {
    child: Child,
    public: SocketAddr,
    admin: SocketAddr,
}

pub(crate) struct Builder {
    settings: Vec<(String, String)>,
}

impl Builder {
    /// A setting by its environment name, e.g. `TERSE__LIMITS__MISSES_PER_IP_PER_MIN`.
    pub(crate) fn set(mut self, name: &str, value: &impl std::fmt::Display) -> Self {
        self.settings.push((name.into(), value.to_string()));
        self
    }

    pub(crate) fn start(self) -> Cluster {
        self.start_in(&std::env::temp_dir())
    }

    /// With its data somewhere below `place`.
    pub(crate) fn start_in(self, place: &Path) -> Cluster {
        let folder = TempDir::new_in(place).expect("a folder for the test");
        let data = folder.path().join("terse-data");
        let mut cluster = Cluster { data, settings: self.settings, process: None, _folder: folder };
        cluster.start();
        cluster
    }
}

impl Cluster {
    /// One process; limits per IP and key are off, since all tests share one address.
    pub(crate) fn all_in_one() -> Builder {
        Builder { settings: Vec::new() }
            .set("TERSE__LIMITS__API_PER_IP_PER_MIN", &0)
            .set("TERSE__LIMITS__MISSES_PER_IP_PER_MIN", &0)
            .set("TERSE__LIMITS__CREATES_PER_KEY_PER_H", &0)
            .set("TERSE__LIMITS__REQUESTS_PER_S", &0)
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_terse"));
        command.env_clear().current_dir(self.data.parent().expect("the test's folder"));
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "already started");
        let run_file = self.data.join("run.json");
        let _ = std::fs::remove_file(&run_file);
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let mut child = self
            .command()
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"])
            .arg(&self.data)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("terse starts");
        let began = Instant::now();
        let (public, admin) = loop {
            if let Some(addresses) = read_run_file(&run_file) {
                break addresses;
            }
            if let Some(status) = child.try_wait().expect("its status") {
                panic!("terse ended with {status} before it was ready:\n{}", self.log());
            }
            assert!(began.elapsed() < START_MAX, "terse not ready after {START_MAX:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        };
        self.process = Some(Process { child, public, admin });
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("terse runs")
    }

    pub(crate) fn public(&self) -> SocketAddr {
        self.process().public
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.process().admin
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process().child.id()
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn admin_key(&self) -> String {
        std::fs::read_to_string(self.data.join("admin.key")).expect("the admin key of the first start").trim().to_owned()
    }

    /// With the admin key.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.public()).with_key(&self.admin_key())
    }

    pub(crate) fn anonymous(&self) -> Client {
        Client::new(self.public())
    }

    fn log_path(&self) -> PathBuf {
        self.data.with_file_name("terse.log")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("terse runs");
        process.child.kill().expect("killed");
        process.child.wait().expect("reaped");
    }

    /// Ctrl-C; answers the exit code.
    pub(crate) fn interrupt(&mut self) -> Option<i32> {
        let process = self.process.take().expect("terse runs");
        signal(process.child.id(), Signal::INT);
        let mut child = process.child;
        child.wait().expect("reaped").code()
    }

    /// The value of a metric: the sum over its series that carry all of `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = Client::new(self.admin()).get("/metrics").await.text();
        let carries = |line: &str| labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")));
        text.lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name) && carries(line))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of terse ---\n{}", self.log());
        }
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("signalled");
}

fn read_run_file(path: &Path) -> Option<(SocketAddr, SocketAddr)> {
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let address = |name: &str| json.get(name)?.as_str()?.parse().ok();
    Some((address("public")?, address("admin")?))
}
