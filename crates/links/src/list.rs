//! Listing: the owner's links are walked, newest first, and filtered on the way.

use domain::api::{Context, ListQuery, Page};
use domain::port::Walk;
use domain::{Link, Result, ShownState, limits};

use crate::service::Service;

const ROWS_AT_ONCE: usize = 500;

impl Service {
    /// An admin walks everyone's links.
    pub(crate) fn whose(context: &Context) -> Walk {
        if context.caller.is_admin() { Walk::Everyone } else { Walk::Owner(context.caller.owner.clone()) }
    }

    pub(crate) async fn page(&self, context: &Context, query: ListQuery) -> Result<Page> {
        let whose = Self::whose(context);
        let filter = Filter::new(&query);
        let limit = query.limit.clamp(1, limits::PAGE_LEN_MAX);
        let mut page = Page { links: Vec::new(), next: query.after };
        let mut looked_at = 0;
        while looked_at < limits::LIST_SCAN_MAX {
            // One row more than fits the page tells whether there is a next one.
            let want = if filter.passes_most() { limit + 1 - page.links.len() } else { ROWS_AT_ONCE };
            let want = want.min(limits::LIST_SCAN_MAX - looked_at);
            let rows = self.deps.links.walk(&whose, page.next, want).await?;
            let is_end = rows.len() < want;
            looked_at += rows.len();
            for row in rows {
                let id = row.id;
                if filter.passes(&row) {
                    if page.links.len() == limit {
                        return Ok(page);
                    }
                    page.links.push(row);
                }
                page.next = Some(id);
            }
            if is_end {
                page.next = None;
                return Ok(page);
            }
        }
        Ok(page)
    }
}

struct Filter<'a> {
    query: &'a ListQuery,
    /// In lower case.
    text: Option<String>,
}

impl<'a> Filter<'a> {
    fn new(query: &'a ListQuery) -> Self {
        Self { query, text: query.text.as_ref().map(|text| text.to_lowercase()) }
    }

    fn passes_most(&self) -> bool {
        self.query.tag.is_none() && self.query.state.is_none() && self.text.is_none()
    }

    fn passes(&self, link: &Link) -> bool {
        let state = match self.query.state {
            Some(state) => link.shown_state() == state,
            None => link.shown_state() != ShownState::Deleted,
        };
        state
            && self.query.tag.as_ref().is_none_or(|tag| link.tags.contains(tag))
            && self.text.as_ref().is_none_or(|text| {
                let has = |part: &str| part.to_lowercase().contains(text);
                has(link.code.as_str()) || has(link.target.as_str()) || link.title.as_ref().is_some_and(|title| has(title.as_str()))
            })
    }
}
