//! Links.

use async_trait::async_trait;
use domain::permutation::Permutation;
use domain::port::{Inserted, LinkStore as Port, PortResult, Replaced, Walk};
use domain::{CodeKind, DomainNo, Link, LinkId, Slug, State, Tag};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Sqlite;
use super::link_row::{self, COLUMNS, NAMED_KEYS, Stored, domain_keys, packed_key};
use super::value;

pub struct LinkStore {
    file: Sqlite,
    /// Of the first key epoch, for ever: row keys are made with it.
    first: Permutation,
}

impl LinkStore {
    pub(super) fn new(file: Sqlite, first: Permutation) -> Self {
        Self { file, first }
    }
}

#[async_trait]
impl Port for LinkStore {
    async fn insert(&self, links: Vec<Link>) -> PortResult<Vec<Inserted>> {
        let first = self.first.clone();
        let insert_all = move |db: &Connection| links.iter().map(|link| insert(db, &first, link)).collect();
        self.file.write("sqlite: insert links", insert_all).await
    }

    async fn find(&self, domain: DomainNo, code: Slug<'_>) -> PortResult<Option<Link>> {
        let (first, code) = (self.first.clone(), compact_str::CompactString::from(code.as_str()));
        self.file.read("sqlite: find a link", move |db| find(db, &first, domain, &code)).await
    }

    async fn get(&self, id: LinkId) -> PortResult<Option<Link>> {
        let first = self.first.clone();
        self.file.read("sqlite: get a link", move |db| get(db, &first, id)).await
    }

    async fn get_many(&self, ids: &[LinkId]) -> PortResult<Vec<Link>> {
        let (first, ids) = (self.first.clone(), ids.to_vec());
        let get_all = move |db: &Connection| ids.into_iter().filter_map(|id| get(db, &first, id).transpose()).collect();
        self.file.read("sqlite: get links", get_all).await
    }

    async fn replace(&self, links: Vec<Link>) -> PortResult<Vec<Replaced>> {
        let first = self.first.clone();
        let replace_all = move |db: &Connection| links.iter().map(|link| replace(db, &first, link)).collect();
        self.file.write("sqlite: replace links", replace_all).await
    }

    async fn walk(&self, whose: &Walk, before: Option<LinkId>, limit: usize) -> PortResult<Vec<Link>> {
        let (first, whose) = (self.first.clone(), whose.clone());
        self.file.read("sqlite: walk links", move |db| walk(db, &first, &whose, before, limit)).await
    }

    async fn tags(&self, whose: &Walk) -> PortResult<Vec<(Tag, u64)>> {
        let whose = whose.clone();
        self.file.read("sqlite: count tags", move |db| tags(db, &whose)).await
    }

    async fn any_in_domain(&self, domain: DomainNo) -> PortResult<bool> {
        self.file.read("sqlite: look for links of a domain", move |db| any_in_domain(db, domain)).await
    }
}

fn insert(db: &Connection, first: &Permutation, link: &Link) -> rusqlite::Result<Inserted> {
    let packed = packed_key(first, link.domain, link.code.as_str());
    let key = match packed {
        Some(key) => key,
        None => match name_key(db, link)? {
            Ok(key) => key,
            Err(taken) => return by_key(db, first, taken)?.map(Inserted::Taken).ok_or(rusqlite::Error::QueryReturnedNoRows),
        },
    };
    let owner = owner_no(db, link.owner.as_str())?;
    let row = Stored::new(link);
    let (domain, code) = if packed.is_some() { (None, None) } else { (Some(link.domain.get()), Some(link.code.as_str())) };
    let inserted = db
        .prepare_cached(
            "INSERT INTO links (key, id, change_id, owner, flags, version, created, updated, target, tags, title, starts_at, \
             expires_at, max_clicks, blocked, domain, code) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17) ON CONFLICT (key) DO NOTHING",
        )?
        .execute(params![
            key,
            row.id,
            row.change_id,
            owner,
            row.flags,
            link.version,
            row.created,
            row.updated,
            link.target.as_str(),
            row.tags,
            link.title.as_ref().map(domain::Title::as_str),
            value::ms(link.starts_at),
            value::ms(link.expires_at),
            link.max_clicks.map(value::bits),
            link.blocked.as_ref().map(domain::BlockReason::as_str),
            domain,
            code,
        ])?;
    if inserted == 0 {
        return by_key(db, first, key)?.map(Inserted::Taken).ok_or(rusqlite::Error::QueryReturnedNoRows);
    }
    db.prepare_cached("INSERT INTO owner_links (owner, id) VALUES (?1, ?2)")?.execute([owner, row.id])?;
    add_tags(db, owner, link)?;
    Ok(Inserted::Stored)
}

/// Books the name of a link, and answers the key of its row; or the key of the link that has the name.
fn name_key(db: &Connection, link: &Link) -> rusqlite::Result<Result<i64, i64>> {
    let name = link.code.key();
    let taken = named(db, link.domain, &name)?;
    if let Some(key) = taken {
        return Ok(Err(key));
    }
    let last: Option<i64> = db.prepare_cached("SELECT max(key) FROM links WHERE key >= ?1")?.query_row([NAMED_KEYS], |row| row.get(0))?;
    let key = last.map_or(NAMED_KEYS, |last| last + 1);
    db.prepare_cached("INSERT INTO named_codes (domain, name, key) VALUES (?1, ?2, ?3)")?.execute(params![
        link.domain.get(),
        name.as_str(),
        key
    ])?;
    Ok(Ok(key))
}

fn named(db: &Connection, domain: DomainNo, name: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT key FROM named_codes WHERE domain = ?1 AND name = ?2")?
        .query_row(params![domain.get(), name], |row| row.get(0))
        .optional()
}

fn owner_no(db: &Connection, name: &str) -> rusqlite::Result<i64> {
    let known = db.prepare_cached("SELECT no FROM owners WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()?;
    if let Some(no) = known {
        return Ok(no);
    }
    db.prepare_cached("INSERT INTO owners (name) VALUES (?1)")?.execute([name])?;
    Ok(db.last_insert_rowid())
}

fn add_tags(db: &Connection, owner: i64, link: &Link) -> rusqlite::Result<()> {
    if link.tags.is_empty() || link.state == State::Deleted {
        return Ok(());
    }
    let mut add = db.prepare_cached("INSERT OR IGNORE INTO link_tags (owner, tag, id) VALUES (?1, ?2, ?3)")?;
    for tag in &link.tags {
        add.execute(params![owner, tag.as_str(), value::id(link.id)])?;
    }
    Ok(())
}

fn remove_tags(db: &Connection, owner: i64, link: &Link) -> rusqlite::Result<()> {
    let mut remove = db.prepare_cached("DELETE FROM link_tags WHERE owner = ?1 AND tag = ?2 AND id = ?3")?;
    for tag in &link.tags {
        remove.execute(params![owner, tag.as_str(), value::id(link.id)])?;
    }
    Ok(())
}

fn by_key(db: &Connection, first: &Permutation, key: i64) -> rusqlite::Result<Option<Link>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM links l JOIN owners o ON o.no = l.owner WHERE l.key = ?1"))?
        .query_row([key], |row| link_row::read(first, row))
        .optional()
}

fn find(db: &Connection, first: &Permutation, domain: DomainNo, code: &str) -> rusqlite::Result<Option<Link>> {
    if let Some(key) = packed_key(first, domain, code) {
        // No spelling of such a code is an alias.
        return by_key(db, first, key);
    }
    if let Some(key) = named(db, domain, code)? {
        return by_key(db, first, key);
    }
    if !code.bytes().any(|b| b.is_ascii_uppercase()) {
        return Ok(None);
    }
    let Some(key) = named(db, domain, &code.to_ascii_lowercase())? else { return Ok(None) };
    Ok(by_key(db, first, key)?.filter(|link| link.code.kind() == CodeKind::Alias))
}

fn get(db: &Connection, first: &Permutation, id: LinkId) -> rusqlite::Result<Option<Link>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM links l JOIN owners o ON o.no = l.owner WHERE l.id = ?1"))?
        .query_row([value::id(id)], |row| link_row::read(first, row))
        .optional()
}

fn replace(db: &Connection, first: &Permutation, link: &Link) -> rusqlite::Result<Replaced> {
    let Some(old) = get(db, first, link.id)? else { return Ok(Replaced::Stale(None)) };
    if old.version.checked_add(1) != Some(link.version) {
        return Ok(Replaced::Stale(Some(old)));
    }
    let row = Stored::new(link);
    // What a link is found by never changes: code, domain, owner, creation.
    db.prepare_cached(
        "UPDATE links SET change_id = ?2, flags = (flags & 3) | (?3 & ~3), version = ?4, updated = ?5, target = ?6, tags = ?7, title = ?8, \
         starts_at = ?9, expires_at = ?10, max_clicks = ?11, blocked = ?12 WHERE id = ?1",
    )?
    .execute(params![
        row.id,
        row.change_id,
        row.flags,
        link.version,
        link.updated_at.get().saturating_sub(old.created_at.get()),
        link.target.as_str(),
        row.tags,
        link.title.as_ref().map(domain::Title::as_str),
        value::ms(link.starts_at),
        value::ms(link.expires_at),
        link.max_clicks.map(value::bits),
        link.blocked.as_ref().map(domain::BlockReason::as_str),
    ])?;
    if old.tags != link.tags || (old.state == State::Deleted) != (link.state == State::Deleted) {
        let owner = owner_no(db, old.owner.as_str())?;
        remove_tags(db, owner, &old)?;
        add_tags(db, owner, link)?;
    }
    Ok(Replaced::Stored)
}

fn walk(db: &Connection, first: &Permutation, whose: &Walk, before: Option<LinkId>, limit: usize) -> rusqlite::Result<Vec<Link>> {
    // Ids end before i64::MAX, so that "below" it is all of them.
    let before = before.map_or(i64::MAX, value::id);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    match whose {
        Walk::Owner(owner) => db
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM owner_links w JOIN links l ON l.id = w.id JOIN owners o ON o.no = l.owner \
                 WHERE w.owner = (SELECT no FROM owners WHERE name = ?1) AND w.id < ?2 ORDER BY w.id DESC LIMIT ?3"
            ))?
            .query_map(params![owner.as_str(), before, limit], |row| link_row::read(first, row))?
            .collect(),
        Walk::Everyone => db
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM links l JOIN owners o ON o.no = l.owner WHERE l.id < ?1 ORDER BY l.id DESC LIMIT ?2"
            ))?
            .query_map([before, limit], |row| link_row::read(first, row))?
            .collect(),
    }
}

fn tags(db: &Connection, whose: &Walk) -> rusqlite::Result<Vec<(Tag, u64)>> {
    let read = |row: &rusqlite::Row<'_>| Ok((Tag::from_stored(row.get_ref(0)?.as_str()?), value::to_count(row.get(1)?, 1)?));
    match whose {
        Walk::Owner(owner) => db
            .prepare_cached(
                "SELECT tag, count(*) FROM link_tags WHERE owner = (SELECT no FROM owners WHERE name = ?1) GROUP BY tag ORDER BY tag",
            )?
            .query_map([owner.as_str()], read)?
            .collect(),
        Walk::Everyone => {
            db.prepare_cached("SELECT tag, count(*) FROM link_tags GROUP BY tag ORDER BY tag")?.query_map([], read)?.collect()
        }
    }
}

fn any_in_domain(db: &Connection, domain: DomainNo) -> rusqlite::Result<bool> {
    let (from, to) = domain_keys(domain);
    db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM links WHERE key >= ?1 AND key < ?2) OR EXISTS (SELECT 1 FROM named_codes WHERE domain = ?3)",
    )?
    .query_row(params![from, to, domain.get()], |row| row.get(0))
}
