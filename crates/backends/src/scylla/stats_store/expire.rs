//! Removing quarter-hours that are rolled up and old.

use std::time::Instant;

use domain::Subject;
use domain::port::PortResult;

use super::marks::{Found, List};
use super::row::{BUCKETS, expiry_timestamp, first_slot, spans, subject_key, subject_of};
use super::{StatsStore, lock};

/// The key of a row within its partition.
struct PartKey {
    slot: i32,
    source: Vec<u8>,
    chunk: i64,
}

impl StatsStore {
    /// Days are sealed first, so that no process takes parts of them any more once it has heard of it ([`super::SEAL_AGE`]).
    /// Whoever has not is stopped by the deletions, whose timestamp is later than that of any part of the day.
    pub(super) async fn expire(&self, before_day: u32, limit: usize) -> PortResult<usize> {
        if lock(&self.seal).before < before_day {
            let day = i64::from(before_day);
            self.cql.write(&self.statements.put_setting, ("sealed_before", day, day)).await?;
            self.knows_sealed(before_day, Instant::now());
        }
        let mut removed = 0;
        for (day, marks) in self.days(List::Rolled).await?.range(..before_day) {
            let mut is_empty = true;
            for bucket in 0..BUCKETS {
                let found = self.subjects(List::Rolled, (*day, bucket), "", usize::MAX).await?;
                is_empty &= found.is_empty();
                for found in found {
                    if removed >= limit {
                        return Ok(removed);
                    }
                    removed += self.expire_day(*day, found, limit - removed).await?;
                }
            }
            if is_empty {
                self.drop_day(List::Rolled, *day, marks).await?;
            }
        }
        Ok(removed)
    }

    async fn expire_day(&self, day: u32, found: Found, limit: usize) -> PortResult<usize> {
        let Some(subject) = subject_of(&found.key) else {
            self.damaged("a rolled-up day of nobody");
            self.unmark(List::Rolled, day, &found.key, &found.marks).await?;
            return Ok(0);
        };
        // To be summed up once more; it expires after that.
        if !self.marks_of(day, &found.key).await?.is_empty() {
            return Ok(0);
        }
        let mut removed = 0;
        for span in spans(&subject, first_slot(day), first_slot(day + 1)) {
            removed += self.expire_span(&subject, day, span, limit - removed).await?;
            if removed >= limit {
                return Ok(removed);
            }
        }
        self.unmark(List::Rolled, day, &found.key, &found.marks).await?;
        Ok(removed)
    }

    /// The whole partition where it has few enough rows, else as many slots, else as many rows.
    async fn expire_span(&self, subject: &Subject, day: u32, span: i32, limit: usize) -> PortResult<usize> {
        let (key, at) = (subject_key(subject), expiry_timestamp(day));
        let mut keys: Vec<PartKey> = Vec::new();
        let fetch = i32::try_from(limit.saturating_add(1)).unwrap_or(i32::MAX);
        let read = self.cql.each(&self.statements.part_keys, (key.as_str(), span, fetch), |row| {
            let Some(slot) = row.get("slot")? else { return Ok(()) };
            keys.push(PartKey { slot, source: row.need::<&[u8]>("source")?.to_vec(), chunk: row.need("chunk")? });
            Ok(())
        });
        read.await?;
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(0) };
        if keys.len() <= limit {
            self.cql.write(&self.statements.drop_span, (at, key.as_str(), span)).await?;
            return Ok(keys.len());
        }
        if first.slot < last.slot {
            self.cql.write(&self.statements.drop_slots, (at, key.as_str(), span, last.slot)).await?;
            return Ok(keys.iter().filter(|part| part.slot < last.slot).count());
        }
        for part in &keys[..limit] {
            let values = (at, key.as_str(), span, part.slot, part.source.as_slice(), part.chunk);
            self.cql.write(&self.statements.drop_part, values).await?;
        }
        Ok(limit)
    }
}
