//! Starts Terse as its users do: the real binary, on real ports and files.
//!
//! `Cluster::all_in_one()` is one process on SQLite; `Cluster::services()` is every service by itself, on the real servers that
//! `scripts/test` starts. Tests talk to `cluster.client()` and never ask what runs behind it, so that the same tests serve both
//! shapes: `both_shapes!(name, …)` runs `async fn name(shape: Shape)` in each.

mod process;
mod servers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

pub(crate) use process::Role;
#[allow(unused_imports, reason = "for the tests that break servers")]
pub(crate) use servers::Stack;

use crate::client::Client;
use process::{Lifetime, Process};
use servers::Servers;

/// Between two looks at something that is awaited.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// A setting by its environment name, and its value.
type Setting = (String, String);

/// What the same end-to-end test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    AllInOne,
    Services,
}

impl Shape {
    pub(crate) fn cluster(self) -> Builder {
        match self {
            Self::AllInOne => Cluster::all_in_one(),
            Self::Services => Cluster::services(),
        }
    }
}

/// Makes `all_in_one::name` and `services::name` of every `async fn name(shape: Shape)` named.
macro_rules! both_shapes {
    ($($test:ident),+ $(,)?) => {
        mod all_in_one {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test($crate::cluster::Shape::AllInOne).await;
            })+
        }

        mod services {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test($crate::cluster::Shape::Services).await;
            })+
        }
    };
}
pub(crate) use both_shapes;

pub(crate) struct Cluster {
    /// The gateway, or the one process, comes first.
    processes: Vec<Process>,
    settings: Vec<Setting>,
    folder: TempDir,
}

pub(crate) struct Builder {
    shape: Shape,
    settings: Vec<Setting>,
    gateways: usize,
    ids: usize,
    redirects: usize,
    analytics: usize,
    links: usize,
    servers: Option<Servers>,
}

impl Builder {
    /// A setting by its environment name, e.g. `TERSE__LIMITS__MISSES_PER_IP_PER_MIN`.
    pub(crate) fn set(mut self, name: &str, value: &impl std::fmt::Display) -> Self {
        self.settings.push((name.into(), value.to_string()));
        self
    }

    /// How many gateways; of `Cluster::services()` only, as the next four. The first of them is the one that users talk to.
    #[allow(dead_code, reason = "for the tests of the distributed shape alone")]
    pub(crate) fn gateways(mut self, number: usize) -> Self {
        self.gateways = number;
        self
    }

    #[allow(dead_code, reason = "for the tests of the distributed shape alone")]
    pub(crate) fn ids(mut self, number: usize) -> Self {
        self.ids = number;
        self
    }

    #[allow(dead_code, reason = "for the tests of the distributed shape alone")]
    pub(crate) fn redirects(mut self, number: usize) -> Self {
        self.redirects = number;
        self
    }

    #[allow(dead_code, reason = "for the tests of the distributed shape alone")]
    pub(crate) fn analytics(mut self, number: usize) -> Self {
        self.analytics = number;
        self
    }

    #[allow(dead_code, reason = "for the tests of the distributed shape alone")]
    pub(crate) fn links(mut self, number: usize) -> Self {
        self.links = number;
        self
    }

    /// On these servers instead of those that all tests share.
    #[allow(dead_code, reason = "for the tests that break servers")]
    pub(crate) fn on(mut self, stack: &servers::Stack) -> Self {
        self.servers = Some(stack.servers());
        self
    }

    pub(crate) fn start(self) -> Cluster {
        self.start_in(&std::env::temp_dir())
    }

    /// With its data somewhere below `place`.
    pub(crate) fn start_in(self, place: &Path) -> Cluster {
        let folder = TempDir::new_in(place).expect("a folder for the test");
        match self.shape {
            Shape::AllInOne => {
                let serve = Process::new(Role::Serve, folder.path().join("terse-data"), self.settings.clone());
                let mut cluster = Cluster { processes: vec![serve], settings: self.settings, folder };
                cluster.start();
                cluster
            }
            Shape::Services => self.start_services(folder),
        }
    }

    /// First those that call nobody, then those that call them: each is told where the others listen.
    fn start_services(self, folder: TempDir) -> Cluster {
        let mut settings = self.settings;
        settings.extend(self.servers.unwrap_or_else(Servers::shared).settings());
        // Where client commands look for the key.
        let gateway_data = folder.path().join("terse-data");
        let mut cluster = Cluster { processes: Vec::new(), settings, folder };
        cluster.migrate(&gateway_data);
        for (role, number) in [(Role::Ids, self.ids), (Role::Redirect, self.redirects), (Role::Analytics, self.analytics)] {
            cluster.add(role, number);
        }
        cluster.start();
        cluster.tell([Role::Ids, Role::Redirect, Role::Analytics]);
        cluster.add(Role::Links, self.links);
        cluster.start();
        cluster.tell([Role::Links]);
        cluster.processes.insert(0, Process::new(Role::Gateway, gateway_data, cluster.settings.clone()));
        cluster.start();
        if self.gateways > 1 {
            cluster.add(Role::Gateway, self.gateways - 1);
            cluster.start();
        }
        cluster
    }
}

impl Cluster {
    /// One process; limits per IP and key are off, since all tests share one address.
    pub(crate) fn all_in_one() -> Builder {
        Self::of(Shape::AllInOne)
    }

    /// Each service by itself: two redirects, two analytics, one of the others.
    pub(crate) fn services() -> Builder {
        Self::of(Shape::Services)
    }

    fn of(shape: Shape) -> Builder {
        Builder { shape, settings: Vec::new(), gateways: 1, ids: 1, redirects: 2, analytics: 2, links: 1, servers: None }
            .set("TERSE__LIMITS__API_PER_IP_PER_MIN", &0)
            .set("TERSE__LIMITS__MISSES_PER_IP_PER_MIN", &0)
            .set("TERSE__LIMITS__CREATES_PER_KEY_PER_H", &0)
            .set("TERSE__LIMITS__REQUESTS_PER_S", &0)
    }

    /// `terse` with the cluster's settings, in the test's folder.
    pub(crate) fn command(&self) -> Command {
        process::command(self.folder.path(), &self.settings, Lifetime::Own)
    }

    fn migrate(&self, data: &Path) {
        let done = self.command().arg("migrate").arg("--data").arg(data).output().expect("terse migrate starts");
        assert!(done.status.success(), "terse migrate: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    }

    fn add(&mut self, role: Role, number: usize) {
        for index in 0..number {
            let data = self.folder.path().join(format!("{}-{index}", role.as_str()));
            self.processes.push(Process::new(role, data, self.settings.clone()));
        }
    }

    /// Whoever is started from now on knows where these listen.
    fn tell(&mut self, roles: impl IntoIterator<Item = Role>) {
        for role in roles {
            let at: Vec<_> = self.of_role(role).map(|process| process.addresses().door.to_string()).collect();
            self.settings.push((format!("TERSE__SERVICES__{}", role.as_str().to_uppercase()), at.join(",")));
        }
    }

    /// Whatever does not run.
    pub(crate) fn start(&mut self) {
        let started: Vec<_> =
            self.processes.iter_mut().filter(|process| !process.runs()).map(|process| (process.spawn(), process)).collect();
        assert!(!started.is_empty(), "already started");
        for ((), process) in started {
            process.await_ready();
        }
    }

    fn of_role(&self, role: Role) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(move |process| process.role == role)
    }

    /// The one that users talk to.
    fn door(&self) -> &Process {
        self.processes.first().expect("a process")
    }

    pub(crate) fn public(&self) -> SocketAddr {
        self.door().addresses().door
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.door().addresses().admin
    }

    pub(crate) fn pid(&self) -> u32 {
        self.door().pid()
    }

    /// What all its processes were told, by environment name.
    #[allow(dead_code, reason = "for the tests of the distributed shape alone")]
    pub(crate) fn setting(&self, name: &str) -> &str {
        let found = self.settings.iter().rev().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("{name} is not set"), |(_, value)| value)
    }

    /// The data folder of the one process, or of the gateway.
    pub(crate) fn data(&self) -> &Path {
        self.door().data()
    }

    /// Where all its data and logs lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn admin_key(&self) -> String {
        std::fs::read_to_string(self.data().join("admin.key")).expect("the admin key of the first start").trim().to_owned()
    }

    /// With the admin key.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.public()).with_key(&self.admin_key())
    }

    pub(crate) fn anonymous(&self) -> Client {
        Client::new(self.public())
    }

    /// The logs of all processes, one after the other.
    pub(crate) fn log(&self) -> String {
        self.processes.iter().map(Process::log).collect()
    }

    /// `kill -9` of all at once.
    pub(crate) fn kill(&mut self) {
        self.processes.iter_mut().for_each(Process::kill);
    }

    /// SIGHUP to the first of its processes: look at certificates now.
    #[allow(dead_code, reason = "for the tests of TLS alone")]
    pub(crate) fn hang_up(&self) {
        self.door().signal(Signal::HUP);
    }

    /// Ctrl-C, one after the other, callers before those they call; answers the exit code, and of several one that is not 0.
    pub(crate) fn interrupt(&mut self) -> Option<i32> {
        let mut code = Some(0);
        for role in [Role::Serve, Role::Gateway, Role::Links, Role::Redirect, Role::Analytics, Role::Ids] {
            for process in self.processes.iter_mut().filter(|process| process.role == role) {
                let ended = process.end(Signal::INT);
                if ended != Some(0) {
                    code = ended;
                }
            }
        }
        code
    }

    /// One service of several, to kill, freeze and start again.
    #[allow(dead_code, reason = "for the tests of the distributed shape alone")]
    pub(crate) fn service(&mut self, role: Role, index: usize) -> Service<'_> {
        let process = self.processes.iter_mut().filter(|process| process.role == role).nth(index);
        Service(process.unwrap_or_else(|| panic!("there is no {} number {index}", role.as_str())))
    }

    /// The value of a metric over all processes that run: the sum over its series that carry all of `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let mut sum = 0.0;
        for process in self.processes.iter().filter(|process| process.runs()) {
            sum += read_metric(process, name, labels).await;
        }
        sum
    }

    /// The same over the processes of one role.
    #[allow(dead_code, reason = "for the tests of the distributed shape alone")]
    pub(crate) async fn metric_of(&self, role: Role, name: &str, labels: &[(&str, &str)]) -> f64 {
        let mut sum = 0.0;
        for process in self.of_role(role).filter(|process| process.runs()) {
            sum += read_metric(process, name, labels).await;
        }
        sum
    }

    /// What each process that runs tells of itself.
    #[allow(dead_code, reason = "for the end-to-end tests alone")]
    pub(crate) async fn metrics(&self) -> Vec<String> {
        let mut told = Vec::new();
        for process in self.processes.iter().filter(|process| process.runs()) {
            told.push(Client::new(process.addresses().admin).get("/metrics").await.expect(200).text());
        }
        told
    }

    /// Where all files of the cluster are, data and logs.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        files_below(self.folder())
    }
}

/// One process of a cluster.
pub(crate) struct Service<'a>(&'a mut Process);

#[allow(dead_code, reason = "for the tests of the distributed shape alone")]
impl Service<'_> {
    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.0.kill();
    }

    /// SIGTERM; waits for its end and answers the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.0.end(Signal::TERM)
    }

    /// SIGSTOP: it hangs, and its connections stay open.
    pub(crate) fn pause(&self) {
        self.0.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.0.signal(Signal::CONT);
    }

    /// Again, on the same ports and settings.
    pub(crate) fn start(&mut self) {
        self.0.spawn();
        self.0.await_ready();
    }

    pub(crate) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let at = self.0.addresses();
        (at.door, at.admin)
    }

    pub(crate) fn log(&self) -> String {
        self.0.log()
    }
}

async fn read_metric(process: &Process, name: &str, labels: &[(&str, &str)]) -> f64 {
    let text = Client::new(process.addresses().admin).get("/metrics").await.text();
    let carries = |line: &str| labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")));
    text.lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(name) && carries(line))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
