//! What was acknowledged, and whether it is what is found. A checker answers every violation it sees, in words.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Clicks of each link as they were made, against those counted.
pub(crate) fn miscounted(truth: &BTreeMap<u64, u64>, counted: &BTreeMap<u64, u64>) -> Vec<String> {
    let links: std::collections::BTreeSet<_> = truth.keys().chain(counted.keys()).collect();
    let of = |totals: &BTreeMap<u64, u64>, link: &u64| totals.get(link).copied().unwrap_or(0);
    let wrong = links.into_iter().filter(|link| of(truth, link) != of(counted, link));
    wrong.map(|link| format!("link {link}: {} clicks, {} counted", of(truth, link), of(counted, link))).collect()
}

/// What was acknowledged must be one to one: a key that comes twice was given to two.
pub(crate) fn given_twice<'a>(acknowledged: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut holders: HashMap<&str, &str> = HashMap::new();
    let mut twice = Vec::new();
    for (key, holder) in acknowledged {
        if let Some(other) = holders.insert(key, holder) {
            twice.push(format!("{key} was given to {other} and to {holder}"));
        }
    }
    twice
}

/// Numbers that come twice, whoever they were given to.
pub(crate) fn repeated(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.sort_unstable();
    numbers.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect()
}

/// Ranges that share numbers.
pub(crate) fn overlapping(mut ranges: Vec<(u64, u64)>) -> Vec<String> {
    ranges.sort_unstable();
    let pairs = ranges.windows(2).filter(|pair| pair[1].0 < pair[0].1);
    pairs.map(|pair| format!("{:?} and {:?}", pair[0], pair[1])).collect()
}

/// One answer of a redirect to a link whose target carries its version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// When it was asked for.
    pub(crate) at: Instant,
    pub(crate) version: u64,
}

/// How long after `acknowledged` an older version was still answered.
pub(crate) fn staleness(seen: &[Seen], version: u64, acknowledged: Instant) -> Duration {
    let stale = seen.iter().filter(|seen| seen.version < version);
    stale.map(|seen| seen.at.saturating_duration_since(acknowledged)).max().unwrap_or_default()
}

/// The value that `of_hundred` of a hundred do not exceed.
pub(crate) fn percentile(mut values: Vec<Duration>, of_hundred: usize) -> Duration {
    values.sort_unstable();
    values.get((values.len() * of_hundred).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

/// One link as its writer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// What was acknowledged last, and when: version 1 is the create.
    pub(crate) version: u64,
    pub(crate) is_deleted: bool,
    /// A change was sent whose outcome nobody knows: it may be there, too.
    pub(crate) is_unsure: bool,
}

/// A link as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) version: u64,
    pub(crate) is_deleted: bool,
}

/// What is lost of what was acknowledged; `None` where nothing is found at all.
pub(crate) fn lost<'a>(links: impl IntoIterator<Item = (&'a str, &'a Known, Option<Found>)>) -> Vec<String> {
    let is_kept = |known: &Known, found: &Option<Found>| match found {
        None => false,
        Some(found) if known.is_unsure => (known.version..=known.version + 1).contains(&found.version),
        Some(found) => found.version == known.version && found.is_deleted == known.is_deleted,
    };
    let lost = links.into_iter().filter(|(_, known, found)| !is_kept(known, found));
    lost.map(|(id, known, found)| format!("{id}: {known:?} acknowledged, {found:?} found")).collect()
}

/// Falsified histories: a checker that stays silent proves nothing.
mod sabotage {
    use super::*;

    #[test]
    fn a_click_lost_and_a_click_counted_twice_are_noticed() {
        let truth = BTreeMap::from([(1, 10), (2, 5)]);
        assert!(miscounted(&truth, &truth).is_empty());
        for falsified in [BTreeMap::from([(1, 9), (2, 5)]), BTreeMap::from([(1, 10), (2, 6)]), BTreeMap::from([(1, 10)])] {
            assert_eq!(miscounted(&truth, &falsified).len(), 1, "{falsified:?}");
        }
        assert_eq!(miscounted(&truth, &BTreeMap::from([(1, 10), (2, 5), (3, 1)])), ["link 3: 0 clicks, 1 counted"]);
    }

    #[test]
    fn a_code_and_an_id_given_twice_are_noticed() {
        assert!(given_twice([("/a", "1"), ("/b", "2")]).is_empty());
        assert_eq!(given_twice([("/a", "1"), ("/b", "2"), ("/a", "3")]), ["/a was given to 1 and to 3"]);
        assert!(repeated(vec![3, 1, 2]).is_empty());
        assert_eq!(repeated(vec![3, 1, 2, 1]), [1]);
        assert!(overlapping(vec![(64, 128), (0, 64)]).is_empty());
        assert_eq!(overlapping(vec![(64, 128), (0, 65)]).len(), 1);
    }

    #[test]
    fn an_old_answer_after_the_acknowledgement_is_noticed() {
        let acknowledged = Instant::now();
        let seen = |ms, version| Seen { at: acknowledged + Duration::from_millis(ms), version };
        let before = Seen { at: acknowledged.checked_sub(Duration::from_secs(1)).unwrap_or(acknowledged), version: 1 };
        assert_eq!(staleness(&[before, seen(10, 2)], 2, acknowledged), Duration::ZERO);
        assert_eq!(staleness(&[before, seen(10, 2), seen(3_000, 1), seen(3_010, 2)], 2, acknowledged), Duration::from_secs(3));
        assert_eq!(percentile((1..=200).map(Duration::from_millis).collect(), 99), Duration::from_millis(198));
    }

    #[test]
    fn a_link_lost_and_a_version_that_went_back_are_noticed() {
        let known = |version, is_deleted, is_unsure| Known { version, is_deleted, is_unsure };
        let found = |version, is_deleted| Some(Found { version, is_deleted });
        let kept = [
            (known(1, false, false), found(1, false)),
            (known(2, false, true), found(3, false)),
            (known(2, false, true), found(2, false)),
            (known(3, true, false), found(3, true)),
        ];
        assert!(lost(kept.iter().map(|(known, found)| ("kept", known, found.clone()))).is_empty());
        let gone = [
            (known(1, false, false), None),
            (known(1, false, true), None),
            (known(2, false, false), found(1, false)),
            (known(2, false, true), found(4, false)),
            (known(2, true, false), found(2, false)),
        ];
        assert_eq!(lost(gone.iter().map(|(known, found)| ("gone", known, found.clone()))).len(), gone.len());
    }
}
