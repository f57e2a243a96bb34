//! Layout of Snowflake ids: 41 bits of milliseconds since 2025, 10 bits of worker, 12 bits of sequence.
//! The sign bit stays 0, so that an id fits a signed column.

use crate::model::LinkId;
use crate::time::UnixMs;

/// 2025-01-01T00:00:00Z in milliseconds since 1970.
pub const EPOCH_MS: i64 = 1_735_689_600_000;
pub const MS_BITS: u32 = 41;
pub const WORKER_BITS: u32 = 10;
pub const SEQUENCE_BITS: u32 = 12;
pub const WORKER_MAX: u16 = (1 << WORKER_BITS) - 1;
pub const SEQUENCE_MAX: u16 = (1 << SEQUENCE_BITS) - 1;
/// Ids one worker can make in one millisecond: 4,096,000 a second.
pub const IDS_PER_MS: u64 = 1 << SEQUENCE_BITS;
/// The last millisecond that fits (since [`EPOCH_MS`]): in September 2094.
pub const MS_MAX: u64 = (1 << MS_BITS) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    pub at: UnixMs,
    pub worker: u16,
    pub sequence: u16,
}

/// `None` when a part does not fit its bits.
pub fn encode(parts: Parts) -> Option<LinkId> {
    let ms = u64::try_from(parts.at.get().checked_sub(EPOCH_MS)?).ok()?;
    let fits = ms <= MS_MAX && parts.worker <= WORKER_MAX && parts.sequence <= SEQUENCE_MAX;
    fits.then(|| {
        LinkId::new((ms << (WORKER_BITS + SEQUENCE_BITS)) | (u64::from(parts.worker) << SEQUENCE_BITS) | u64::from(parts.sequence))
    })
}

/// Undoes [`encode`]. Of an id that no worker made it says something, but nothing true.
pub fn decode(id: LinkId) -> Parts {
    let bits = |shift: u32, count: u32| u16::try_from((id.get() >> shift) & ((1 << count) - 1)).unwrap_or(0);
    Parts { at: created_at(id), worker: bits(SEQUENCE_BITS, WORKER_BITS), sequence: bits(0, SEQUENCE_BITS) }
}

/// When the id was made, by the clock that its window was granted from.
pub fn created_at(id: LinkId) -> UnixMs {
    let ms = i64::try_from(id.get() >> (WORKER_BITS + SEQUENCE_BITS)).unwrap_or(i64::MAX);
    UnixMs::new(EPOCH_MS.saturating_add(ms))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layout_is_fixed() {
        let parts = Parts { at: UnixMs::new(EPOCH_MS + 1), worker: 1, sequence: 1 };
        assert_eq!(encode(parts), Some(LinkId::new((1 << 22) | (1 << 12) | 1)));
        assert_eq!(decode(LinkId::new((1 << 22) | (1 << 12) | 1)), parts);
        assert_eq!(MS_BITS + WORKER_BITS + SEQUENCE_BITS, 63);
    }

    #[test]
    fn the_largest_id_fits_a_signed_column() {
        let at = UnixMs::new(EPOCH_MS + i64::try_from(MS_MAX).unwrap());
        let id = encode(Parts { at, worker: WORKER_MAX, sequence: SEQUENCE_MAX }).unwrap();
        assert_eq!(i64::try_from(id.get()), Ok(i64::MAX));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let fits = Parts { at: UnixMs::new(EPOCH_MS), worker: 0, sequence: 0 };
        assert!(encode(fits).is_some());
        let beyond = EPOCH_MS + i64::try_from(MS_MAX).unwrap() + 1;
        for at in [EPOCH_MS - 1, 0, -1, beyond, i64::MAX, i64::MIN] {
            assert_eq!(encode(Parts { at: UnixMs::new(at), ..fits }), None, "{at}");
        }
        assert_eq!(encode(Parts { worker: WORKER_MAX + 1, ..fits }), None);
        assert_eq!(encode(Parts { sequence: SEQUENCE_MAX + 1, ..fits }), None);
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(ms in 0..=MS_MAX, worker in 0..=WORKER_MAX, sequence in 0..=SEQUENCE_MAX) {
            let parts = Parts { at: UnixMs::new(EPOCH_MS + i64::try_from(ms).unwrap()), worker, sequence };
            let id = encode(parts).unwrap();
            prop_assert_eq!(decode(id), parts);
            prop_assert_eq!(created_at(id), parts.at);
        }

        #[test]
        fn any_number_decodes_without_panic(id in any::<u64>()) {
            let parts = decode(LinkId::new(id));
            prop_assert!(parts.worker <= WORKER_MAX && parts.sequence <= SEQUENCE_MAX);
        }
    }
}
