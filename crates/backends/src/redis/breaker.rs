//! Keeps a dead or frozen Redis from costing every request its whole budget.
//!
//! Per group of slots, so that one frozen node of a cluster stops only what lies there. A group opens after
//! some failures in a row; from then on its requests fail at once, and only the probe asks again.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use super::slot;

pub(super) struct Breaker {
    groups: Vec<Group>,
    failures_max: u32,
    open: AtomicUsize,
}

struct Group {
    /// A key that lies in it, for the probe.
    key: String,
    failures: AtomicU32,
    is_open: AtomicBool,
}

/// The first group has opened, or the last has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Broken,
    Whole,
}

impl Breaker {
    pub(super) fn new(cluster: bool, failures_max: u32) -> Self {
        let keys = if cluster { slot::keys_of_groups() } else { vec!["terse:probe".to_owned()] };
        let group = |key| Group { key, failures: AtomicU32::new(0), is_open: AtomicBool::new(false) };
        Self { groups: keys.into_iter().map(group).collect(), failures_max, open: AtomicUsize::new(0) }
    }

    pub(super) fn group(&self, key: &[u8]) -> usize {
        if self.groups.len() == 1 { 0 } else { slot::group(key) }
    }

    pub(super) fn is_open(&self, group: usize) -> bool {
        self.groups[group].is_open.load(Ordering::Acquire)
    }

    pub(super) fn answered(&self, group: usize) -> Option<Change> {
        let group = &self.groups[group];
        if group.failures.load(Ordering::Relaxed) != 0 {
            group.failures.store(0, Ordering::Relaxed);
        }
        if !group.is_open.load(Ordering::Relaxed) || !group.is_open.swap(false, Ordering::AcqRel) {
            return None;
        }
        (self.open.fetch_sub(1, Ordering::AcqRel) == 1).then_some(Change::Whole)
    }

    pub(super) fn failed(&self, group: usize) -> Option<Change> {
        let group = &self.groups[group];
        let failures = group.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < self.failures_max || group.is_open.swap(true, Ordering::AcqRel) {
            return None;
        }
        (self.open.fetch_add(1, Ordering::AcqRel) == 0).then_some(Change::Broken)
    }

    /// The open groups, each with a key that lies in it.
    pub(super) fn open(&self) -> Vec<(usize, &str)> {
        let open = self.groups.iter().enumerate().filter(|(_, group)| group.is_open.load(Ordering::Acquire));
        open.map(|(number, group)| (number, group.key.as_str())).collect()
    }

    /// A key in each group.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|group| group.key.as_str())
    }

    pub(super) fn open_share(&self) -> f64 {
        let part = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        part(self.open.load(Ordering::Acquire)) / part(self.groups.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_tells_its_changes_once() {
        let breaker = Breaker::new(true, 3);
        let (one, two) = (breaker.group(b"foo"), breaker.group(b"bar"));
        assert_ne!(one, two);
        for _ in 0..2 {
            assert_eq!((breaker.failed(one), breaker.failed(one), breaker.answered(one)), (None, None, None));
        }
        assert!(!breaker.is_open(one));
        assert_eq!([(); 4].map(|()| breaker.failed(one)), [None, None, Some(Change::Broken), None]);
        assert!(breaker.is_open(one) && !breaker.is_open(two));
        assert_eq!([(); 4].map(|()| breaker.failed(two)), [None; 4]);
        assert_eq!(
            breaker.open().into_iter().map(|(group, key)| (group, breaker.group(key.as_bytes()))).filter(|(a, b)| a == b).count(),
            2
        );
        assert_eq!((breaker.answered(one), breaker.answered(one)), (None, None));
        assert_eq!((breaker.answered(two), breaker.answered(two)), (Some(Change::Whole), None));
        assert!(breaker.open().is_empty() && breaker.open_share() == 0.0);
    }
}
