//! Times as they are written: RFC 3339 in any offset on the way in, UTC on the way out.

use domain::UnixMs;
use jiff::Timestamp;

/// `2026-11-23T20:00:00Z`; milliseconds only where there are any.
pub(crate) fn format(at: UnixMs) -> String {
    match Timestamp::from_millisecond(at.get()) {
        Ok(time) if time.subsec_nanosecond() == 0 => format!("{time:.0}"),
        Ok(time) => format!("{time:.3}"),
        // Beyond year 9999 there is no RFC 3339; such times come from arithmetic, not from people.
        Err(_) if at.get() < 0 => "0000-01-01T00:00:00Z".into(),
        Err(_) => "9999-12-31T23:59:59Z".into(),
    }
}

/// The last second that RFC 3339 can write, and what people write for "never".
const LAST: UnixMs = UnixMs::new(253_402_300_799_000);

/// Whole milliseconds; what is finer is cut off.
pub(crate) fn parse(text: &str) -> Option<UnixMs> {
    if !is_rfc3339(text.as_bytes()) {
        return None;
    }
    let Ok(time) = text.parse::<Timestamp>() else { return is_in_last_days(text).then_some(LAST) };
    Some(UnixMs::new(time.as_nanosecond().div_euclid(1_000_000).try_into().ok()?))
}

/// The parser's clock ends a day before the year 9999 does, so that every offset fits: what is right in
/// another year is right in this one.
fn is_in_last_days(text: &str) -> bool {
    text.strip_prefix("9999-12-3").is_some_and(|rest| format!("2026-12-3{rest}").parse::<Timestamp>().is_ok())
}

/// The parser takes more of ISO 8601 than RFC 3339 has.
fn is_rfc3339(text: &[u8]) -> bool {
    const DATE: &[u8] = b"0000-00-00T00:00:00";
    let fits = |text: &[u8], pattern: &[u8]| {
        text.len() == pattern.len()
            && text.iter().zip(pattern).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                b'+' => matches!(byte, b'+' | b'-'),
                _ => byte.eq_ignore_ascii_case(form),
            })
    };
    let Some((date, rest)) = text.split_at_checked(DATE.len()) else { return false };
    let rest = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    fits(date, DATE) && (fits(rest, b"Z") || fits(rest, b"+00:00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (text, shown) in [
            ("2026-11-23T20:00:00Z", "2026-11-23T20:00:00Z"),
            ("2026-11-23t20:00:00z", "2026-11-23T20:00:00Z"),
            ("2026-11-23T20:00:00.5Z", "2026-11-23T20:00:00.500Z"),
            ("2026-11-23T20:00:00.0009Z", "2026-11-23T20:00:00Z"),
            ("2026-11-23T21:30:00+01:30", "2026-11-23T20:00:00Z"),
            ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
            ("9999-12-30T00:00:00Z", "9999-12-30T00:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(format(parse(text).expect(text)), shown, "{text}");
        }
    }

    #[test]
    fn only_rfc_3339() {
        for wrong in [
            "",
            "now",
            "2026-11-23",
            "2026-11-23T20:00:00",
            "2026-11-23 20:00:00Z",
            "2026-11-23T20:00Z",
            "20261123T200000Z",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-11-23T25:00:00Z",
            "2026-11-23T20:00:00+01",
            "2026-11-23T20:00:00.Z",
            "2026-11-23T20:00:00.0000000001Z",
            "2026-11-23T20:00:00Z[UTC]",
            "+002026-11-23T20:00:00Z",
            "2026-11-23T20:00:00Zé",
            "9999-12-32T00:00:00Z",
            "9999-12-31T24:00:00Z",
            "9999-12-31T23:59:59+99:00",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn extremes_have_a_form() {
        assert_eq!(format(UnixMs::new(i64::MAX)), "9999-12-31T23:59:59Z");
        assert_eq!(format(UnixMs::new(i64::MIN)), "0000-01-01T00:00:00Z");
    }
}
