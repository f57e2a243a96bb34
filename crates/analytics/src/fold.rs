//! Counting one chunk of the click log: a pure function of its records.
//!
//! Whoever counts a prefix of a chunk gets the same rows, whenever and however often: values are taken in
//! the order of the log, and time is that of the clicks. So rows may be written twice, late or by a process
//! that believes it is still alive, and nothing changes.

use std::collections::HashMap;

use compact_str::CompactString;
use domain::limits::{CLICK_CHUNK_LEN, DIMENSION_VALUE_LEN_MAX, DIMENSION_VALUES_MAX};
use domain::port::{Dimensions, OTHER, Part, Tally};
use domain::visitors::Visitors;
use domain::{Counts, Dimension, LinkId, LoggedClick, Owner, Slot, Subject};
use foldhash::fast::RandomState;

const UNKNOWN: &str = "unknown";
const DIRECT: &str = "direct";

/// Rows of slots whose earlier records the log no longer has are written under a chunk number of their own
/// (see [`Truncated`]): the bits from here on say where it began, plus one.
const APART_SHIFT: u32 = 46;

/// How much earlier a click may be than one before it in the log, in quarter-hours: threads overtake each
/// other, clocks are set. The log's retention is longer.
const LATE_MAX: u32 = 8;

/// The log lost the start of the chunk after we had counted it. Slots that a lost record may lie in are no
/// longer a function of the log, so their rows stay; what was not counted yet gets rows apart.
#[derive(Clone, Copy, Debug)]
struct Truncated {
    /// [`LATE_MAX`] after the first record left; unknown before it is read.
    last_slot: Option<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Whose {
    Everyone,
    /// Index into the chunk's owners.
    Owner(u32),
    Link(LinkId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    whose: Whose,
    slot: Slot,
    apart: bool,
}

#[derive(Debug, Default)]
struct Row {
    counts: Counts,
    /// `dimension << 24 | word`, ascending, with its clicks.
    values: Vec<(u32, u32)>,
    visitors: Visitors,
    upto: u32,
    /// Of a link.
    owner: u32,
    dirty: bool,
}

/// The rows of the open chunk. Dropped when it closes: at most three rows a record.
#[derive(Debug)]
pub(crate) struct Fold {
    chunk: u64,
    /// What the store already has: records below only rebuild the rows.
    stored: u64,
    truncated: Option<Truncated>,
    rows: HashMap<Key, Row, RandomState>,
    dirty: Vec<Key>,
    words: Words,
    owners: HashMap<Owner, u32>,
    owner_names: Vec<Owner>,
    /// Of one click.
    values: Vec<(Dimension, u32)>,
}

impl Fold {
    /// For the chunk of `start`, where reading begins. `stored` is the progress, if there was any.
    pub(crate) fn new(start: u64, stored: Option<u64>) -> Self {
        let chunk = start / CLICK_CHUNK_LEN;
        let counted_here = stored.is_some_and(|stored| stored > chunk * CLICK_CHUNK_LEN);
        let is_cut = !start.is_multiple_of(CLICK_CHUNK_LEN);
        Self {
            chunk,
            stored: stored.unwrap_or(0),
            truncated: (is_cut && counted_here).then_some(Truncated { last_slot: None }),
            rows: HashMap::default(),
            dirty: Vec::new(),
            words: Words::default(),
            owners: HashMap::new(),
            owner_names: Vec::new(),
            values: Vec::new(),
        }
    }

    /// The same, in the place of the chunk before: its memory is used again, unless it was far more than needed.
    pub(crate) fn after(before: Self, start: u64, stored: Option<u64>) -> Self {
        let Self { mut rows, mut dirty, values, .. } = before;
        if rows.capacity() <= rows.len() * 4 {
            rows.clear();
            dirty.clear();
            return Self { rows, dirty, values, ..Self::new(start, stored) };
        }
        Self::new(start, stored)
    }

    /// The first offset of the next chunk.
    pub(crate) fn end(&self) -> u64 {
        (self.chunk + 1) * CLICK_CHUNK_LEN
    }

    pub(crate) fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Counts the record at `offset`, which lies in this chunk and after all counted before.
    pub(crate) fn count(&mut self, offset: u64, click: &LoggedClick) {
        debug_assert_eq!(offset / CLICK_CHUNK_LEN, self.chunk, "a record of another chunk");
        let slot = Slot::at(click.at);
        let is_new = offset >= self.stored;
        let apart = self
            .truncated
            .as_mut()
            .is_some_and(|truncated| slot <= *truncated.last_slot.get_or_insert_with(|| Slot::new(slot.get().saturating_add(LATE_MAX))));
        if apart && !is_new {
            return;
        }
        let upto = u32::try_from(offset % CLICK_CHUNK_LEN).unwrap_or(u32::MAX).saturating_add(1);
        let owner = self.owner(&click.owner);
        self.words.of(click, &mut self.values);
        for whose in [Whose::Everyone, Whose::Owner(owner), Whose::Link(click.link)] {
            let key = Key { whose, slot, apart };
            let row = self.rows.entry(key).or_default();
            row.count(click, &self.values);
            row.upto = upto;
            row.owner = owner;
            if is_new && !row.dirty {
                row.dirty = true;
                self.dirty.push(key);
            }
        }
    }

    /// The dirty rows, in the order of their keys: neighbours in the store.
    pub(crate) fn sort_dirty(&mut self) -> usize {
        self.dirty.sort_unstable();
        self.dirty.len()
    }

    /// Dirty rows from the `from`th, at most `limit`, as they are now.
    pub(crate) fn parts(&self, from: usize, limit: usize) -> Vec<Part> {
        let keys = self.dirty.iter().skip(from).take(limit);
        keys.filter_map(|key| self.rows.get(key).map(|row| self.part(*key, row))).collect()
    }

    /// All dirty rows are stored, and all records below `stored` with them.
    pub(crate) fn stored(&mut self, stored: u64) {
        for key in self.dirty.drain(..) {
            if let Some(row) = self.rows.get_mut(&key) {
                row.dirty = false;
            }
        }
        // Rows apart stand for what came after the progress at the start, so that one stays theirs.
        if self.truncated.is_none() {
            self.stored = self.stored.max(stored);
        }
    }

    fn owner(&mut self, owner: &Owner) -> u32 {
        if let Some(number) = self.owners.get(owner) {
            return *number;
        }
        let number = u32::try_from(self.owner_names.len()).unwrap_or(u32::MAX);
        self.owners.insert(owner.clone(), number);
        self.owner_names.push(owner.clone());
        number
    }

    fn part(&self, key: Key, row: &Row) -> Part {
        let owner = |number: u32| usize::try_from(number).ok().and_then(|number| self.owner_names.get(number)).cloned();
        let (subject, link_owner) = match key.whose {
            Whose::Everyone => (Subject::Everyone, None),
            Whose::Owner(number) => (owner(number).map_or(Subject::Everyone, Subject::Owner), None),
            Whose::Link(link) => (Subject::Link(link), owner(row.owner)),
        };
        let since = if key.apart { (self.stored % CLICK_CHUNK_LEN) + 1 } else { 0 };
        Part {
            subject,
            slot: key.slot,
            chunk: self.chunk | since << APART_SHIFT,
            upto: row.upto,
            owner: link_owner,
            tally: Tally {
                counts: row.counts,
                dimensions: self.words.dimensions(&row.values),
                visitors: row.visitors.encode(),
                visitor_days: 0,
            },
        }
    }
}

impl Row {
    fn count(&mut self, click: &LoggedClick, values: &[(Dimension, u32)]) {
        self.counts.clicks += 1;
        if !click.is_bot() {
            self.counts.humans += 1;
            self.visitors.add(click.visitor);
        }
        for (dimension, word) in values {
            self.count_value(u32::from(dimension.number()), *word);
        }
    }

    fn count_value(&mut self, dimension: u32, word: u32) {
        let key = |word| dimension << 24 | word;
        match self.values.binary_search_by_key(&key(word), |(key, _)| *key) {
            Ok(at) => self.values[at].1 += 1,
            Err(at) => {
                let from = self.values.partition_point(|(other, _)| *other < key(0));
                let to = self.values.partition_point(|(other, _)| *other < key(0) + (1 << 24));
                let has_other = self.values.get(from).is_some_and(|(first, _)| *first == key(Words::OTHER));
                if word == Words::OTHER || to - from - usize::from(has_other) < DIMENSION_VALUES_MAX {
                    self.values.insert(at, (key(word), 1));
                } else {
                    self.count_value(dimension, Words::OTHER);
                }
            }
        }
    }
}

/// The chunk's texts, each once.
#[derive(Debug)]
struct Words {
    numbers: HashMap<CompactString, u32, RandomState>,
    texts: Vec<CompactString>,
}

impl Default for Words {
    fn default() -> Self {
        let mut words = Self { numbers: HashMap::default(), texts: Vec::new() };
        words.number(OTHER);
        words
    }
}

impl Words {
    /// Of [`OTHER`]: the smallest, so that it is found first.
    const OTHER: u32 = 0;

    fn number(&mut self, text: &str) -> u32 {
        let text = bounded(text);
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.numbers.insert(text.into(), number);
        self.texts.push(text.into());
        number
    }

    /// What a click counts for in each dimension. UTM values and bots are counted where there are any,
    /// everything else always.
    fn of(&mut self, click: &LoggedClick, into: &mut Vec<(Dimension, u32)>) {
        let country = click.country.map(|country| CompactString::new(country.as_str()));
        let language = click.language.map(|language| CompactString::new(language.as_str()));
        let values = [
            (Dimension::Country, country.as_deref().unwrap_or_default(), UNKNOWN),
            (Dimension::Referrer, click.referrer.as_str(), DIRECT),
            (Dimension::Browser, click.browser.as_str(), UNKNOWN),
            (Dimension::System, click.system.as_str(), UNKNOWN),
            (Dimension::Device, click.device.as_str(), UNKNOWN),
            (Dimension::Language, language.as_deref().unwrap_or_default(), UNKNOWN),
            (Dimension::UtmSource, click.utm_source.as_str(), ""),
            (Dimension::UtmMedium, click.utm_medium.as_str(), ""),
            (Dimension::UtmCampaign, click.utm_campaign.as_str(), ""),
            (Dimension::Bot, click.bot.as_str(), ""),
        ];
        let present = values.into_iter().map(|(dimension, value, absent)| (dimension, if value.is_empty() { absent } else { value }));
        into.clear();
        into.extend(present.filter(|(_, value)| !value.is_empty()).map(|(dimension, value)| (dimension, self.number(value))));
    }

    fn dimensions(&self, values: &[(u32, u32)]) -> Dimensions {
        let mut dimensions = Dimensions::new();
        for (key, clicks) in values {
            let dimension = u8::try_from(key >> 24).ok().and_then(Dimension::from_number);
            let text = usize::try_from(key & 0xFF_FFFF).ok().and_then(|word| self.texts.get(word));
            if let (Some(dimension), Some(text)) = (dimension, text) {
                dimensions.entry(dimension).or_default().insert(text.clone(), u64::from(*clicks));
            }
        }
        dimensions
    }
}

/// Recorders bound their values; a log written by another version may not have.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(DIMENSION_VALUE_LEN_MAX)]
}

#[cfg(test)]
mod tests;
