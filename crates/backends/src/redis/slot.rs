//! Where in a cluster a key lies.

/// Slots of a cluster.
const SLOTS: u16 = 16_384;
/// Groups of neighbouring slots: fine enough that few span two nodes.
pub(super) const GROUPS: usize = 64;

/// CRC-16/XMODEM, as the cluster specification has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

/// The slot of a key: of what stands between its first braces, if anything.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        rest.iter().position(|byte| *byte == b'}').filter(|close| *close > 0).map(|close| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

pub(super) fn group(key: &[u8]) -> usize {
    usize::from(slot(key)) * GROUPS / usize::from(SLOTS)
}

/// A key in each group.
pub(super) fn keys_of_groups() -> Vec<String> {
    let mut keys = vec![None; GROUPS];
    for number in 0_u32.. {
        let key = format!("terse:probe:{number}");
        keys[group(key.as_bytes())].get_or_insert(key);
        if keys.iter().all(Option::is_some) {
            break;
        }
    }
    keys.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"bar"), 5_061);
        assert_eq!(slot(b"{foo}bar"), 12_182);
        assert_eq!(slot(b"{}foo"), crc16(b"{}foo") % SLOTS);
        let keys = keys_of_groups();
        assert!((0..GROUPS).eq(keys.iter().map(|key| group(key.as_bytes()))));
    }
}
