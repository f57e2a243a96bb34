//! Which ids are ours: windows of time granted by the store, used up in order.
//!
//! Time is counted in positions, the layout's milliseconds and sequence in one number, so that taking a
//! thousand ids is one addition. Pure: neither clock nor store is asked here.

use std::ops::Range;

use domain::UnixMs;
use domain::snowflake::{EPOCH_MS, IDS_PER_MS, MS_MAX};

/// Milliseconds since the layout's epoch, times 4096, plus sequence.
pub(crate) type Position = u64;

/// The first position of a millisecond; the layout's first or last for times it cannot express.
pub(crate) fn position_of(at: UnixMs) -> Position {
    u64::try_from(at.get().saturating_sub(EPOCH_MS)).unwrap_or(0).min(MS_MAX) * IDS_PER_MS
}

/// The window in use and the one after it. Windows come in ascending order and never overlap.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    /// What is left of the window in use.
    current: Range<Position>,
    /// From here on the next window is asked for.
    refill_at: Position,
    next: Option<Range<Position>>,
}

impl Windows {
    /// Takes up to `count` positions, none before `now` unless `now` lies behind what was already taken.
    /// Empty when no window is left.
    pub(crate) fn take(&mut self, count: u64, now: Position) -> Range<Position> {
        loop {
            let start = self.current.start.max(now);
            if start < self.current.end {
                let end = self.current.end.min(start.saturating_add(count));
                self.current.start = end;
                return start..end;
            }
            match self.next.take() {
                Some(next) => self.enter(next),
                None => return 0..0,
            }
        }
    }

    pub(crate) fn add(&mut self, window: Range<Position>) {
        if self.current.is_empty() { self.enter(window) } else { self.next = Some(window) }
    }

    /// Whether nothing is left at `now`: then a window must be granted before an id can be.
    pub(crate) fn is_spent(&self, now: Position) -> bool {
        let within = |window: &Range<Position>| window.start.max(now) < window.end;
        !within(&self.current) && !self.next.as_ref().is_some_and(within)
    }

    /// Whether the window in use is half over, by the clock or by use, and none follows it.
    pub(crate) fn is_low(&self, now: Position) -> bool {
        self.next.is_none() && self.current.start.max(now) >= self.refill_at
    }

    fn enter(&mut self, window: Range<Position>) {
        self.refill_at = window.start + (window.end - window.start) / 2;
        self.current = window;
    }
}
