//! A shared cache in memory, on the clock of the tests.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::port::{Cached, LinkCache, PortResult, Rebuild, Remembered};
use domain::{CodeKind, DomainNo, Link, Slug};
use tokio::time::Instant;

use crate::world::Switch;

const N: Duration = Duration::from_mins(1);
const S: Duration = Duration::from_hours(1);
const ABSENT: Duration = Duration::from_secs(5);
const LOCK: Duration = Duration::from_millis(300);

struct Row {
    what: Remembered,
    fresh_until: Instant,
    ends: Instant,
    delta: Duration,
}

#[derive(Default)]
pub(crate) struct Shelf {
    rows: Mutex<HashMap<(DomainNo, String), Row>>,
    locks: Mutex<HashMap<String, Instant>>,
    pub(crate) switch: Switch,
    pub(crate) finds: AtomicU64,
}

impl Shelf {
    pub(crate) fn clear(&self) {
        self.rows.lock().unwrap().clear();
        self.locks.lock().unwrap().clear();
    }

    pub(crate) fn holds(&self, key: &str) -> Option<Remembered> {
        self.rows.lock().unwrap().get(&(DomainNo::DEFAULT, key.to_owned())).map(|row| row.what.clone())
    }

    /// As it should never be.
    pub(crate) fn plant(&self, key: &str, link: &Link) {
        let fresh_until = Instant::now() + N;
        let row = Row { what: Remembered::Link(Box::new(link.clone())), fresh_until, ends: fresh_until, delta: Duration::ZERO };
        self.rows.lock().unwrap().insert((DomainNo::DEFAULT, key.to_owned()), row);
    }

    pub(crate) fn finds(&self) -> u64 {
        self.finds.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl LinkCache for Shelf {
    async fn find(&self, domain: DomainNo, code: Slug<'_>) -> PortResult<Option<Cached>> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.switch.pass().await?;
        let now = Instant::now();
        let rows = self.rows.lock().unwrap();
        let at = |key: &str| rows.get(&(domain, key.to_owned())).filter(|row| now < row.ends);
        let is_alias = |row: &&Row| matches!(&row.what, Remembered::Link(link) if link.code.kind() == CodeKind::Alias);
        let row = at(code.as_str()).or_else(|| at(&code.as_str().to_ascii_lowercase()).filter(is_alias));
        let cached =
            |row: &Row| Cached { what: row.what.clone(), fresh_for: row.fresh_until.saturating_duration_since(now), delta: row.delta };
        Ok(row.map(cached))
    }

    async fn put(&self, link: &Link, age: Duration, delta: Duration) -> PortResult<()> {
        self.switch.pass().await?;
        let fresh_until = Instant::now() + N.saturating_sub(age);
        let mut rows = self.rows.lock().unwrap();
        let key = link.code.key().to_string();
        rows.retain(|(_, typed), row| row.what != Remembered::Absent || !typed.eq_ignore_ascii_case(&key));
        let at = (link.domain, key);
        if let Some(Row { what: Remembered::Link(old), .. }) = rows.get(&at)
            && old.version > link.version
        {
            return Ok(());
        }
        rows.insert(at, Row { what: Remembered::Link(Box::new(link.clone())), fresh_until, ends: fresh_until + S, delta });
        Ok(())
    }

    async fn put_absent(&self, domain: DomainNo, code: Slug<'_>, age: Duration) -> PortResult<()> {
        self.switch.pass().await?;
        let ends = Instant::now() + ABSENT.saturating_sub(age);
        let row = Row { what: Remembered::Absent, fresh_until: ends, ends, delta: Duration::ZERO };
        self.rows.lock().unwrap().entry((domain, code.as_str().to_owned())).or_insert(row);
        Ok(())
    }

    async fn rebuild(&self, _: DomainNo, code: Slug<'_>) -> PortResult<Rebuild> {
        tokio::task::yield_now().await;
        self.switch.pass().await?;
        let now = Instant::now();
        let mut locks = self.locks.lock().unwrap();
        if locks.get(code.as_str()).is_some_and(|until| now < *until) {
            return Ok(Rebuild::Theirs);
        }
        locks.insert(code.as_str().to_owned(), now + LOCK);
        Ok(Rebuild::Ours)
    }
}
