//! What runs where: the only place that knows a service in this process from one behind a wire, and a backend by its name.
//! One small function per dependency; everything after it sees traits.

mod cache;
mod clicks;
mod fallback;
mod local;
pub(crate) mod look;
mod options;
mod remote;
mod stores;
mod traces;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use backends::system::{SystemClock, SystemEntropy};
use chassis::config::Loaded;
use chassis::{Check, Finding, Lifecycle};
use domain::api::{History, Ids, Links, Resolver, Stats};
use domain::port::{Clock, Entropy, PortResult};
use tokio::net::TcpListener;

use crate::config::{ClicksUrl, Config, PublicUrl, Store};
use crate::role::Role;
use crate::{doctor, measures};

pub(crate) use local::ids;
pub(crate) use stores::{Step, Stores, inspect as inspect_files, migrate, open as open_stores, plan, stats_path};
pub(crate) use traces::start as start_traces;

use cache::Shared;
use clicks::Clicks;

/// Everything that runs, and what must be closed at the end.
pub(crate) struct Process {
    door: Door,
    stores: Stores,
    checks: Vec<(&'static str, Check)>,
}

/// What is served, and to whom.
enum Door {
    Public { gateway: Arc<gateway::Gateway>, services: gateway::Services },
    Grpc { services: rpc::Services, config: Box<Config> },
}

/// Wires one role.
pub(crate) async fn start(role: Role, loaded: &Loaded<Config>, public_url: &PublicUrl, lifecycle: &Lifecycle) -> anyhow::Result<Process> {
    measures::describe();
    refuse_what_is_not_shared(role, loaded)?;
    match role {
        Role::Serve => serve(loaded, public_url, lifecycle).await,
        Role::Gateway => gateway(loaded, public_url, lifecycle).await,
        Role::Ids => ids_service(loaded, lifecycle).await,
        Role::Links => links_service(loaded, lifecycle).await,
        Role::Redirect => redirect_service(loaded, lifecycle).await,
        Role::Analytics => analytics_service(loaded, lifecycle).await,
    }
}

/// Services in several processes meet in their stores: a file is none to meet in.
fn refuse_what_is_not_shared(role: Role, loaded: &Loaded<Config>) -> anyhow::Result<()> {
    if role == Role::Serve {
        return Ok(());
    }
    let config = &loaded.settings;
    let role = role.as_str();
    if let Store::Sqlite(_) = config.store() {
        let value = loaded.describe("store");
        anyhow::bail!(
            "{value}\n  `terse {role}` shares its store with other processes: set scylla://HOST,HOST/KEYSPACE, or run `terse serve`"
        );
    }
    if let ClicksUrl::File(_) = config.clicks() {
        let value = loaded.describe("clicks.url");
        anyhow::bail!(
            "{value}\n  `terse {role}` shares the click log with other processes: set kafka://HOST:PORT/TOPIC, or run `terse serve`"
        );
    }
    Ok(())
}

// ---- roles ----

async fn serve(loaded: &Loaded<Config>, public_url: &PublicUrl, lifecycle: &Lifecycle) -> anyhow::Result<Process> {
    let stores = stores::open(loaded, lifecycle).await?;
    stores.domains.set_default(public_url.host()).await.with_context(|| loaded.describe("public_url"))?;
    let shared = cache::connect(loaded, lifecycle).await?;
    let Clicks { log, source } = clicks::open(loaded, lifecycle)?;
    let ids = local::ids(loaded, &stores)?;
    let links = local::links(loaded, &stores, &shared, ids.clone(), lifecycle).await?;
    let resolver = local::resolver(loaded, &stores, &shared, log.clone(), lifecycle).await?;
    let (stats, history) = local::analytics(loaded, &stores, &shared, source, lifecycle);
    let mut checks = checks(&stores, &shared);
    checks.push(check("click log", "takes clicks", move || {
        let log = log.clone();
        async move { log.flush().await }
    }));
    let called = Called { links, resolver, stats, history, ids };
    public(loaded, public_url, called.services(&stores, &shared), stores, checks).await
}

async fn gateway(loaded: &Loaded<Config>, public_url: &PublicUrl, lifecycle: &Lifecycle) -> anyhow::Result<Process> {
    let stores = stores::open(loaded, lifecycle).await?;
    stores.domains.set_default(public_url.host()).await.with_context(|| loaded.describe("public_url"))?;
    let shared = cache::connect(loaded, lifecycle).await?;
    let (stats, history) = remote::stats(loaded, lifecycle).await?;
    let called = Called {
        links: remote::links(loaded, lifecycle).await?,
        resolver: remote::resolver(loaded, lifecycle).await?,
        ids: remote::ids(loaded, &stores, lifecycle).await?,
        stats,
        history,
    };
    let checks = checks(&stores, &shared);
    public(loaded, public_url, called.services(&stores, &shared), stores, checks).await
}

async fn ids_service(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Process> {
    let stores = stores::open(loaded, lifecycle).await?;
    let services = rpc::Services::default().ids(local::ids(loaded, &stores)?);
    let checks = vec![store_check(&stores)];
    Ok(internal(loaded, services, stores, checks))
}

async fn links_service(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Process> {
    let stores = stores::open(loaded, lifecycle).await?;
    let shared = cache::connect(loaded, lifecycle).await?;
    let ids = remote::ids(loaded, &stores, lifecycle).await?;
    let links = local::links(loaded, &stores, &shared, ids, lifecycle).await?;
    let services = rpc::Services::default().links(links);
    let checks = checks(&stores, &shared);
    Ok(internal(loaded, services, stores, checks))
}

async fn redirect_service(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Process> {
    let stores = stores::open(loaded, lifecycle).await?;
    let shared = cache::connect(loaded, lifecycle).await?;
    let log = clicks::log(loaded, lifecycle)?;
    let resolver = local::resolver(loaded, &stores, &shared, log, lifecycle).await?;
    let services = rpc::Services::default().resolver(resolver);
    let checks = checks(&stores, &shared);
    Ok(internal(loaded, services, stores, checks))
}

async fn analytics_service(loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<Process> {
    let stores = stores::open(loaded, lifecycle).await?;
    let shared = cache::connect(loaded, lifecycle).await?;
    let source = clicks::source(loaded, lifecycle)?;
    let (stats, history) = local::analytics(loaded, &stores, &shared, source, lifecycle);
    let services = rpc::Services::default().stats(stats, history);
    let checks = checks(&stores, &shared);
    Ok(internal(loaded, services, stores, checks))
}

/// The services behind the public door, wherever they run.
struct Called {
    links: Arc<dyn Links>,
    resolver: Arc<dyn Resolver>,
    stats: Arc<dyn Stats>,
    history: Arc<dyn History>,
    ids: Arc<dyn Ids>,
}

impl Called {
    fn services(self, stores: &Stores, shared: &Shared) -> gateway::Services {
        gateway::Services {
            links: self.links,
            resolver: self.resolver,
            stats: self.stats,
            history: self.history,
            ids: self.ids,
            claims: stores.claims.clone(),
            keys: stores.keys.clone(),
            domains: stores.domains.clone(),
            limiter: shared.limiter.clone(),
            clock: clock(),
            entropy: entropy(),
        }
    }
}

async fn public(
    loaded: &Loaded<Config>,
    public_url: &PublicUrl,
    services: gateway::Services,
    stores: Stores,
    checks: Vec<(&'static str, Check)>,
) -> anyhow::Result<Process> {
    let options = options::gateway(&loaded.settings, public_url, local::store_key(&stores).await?);
    let gateway = gateway::Gateway::new(services.clone(), options);
    Ok(Process { door: Door::Public { gateway, services }, stores, checks })
}

fn internal(loaded: &Loaded<Config>, services: rpc::Services, stores: Stores, checks: Vec<(&'static str, Check)>) -> Process {
    Process { door: Door::Grpc { services, config: Box::new(loaded.settings.clone()) }, stores, checks }
}

impl Process {
    /// Lets callers in.
    pub(crate) async fn open_door(&self, listener: TcpListener, lifecycle: &Lifecycle) -> anyhow::Result<SocketAddr> {
        match &self.door {
            Door::Public { gateway, .. } => Ok(gateway::Server::serve(gateway.clone(), listener, lifecycle).await?),
            Door::Grpc { services, config } => {
                let server = rpc::Server::new(options::grpc(config, listener.local_addr()?))?;
                Ok(server.serve(services.clone(), listener, lifecycle).await?)
            }
        }
    }

    /// What the public door calls; `None` where there is none.
    pub(crate) fn door_services(&self) -> Option<&gateway::Services> {
        match &self.door {
            Door::Public { services, .. } => Some(services),
            Door::Grpc { .. } => None,
        }
    }

    /// Sets what the door measures only when somebody reads it.
    pub(crate) fn door_gauges(&self) -> Box<dyn Fn() + Send + Sync> {
        match &self.door {
            Door::Public { gateway, .. } => {
                let gateway = gateway.clone();
                Box::new(move || gateway.show_gauges())
            }
            Door::Grpc { .. } => Box::new(|| {}),
        }
    }

    /// What `doctor` asks of a running server.
    pub(crate) fn checks(&self, data: &Path) -> Vec<(&'static str, Check)> {
        let data = data.to_owned();
        let disk: Check = Arc::new(move || {
            let finding = doctor::free_disk(&data);
            Box::pin(std::future::ready(finding))
        });
        self.checks.iter().cloned().chain([("free disk", disk)]).collect()
    }

    /// After everything has ended: moves what is in write-ahead logs into the files.
    pub(crate) async fn close(&self) {
        self.stores.close().await;
    }
}

// ---- checks ----

fn checks(stores: &Stores, shared: &Shared) -> Vec<(&'static str, Check)> {
    let stats = stores.stats.clone();
    let statistics = check("statistics", "answer", move || {
        let stats = stats.clone();
        async move { stats.dirty_days(u32::MAX, 1).await.map(|_| ()) }
    });
    let mut checks = vec![store_check(stores), statistics, keys_check(stores), codes_check(stores)];
    checks.extend(shared.check());
    checks
}

fn keys_check(stores: &Stores) -> (&'static str, Check) {
    let keys = stores.keys.clone();
    let look: Check = Arc::new(move || {
        let keys = keys.clone();
        Box::pin(
            async move { keys.list(None).await.map_or_else(|error| judge("api keys", "", Err(error)), |keys| doctor::codes::keys(&keys)) },
        )
    });
    ("api keys", look)
}

fn codes_check(stores: &Stores) -> (&'static str, Check) {
    let leases = stores.leases.clone();
    let look: Check = Arc::new(move || {
        let leases = leases.clone();
        Box::pin(
            async move { leases.ranges().await.map_or_else(|error| judge("codes", "", Err(error)), |ranges| doctor::codes::left(&ranges)) },
        )
    });
    ("codes", look)
}

fn store_check(stores: &Stores) -> (&'static str, Check) {
    let keys = stores.keys.clone();
    check("store", "answers", move || {
        let keys = keys.clone();
        async move { keys.any().await.map(|_| ()) }
    })
}

fn check<F>(name: &'static str, fine: &'static str, look: impl Fn() -> F + Send + Sync + 'static) -> (&'static str, Check)
where
    F: Future<Output = PortResult<()>> + Send + 'static,
{
    let look: Check = Arc::new(move || {
        let look = look();
        Box::pin(async move { judge(name, fine, look.await) })
    });
    (name, look)
}

fn judge(name: &str, fine: &str, outcome: PortResult<()>) -> Finding {
    match outcome {
        Ok(()) => Finding::ok(name, fine),
        Err(error) => {
            let cause = error.source.as_deref().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
            Finding::fail(name, cause, "see the log of the server; free some space if a disk is full, start what does not answer")
        }
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy)
}
