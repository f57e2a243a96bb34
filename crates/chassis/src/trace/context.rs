//! A place in a trace, as it travels: W3C Trace Context, `traceparent`. `tracestate` and `baggage` are not carried.

use std::fmt;

use super::dice::roll;

/// Bytes of a `traceparent` of version 00.
const TRACEPARENT_LEN: usize = 55;

/// One span of one trace. Neither id is ever zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

impl TraceContext {
    /// `None` for ids that are zero, which stand for no trace.
    pub fn new(trace_id: u128, span_id: u64, sampled: bool) -> Option<Self> {
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, sampled })
    }

    /// The first span of a new trace.
    pub(super) fn root(sampled: bool) -> Self {
        Self { trace_id: u128::from(id()) << 64 | u128::from(roll()), span_id: id(), sampled }
    }

    /// A new span of the same trace.
    pub(super) fn child(self) -> Self {
        Self { span_id: id(), ..self }
    }

    pub fn trace_id(self) -> u128 {
        self.trace_id
    }

    pub fn span_id(self) -> u64 {
        self.span_id
    }

    /// Whether all of this trace is kept.
    pub fn is_sampled(self) -> bool {
        self.sampled
    }

    /// A `traceparent` of this version, or of a later one that begins like it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(TRACEPARENT_LEN)?;
        let version = hex(&head[..2])?;
        let is_later = version > 0 && version < 0xff && matches!(rest, [] | [b'-', ..]);
        let is_whole = head[2] == b'-' && head[35] == b'-' && head[52] == b'-' && (is_later || version == 0 && rest.is_empty());
        if !is_whole {
            return None;
        }
        let span_id = u64::try_from(hex(&head[36..52])?).ok()?;
        Self::new(hex(&head[3..35])?, span_id, hex(&head[53..])? & 1 == 1)
    }
}

/// Never zero.
fn id() -> u64 {
    roll().max(1)
}

/// Lower-case digits only, as the standard has it.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// As a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_written_is_what_is_read() {
        let context = TraceContext::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!((context.trace_id(), context.span_id()), (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331));
        assert!(context.is_sampled());
        assert_eq!(context.to_string(), EXAMPLE);
        for sampled in [true, false] {
            let context = TraceContext::root(sampled).child();
            assert_eq!(TraceContext::parse(context.to_string().as_bytes()), Some(context));
            assert_eq!(context.to_string().len(), TRACEPARENT_LEN);
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = EXAMPLE.replacen("00", "01", 1);
        assert!(TraceContext::parse(later.as_bytes()).is_some());
        assert!(TraceContext::parse(format!("{later}-more").as_bytes()).is_some());
        for wrong in [format!("{later}more"), format!("{EXAMPLE}-more"), EXAMPLE.replacen("00", "ff", 1)] {
            assert_eq!(TraceContext::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn nonsense_is_no_context() {
        let zero_trace = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let zero_span = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16));
        let upper = EXAMPLE.to_uppercase();
        for wrong in ["", "00", "00-", &EXAMPLE[..54], &zero_trace, &zero_span, &upper, &EXAMPLE.replace('-', "_"), &"ü".repeat(40)] {
            assert_eq!(TraceContext::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_child_stays_in_its_trace() {
        let root = TraceContext::root(true);
        let child = root.child();
        assert_eq!((child.trace_id(), child.is_sampled()), (root.trace_id(), true));
        assert_ne!(child.span_id(), root.span_id());
        assert_ne!(TraceContext::root(true).trace_id(), root.trace_id());
    }
}
