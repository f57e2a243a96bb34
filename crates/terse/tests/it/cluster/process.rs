//! One process of Terse, from its start to its end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Setting;

/// How long a process may take to start on a busy machine.
const START_MAX: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// All of them in one process.
    Serve,
    Gateway,
    Links,
    Redirect,
    Analytics,
    Ids,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Gateway => "gateway",
            Self::Links => "links",
            Self::Redirect => "redirect",
            Self::Analytics => "analytics",
            Self::Ids => "ids",
        }
    }
}

/// Where a process listens: its door (HTTP or gRPC), and its admin port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) door: SocketAddr,
    pub(crate) admin: SocketAddr,
}

pub(crate) struct Process {
    pub(crate) role: Role,
    pub(crate) settings: Vec<Setting>,
    data: PathBuf,
    /// What was bound at the last start. Services come back where the others know them.
    bound: Option<Addresses>,
    child: Option<Child>,
}

impl Process {
    pub(crate) fn new(role: Role, data: PathBuf, settings: Vec<Setting>) -> Self {
        Self { role, settings, data, bound: None, child: None }
    }

    /// Without waiting until it is ready.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} is already started", self.role.as_str());
        let _ = std::fs::remove_file(self.run_file());
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let kept = self.bound.filter(|_| self.role != Role::Serve);
        let (door, admin) =
            kept.map_or_else(|| ("127.0.0.1:0".into(), "127.0.0.1:0".into()), |at| (at.door.to_string(), at.admin.to_string()));
        let mut command = command(self.data.parent().expect("the test's folder"), &self.settings, Lifetime::OfTheTests);
        command.args([self.role.as_str(), "--admin-listen", &admin, "--data"]).arg(&self.data);
        match self.role {
            Role::Serve | Role::Gateway => command.args(["--listen", &door]),
            Role::Links | Role::Redirect | Role::Analytics | Role::Ids => command.args(["--set", &format!("grpc.listen={door}")]),
        };
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log file")).stderr(log);
        self.bound = None;
        self.child = Some(start(command));
    }

    /// Until it has told where it listens, which is when it is ready.
    pub(crate) fn await_ready(&mut self) -> Addresses {
        let began = Instant::now();
        let role = self.role.as_str();
        loop {
            if let Some(addresses) = read_run_file(&self.run_file()) {
                self.bound = Some(addresses);
                return addresses;
            }
            if let Some(status) = self.child.as_mut().expect("spawned").try_wait().expect("its status") {
                panic!("terse {role} ended with {status} before it was ready:\n{}", self.log());
            }
            assert!(began.elapsed() < START_MAX, "terse {role} is not ready after {START_MAX:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    fn child(&self) -> &Child {
        self.child.as_ref().unwrap_or_else(|| panic!("terse {} does not run", self.role.as_str()))
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.child();
        self.bound.expect("it is ready")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child().id()
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("signalled");
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child();
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    /// Asks it to end and waits until it has; answers the exit code.
    pub(crate) fn end(&mut self, with: Signal) -> Option<i32> {
        self.signal(with);
        self.child.take().expect("it runs").wait().expect("reaped").code()
    }

    fn run_file(&self) -> PathBuf {
        self.data.join("run.json")
    }

    fn log_path(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of terse {} in {} ---\n{}", self.role.as_str(), self.data.display(), self.log());
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Lifetime {
    /// Of its own.
    Own,
    /// Killed by the kernel when the tests are, so that an aborted run leaves nothing running.
    OfTheTests,
}

/// `terse` with these settings and no others.
pub(crate) fn command(folder: &Path, settings: &[Setting], lifetime: Lifetime) -> Command {
    let terse = env!("CARGO_BIN_EXE_terse");
    let mut command = match lifetime {
        Lifetime::Own => Command::new(terse),
        Lifetime::OfTheTests => {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", terse]);
            command
        }
    };
    command.env_clear().current_dir(folder);
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    command
}

/// The kernel watches the thread that starts a process, not the tests as a whole: one thread, alive to the end, starts them all.
fn start(command: Command) -> Child {
    type Order = (Command, mpsc::SyncSender<std::io::Result<Child>>);
    static STARTER: LazyLock<Mutex<mpsc::SyncSender<Order>>> = LazyLock::new(|| {
        let (orders, incoming) = mpsc::sync_channel::<Order>(1);
        std::thread::spawn(move || {
            for (mut command, answer) in incoming {
                // Whoever ordered it has panicked if nobody takes it.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, started) = mpsc::sync_channel(1);
    STARTER.lock().expect("the starter").send((command, answer)).expect("the starter lives");
    started.recv().expect("the starter answers").expect("terse starts")
}

fn read_run_file(path: &Path) -> Option<Addresses> {
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let address = |name: &str| json.get(name)?.as_str()?.parse().ok();
    Some(Addresses { door: address("public").or_else(|| address("grpc"))?, admin: address("admin")? })
}
