//! Domains: all of them in one partition, changed as a whole and read every two seconds.
//!
//! A change reads the partition, and writes its rows together with a new `revision`, on the condition that nobody did so
//! meanwhile. So host names are unique and numbers go up without another table, and all domains fit in memory anyway.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use chassis::{Lifecycle, OnError, Stage};
use domain::port::{Clock, DomainAdded, DomainStore as Port, Entropy, Outcome, PortError, PortErrorKind, PortResult};
use domain::{Caching, Directory, Domain, DomainNo, Host, RedirectStatus, Target, UnixMs};

use super::error::Broken;
use super::fields::Fields;
use super::query::{Mode, Prepared, Reach};
use super::value::{domain as number, to_domain};
use super::{OpenError, Scylla};

const POLL: Duration = Duration::from_secs(2);
/// A directory whose reading began longer ago proves nothing.
const FRESH: Duration = Duration::from_secs(4);
/// After this long every directory that is fresh anywhere was read after the flag was set.
const HOLD: Duration = Duration::from_secs(5);
/// Changes of others that one change may meet.
const TRIES_MAX: u32 = 16;

/// Numbers of `foreign_codes`: set, and known to have been set for [`HOLD`].
const FOREIGN_SET: i32 = 1;
const FOREIGN_HOLDS: i32 = 2;

struct Statements {
    poll: Prepared,
    read: Prepared,
    put: Prepared,
    rename: Prepared,
    remove: Prepared,
}

pub struct DomainStore {
    cql: Scylla,
    clock: Arc<dyn Clock>,
    /// Of the next change: begun at random, so that no other process has the same.
    next_id: AtomicI64,
    statements: Statements,
    known: ArcSwap<Known>,
    directory: ArcSwap<Directory>,
    /// Since when this process knows of a domain's foreign codes.
    foreign_since: Mutex<HashMap<DomainNo, Instant>>,
    /// One change at a time in this process: more would only meet each other.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Entry {
    domain: Domain,
    foreign_codes: i32,
}

/// The partition as read.
#[derive(Clone, Debug)]
struct Known {
    /// Before the read was sent.
    began: Instant,
    revision: Option<i64>,
    change_id: Option<i64>,
    last_no: u32,
    entries: Vec<Entry>,
}

/// One change of the partition, besides its revision.
enum Change {
    Put(Entry),
    /// The entry, and the host it had.
    Rename(Entry, Host),
    Remove(Host),
}

/// What a change comes to: nothing to do, or something to write; and the answer.
type Wanted<T> = (Option<Change>, T);

const HEAD: &str = "BEGIN BATCH UPDATE domains SET revision = ?, change_id = ?, last_no = ? WHERE shard = 0 IF revision = ?; ";
const PUT: &str = "INSERT INTO domains (shard, host, no, redirect_status, caching, landing_url, not_found_url, foreign_codes, created_at) \
                   VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?); ";
const REMOVE: &str = "DELETE FROM domains WHERE shard = 0 AND host = ?; ";
const READ: &str = "SELECT revision, change_id, last_no, host, no, redirect_status, caching, landing_url, not_found_url, foreign_codes, \
                    created_at FROM domains WHERE shard = 0";

impl DomainStore {
    /// Reads all domains once; [`Self::start`] keeps them fresh.
    pub(super) async fn open(cql: &Scylla, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Arc<Self>, OpenError> {
        let condition = Mode::Condition(Reach::Everywhere);
        let statements = Statements {
            poll: cql.prepare(Mode::Read, "cql: read the domains", READ).await?,
            read: cql.prepare(Mode::SerialRead(Reach::Everywhere), "cql: read the domains to change them", READ).await?,
            put: cql.prepare(condition, "cql: put a domain", &format!("{HEAD}{PUT}APPLY BATCH")).await?,
            rename: cql.prepare(condition, "cql: rename a domain", &format!("{HEAD}{PUT}{REMOVE}APPLY BATCH")).await?,
            remove: cql.prepare(condition, "cql: remove a domain", &format!("{HEAD}{REMOVE}APPLY BATCH")).await?,
        };
        let nothing = Known { began: Instant::now(), revision: None, change_id: None, last_no: 0, entries: Vec::new() };
        let store = Self {
            clock,
            next_id: AtomicI64::new(entropy.u64().cast_signed()),
            statements,
            known: ArcSwap::from_pointee(nothing),
            directory: ArcSwap::default(),
            foreign_since: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            cql: cql.clone(),
        };
        let url = store.cql.url().to_string();
        store.poll().await.map_err(|error| OpenError::Failed { url, source: Box::new(error) })?;
        Ok(Arc::new(store))
    }

    /// Reads the domains every two seconds until background tasks drain.
    pub fn start(self: &Arc<Self>, life: &Lifecycle) {
        let (store, draining) = (self.clone(), life.draining(Stage::Background));
        life.spawn("domains", Stage::Background, OnError::Drain, async move {
            let mut tick = tokio::time::interval(POLL);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while draining.run_until_cancelled(tick.tick()).await.is_some() {
                // Failures are counted, and said once, where statements are sent; a directory that is not fresh says so itself.
                if store.poll().await.is_ok() {
                    store.settle().await;
                }
            }
            Ok::<_, Infallible>(())
        });
    }

    async fn poll(&self) -> PortResult<()> {
        let known = self.read(&self.statements.poll).await?;
        self.learn(known);
        Ok(())
    }

    async fn read(&self, statement: &Prepared) -> PortResult<Known> {
        let mut known = Known { began: Instant::now(), revision: None, change_id: None, last_no: 0, entries: Vec::new() };
        let read = self.cql.each(statement, (), |row| {
            known.revision = row.get("revision")?;
            known.change_id = row.get("change_id")?;
            known.last_no = row.get::<i32>("last_no")?.unwrap_or(0).max(0).unsigned_abs();
            // The statics stand alone while there is no domain.
            if !row.is_null("host") {
                known.entries.push(entry(row)?);
            }
            Ok(())
        });
        read.await?;
        Ok(known)
    }

    /// Keeps the newest reading: of one revision that which began last, and none of an older revision.
    fn learn(&self, known: Known) {
        let mut since = self.foreign_since.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.known.load();
        if known.revision < now.revision || (known.revision == now.revision && known.began < now.began) {
            return;
        }
        let flagged: Vec<_> =
            known.entries.iter().filter(|entry| entry.foreign_codes == FOREIGN_SET).map(|entry| entry.domain.no).collect();
        since.retain(|no, _| flagged.contains(no));
        for no in flagged {
            // Now, not when the reading began: the flag may have been set in between.
            since.entry(no).or_insert_with(Instant::now);
        }
        if known.revision != now.revision {
            self.directory.store(Arc::new(Directory::new(known.entries.iter().map(|entry| entry.domain.clone()))));
        }
        self.known.store(Arc::new(known));
    }

    /// Writes down that a flag has been known for long enough, so that a process that starts later need not wait again.
    async fn settle(&self) {
        let due: Vec<DomainNo> = {
            let since = self.foreign_since.lock().unwrap_or_else(PoisonError::into_inner);
            since.iter().filter(|(_, since)| since.elapsed() >= HOLD).map(|(no, _)| *no).collect()
        };
        for no in due {
            let settled = self.change("cql: settle foreign_codes", |known| {
                let entry = known.get(no).filter(|entry| entry.foreign_codes == FOREIGN_SET);
                let change = entry.map(|entry| Change::Put(Entry { foreign_codes: FOREIGN_HOLDS, ..entry.clone() }));
                Ok((change, ()))
            });
            if let Err(error) = settled.await {
                tracing::debug!(%error, "foreign codes are not noted as known to everyone; trying again");
            }
        }
    }

    /// Applies what `decide` makes of the domains as they are, again where another process changed them meanwhile.
    async fn change<T, F>(&self, op: &'static str, mut decide: F) -> PortResult<T>
    where
        T: Send,
        F: FnMut(&Known) -> PortResult<Wanted<T>> + Send,
    {
        let _turn = self.turn.lock().await;
        for _ in 0..TRIES_MAX {
            let known = self.read(&self.statements.read).await?;
            self.learn(known.clone());
            let (change, answer) = decide(&known)?;
            let Some(change) = change else { return Ok(answer) };
            if self.write(&known, &change).await? {
                let changed = self.read(&self.statements.read).await?;
                self.learn(changed);
                return Ok(answer);
            }
        }
        Err(PortError::new(PortErrorKind::Unavailable, op, Outcome::NotApplied).with_source("others change the domains all the time"))
    }

    /// False when the partition has changed since it was read.
    async fn write(&self, known: &Known, change: &Change) -> PortResult<bool> {
        let revision = known.revision.unwrap_or(0) + 1;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let last_no = match change {
            Change::Put(entry) | Change::Rename(entry, _) => known.last_no.max(entry.domain.no.get()),
            Change::Remove(_) => known.last_no,
        };
        let last_no = number(DomainNo::new(last_no));
        let decided = match change {
            Change::Put(entry) => {
                let row = Row::of(entry);
                let values = (revision, id, last_no, known.revision, row.0, row.1, row.2, row.3, row.4, row.5, row.6, row.7);
                self.cql.decide(&self.statements.put, values).await
            }
            Change::Rename(entry, old) => {
                let row = Row::of(entry);
                let values = (revision, id, last_no, known.revision, row.0, row.1, row.2, row.3, row.4, row.5, row.6, row.7, old.as_str());
                self.cql.decide(&self.statements.rename, values).await
            }
            Change::Remove(host) => self.cql.decide(&self.statements.remove, (revision, id, last_no, known.revision, host.as_str())).await,
        };
        match decided {
            Ok(decided) if decided.applied => Ok(true),
            Ok(_) => self.is_ours(id).await,
            Err(error) if error.outcome == Outcome::NotApplied => Err(error),
            // The serial read finishes what is under way, so that what is not there then will never be.
            Err(error) => self.is_ours(id).await.map_err(|_| error),
        }
    }

    /// Whether the last change is the one of this id: an answer may get lost, or come from a second attempt.
    async fn is_ours(&self, id: i64) -> PortResult<bool> {
        Ok(self.read(&self.statements.read).await?.change_id == Some(id))
    }
}

struct Row;

type RowValues<'a> = (&'a str, i32, Option<i32>, Option<&'a str>, Option<&'a str>, Option<&'a str>, i32, i64);

impl Row {
    fn of(entry: &Entry) -> RowValues<'_> {
        let domain = &entry.domain;
        (
            domain.host.as_str(),
            number(domain.no),
            domain.redirect_status.map(|status| i32::from(status.code())),
            domain.caching.map(Caching::as_str),
            domain.landing_url.as_ref().map(Target::as_str),
            domain.not_found_url.as_ref().map(Target::as_str),
            entry.foreign_codes,
            domain.created_at.get(),
        )
    }
}

fn entry(row: &Fields<'_, '_>) -> Result<Entry, Broken> {
    let target = |name| -> Result<Option<Target>, Broken> { Ok(row.get::<&str>(name)?.map(Target::from_stored)) };
    let status = row.get::<i32>("redirect_status")?.map(|code| {
        let status = u16::try_from(code).ok().and_then(RedirectStatus::from_code);
        status.ok_or_else(|| Broken::new(format!("{code} is no redirect status")))
    });
    let caching = row.get::<&str>("caching")?.map(|text| Caching::parse(text).ok_or_else(|| Broken::new("no caching mode")));
    let foreign_codes = row.get("foreign_codes")?.unwrap_or(0);
    Ok(Entry {
        domain: Domain {
            no: to_domain(row.need("no")?)?,
            host: Host::from_stored(row.need("host")?),
            redirect_status: status.transpose()?,
            caching: caching.transpose()?,
            landing_url: target("landing_url")?,
            not_found_url: target("not_found_url")?,
            foreign_codes: foreign_codes >= FOREIGN_SET,
            created_at: UnixMs::new(row.need("created_at")?),
        },
        foreign_codes,
    })
}

impl Known {
    fn get(&self, no: DomainNo) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.domain.no == no)
    }

    fn find(&self, host: &Host) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.domain.host == *host)
    }
}

#[async_trait]
impl Port for DomainStore {
    fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    fn is_fresh(&self) -> bool {
        self.known.load().began.elapsed() < FRESH
    }

    fn flags_are_immediate(&self) -> bool {
        false
    }

    fn foreign_codes_hold(&self, no: DomainNo) -> bool {
        match self.known.load().get(no).map(|entry| entry.foreign_codes) {
            Some(FOREIGN_HOLDS..) => true,
            Some(FOREIGN_SET) => {
                let since = self.foreign_since.lock().unwrap_or_else(PoisonError::into_inner);
                since.get(&no).is_some_and(|since| since.elapsed() >= HOLD)
            }
            _ => false,
        }
    }

    async fn refresh(&self) -> PortResult<()> {
        self.poll().await
    }

    async fn set_default(&self, host: &Host) -> PortResult<Domain> {
        const OP: &str = "cql: set the default domain";
        let now = self.clock.now();
        self.change(OP, |known| {
            if let Some(entry) = known.find(host) {
                let domain = entry.domain.clone();
                return if domain.is_default() { Ok((None, domain)) } else { Err(taken(OP, host, domain.no)) };
            }
            let (entry, old) = match known.get(DomainNo::DEFAULT) {
                Some(entry) => {
                    let domain = Domain { host: host.clone(), ..entry.domain.clone() };
                    (Entry { domain, ..entry.clone() }, Some(entry.domain.host.clone()))
                }
                None => (Entry { domain: default_domain(host.clone(), now), foreign_codes: 0 }, None),
            };
            let domain = entry.domain.clone();
            Ok((Some(old.map_or_else(|| Change::Put(entry.clone()), |old| Change::Rename(entry.clone(), old))), domain))
        })
        .await
    }

    async fn insert(&self, domain: Domain) -> PortResult<DomainAdded> {
        const OP: &str = "cql: insert a domain";
        self.change(OP, |known| {
            if let Some(entry) = known.find(&domain.host) {
                return Ok((None, DomainAdded::Taken(entry.domain.clone())));
            }
            let next = known.last_no.max(DomainNo::DEFAULT.get()) + 1;
            if next > DomainNo::MAX {
                let error = PortError::new(PortErrorKind::Unavailable, OP, Outcome::NotApplied);
                return Err(error.with_source("there are no more domain numbers"));
            }
            let domain = Domain { no: DomainNo::new(next), ..domain.clone() };
            // Written with the domain itself, before any code: who knows the domain knows the flag.
            let foreign_codes = if domain.foreign_codes { FOREIGN_HOLDS } else { 0 };
            Ok((Some(Change::Put(Entry { domain: domain.clone(), foreign_codes })), DomainAdded::Added(domain)))
        })
        .await
    }

    async fn update(&self, domain: Domain) -> PortResult<Option<Domain>> {
        self.change("cql: update a domain", |known| {
            let Some(entry) = known.get(domain.no) else { return Ok((None, None)) };
            let (host, foreign_codes, created_at) = (entry.domain.host.clone(), entry.domain.foreign_codes, entry.domain.created_at);
            let domain = Domain { host, foreign_codes, created_at, ..domain.clone() };
            Ok((Some(Change::Put(Entry { domain: domain.clone(), ..entry.clone() })), Some(domain)))
        })
        .await
    }

    async fn set_foreign_codes(&self, no: DomainNo) -> PortResult<bool> {
        self.change("cql: set foreign_codes", |known| {
            let Some(entry) = known.get(no).filter(|entry| entry.foreign_codes < FOREIGN_SET) else { return Ok((None, false)) };
            let domain = Domain { foreign_codes: true, ..entry.domain.clone() };
            Ok((Some(Change::Put(Entry { domain, foreign_codes: FOREIGN_SET })), true))
        })
        .await
    }

    async fn remove(&self, no: DomainNo) -> PortResult<()> {
        self.change("cql: remove a domain", |known| Ok((known.get(no).map(|entry| Change::Remove(entry.domain.host.clone())), ()))).await
    }
}

fn default_domain(host: Host, created_at: UnixMs) -> Domain {
    Domain {
        no: DomainNo::DEFAULT,
        host,
        redirect_status: None,
        caching: None,
        landing_url: None,
        not_found_url: None,
        foreign_codes: false,
        created_at,
    }
}

fn taken(op: &'static str, host: &Host, no: DomainNo) -> PortError {
    let cause = format!("`{host}` is already the host of domain {}: remove that domain, or choose another default host", no.get());
    PortError::new(PortErrorKind::Unavailable, op, Outcome::NotApplied).with_source(cause)
}
