//! The functions that a redirect is made of, each to be run many times: timed by Criterion (benches/micro.rs), counted by callgrind
//! (`measure count`). All through what the crates offer to others, so that their insides may change.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use backends::click_codec::{self, CLICK_LEN_MAX, Keep};
use backends::file::click_log::{FileClickLog, Options as ClickLogOptions};
use backends::file::salt_store::FileSaltStore;
use backends::memory::{LinkEvents, NoLinkCache, RateLimiter, RateLimiterOptions};
use backends::mmdb::NoGeo;
use backends::sqlite;
use backends::system::{SystemClock, SystemEntropy};
use chassis::Lifecycle;
use domain::api::{Ask, Purpose, Resolver as _, Visit};
use domain::code::{Issued, decode_base62, encode_base62, has_generated_shape};
use domain::permutation::Permutation;
use domain::port::{ClickLog, DomainStore as _, Dropped, LeaseStore as _, LinkStore as _, PortResult};
use domain::{Browser, Click, Code, Country, Device, DomainNo, Host, Language, Link, LinkId, Owner, Slug, State, System, Target, UnixMs};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// Does it so many times.
    pub(crate) run: Box<dyn FnMut(u64)>,
}

impl Work {
    fn new<T>(name: &'static str, mut once: impl FnMut(u64) -> T + 'static) -> Self {
        let run = move |times| {
            for number in 0..times {
                black_box(once(black_box(number)));
            }
        };
        Self { name, run: Box::new(run) }
    }
}

const KEY: [u8; 16] = [7; 16];
const TEXT: &str = "4fK9aQz";
/// Requests that a client sends before it reads, as browsers' proxies and load generators do.
const PIPELINED: u64 = 16;
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";

pub(crate) fn all() -> anyhow::Result<Vec<Work>> {
    let mut all = codes();
    all.extend(clicks()?);
    all.extend(redirects()?);
    Ok(all)
}

fn codes() -> Vec<Work> {
    let permutation = Permutation::new(KEY, 0);
    let (encoding, decoding) = (permutation.clone(), permutation.clone());
    let issued = Issued::new(vec![(permutation, 1 << 20)]);
    vec![
        Work::new("code_encode", encode_base62),
        Work::new("code_decode", |_| decode_base62(black_box(TEXT.as_bytes()))),
        Work::new("shape_check", |_| has_generated_shape(black_box(TEXT))),
        Work::new("permutation_encode", move |number| encoding.encode(number)),
        Work::new("permutation_decode", move |number| decoding.decode(number)),
        Work::new("never_issued", move |_| Slug::parse(black_box(TEXT)).map(|slug| issued.never_issued(slug))),
    ]
}

fn click() -> Click<'static> {
    Click {
        link: LinkId::new(60_000_000_000 << 22),
        domain: DomainNo::DEFAULT,
        code: TEXT,
        owner: "admin",
        at: UnixMs::new(1_795_000_000_000),
        visitor: 0x9E37_79B9_7F4A_7C15,
        country: Country::parse("DE"),
        language: Language::parse("de"),
        referrer: "github.com",
        browser: Browser::Chrome,
        system: System::Windows,
        device: Device::Desktop,
        bot: "",
        utm_source: "",
        utm_medium: "",
        utm_campaign: "",
    }
}

/// Kept as long as what is measured in it.
struct Room {
    runtime: Runtime,
    folder: TempDir,
    life: Lifecycle,
}

impl Room {
    fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, folder: tempfile::tempdir()?, life: Lifecycle::new(Duration::from_secs(5)) })
    }
}

fn clicks() -> anyhow::Result<Vec<Work>> {
    let mut bytes = [0; CLICK_LEN_MAX];
    let len = click_codec::encode(&click(), Keep::Statistics, &mut bytes);
    let record = bytes[..len].to_vec();
    let room = Room::new()?;
    let _inside = room.runtime.enter();
    let folder = room.folder.path().join("clicks");
    let (log, source) = FileClickLog::open(&folder, ClickLogOptions::default(), Arc::new(SystemClock), &SystemEntropy, &room.life)?;
    Ok(vec![
        Work::new("click_encode", move |_| click_codec::encode(black_box(&click()), Keep::Statistics, &mut bytes)),
        Work::new("click_decode", move |_| click_codec::decode(black_box(&record))),
        Work::new("spool_append", move |_| {
            let _kept = (&room, &source);
            log.record(black_box(&click()))
        }),
    ])
}

fn redirects() -> anyhow::Result<Vec<Work>> {
    let room = Room::new()?;
    let World { resolver, address } = room.runtime.block_on(World::start(room.folder.path(), &room.life))?;
    let hit = Work::new("l1_hit", {
        let resolver = resolver.clone();
        move |_| resolver.try_resolve(black_box(&ask()))
    });
    let head = format!("GET /{TEXT} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {BROWSER}\r\nAccept: */*\r\n\r\n");
    let mut stream = room.runtime.block_on(TcpStream::connect(address))?;
    let answer_len = room.runtime.block_on(first_answer(&mut stream, &head))?;
    let requests = head.repeat(usize::try_from(PIPELINED)?);
    let mut answers = vec![0; answer_len * usize::try_from(PIPELINED)?];
    let http = Work {
        name: "http_redirect",
        // In groups, so at least one of them.
        run: Box::new(move |times| {
            room.runtime.block_on(async {
                for _ in 0..times.div_ceil(PIPELINED) {
                    stream.write_all(requests.as_bytes()).await.expect("the server reads");
                    stream.read_exact(&mut answers).await.expect("the server answers");
                }
            });
        }),
    };
    Ok(vec![hit, http])
}

fn ask() -> Ask<'static> {
    let visit = Visit {
        ip: IpAddr::from([192, 0, 2, 1]),
        user_agent: BROWSER,
        referrer: "https://www.example.org/page",
        language: "de-CH,de;q=0.9",
        country: None,
        query: "",
        purpose: Purpose::Follow,
    };
    Ask { domain: DomainNo::DEFAULT, code: TEXT, visit }
}

/// All answers have its length: identifiers and dates have fixed ones.
async fn first_answer(stream: &mut TcpStream, head: &str) -> anyhow::Result<usize> {
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        anyhow::ensure!(stream.read_buf(&mut answer).await? > 0, "the server closed");
    }
    anyhow::ensure!(answer.starts_with(b"HTTP/1.1 302 "), "no redirect: {}", String::from_utf8_lossy(&answer));
    Ok(answer.len())
}

/// The redirect path of a server in one process, with one link in memory and clicks that are forgotten.
struct World {
    resolver: Arc<redirect::Service>,
    address: SocketAddr,
}

impl World {
    async fn start(folder: &std::path::Path, life: &Lifecycle) -> anyhow::Result<Self> {
        let stores = sqlite::open_links(&folder.join("terse.db"), sqlite::Options::default(), &SystemEntropy)?;
        let stats = sqlite::open_stats(&folder.join("stats.db"), sqlite::Options::default())?;
        stores.domains.set_default(&Host::parse("localhost").context("a host")?).await?;
        // Known to exist: no proof may say that it was never issued.
        stores.domains.set_foreign_codes(DomainNo::DEFAULT).await?;
        stores.links.insert(vec![link()]).await?;
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let key = stores.leases.ranges().await?.first().context("a range of codes")?.key;
        let events = Arc::new(LinkEvents::alone());
        let deps = redirect::Deps {
            links: stores.links.clone(),
            cache: Arc::new(NoLinkCache),
            budgets: stores.budgets.clone(),
            issued: stores.leases.clone(),
            domains: stores.domains.clone(),
            clicks: Arc::new(Forget),
            takedowns: stores.takedowns.clone(),
            events: events.clone(),
            salts: Arc::new(FileSaltStore::open(folder, entropy.clone())?),
            geo: Arc::new(NoGeo),
            clock: clock.clone(),
        };
        let resolver = redirect::Service::new(redirect::Options::default(), deps, life).await?;
        let ids = Arc::new(ids::Service::new(ids::Options::default(), stores.leases.clone(), clock.clone(), entropy.clone(), key)?);
        let deps = links::Deps {
            ids: ids.clone(),
            links: stores.links.clone(),
            claims: stores.claims.clone(),
            budgets: stores.budgets.clone(),
            domains: stores.domains.clone(),
            jobs: stores.jobs.clone(),
            takedowns: stores.takedowns.clone(),
            cache: Arc::new(NoLinkCache),
            events,
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let services = gateway::Services {
            links: links::Service::start(links::Options::new(key), deps, life),
            resolver: resolver.clone(),
            stats: Arc::new(analytics::Service::new(stats.clone(), clock.clone())),
            history: Arc::new(analytics::history::Service::new(stats, clock.clone())),
            ids,
            keys: stores.keys.clone(),
            domains: stores.domains.clone(),
            limiter: Arc::new(RateLimiter::new(&RateLimiterOptions::default())),
            clock,
            entropy,
        };
        let mut options = gateway::Options::default();
        options.limits.requests_per_s = 0;
        let gateway = gateway::Gateway::new(services, options);
        let address = gateway::Server::bind(gateway, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), life).await?;
        Ok(Self { resolver, address })
    }
}

fn link() -> Link {
    let at = UnixMs::new(1_795_000_000_000);
    Link {
        id: LinkId::new(60_000_000_000 << 22),
        domain: DomainNo::DEFAULT,
        code: Code::from_stored(TEXT, domain::CodeKind::Generated),
        owner: Owner::from_stored("admin"),
        target: Target::from_stored("https://example.com/articles/00000001/some-page-of-it"),
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
        change_id: 1,
    }
}

/// What recording costs is measured by itself.
struct Forget;

#[async_trait]
impl ClickLog for Forget {
    fn record(&self, _: &Click<'_>) -> Result<(), Dropped> {
        Ok(())
    }

    async fn flush(&self) -> PortResult<()> {
        Ok(())
    }
}
