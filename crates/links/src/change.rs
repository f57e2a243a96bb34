//! Changing links. Every change is conditional on the version; store first, then the caches, then the news of it.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use chassis::{OnError, Stage};
use domain::api::Context;
use domain::port::{LinkStore, Outcome, Replaced};
use domain::{BlockReason, Change, Error, Link, LinkId, LinkPatch, PatchDraft, Reason, Result, State};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::caches::Follow;
use crate::metrics;
use crate::service::Service;

/// How often a change without `If-Match` is tried on top of somebody else's.
const RETRIES_MAX: u32 = 16;

/// How long the answer to a change waits for caches to be told of it, before they are told without waiting.
const FOLLOW_UP_WAIT: Duration = Duration::from_millis(100);

/// Which link, at which version if that matters, and what the change is called in metrics.
struct Asked {
    id: LinkId,
    if_version: Option<u32>,
    what: &'static str,
}

impl Service {
    pub(crate) async fn patch(&self, context: &Context, id: LinkId, draft: PatchDraft, if_version: Option<u32>) -> Result<Link> {
        let patch = self.with_policy(|policy| draft.check(policy))?;
        if let Change::Set(target) = &patch.target {
            self.check_blocklist(target)?;
        }
        if !patch.max_clicks.is_keep() {
            // The budget first: a lowered limit binds before anybody can read the link again. But never for
            // a change that is refused.
            let mut link = self.visible(context, id).await?;
            check_version(&link, if_version)?;
            apply(&mut link, &patch)?;
            self.deps.budgets.set_max(id, link.max_clicks).await?;
        }
        self.change(context, Asked { id, if_version, what: "update" }, |link| apply(link, &patch)).await
    }

    pub(crate) async fn mark_deleted(&self, context: &Context, id: LinkId, if_version: Option<u32>) -> Result<()> {
        self.change(context, Asked { id, if_version, what: "delete" }, |link| {
            link.state = State::Deleted;
            Ok(())
        })
        .await
        .map(|_| ())
    }

    pub(crate) async fn mark_restored(&self, context: &Context, id: LinkId) -> Result<Link> {
        self.change(context, Asked { id, if_version: None, what: "restore" }, |link| {
            if link.state == State::Deleted {
                link.state = State::Active;
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn set_blocked(&self, context: &Context, id: LinkId, reason: Option<BlockReason>) -> Result<Link> {
        if !context.caller.is_admin() {
            return Err(Error::new(Reason::Forbidden, "takedowns need the scope `admin`"));
        }
        self.visible(context, id).await?;
        // The list first, either way: when the link's own change is announced, it is true already. Should
        // that change fail, the link's row still says what it said.
        match &reason {
            Some(reason) => self.deps.takedowns.put(id, reason).await?,
            None => self.deps.takedowns.remove(id).await?,
        }
        self.change(context, Asked { id, if_version: None, what: "block" }, |link| {
            link.blocked.clone_from(&reason);
            Ok(())
        })
        .await
    }

    /// Reads, changes and replaces the link until nobody else was in between. A change that changes
    /// nothing makes no new version.
    async fn change(&self, context: &Context, asked: Asked, edit: impl Fn(&mut Link) -> Result<()>) -> Result<Link> {
        let Asked { id, if_version, what } = asked;
        let at = usize::try_from(id.get() % self.turns.len() as u64).unwrap_or_default();
        let _turn = self.turns[at].lock().await;
        for _ in 0..RETRIES_MAX {
            let old = self.visible(context, id).await?;
            check_version(&old, if_version)?;
            let mut new = old.clone();
            edit(&mut new)?;
            if new == old {
                return Ok(old);
            }
            self.stamp(&mut new);
            match self.commit(new.clone()).await? {
                Replaced::Stored => {
                    ::metrics::counter!(metrics::CHANGED, "change" => what).increment(1);
                    return Ok(new);
                }
                Replaced::Stale(None) => return Err(Error::not_found("link")),
                Replaced::Stale(Some(_)) => {}
            }
        }
        Err(Error::new(Reason::Unavailable, "the link is being changed by too many others; try again"))
    }

    /// The next version, now, with a new random mark.
    pub(crate) fn stamp(&self, link: &mut Link) {
        link.version += 1;
        link.updated_at = self.deps.clock.now().max(link.updated_at);
        link.change_id = self.deps.entropy.u64();
    }

    /// Store, then shared cache, then news; in a task of its own, since the rest must follow once the row
    /// is written, also when nobody waits for it any more.
    async fn commit(&self, link: Link) -> Result<Replaced> {
        let (answer, outcome) = oneshot::channel();
        let (links, caches) = (self.deps.links.clone(), self.caches.clone());
        self.life.spawn("change", Stage::Background, OnError::Log, async move {
            let replaced = replace_or_look(&*links, &link).await;
            let what = match &replaced {
                Ok(Replaced::Stored) => Follow::Changed,
                Ok(Replaced::Stale(_)) => Follow::Nothing,
                Err(_) => Follow::Doubtful,
            };
            let mut follow_up = pin!(caches.follow(what, &link));
            let in_time = timeout(FOLLOW_UP_WAIT, &mut follow_up).await;
            // There may be nobody who waits for it.
            drop(answer.send(replaced));
            if in_time.is_err() {
                follow_up.await;
            }
            Ok::<_, Infallible>(())
        });
        outcome.await.unwrap_or_else(|_| Err(Error::new(Reason::Internal, "a change without an outcome")))
    }
}

/// When the store does not say what became of it, looks.
async fn replace_or_look(links: &dyn LinkStore, link: &Link) -> Result<Replaced> {
    let error = match links.replace(vec![link.clone()]).await {
        Ok(mut replaced) => return replaced.pop().ok_or_else(|| Error::new(Reason::Internal, "no answer to a change")),
        Err(error) => error,
    };
    if error.outcome == Outcome::NotApplied {
        return Err(error.into());
    }
    match links.get(link.id).await? {
        Some(row) if row.change_id == link.change_id => Ok(Replaced::Stored),
        _ => Err(error.into()),
    }
}

fn check_version(link: &Link, if_version: Option<u32>) -> Result<()> {
    match if_version {
        Some(version) if version != link.version => {
            let detail = format!("the link is at version {}, not {version}; read it again", link.version);
            Err(Error::new(Reason::VersionMismatch, detail))
        }
        _ => Ok(()),
    }
}

fn deleted() -> Error {
    Error::new(Reason::Gone, "the link is deleted; restore it first")
}

fn apply(link: &mut Link, patch: &LinkPatch) -> Result<()> {
    if link.state == State::Deleted {
        return Err(deleted());
    }
    let patch = patch.clone();
    if let Change::Set(target) = patch.target {
        link.target = target;
    }
    link.title = patch.title.apply(link.title.take());
    link.tags = patch.tags.apply(Some(std::mem::take(&mut link.tags))).unwrap_or_default();
    link.redirect_status = patch.redirect_status.apply(link.redirect_status);
    link.caching = patch.caching.apply(link.caching);
    link.forward_query = patch.forward_query.apply(Some(link.forward_query)).unwrap_or_default();
    link.starts_at = patch.starts_at.apply(link.starts_at);
    link.expires_at = patch.expires_at.apply(link.expires_at);
    link.max_clicks = patch.max_clicks.apply(link.max_clicks);
    link.state = patch.state.apply(Some(link.state)).unwrap_or_default();
    match (link.starts_at, link.expires_at) {
        (Some(starts), Some(expires)) if starts >= expires => {
            Err(Error::field("/expires_at", Reason::InvalidField, "must be later than starts_at"))
        }
        _ => Ok(()),
    }
}
