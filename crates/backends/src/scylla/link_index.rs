//! What links are found by beside their code: id, owner, time, tag, domain.
//!
//! The rows of an index say "this id has this code" and are a set: written before the link, never changed. A
//! row whose link turns out to be another's is passed over, so that nothing here must be atomic with the link.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use compact_str::CompactString;
use domain::port::{PortResult, Walk};
use domain::snowflake::created_at;
use domain::{DomainNo, Link, LinkId, State, Tag};
use futures_util::future::{BoxFuture, FutureExt as _, try_join_all};

use super::error::{Broken, OpenError};
use super::fields::Fields;
use super::query::{Mode, Prepared};
use super::value::{self, to_domain, to_id};
use super::{Scylla, slots};

/// Rows of one id, at most, that a crash may have left: they are read beyond what was asked for.
const SAME_ID_MAX: usize = 16;
const TAG_PARTS: i8 = 16;
/// Samples of one domain that are looked through.
const SAMPLES_MAX: usize = 10_000;
/// (owner, slot) pairs known to be written; forgetting them costs a write each.
const KNOWN_MAX: usize = 100_000;
/// Slots read at once from their list.
const SLOTS_LEN: i32 = 64;
/// Periods looked into at once, at most.
const WINDOW_MAX: usize = 16;

/// A link that an index knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: LinkId,
    pub(super) domain: DomainNo,
    pub(super) key: CompactString,
}

pub(super) struct LinkIndex {
    scylla: Scylla,
    add_id: Prepared,
    remove_id: Prepared,
    of_id: Prepared,
    add_owner: Prepared,
    remove_owner: Prepared,
    of_owner: Prepared,
    add_slot: Prepared,
    slots: Prepared,
    add_tag: Prepared,
    remove_tag: Prepared,
    tags: Prepared,
    add_sample: Prepared,
    remove_sample: Prepared,
    samples: Prepared,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    slots: HashSet<(CompactString, i32)>,
    /// Domains that have a link for certain.
    domains: HashSet<DomainNo>,
}

impl LinkIndex {
    pub(super) async fn new(scylla: Scylla) -> Result<Self, OpenError> {
        let s = &scylla;
        Ok(Self {
            add_id: s.prepare(Mode::Write, "cql: index by id", "INSERT INTO links_by_id (id, domain, code) VALUES (?, ?, ?)").await?,
            remove_id: s
                .prepare(Mode::Write, "cql: unindex by id", "DELETE FROM links_by_id WHERE id = ? AND domain = ? AND code = ?")
                .await?,
            of_id: s.prepare(Mode::Read, "cql: code of an id", "SELECT id, domain, code FROM links_by_id WHERE id = ? LIMIT 64").await?,
            add_owner: s
                .prepare(
                    Mode::Write,
                    "cql: index by owner",
                    "INSERT INTO links_by_owner (owner, slot, id, domain, code) VALUES (?, ?, ?, ?, ?)",
                )
                .await?,
            remove_owner: s
                .prepare(
                    Mode::Write,
                    "cql: unindex by owner",
                    "DELETE FROM links_by_owner WHERE owner = ? AND slot = ? AND id = ? AND domain = ? AND code = ?",
                )
                .await?,
            of_owner: s
                .prepare(
                    Mode::Read,
                    "cql: links of an owner",
                    "SELECT id, domain, code FROM links_by_owner WHERE owner = ? AND slot = ? AND id < ? LIMIT ?",
                )
                .await?,
            add_slot: s.prepare(Mode::Write, "cql: add a slot", "INSERT INTO owner_slots (owner, slot) VALUES (?, ?)").await?,
            slots: s
                .prepare(Mode::Read, "cql: slots of an owner", "SELECT slot FROM owner_slots WHERE owner = ? AND slot <= ? LIMIT ?")
                .await?,
            add_tag: s
                .prepare(
                    Mode::Aggregate,
                    "cql: add a tag",
                    "INSERT INTO links_by_tag (owner, part, tag, id, domain, code) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
                )
                .await?,
            remove_tag: s
                .prepare(
                    Mode::Aggregate,
                    "cql: remove a tag",
                    "DELETE FROM links_by_tag USING TIMESTAMP ? WHERE owner = ? AND part = ? AND tag = ? AND id = ? AND domain = ? AND code = ?",
                )
                .await?,
            tags: s
                .prepare(
                    Mode::AggregateRead,
                    "cql: count tags",
                    "SELECT tag, count(*) AS links FROM links_by_tag WHERE owner = ? AND part = ? GROUP BY owner, part, tag",
                )
                .await?,
            add_sample: s
                .prepare(Mode::Write, "cql: add a sample", "INSERT INTO domain_samples (domain, id, code) VALUES (?, ?, ?)")
                .await?,
            remove_sample: s
                .prepare(Mode::Write, "cql: remove a sample", "DELETE FROM domain_samples WHERE domain = ? AND id = ? AND code = ?")
                .await?,
            samples: s
                .prepare(Mode::Read, "cql: samples of a domain", "SELECT id, domain, code FROM domain_samples WHERE domain = ?")
                .await?,
            known: Mutex::default(),
            scylla,
        })
    }

    /// Before the link is written: all at once, so that it takes as long as one.
    pub(super) async fn add(&self, link: &Link, key: &str) -> PortResult<()> {
        let (id, domain) = (value::id(link.id), value::domain(link.domain));
        let missing = self.missing(link);
        let mut writes: Vec<BoxFuture<'_, PortResult<()>>> = vec![self.scylla.write(&self.add_id, (id, domain, key)).boxed()];
        for (owner, slot) in &missing.slots {
            writes.push(self.scylla.write(&self.add_slot, (owner.as_str(), *slot)).boxed());
        }
        if missing.domain {
            writes.push(self.scylla.write(&self.add_sample, (domain, id, key)).boxed());
        }
        for (owner, slot) in of_link(link) {
            writes.push(self.scylla.write(&self.add_owner, (owner, slot, id, domain, key)).boxed());
        }
        writes.extend(self.tag_writes(link, key, counted(link), true));
        try_join_all(writes).await?;
        self.learn(missing.slots);
        Ok(())
    }

    /// The link is stored: its domain has one for certain.
    pub(super) fn stored(&self, link: &Link) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).domains.insert(link.domain);
    }

    /// The code is another link's, for ever: what was written before says nothing any more.
    pub(super) async fn remove(&self, link: &Link, key: &str) -> PortResult<()> {
        let (id, domain) = (value::id(link.id), value::domain(link.domain));
        let mut writes: Vec<BoxFuture<'_, PortResult<()>>> = vec![
            self.scylla.write(&self.remove_id, (id, domain, key)).boxed(),
            self.scylla.write(&self.remove_sample, (domain, id, key)).boxed(),
        ];
        for (owner, slot) in of_link(link) {
            writes.push(self.scylla.write(&self.remove_owner, (owner, slot, id, domain, key)).boxed());
        }
        writes.extend(self.tag_writes(link, key, counted(link), false));
        try_join_all(writes).await.map(drop)
    }

    /// After a change: tags that came and went. The new version is the timestamp, so that of several changes
    /// whose tags are written at once the last one counts.
    pub(super) async fn retag(&self, old: &Link, new: &Link, key: &str) -> PortResult<()> {
        let (before, after) = (counted(old), counted(new));
        let gone = before.iter().filter(|tag| !after.contains(tag)).cloned().collect();
        let come = after.iter().filter(|tag| !before.contains(tag)).cloned().collect();
        let mut writes = self.tag_writes(new, key, gone, false);
        writes.extend(self.tag_writes(new, key, come, true));
        try_join_all(writes).await.map(drop)
    }

    fn tag_writes<'a>(&'a self, link: &'a Link, key: &'a str, tags: Vec<Tag>, add: bool) -> Vec<BoxFuture<'a, PortResult<()>>> {
        let (id, domain, version) = (value::id(link.id), value::domain(link.domain), i64::from(link.version));
        let part = part(link.id);
        let mut writes = Vec::new();
        for tag in tags {
            for owner in [link.owner.as_str(), slots::EVERYONE] {
                let tag = tag.clone();
                writes.push(
                    async move {
                        let tag = tag.as_str();
                        if add {
                            self.scylla.write(&self.add_tag, (owner, part, tag, id, domain, key, version)).await
                        } else {
                            self.scylla.write(&self.remove_tag, (version, owner, part, tag, id, domain, key)).await
                        }
                    }
                    .boxed(),
                );
            }
        }
        writes
    }

    pub(super) async fn of_id(&self, id: LinkId) -> PortResult<Vec<Entry>> {
        self.scylla.rows(&self.of_id, (value::id(id),)).await?.map(entry)
    }

    pub(super) async fn tags(&self, whose: &Walk) -> PortResult<Vec<(Tag, u64)>> {
        let owner = slots::owner(whose);
        let parts = try_join_all((0..TAG_PARTS).map(|part| async move {
            let mut counts = Vec::new();
            let count = |fields: &Fields<'_, '_>| {
                counts.push((Tag::from_stored(fields.need("tag")?), value::to_count(fields.need("links")?)?));
                Ok(())
            };
            self.scylla.each(&self.tags, (owner, part), count).await?;
            Ok(counts)
        }))
        .await?;
        let mut sums = std::collections::BTreeMap::new();
        for (tag, count) in parts.into_iter().flatten() {
            *sums.entry(tag).or_insert(0) += count;
        }
        Ok(sums.into_iter().collect())
    }

    pub(super) async fn samples(&self, domain: DomainNo) -> PortResult<Vec<Entry>> {
        let mut samples = Vec::new();
        let take = |fields: &Fields<'_, '_>| {
            if samples.len() < SAMPLES_MAX {
                samples.push(entry(fields)?);
            }
            Ok(())
        };
        self.scylla.each(&self.samples, (value::domain(domain),), take).await?;
        Ok(samples)
    }

    /// Entries with ids below `before`, newest first: at least `limit` ids where there are as many.
    pub(super) async fn walk(&self, whose: &Walk, before: Option<LinkId>, limit: usize) -> PortResult<Vec<Entry>> {
        let mut walk = slots::Periods::new(slots::last(whose, before));
        let before = before.map_or(i64::MAX, value::id);
        let limit = limit.saturating_add(SAME_ID_MAX);
        let (mut entries, mut window) = (Vec::new(), 1);
        while entries.len() < limit {
            while walk.len() < window && !walk.is_complete() {
                let values = (slots::owner(whose), walk.next_slot(), SLOTS_LEN);
                let slots = self.scylla.rows(&self.slots, values).await?.map(|fields| fields.need::<i32>("slot"))?;
                walk.extend(&slots, usize::try_from(SLOTS_LEN).unwrap_or(usize::MAX));
            }
            let periods = walk.take(window);
            if periods.is_empty() {
                break;
            }
            let read = periods.iter().map(|slots| self.period(whose, slots, before, limit));
            for (some, is_cut) in try_join_all(read).await? {
                entries.extend(some);
                if is_cut {
                    return Ok(entries);
                }
            }
            window = (window * 2).min(WINDOW_MAX);
        }
        Ok(entries)
    }

    /// The entries of one period, newest first, and whether there are more in it that were not read.
    async fn period(&self, whose: &Walk, slots: &[i32], before: i64, limit: usize) -> PortResult<(Vec<Entry>, bool)> {
        let owner = slots::owner(whose);
        let rows = i32::try_from(limit).unwrap_or(i32::MAX);
        let parts = slots.iter().map(|slot| async move {
            let page = self.scylla.rows(&self.of_owner, (owner, *slot, before, rows)).await?;
            page.map(entry)
        });
        Ok(slots::merge(try_join_all(parts).await?, limit))
    }

    fn missing(&self, link: &Link) -> Missing {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = of_link(link).map(|(owner, slot)| (CompactString::from(owner), slot));
        Missing {
            slots: slots.into_iter().filter(|slot| !known.slots.contains(slot)).collect(),
            domain: !known.domains.contains(&link.domain),
        }
    }

    fn learn(&self, slots: Vec<(CompactString, i32)>) {
        if slots.is_empty() {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.slots.len() >= KNOWN_MAX {
            known.slots.clear();
        }
        known.slots.extend(slots);
    }
}

struct Missing {
    slots: Vec<(CompactString, i32)>,
    domain: bool,
}

/// Where the link is listed.
fn of_link(link: &Link) -> [(&str, i32); 2] {
    let at = created_at(link.id);
    [(link.owner.as_str(), slots::of_owner(at)), (slots::EVERYONE, slots::of_everyone(at, link.id))]
}

/// The tags that count: those of links that are not deleted.
fn counted(link: &Link) -> Vec<Tag> {
    if link.state == State::Deleted {
        return Vec::new();
    }
    let mut tags = link.tags.clone();
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn part(id: LinkId) -> i8 {
    i8::try_from(slots::part(id)).unwrap_or(0) % TAG_PARTS
}

fn entry(fields: &Fields<'_, '_>) -> Result<Entry, Broken> {
    let key: &str = fields.need("code")?;
    Ok(Entry { id: to_id(fields.need("id")?)?, domain: to_domain(fields.need("domain")?)?, key: key.into() })
}
