//! What a crate measures: every metric with its type, unit, labels and help, in one list that code, `/metrics` and the
//! documentation are made from. [`crate::metrics!`] writes the list, so that no name is without an entry.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// A label, and `a|b|c`: the values it may have; in angle brackets a word for what they are, where they are too many to list.
pub type Label = (&'static str, &'static str);

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    help: &'static str,
    labels: &'static [Label],
}

impl Metric {
    pub const fn new(name: &'static str, kind: Kind, unit: &'static str, help: &'static str, labels: &'static [Label]) -> Self {
        Self { name, kind, unit, help, labels }
    }

    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What one is of: `seconds`, `bytes`, or what is counted.
    pub const fn unit(&self) -> &'static str {
        self.unit
    }

    pub fn help(&self) -> &'static str {
        self.help.trim()
    }

    pub const fn labels(&self) -> &'static [Label] {
        self.labels
    }
}

/// Gives units and help texts to whatever recorder is installed.
pub fn describe(metrics: &[Metric]) {
    for metric in metrics {
        let unit = match metric.unit {
            "seconds" => ::metrics::Unit::Seconds,
            "bytes" => ::metrics::Unit::Bytes,
            _ => ::metrics::Unit::Count,
        };
        match metric.kind {
            Kind::Counter => ::metrics::describe_counter!(metric.name, unit, metric.help()),
            Kind::Gauge => ::metrics::describe_gauge!(metric.name, unit, metric.help()),
            Kind::Histogram => ::metrics::describe_histogram!(metric.name, unit, metric.help()),
        }
    }
}

/// Declares what a crate measures: a constant for each name, and `METRICS` with all of them. The comment of an entry is its help.
///
/// ```
/// chassis::metrics! {
///     /// Parcels handed over.
///     Counter PARCELS = "post_parcels_total" in "parcels" by ["to": "door|neighbour"];
///     /// From the ring to the answer.
///     Histogram WAIT = "post_wait_seconds" in "seconds";
/// }
/// assert_eq!(METRICS[0].name(), PARCELS);
/// assert_eq!(METRICS[1].help(), "From the ring to the answer.");
/// assert_eq!(WAIT, "post_wait_seconds");
/// ```
#[macro_export]
macro_rules! metrics {
    ($(
        $(#[doc = $help:literal])+
        $kind:ident $constant:ident = $name:literal in $unit:literal $(by [$($label:literal: $values:literal),+])?;
    )+) => {
        $(
            $(#[doc = $help])+
            pub(crate) const $constant: &str = $name;
        )+

        /// Every metric of this crate.
        pub const METRICS: &[$crate::catalogue::Metric] = &[$(
            $crate::catalogue::Metric::new(
                $constant,
                $crate::catalogue::Kind::$kind,
                $unit,
                concat!($($help),+),
                &[$($(($label, $values)),+)?],
            )
        ),+];
    };
}
