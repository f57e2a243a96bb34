//! Who is left out, why, and when one returns. Judged rarely, under one lock; requests see only the
//! [`Placement`] that comes of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::health::{Health, Outcome};
use super::placement::{Dice, Placement, stable_hash};
use super::{Core, Member, Outlier, Replica};

/// Parts of [`Outlier::window`].
const SLICES: usize = 10;
/// Good for so long, or twice its last time out: what was before is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// Why a replica is not to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// So many failures in a row.
    Failures,
    /// Fails more often than the others.
    Rate,
    /// Neither a request nor a probe was answered.
    Silent,
}

impl Fault {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::Rate => "rate",
            Self::Silent => "silent",
        }
    }
}

#[derive(Default)]
pub(super) struct Roster {
    records: Vec<Record>,
    slice_began: Option<Instant>,
    slice: usize,
    panicking: bool,
}

struct Record {
    member: Arc<Member>,
    /// Good and bad of each slice of the window.
    slices: [(u64, u64); SLICES],
    faulty: Option<Faulty>,
    left_out: bool,
    /// Times in a row, and the last one's length.
    times: u32,
    last_time: Duration,
    returned: Option<Instant>,
    probing: bool,
    probed: Option<Instant>,
}

struct Faulty {
    until: Instant,
    /// A probe found nobody there. Whoever refuses connections is not merely suspected.
    gone: bool,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    Lives,
    Gone,
    Silent,
}

impl Record {
    fn new(member: Arc<Member>) -> Self {
        Self {
            member,
            slices: [(0, 0); SLICES],
            faulty: None,
            left_out: false,
            times: 0,
            last_time: Duration::ZERO,
            returned: None,
            probing: false,
            probed: None,
        }
    }

    fn window(&self) -> (u64, u64) {
        self.slices.iter().fold((0, 0), |(good, bad), slice| (good + slice.0, bad + slice.1))
    }

    fn fault(&mut self, fault: Fault, outlier: &Outlier, (dice, now): (&Dice, Instant)) {
        let forgiven_after = FORGIVEN_AFTER.max(self.last_time * 2);
        if self.returned.is_some_and(|returned| now.saturating_duration_since(returned) >= forgiven_after) {
            self.times = 0;
        }
        let doubled = outlier.eject_first.saturating_mul(1_u32.checked_shl(self.times.min(31)).unwrap_or(u32::MAX));
        let time = doubled.min(outlier.eject_max);
        // Gateways that saw the same fault do not all come back at once.
        let jitter = Duration::from_millis(u64::try_from(dice.below(256)).unwrap_or(0)) * u32::try_from(time.as_secs().max(1)).unwrap_or(1);
        self.last_time = time + jitter;
        self.times = self.times.saturating_add(1);
        self.faulty = Some(Faulty { until: now + self.last_time, gone: false });
        tracing::warn!(replica = %self.member.name, reason = fault.as_str(), times = self.times, "a redirect replica fails");
    }

    fn returns(&mut self, now: Instant) {
        self.faulty = None;
        self.returned = Some(now);
        self.probed = None;
        self.slices = [(0, 0); SLICES];
        self.member.health.start_again();
        tracing::info!(replica = %self.member.name, "a redirect replica answers again");
    }
}

impl Core {
    /// A new list. Replicas that were on the old one keep their history.
    pub(super) fn update(&self, replicas: &[Replica]) {
        let mut roster = self.roster();
        let mut old = std::mem::take(&mut roster.records);
        let now = Instant::now();
        for replica in replicas {
            if roster.records.iter().any(|record| record.member.name == replica.name) {
                continue;
            }
            let known = old.iter().position(|record| record.member.name == replica.name).map(|index| old.swap_remove(index));
            let health = known.as_ref().map_or_else(|| Arc::new(Health::new(now)), |record| record.member.health.clone());
            let member = Member {
                seed: stable_hash(replica.name.as_bytes()),
                name: replica.name.clone(),
                resolver: replica.resolver.clone(),
                health,
            };
            let record = match known {
                Some(record) if Arc::ptr_eq(&record.member.resolver, &replica.resolver) => record,
                // Another way to the same place: a probe on the old way no longer counts.
                Some(record) => Record { member: Arc::new(member), probing: false, ..record },
                None => Record::new(Arc::new(member)),
            };
            roster.records.push(record);
        }
        // The order of the list says nothing: resolvers shuffle it.
        roster.records.sort_by(|a, b| a.member.name.cmp(&b.member.name));
        self.publish(&mut roster);
    }

    /// What came of a request.
    pub(super) fn noticed(&self, member: &Arc<Member>, outcome: Outcome, now: Instant) {
        self.metrics.outcomes[outcome as usize].increment(1);
        let in_row = member.health.noticed(outcome, now);
        let many = self.options.outlier.consecutive_failures.max(1);
        if in_row >= many && in_row.is_multiple_of(many) {
            self.condemn(member, Fault::Failures, now);
        }
    }

    fn condemn(&self, member: &Arc<Member>, fault: Fault, now: Instant) {
        let mut roster = self.roster();
        // A faulty one is left out as soon as the others allow; one of an old list no longer matters.
        if let Some(record) = roster.records.iter_mut().find(|record| Arc::ptr_eq(&record.member, member) && record.faulty.is_none()) {
            record.fault(fault, &self.options.outlier, (&self.dice, now));
            self.metrics.ejected(fault);
            self.publish(&mut roster);
        }
    }

    /// Looks at everybody; answers who is to be probed.
    pub(super) fn sweep(&self, now: Instant) -> Vec<Arc<Member>> {
        let outlier = &self.options.outlier;
        let mut roster = self.roster();
        let mut changed = false;
        for record in roster.records.iter_mut().filter(|record| record.faulty.as_ref().is_some_and(|faulty| now >= faulty.until)) {
            if record.member.health.answered_within(outlier.probe_every * 2, now) {
                record.returns(now);
                changed = true;
            }
        }
        if roster.next_slice(outlier.window / 10, now) {
            for index in roster.worse_than_the_others(outlier) {
                roster.records[index].fault(Fault::Rate, outlier, (&self.dice, now));
                self.metrics.ejected(Fault::Rate);
                changed = true;
            }
        }
        if changed {
            self.publish(&mut roster);
        }
        let mut probes = Vec::new();
        for record in roster.records.iter_mut().filter(|record| !record.probing) {
            let due = match &record.faulty {
                Some(_) => record.probed.is_none_or(|probed| now.saturating_duration_since(probed) >= outlier.probe_every),
                None => record.member.health.silent_for(now) >= outlier.suspect_after,
            };
            if due {
                record.probing = true;
                record.probed = Some(now);
                probes.push(record.member.clone());
            }
        }
        probes
    }

    pub(super) fn probed(&self, member: &Arc<Member>, probed: Probed, now: Instant) {
        self.metrics.probed(probed == Probed::Lives);
        if probed == Probed::Lives {
            member.health.lives(now);
        }
        let mut roster = self.roster();
        let Some(record) = roster.records.iter_mut().find(|record| Arc::ptr_eq(&record.member, member)) else { return };
        record.probing = false;
        let gone = probed == Probed::Gone;
        let changed = match &mut record.faulty {
            Some(faulty) => std::mem::replace(&mut faulty.gone, gone) != gone,
            None if probed == Probed::Lives => false,
            None => {
                record.fault(Fault::Silent, &self.options.outlier, (&self.dice, now));
                record.faulty.iter_mut().for_each(|faulty| faulty.gone = gone);
                self.metrics.ejected(Fault::Silent);
                true
            }
        };
        if changed {
            self.publish(&mut roster);
        }
    }

    /// Makes what was judged take effect.
    fn publish(&self, roster: &mut Roster) {
        roster.decide(&self.options.outlier);
        let of = |left_out: bool| roster.records.iter().filter(move |record| record.left_out == left_out);
        let in_use: Vec<_> = of(false).map(|record| record.member.clone()).collect();
        let is_gone = |record: &&Record| record.faulty.as_ref().is_some_and(|faulty| faulty.gone);
        let mut others: Vec<_> = of(true).filter(|record| !is_gone(record)).map(|record| record.member.clone()).collect();
        if others.is_empty() {
            others = of(true).map(|record| record.member.clone()).collect();
        }
        self.metrics.replicas(roster.records.len(), roster.records.len() - in_use.len());
        self.placement.store(Arc::new(Placement::new(self.options.policy, self.options.load_bound, in_use, others)));
    }
}

impl Roster {
    #[cfg(test)]
    pub(super) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.records.iter().map(|record| &record.member)
    }

    /// Moves on to the next slice of the windows when it is time.
    fn next_slice(&mut self, length: Duration, now: Instant) -> bool {
        if self.slice_began.is_some_and(|began| now.saturating_duration_since(began) < length) {
            return false;
        }
        self.slice_began = Some(now);
        self.slice = (self.slice + 1) % SLICES;
        for record in &mut self.records {
            record.slices[self.slice] = record.member.health.take_counts();
        }
        true
    }

    /// When all fail alike, as with a dead store, nobody is worse: leaving some out would only lose
    /// what they have in memory.
    fn worse_than_the_others(&self, outlier: &Outlier) -> Vec<usize> {
        let fails = |(good, bad): (u64, u64)| good * 100 < outlier.success_percent_min * (good + bad);
        let tells = |(good, bad): (u64, u64)| good + bad >= outlier.window_requests_min;
        let fit = self.records.iter().enumerate().filter(|(_, record)| record.faulty.is_none());
        let windows: Vec<_> = fit.map(|(index, record)| (index, record.window())).collect();
        let all = windows.iter().fold((0, 0), |all, (_, window)| (all.0 + window.0, all.1 + window.1));
        let worse = windows.iter().filter(|(_, own)| {
            let others = (all.0 - own.0, all.1 - own.1);
            tells(*own) && fails(*own) && tells(others) && !fails(others)
        });
        worse.map(|(index, _)| *index).collect()
    }

    fn decide(&mut self, outlier: &Outlier) {
        let total = self.records.len();
        let faulty = self.records.iter().filter(|record| record.faulty.is_some()).count();
        let gone = |record: &Record| record.faulty.as_ref().is_some_and(|faulty| faulty.gone);
        let panicking = faulty * 100 > total * outlier.panic_percent;
        if panicking != self.panicking {
            self.panicking = panicking;
            if panicking {
                tracing::warn!(faulty, total, "too many redirect replicas fail at once: asking all that accept connections");
            } else {
                tracing::info!(faulty, total, "most redirect replicas answer again");
            }
        }
        let everybody_is_gone = self.records.iter().all(gone);
        let mut room = match total {
            0 | 1 => 0,
            _ if panicking => 0,
            _ => (total * outlier.ejected_percent_max / 100).max(1),
        };
        // Whoever is left out stays so before others take the room.
        for was_left_out in [true, false] {
            for record in self.records.iter_mut().filter(|record| record.left_out == was_left_out) {
                let suspected = record.faulty.is_some() && !gone(record);
                let leave_out = if suspected { room > 0 } else { gone(record) && !everybody_is_gone };
                room -= usize::from(suspected && leave_out);
                if was_left_out || leave_out {
                    record.left_out = leave_out;
                }
            }
        }
    }
}
