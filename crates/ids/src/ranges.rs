//! What a lease changes in a range row. Pure: the store's compare-and-set makes it true or does not.

use std::ops::Range;
use std::time::Duration;

use domain::limits::CODE_SPACE;
use domain::port::{CodeRange, Entropy};

/// `lim` is raised while fewer counters than this are open, …
const OPEN_MIN: u64 = 1 << 20;
/// … by this many: two of the largest blocks, hours at 100 links a second.
pub(crate) const RAISE: u64 = 1 << 21;
/// How long a raised `lim` rests before counters below it are open: longer than any replica relies on an old one. Nothing
/// is raised again before that, so that [`RAISE`] in each [`REST`] is the pace of all processes that share a store; one that
/// is put back from an older copy is moved on by it (`restored.rs`).
pub(crate) const REST: Duration = Duration::from_secs(5);

/// The first range of a store, with a fresh key. Everything up to `lim` is open at once: nobody can
/// have read an older `lim`, and without any range nothing counts as never issued.
pub fn first_range(entropy: &dyn Entropy) -> CodeRange {
    let mut key = [0; 16];
    entropy.fill(&mut key);
    first_range_with(key)
}

pub(crate) fn first_range_with(key: [u8; 16]) -> CodeRange {
    CodeRange { epoch: 0, key, next: 0, open: RAISE, lim: RAISE }
}

/// Whether readers of `lim` have all had time to learn the one in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    ToAll,
    NotYet,
}

/// A range for a new key, beside older ones that readers still prove by. Nothing of it is open yet,
/// unless bounds are known at once.
pub(crate) fn following_range(last: &CodeRange, key: [u8; 16], known: Known) -> CodeRange {
    let open = if known == Known::ToAll { RAISE } else { 0 };
    CodeRange { epoch: last.epoch.saturating_add(1), key, next: 0, open, lim: RAISE }
}

/// What a row should become, and the counters that are granted if it does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) row: CodeRange,
    pub(crate) granted: Option<Range<u64>>,
}

/// One compare-and-set's worth of progress: opens what is known to all, raises `lim` when little is
/// open, and grants `count` counters if they are open.
pub(crate) fn step(row: &CodeRange, count: u64, known: Known) -> Step {
    let mut new = *row;
    if known == Known::ToAll {
        new.open = new.lim;
    }
    let granted = (new.open.saturating_sub(new.next) >= count).then(|| new.next..new.next + count);
    if let Some(granted) = &granted {
        new.next = granted.end;
    }
    if new.open == new.lim && new.open.saturating_sub(new.next) < OPEN_MIN {
        new.lim = CODE_SPACE.min(new.lim.saturating_add(RAISE));
    }
    Step { row: new, granted }
}

/// Whether `count` more counters can never be granted from the row.
pub(crate) fn is_exhausted(row: &CodeRange, count: u64) -> bool {
    CODE_SPACE.saturating_sub(row.next) < count
}

/// A grant from what is open already, and no other change: for epochs that are no longer the last.
pub(crate) fn grant_open(row: &CodeRange, count: u64) -> Option<Step> {
    let end = row.next.checked_add(count).filter(|end| *end <= row.open)?;
    Some(Step { row: CodeRange { next: end, ..*row }, granted: Some(row.next..end) })
}
