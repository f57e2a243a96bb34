//! The forms of values. Durations and sizes: plain numbers in the unit that the key's suffix names, or text
//! with a unit; numbers with bounds; text that a type parses.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError(&'static str);

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for UnitError {}

const MILLIS_FORM: &str = "expected milliseconds as a number, or text such as \"250ms\", \"2s\", \"5m\", \"1h\"";
const SECONDS_FORM: &str = "expected whole seconds as a number, or text such as \"30s\", \"5m\", \"1h\", \"7d\"";
const SIZE_FORM: &str = "expected bytes as a number, or text such as \"64KiB\", \"16MiB\", \"1GiB\"";

/// For keys that end in `_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub Duration);

/// For keys that end in `_s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub Duration);

/// For keys that end in `_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Millis {
    pub const fn new(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    fn from_number(ms: u64) -> Result<Self, UnitError> {
        if ms <= MILLIS_MAX { Ok(Self::new(ms)) } else { Err(UnitError(MILLIS_FORM)) }
    }

    fn parse(text: &str) -> Result<Self, UnitError> {
        parse_ms(text, 1).ok_or(UnitError(MILLIS_FORM)).and_then(Self::from_number)
    }
}

impl Seconds {
    pub const fn new(s: u64) -> Self {
        Self(Duration::from_secs(s))
    }

    fn from_number(s: u64) -> Result<Self, UnitError> {
        if s <= MILLIS_MAX / 1_000 { Ok(Self::new(s)) } else { Err(UnitError(SECONDS_FORM)) }
    }

    fn parse(text: &str) -> Result<Self, UnitError> {
        let ms = parse_ms(text, 1_000).filter(|ms| ms % 1_000 == 0).ok_or(UnitError(SECONDS_FORM))?;
        Self::from_number(ms / 1_000)
    }
}

impl Size {
    #[expect(clippy::unnecessary_wraps, reason = "the shape that all units share")]
    fn from_number(bytes: u64) -> Result<Self, UnitError> {
        Ok(Self(bytes))
    }

    fn parse(text: &str) -> Result<Self, UnitError> {
        let parsed = split_unit(text).and_then(|(number, unit)| {
            let factor = match unit {
                "" | "B" => 1,
                "kB" | "KB" => 1_000,
                "MB" => 1_000_000,
                "GB" => 1_000_000_000,
                "KiB" | "k" | "K" => 1 << 10,
                "MiB" | "M" => 1 << 20,
                "GiB" | "G" => 1 << 30,
                _ => return None,
            };
            number.checked_mul(factor)
        });
        parsed.map(Self).ok_or(UnitError(SIZE_FORM))
    }
}

/// A century: more is a mistake, and would overflow clocks.
const MILLIS_MAX: u64 = 100 * 366 * 24 * 3_600 * 1_000;

fn parse_ms(text: &str, bare_ms: u64) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "" => bare_ms,
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

struct UnitVisitor<T> {
    form: &'static str,
    from_number: fn(u64) -> Result<T, UnitError>,
    parse: fn(&str) -> Result<T, UnitError>,
}

impl<T> Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.form.strip_prefix("expected ").unwrap_or(self.form))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.from_number)(number).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        u64::try_from(number).map_err(|_| E::custom(self.form)).and_then(|number| self.visit_u64(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

macro_rules! unit_serde {
    ($type:ident, $form:expr, |$value:ident| $number:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(UnitVisitor { form: $form, from_number: Self::from_number, parse: Self::parse })
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self;
                serializer.serialize_u64($number)
            }
        }
    };
}

unit_serde!(Millis, MILLIS_FORM, |value| u64::try_from(value.0.as_millis()).unwrap_or(u64::MAX));
unit_serde!(Seconds, SECONDS_FORM, |value| value.0.as_secs());
unit_serde!(Size, SIZE_FORM, |value| value.0);

/// A whole number with bounds, both of them allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Within<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Within<MIN, MAX> {
    /// # Panics
    /// At compile time, when a constant is out of bounds.
    pub const fn new(number: u64) -> Self {
        assert!(MIN <= number && number <= MAX, "out of bounds");
        Self(number)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    pub fn to_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// `MAX`, should it not fit.
    pub fn to_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Within<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = || de::Error::custom(format!("expected a whole number from {MIN} to {MAX}"));
        let number = u64::deserialize(deserializer).map_err(|_| form())?;
        if (MIN..=MAX).contains(&number) { Ok(Self(number)) } else { Err(form()) }
    }
}

/// A value written as text in the form its type parses and prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<T>(pub T);

impl<T: FromStr<Err: fmt::Display>> FromStr for Text<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        text.parse().map(Self)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(|error: T::Err| de::Error::custom(error))
    }
}

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
