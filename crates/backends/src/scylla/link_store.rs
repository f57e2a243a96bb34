//! Links.

use async_trait::async_trait;
use compact_str::CompactString;
use domain::port::{Inserted, LinkStore as Port, Outcome, PortError, PortErrorKind, PortResult, Replaced, Walk};
use domain::{CodeKind, DomainNo, Link, LinkId, Slug, State, Tag};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};

use super::Scylla;
use super::error::OpenError;
use super::link_index::{Entry, LinkIndex};
use super::link_row::{self, COLUMNS};
use super::query::{Mode, Prepared, Reach};
use super::settling::{Settling, not_applied};
use super::stripes::Stripes;
use super::value;

/// Links of a listing that are read at once.
const READS: usize = 32;

pub struct LinkStore {
    scylla: Scylla,
    insert: Prepared,
    update: Prepared,
    /// What a redirect waits for.
    find: Prepared,
    by_key: Prepared,
    by_key_settled: Prepared,
    index: LinkIndex,
    stripes: Stripes,
}

impl LinkStore {
    pub(super) async fn new(scylla: Scylla) -> Result<Self, OpenError> {
        let select = format!("SELECT {COLUMNS} FROM links WHERE domain = ? AND code = ?");
        let everywhere = Reach::Everywhere;
        Ok(Self {
            insert: scylla.prepare(Mode::Condition(everywhere), "cql: insert a link", link_row::INSERT).await?,
            update: scylla.prepare(Mode::Condition(everywhere), "cql: replace a link", link_row::UPDATE).await?,
            find: scylla.prepare(Mode::HotRead, "cql: find a link", &select).await?,
            by_key: scylla.prepare(Mode::Read, "cql: get a link", &select).await?,
            by_key_settled: scylla.prepare(Mode::SerialRead(everywhere), "cql: settle a link", &select).await?,
            index: LinkIndex::new(scylla.clone()).await?,
            stripes: Stripes::new(),
            scylla,
        })
    }

    async fn read(&self, query: &Prepared, domain: DomainNo, key: &str) -> PortResult<Option<Link>> {
        self.scylla.rows(query, (value::domain(domain), key)).await?.first(link_row::read)
    }

    /// The link of an entry, if it is that link.
    async fn of_entry(&self, entry: &Entry) -> PortResult<Option<Link>> {
        Ok(self.read(&self.by_key, entry.domain, &entry.key).await?.filter(|link| link.id == entry.id))
    }

    async fn insert_one(&self, link: &Link, key: &str) -> PortResult<Inserted> {
        // Of the link itself nothing is written yet.
        self.index.add(link, key).await.map_err(not_applied)?;
        let turn = self.stripes.enter(&(link.domain, key)).await;
        let inserted = match self.taken_meanwhile(link, key, turn.has_waited).await {
            Some(row) => Inserted::Taken(row),
            None => self.insert_row(link, key).await?,
        };
        match &inserted {
            Inserted::Taken(by) if by.id != link.id => {
                // Rows that say nothing cost a read each: they are removed, and nobody waits for a second try.
                let removed = self.index.remove(link, key).await;
                tracing::trace!(link = %link.id, removed = removed.is_ok(), "the code was taken");
            }
            Inserted::Taken(_) | Inserted::Stored => self.index.stored(link),
        }
        Ok(inserted)
    }

    /// Who got the code while we waited: a read, where another condition that fails would take all who race for one alias
    /// several round trips each, one after another.
    async fn taken_meanwhile(&self, link: &Link, key: &str, has_waited: bool) -> Option<Link> {
        if !has_waited {
            return None;
        }
        self.read(&self.by_key, link.domain, key).await.ok().flatten()
    }

    /// Until it is known whose the code is, or the time is over. The row carries our id, so that sending it
    /// again stores it once at most.
    async fn insert_row(&self, link: &Link, key: &str) -> PortResult<Inserted> {
        let mut settling = Settling::new(&self.scylla, self.insert.op);
        loop {
            match settling.attempt(self.scylla.decide(&self.insert, link_row::new(link, key))).await? {
                Some(decided) if decided.applied => return Ok(Inserted::Stored),
                Some(decided) => {
                    // Without a row in the answer, it is read below.
                    if let Some(row) = decided.standing("id", link_row::read)? {
                        return Ok(settling.taken(link, row));
                    }
                }
                None => {}
            }
            if let Some(Some(row)) = settling.look(self.read(&self.by_key_settled, link.domain, key)).await? {
                return Ok(settling.taken(link, row));
            }
        }
    }

    async fn replace_one(&self, link: &Link, key: &str) -> PortResult<Replaced> {
        let _turn = self.stripes.enter(&(link.domain, key)).await;
        let is_before = |row: &Link| row.version.checked_add(1) == Some(link.version);
        let mut old = self.read(&self.by_key, link.domain, key).await?;
        if !old.as_ref().is_some_and(is_before) {
            // A quorum may not know yet what was decided a moment ago.
            old = self.read(&self.by_key_settled, link.domain, key).await?;
        }
        let Some(old) = old.filter(|row| row.id == link.id) else { return Ok(Replaced::Stale(None)) };
        if !is_before(&old) {
            return Ok(Replaced::Stale(Some(old)));
        }
        let replaced = self.replace_row(link, key).await?;
        let tags_differ = old.tags != link.tags || (old.state == State::Deleted) != (link.state == State::Deleted);
        if replaced == Replaced::Stored && tags_differ && self.index.retag(&old, link, key).await.is_err() {
            // Once more; if that fails too, the count of a tag is off until the link changes again.
            let retagged = self.index.retag(&old, link, key).await;
            tracing::debug!(link = %link.id, retagged = retagged.is_ok(), "tags of a changed link");
        }
        Ok(replaced)
    }

    async fn replace_row(&self, link: &Link, key: &str) -> PortResult<Replaced> {
        let mut settling = Settling::new(&self.scylla, self.update.op);
        loop {
            let Some(changed) = link_row::changed(link, key) else { return Ok(Replaced::Stale(None)) };
            let decided = settling.attempt(self.scylla.decide(&self.update, changed)).await?;
            if decided.is_some_and(|decided| decided.applied) {
                return Ok(Replaced::Stored);
            }
            // The answer to an update has no more than the columns of its condition.
            let Some(row) = settling.look(self.read(&self.by_key_settled, link.domain, key)).await? else { continue };
            let Some(row) = row.filter(|row| row.id == link.id) else { return Ok(Replaced::Stale(None)) };
            if row.version.checked_add(1) == Some(link.version) {
                continue;
            }
            let is_ours = row.version == link.version && row.change_id == link.change_id;
            if settling.is_unclear && is_ours {
                return Ok(Replaced::Stored);
            }
            if settling.is_unclear && row.version > link.version {
                // Whether ours was among the versions before it, nobody can say any more.
                return Err(settling.unknown());
            }
            return Ok(Replaced::Stale(Some(row)));
        }
    }

    /// Runs each on its link, those of one code in their order, `bulk_concurrency` codes at once.
    async fn each<'a, T: Send + 'a>(
        &'a self,
        links: &'a [Link],
        run: impl Fn(&'a Link, CompactString) -> BoxFuture<'a, PortResult<T>> + Send + Sync,
    ) -> PortResult<Vec<T>> {
        let mut groups: std::collections::HashMap<(DomainNo, CompactString), Vec<usize>> = std::collections::HashMap::new();
        for (number, link) in links.iter().enumerate() {
            groups.entry((link.domain, link.code.key())).or_default().push(number);
        }
        let run = &run;
        let groups = groups.into_iter().map(|((_, key), numbers)| -> BoxFuture<'_, PortResult<Vec<(usize, T)>>> {
            Box::pin(async move {
                let mut answers = Vec::with_capacity(numbers.len());
                for number in numbers {
                    answers.push((number, run(&links[number], key.clone()).await?));
                }
                Ok(answers)
            })
        });
        let groups: Vec<_> = groups.collect();
        let answers: Vec<PortResult<Vec<(usize, T)>>> =
            stream::iter(groups).buffer_unordered(self.scylla.options().bulk_concurrency.max(1)).collect().await;
        let mut all = Vec::with_capacity(links.len());
        for answer in answers {
            all.extend(answer.map_err(|error| partly(error, links.len()))?);
        }
        all.sort_unstable_by_key(|(number, _)| *number);
        Ok(all.into_iter().map(|(_, answer)| answer).collect())
    }

    /// A row that cannot be read was counted and logged, and hides no other link of a listing.
    async fn of_entry_if_readable(&self, entry: &Entry) -> PortResult<Option<Link>> {
        match self.of_entry(entry).await {
            Err(error) if error.kind == PortErrorKind::Corrupt => Ok(None),
            read => read,
        }
    }

    async fn read_all(&self, entries: &[Entry]) -> PortResult<Vec<Option<Link>>> {
        let reads: Vec<BoxFuture<'_, PortResult<Option<Link>>>> =
            entries.iter().map(|entry| -> BoxFuture<'_, _> { Box::pin(self.of_entry_if_readable(entry)) }).collect();
        stream::iter(reads).buffered(READS).collect::<Vec<_>>().await.into_iter().collect()
    }
}

/// Of many items one failed: others may have been stored.
fn partly(error: PortError, count: usize) -> PortError {
    let outcome = if count > 1 { Outcome::Unknown } else { error.outcome };
    PortError { outcome, ..error }
}

#[async_trait]
impl Port for LinkStore {
    async fn insert(&self, links: Vec<Link>) -> PortResult<Vec<Inserted>> {
        self.each(&links, |link, key| Box::pin(async move { self.insert_one(link, &key).await })).await
    }

    async fn find(&self, domain: DomainNo, code: Slug<'_>) -> PortResult<Option<Link>> {
        let typed = code.as_str();
        let may_be_alias = !code.has_generated_shape() && typed.bytes().any(|b| b.is_ascii_uppercase());
        if !may_be_alias {
            return self.read(&self.find, domain, typed).await;
        }
        let lower = typed.to_ascii_lowercase();
        let (typed, lower) =
            futures_util::future::try_join(self.read(&self.find, domain, typed), self.read(&self.find, domain, &lower)).await?;
        Ok(typed.or_else(|| lower.filter(|link| link.code.kind() == CodeKind::Alias)))
    }

    async fn get(&self, id: LinkId) -> PortResult<Option<Link>> {
        for entry in self.index.of_id(id).await? {
            if let Some(link) = self.of_entry(&entry).await? {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }

    async fn get_many(&self, ids: &[LinkId]) -> PortResult<Vec<Link>> {
        let reads: Vec<BoxFuture<'_, PortResult<Option<Link>>>> =
            ids.iter().map(|id| -> BoxFuture<'_, _> { Box::pin(self.get(*id)) }).collect();
        let links: Vec<PortResult<Option<Link>>> = stream::iter(reads).buffer_unordered(READS).collect().await;
        links.into_iter().filter_map(Result::transpose).collect()
    }

    async fn replace(&self, links: Vec<Link>) -> PortResult<Vec<Replaced>> {
        self.each(&links, |link, key| Box::pin(async move { self.replace_one(link, &key).await })).await
    }

    async fn walk(&self, whose: &Walk, before: Option<LinkId>, limit: usize) -> PortResult<Vec<Link>> {
        let (mut links, mut before) = (Vec::new(), before);
        while links.len() < limit {
            let entries = self.index.walk(whose, before, limit - links.len()).await?;
            let Some(last) = entries.last() else { break };
            before = Some(last.id);
            for chunk in entries.chunks(READS.max(limit)) {
                links.extend(self.read_all(chunk).await?.into_iter().flatten());
                if links.len() >= limit {
                    break;
                }
            }
        }
        links.truncate(limit);
        Ok(links)
    }

    async fn tags(&self, whose: &Walk) -> PortResult<Vec<(Tag, u64)>> {
        self.index.tags(whose).await
    }

    async fn any_in_domain(&self, domain: DomainNo) -> PortResult<bool> {
        for chunk in self.index.samples(domain).await?.chunks(READS) {
            if self.read_all(chunk).await?.iter().any(Option::is_some) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
