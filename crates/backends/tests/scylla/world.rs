//! Servers, and a keyspace that all tests of this process share.

use std::sync::Arc;
use std::time::Duration;

use backends::scylla::{Options, Scylla, Stores, Url, migrate, open_links};
use backends::system::{SystemClock, SystemEntropy};
use chassis::Lifecycle;
use domain::port::{Clock as _, Entropy as _};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::value::Row;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Left behind by tests that have ended long ago.
const STALE_MINUTES: i64 = 60;

pub(crate) fn servers() -> String {
    #[expect(clippy::disallowed_methods, reason = "where the test servers are is told by the environment")]
    let servers = std::env::var("TERSE_TEST_CQL");
    servers.unwrap_or_else(|_| panic!("TERSE_TEST_CQL is not set: run scripts/test, or scripts/stack up and set TERSE_TEST_CQL=host:port"))
}

/// Patient: a busy machine is no fault.
pub(crate) fn patient() -> Options {
    Options {
        connect_patience: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(10),
        list_timeout: Duration::from_secs(20),
        write_timeout: Duration::from_secs(15),
        settle_timeout: Duration::from_mins(1),
        ..Options::default()
    }
}

fn minutes() -> i64 {
    SystemClock.now().get() / 60_000
}

/// A keyspace that is not there yet. Its name says when it was made.
pub(crate) fn new_url() -> Url {
    let name = format!("tt{}_{:08x}", minutes(), SystemEntropy.u64() >> 32);
    Url::parse(&format!("scylla://{}/{name}?replication=1", servers())).unwrap()
}

/// A session of the test's own, in no keyspace.
pub(crate) async fn raw() -> Session {
    SessionBuilder::new().known_node(servers()).build().await.unwrap()
}

pub(crate) async fn run(session: &Session, text: &str) {
    session.query_unpaged(text, ()).await.unwrap_or_else(|error| panic!("{text}: {error}"));
}

pub(crate) async fn drop_keyspace(url: &Url) {
    run(&raw().await, &format!("DROP KEYSPACE IF EXISTS {}", url.keyspace())).await;
}

/// The keyspace that all tests of this process share, with all its tables.
pub(crate) async fn shared() -> Url {
    static SHARED: OnceCell<Url> = OnceCell::const_new();
    let make = || async {
        drop_stale().await;
        let url = new_url();
        migrate(&url, patient()).await.unwrap();
        url
    };
    SHARED.get_or_init(make).await.clone()
}

async fn drop_stale() {
    let session = raw().await;
    let rows = session.query_unpaged("SELECT keyspace_name FROM system_schema.keyspaces", ()).await.unwrap();
    let rows = rows.into_rows_result().unwrap();
    for (name,) in rows.rows::<(String,)>().unwrap().map(Result::unwrap) {
        let made = name.strip_prefix("tt").and_then(|rest| rest.split_once('_')).and_then(|(made, _)| made.parse::<i64>().ok());
        if made.is_some_and(|made| made + STALE_MINUTES < minutes()) {
            run(&session, &format!("DROP KEYSPACE IF EXISTS {name}")).await;
        }
    }
}

/// One process's view of the shared keyspace, whose `tables` are empty and nobody else's for so long.
pub(crate) struct World {
    pub(crate) stores: Stores,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) url: Url,
    pub(crate) raw: Session,
    _turns: Vec<MutexGuard<'static, ()>>,
}

/// Tables that are emptied together. Tests of different groups run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Links,
    Claims,
    Budgets,
    Leases,
    Takedowns,
    Keys,
    Domains,
    Jobs,
    Stats,
}

impl Group {
    const COUNT: usize = 9;

    fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Links => &["links", "links_by_id", "links_by_owner", "owner_slots", "links_by_tag", "domain_samples"],
            Self::Claims => &["claims", "claim_ends", "claim_minutes"],
            Self::Budgets => &["click_budgets"],
            // The range of the first epoch stays: whoever connects looks for it.
            Self::Leases => &["id_workers"],
            Self::Takedowns => &["takedowns"],
            Self::Keys => &["api_keys", "api_keys_by_id", "api_keys_by_owner"],
            Self::Domains => &["domains"],
            Self::Jobs => &["jobs", "job_selections", "jobs_running"],
            Self::Stats => &[
                "click_parts",
                "click_progress",
                "click_marks",
                "click_rolled",
                "click_days",
                "click_rollups",
                "click_top",
                "click_settings",
            ],
        }
    }

    async fn turn(self) -> MutexGuard<'static, ()> {
        static TURNS: [Mutex<()>; Group::COUNT] = [const { Mutex::const_new(()) }; Group::COUNT];
        TURNS[self as usize].lock().await
    }

    async fn clear(self, session: &Session) {
        for table in self.tables() {
            run(session, &format!("TRUNCATE {table}")).await;
        }
        if self == Self::Leases {
            for epoch in [1_000, 1_001] {
                run(session, &format!("DELETE FROM id_ranges WHERE part = 0 AND epoch = {epoch} IF EXISTS")).await;
            }
        }
    }
}

impl World {
    pub(crate) async fn new(groups: &[Group]) -> Self {
        let url = shared().await;
        let mut groups = groups.to_vec();
        groups.sort_unstable();
        let mut turns = Vec::new();
        for group in &groups {
            turns.push(group.turn().await);
        }
        let raw = raw().await;
        raw.use_keyspace(url.keyspace(), false).await.unwrap();
        for group in groups {
            group.clear(&raw).await;
        }
        let lifecycle = Lifecycle::new(Duration::from_secs(5));
        let stores = open(&url, &lifecycle).await;
        Self { stores, lifecycle, url, raw, _turns: turns }
    }

    /// Another process on the same keyspace.
    pub(crate) async fn twin(&self) -> Stores {
        open(&self.url, &self.lifecycle).await
    }

    pub(crate) async fn connect(&self) -> Scylla {
        Scylla::connect(&self.url, patient()).await.unwrap()
    }

    pub(crate) async fn run(&self, text: &str) {
        run(&self.raw, text).await;
    }

    /// The only row, in the order of the text.
    pub(crate) async fn row(&self, text: &str) -> Row {
        let rows = self.raw.query_unpaged(text, ()).await.unwrap().into_rows_result().unwrap();
        rows.single_row::<Row>().unwrap()
    }

    pub(crate) async fn close(self) {
        self.lifecycle.drain_in_order().await;
    }
}

pub(crate) async fn open(url: &Url, lifecycle: &Lifecycle) -> Stores {
    open_with(url, patient(), lifecycle).await
}

pub(crate) async fn open_with(url: &Url, options: Options, lifecycle: &Lifecycle) -> Stores {
    open_links(url, options, Arc::new(SystemClock), Arc::new(SystemEntropy), lifecycle).await.unwrap()
}
