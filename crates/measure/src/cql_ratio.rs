//! What the store costs beside a bare loop on the driver: creates through [`LinkStore::insert`] beside the
//! same `INSERT … IF NOT EXISTS`, alone and with the same rows of the indexes before it; finds beside the same
//! `SELECT`. 64 in flight, in turns, the median of the ratios.
//!
//! `measure cql_ratio 127.0.0.1:9042 ROUNDS`

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backends::scylla::{Options, Stores, Url, migrate, open_links};
use backends::system::{SystemClock, SystemEntropy};
use chassis::Lifecycle;
use domain::port::{Entropy as _, Inserted, LinkStore as _};
use domain::{Code, DomainNo, Link, LinkId, Owner, Slug, State, Target, UnixMs};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency};

use crate::figures::figure;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const IN_FLIGHT: usize = 64;
const CREATES: u64 = 192;
const FINDS: u64 = 2_048;

/// The same columns as a plain link of the store has.
const INSERT: &str = "INSERT INTO links (domain, code, format, id, change_id, version, shown, kind, owner, target, state, forward_query, \
     created_at, updated_at) VALUES (1, ?, 1, ?, 7, 1, ?, 0, 'ann', 'https://example.com/a', 0, false, 1775689600000, 1775689600000) IF NOT EXISTS";
const SELECT: &str = "SELECT domain, code, format, id, change_id, version, shown, kind, owner, target, title, tags, state, blocked, \
     redirect_status, caching, forward_query, starts_at, expires_at, max_clicks, created_at, updated_at FROM links WHERE domain = ? AND code = ?";
const BY_ID: &str = "INSERT INTO links_by_id (id, domain, code) VALUES (?, 1, ?)";
const BY_OWNER: &str = "INSERT INTO links_by_owner (owner, slot, id, domain, code) VALUES (?, 1, ?, 1, ?)";

struct Bare {
    session: Session,
    insert: PreparedStatement,
    select: PreparedStatement,
    by_id: PreparedStatement,
    by_owner: PreparedStatement,
}

impl Bare {
    async fn new(servers: &str, keyspace: &str) -> Outcome<Self> {
        let session = SessionBuilder::new().known_node(servers).use_keyspace(keyspace, false).build().await?;
        let prepare = async |text: &str| {
            let mut statement = session.prepare(text).await?;
            statement.set_consistency(Consistency::LocalQuorum);
            statement.set_serial_consistency(Some(SerialConsistency::Serial));
            Outcome::Ok(statement)
        };
        let (insert, select) = (prepare(INSERT).await?, prepare(SELECT).await?);
        let (by_id, by_owner) = (prepare(BY_ID).await?, prepare(BY_OWNER).await?);
        Ok(Self { session, insert, select, by_id, by_owner })
    }

    async fn insert(&self, link: &Link) -> Outcome<()> {
        let (code, id) = (link.code.as_str(), link.id.get().cast_signed());
        let answer = self.session.execute_unpaged(&self.insert, (code, id, code)).await?.into_rows_result()?;
        let (applied,) = answer.first_row::<(bool,)>()?;
        if applied { Ok(()) } else { Err("a code was taken".into()) }
    }

    /// What any store writes that can list its links.
    async fn insert_with_indexes(&self, link: &Link) -> Outcome<()> {
        let (code, id) = (link.code.as_str(), link.id.get().cast_signed());
        let owners = ["ann", "\0"].map(|owner| self.session.execute_unpaged(&self.by_owner, (owner, id, code)));
        let by_id = self.session.execute_unpaged(&self.by_id, (id, code));
        futures_util::future::try_join(try_join_all(owners), by_id).await?;
        self.insert(link).await
    }

    async fn find(&self, link: &Link) -> Outcome<()> {
        let answer = self.session.execute_unpaged(&self.select, (1_i32, link.code.as_str())).await?.into_rows_result()?;
        if answer.rows_num() == 1 { Ok(()) } else { Err("a link is missing".into()) }
    }
}

fn links(from: u64, count: u64) -> Vec<Link> {
    let at = UnixMs::new(1_775_689_600_000);
    let codes = (from * 1_000_003..).filter_map(Code::generated);
    let some = (from..from + count).zip(codes).map(|(number, code)| Link {
        id: LinkId::new((40_000_000_000 << 22) + number),
        domain: DomainNo::DEFAULT,
        code,
        owner: Owner::from_stored("ann"),
        target: Target::from_stored("https://example.com/a"),
        title: None,
        tags: Vec::new(),
        state: State::Active,
        blocked: None,
        redirect_status: None,
        caching: None,
        forward_query: false,
        starts_at: None,
        expires_at: None,
        max_clicks: None,
        created_at: at,
        updated_at: at,
        version: 1,
        change_id: 7,
    });
    some.collect()
}

async fn create(stores: &Stores, link: &Link) -> Outcome<()> {
    match stores.links.insert(vec![link.clone()]).await?.pop() {
        Some(Inserted::Stored) => Ok(()),
        _ => Err("a code was taken".into()),
    }
}

async fn find(stores: &Stores, link: &Link) -> Outcome<()> {
    let slug = Slug::parse(link.code.as_str()).ok_or("a code is no slug")?;
    if stores.links.find(link.domain, slug).await?.is_some() { Ok(()) } else { Err("a link is missing".into()) }
}

/// Calls a second.
async fn rate<'a, F>(links: impl Iterator<Item = &'a Link>, run: impl Fn(&'a Link) -> F) -> Outcome<f64>
where
    F: Future<Output = Outcome<()>>,
{
    let began = Instant::now();
    let calls: Vec<F> = links.map(run).collect();
    let count = f64::from(u32::try_from(calls.len())?);
    stream::iter(calls).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
    Ok(count / began.elapsed().as_secs_f64())
}

/// Rates of one round, ours first.
#[derive(Clone, Copy)]
struct Round {
    create: [f64; 3],
    find: [f64; 2],
}

async fn round(number: u64, stores: &Stores, bare: &Bare) -> Outcome<Round> {
    let block = |part: u64| links(1 + (number * 3 + part) * CREATES, CREATES);
    let (ours, theirs, indexed) = (block(0), block(1), block(2));
    // In turns, so that neither always comes first.
    let (ours_rate, bare_rate, indexed_rate);
    if number.is_multiple_of(2) {
        ours_rate = rate(ours.iter(), |link| create(stores, link)).await?;
        bare_rate = rate(theirs.iter(), |link| bare.insert(link)).await?;
        indexed_rate = rate(indexed.iter(), |link| bare.insert_with_indexes(link)).await?;
    } else {
        indexed_rate = rate(indexed.iter(), |link| bare.insert_with_indexes(link)).await?;
        bare_rate = rate(theirs.iter(), |link| bare.insert(link)).await?;
        ours_rate = rate(ours.iter(), |link| create(stores, link)).await?;
    }
    let many = || ours.iter().cycle().take(usize::try_from(FINDS).unwrap_or(0));
    let (find_ours, find_bare);
    if number.is_multiple_of(2) {
        find_ours = rate(many(), |link| find(stores, link)).await?;
        find_bare = rate(many(), |link| bare.find(link)).await?;
    } else {
        find_bare = rate(many(), |link| bare.find(link)).await?;
        find_ours = rate(many(), |link| find(stores, link)).await?;
    }
    Ok(Round { create: [ours_rate, indexed_rate, bare_rate], find: [find_ours, find_bare] })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(rounds: &[Round]) {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
    let rows = [
        ("create / same statements", of(|r| r.create[0]), of(|r| r.create[1]), of(|r| r.create[0] / r.create[1])),
        ("create / conditional insert alone", of(|r| r.create[0]), of(|r| r.create[2]), of(|r| r.create[0] / r.create[2])),
        ("find / select", of(|r| r.find[0]), of(|r| r.find[1]), of(|r| r.find[0] / r.find[1])),
    ];
    println!("{:<36} {:>10} {:>10} {:>7}", "", "store /s", "bare /s", "ratio");
    for (name, ours, bare, ratio) in rows {
        println!("{name:<36} {ours:>10.0} {bare:>10.0} {ratio:>7.2}");
    }
    for (name, (.., ratio)) in ["create_ratio", "create_ratio_insert_alone", "find_ratio"].into_iter().zip(rows) {
        figure(name, ratio);
    }
}

pub(crate) async fn run(servers: &str, rounds_wanted: &str) -> anyhow::Result<()> {
    Box::pin(measure(servers, rounds_wanted)).await.map_err(|error| anyhow::anyhow!(error))
}

async fn measure(servers: &str, rounds_wanted: &str) -> Outcome<()> {
    let rounds_wanted: u64 = rounds_wanted.parse()?;
    let url = Url::parse(&format!("scylla://{servers}/ratio_{:08x}?replication=1", SystemEntropy.u64() >> 32))?;
    // A rate is measured, not a deadline.
    let options = Options {
        read_timeout: Duration::from_secs(10),
        list_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(10),
        settle_timeout: Duration::from_secs(30),
        ..Options::default()
    };
    migrate(&url, options).await?;
    let lifecycle = Lifecycle::new(Duration::from_secs(5));
    let stores = Box::pin(open_links(&url, options, Arc::new(SystemClock), Arc::new(SystemEntropy), &lifecycle)).await?;
    let bare = Bare::new(servers, url.keyspace()).await?;
    let warm = Box::pin(round(1_000, &stores, &bare)).await;
    let mut rounds = Vec::new();
    for number in 0..rounds_wanted {
        rounds.push(Box::pin(round(number, &stores, &bare)).await?);
    }
    warm?;
    report(&rounds);
    lifecycle.drain_in_order().await;
    bare.session.query_unpaged(format!("DROP KEYSPACE {}", url.keyspace()), ()).await?;
    Ok(())
}
