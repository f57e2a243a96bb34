//! `grpc-timeout`: how much of a deadline is left when it crosses to another process.

use std::time::Duration;

use domain::{Error, Reason};
use http::HeaderValue;

pub(crate) const HEADER: &str = "grpc-timeout";

/// The header for what is left. Rounded down, so that nobody works longer than we wait, but never to
/// nothing.
pub(crate) fn format(left: Duration) -> HeaderValue {
    let us = left.as_micros().max(1);
    // The number has eight digits at most.
    let text = if us < 100_000_000 { format!("{us}u") } else { format!("{}m", (us / 1_000).min(99_999_999)) };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("1m"))
}

fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// What the caller gives us.
///
/// # Errors
/// `InvalidField`: calls without a deadline are refused, since nobody would ever give up on them.
pub(crate) fn read(metadata: &tonic::metadata::MetadataMap) -> Result<Duration, Error> {
    let header = metadata.as_ref().get(HEADER);
    header.and_then(|value| parse(value.as_bytes())).ok_or_else(|| {
        let wrong = if header.is_none() { "is missing" } else { "is not one to eight digits and one of H M S m u n" };
        Error::new(Reason::InvalidField, format!("`grpc-timeout` {wrong}: every call needs a deadline, for example `grpc-timeout: 1S`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_read_is_what_was_left_or_a_little_less(us in 1_u64..90_000_000_000) {
            let left = Duration::from_micros(us);
            let read = parse(format(left).as_bytes()).unwrap();
            prop_assert!(read <= left && left.checked_sub(read).unwrap() < Duration::from_millis(1));
        }

        #[test]
        fn any_header_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn only_the_grammar_of_the_specification() {
        for wrong in ["", "S", "1", "123456789S", "-1S", "+1S", "1s", "1 S", "1.5S"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong:?}");
        }
        assert_eq!(parse(b"99999999H"), Some(Duration::from_hours(99_999_999)));
        assert_eq!(format(Duration::ZERO), "1u");
    }
}
