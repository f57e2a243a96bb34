//! Whatever stands in a click record: read or refused, never a panic, and what was read is within bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(longest) = backends::fuzz::click(bytes) {
        assert!(longest <= domain::limits::DIMENSION_VALUE_LEN_MAX, "{longest}");
    }
});
