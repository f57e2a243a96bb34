//! A click as bytes: the protobuf message `terse.v1.Click`. Written by hand, because it is written
//! on the redirect path and must not allocate; a property test holds it to what prost writes.

use compact_str::CompactString;
use domain::limits::{DIMENSION_VALUE_LEN_MAX, FOREIGN_CODE_LEN_MAX, OWNER_LEN_MAX};
use domain::{Browser, Click, ClickTrace, Country, Device, DomainNo, Language, LinkId, LoggedClick, Owner, System, UnixMs};
use prost::Message as _;

use crate::proto;

/// An owner has up to [`OWNER_LEN_MAX`] characters of up to four bytes.
const OWNER_BYTES_MAX: usize = OWNER_LEN_MAX * 4;
/// Bytes of a place in a trace.
const TRACE_LEN: usize = 16 + 8;
/// Bytes of the longest click: link, owner, time, visitor, country, language, client, five texts, domain, code and trace, all
/// with their tags.
pub(crate) const CLICK_LEN_MAX: usize =
    9 + (3 + OWNER_BYTES_MAX) + 11 + 9 + 3 + 4 + 5 + 5 * (2 + DIMENSION_VALUE_LEN_MAX) + 4 + (3 + FOREIGN_CODE_LEN_MAX) + (2 + TRACE_LEN);

/// The tag of a field: its number and its wire type, in one byte for numbers below 16.
const fn tag(number: u8, wire: u8) -> u8 {
    number << 3 | wire
}
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;

/// Why a record is no click.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("{0} bytes are too many for a click")]
    TooLong(usize),
    #[error(transparent)]
    Malformed(#[from] prost::DecodeError),
}

/// How much of a click a log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// What statistics are made of.
    Statistics,
    /// Domain and code besides, by which live counts are kept: a dozen bytes more.
    Everything,
}

/// Writes `click` to the front of `out` and answers its length. Texts beyond their limits are cut.
pub(crate) fn encode(click: &Click<'_>, keep: Keep, trace: Option<ClickTrace>, out: &mut [u8; CLICK_LEN_MAX]) -> usize {
    let mut out = Out { bytes: out, len: 0 };
    out.fixed64(1, click.link.get());
    out.text(2, click.owner, OWNER_BYTES_MAX);
    // Negative times are written as two's complement, as protobuf has it.
    out.varint(3, click.at.get().cast_unsigned());
    out.fixed64(4, click.visitor);
    out.varint(5, click.country.map_or(0, |country| u64::from(pack(country.as_str()))));
    out.varint(6, click.language.map_or(0, |language| u64::from(pack(language.as_str()))));
    out.varint(7, u64::from(client(click.browser, click.system, click.device)));
    out.text(8, click.referrer, DIMENSION_VALUE_LEN_MAX);
    out.text(9, click.bot, DIMENSION_VALUE_LEN_MAX);
    out.text(10, click.utm_source, DIMENSION_VALUE_LEN_MAX);
    out.text(11, click.utm_medium, DIMENSION_VALUE_LEN_MAX);
    out.text(12, click.utm_campaign, DIMENSION_VALUE_LEN_MAX);
    if keep == Keep::Everything {
        out.varint(13, u64::from(click.domain.get()));
        out.text(14, click.code, FOREIGN_CODE_LEN_MAX);
    }
    if let Some(trace) = trace {
        out.bytes(15, &pack_trace(trace));
    }
    out.len
}

/// The link of a click that [`encode`] wrote: its first field, unless it is zero.
pub(crate) fn link_of(bytes: &[u8]) -> u64 {
    let first = bytes.strip_prefix(&[tag(1, FIXED64)]).and_then(|rest| rest.first_chunk());
    first.map_or(0, |link| u64::from_le_bytes(*link))
}

/// Reads what [`encode`] wrote, in this version or another: unknown fields are skipped, unknown
/// numbers are `Unknown`, letters that are none are absent.
pub(crate) fn decode(bytes: &[u8]) -> Result<(LoggedClick, Option<ClickTrace>), DecodeError> {
    if bytes.len() > CLICK_LEN_MAX {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let click = proto::Click::decode(bytes)?;
    let trace = unpack_trace(&click.trace);
    let [browser, system, device, _] = click.client.to_le_bytes().map(u32::from);
    let click = LoggedClick {
        link: LinkId::new(click.link),
        domain: domain(click.domain),
        code: CompactString::from(cut(&click.code, FOREIGN_CODE_LEN_MAX)),
        owner: Owner::from_stored(cut(&click.owner, OWNER_BYTES_MAX)),
        at: UnixMs::new(click.at_ms),
        visitor: click.visitor,
        country: unpack(click.country).and_then(|letters| Country::parse(&letters)),
        language: unpack(click.language).and_then(|letters| Language::parse(&letters)),
        referrer: value(&click.referrer),
        browser: Browser::from_number(browser),
        system: System::from_number(system),
        device: Device::from_number(device),
        bot: value(&click.bot),
        utm_source: value(&click.utm_source),
        utm_medium: value(&click.utm_medium),
        utm_campaign: value(&click.utm_campaign),
    };
    Ok((click, trace))
}

fn pack_trace(trace: ClickTrace) -> [u8; TRACE_LEN] {
    let mut bytes = [0; TRACE_LEN];
    bytes[..16].copy_from_slice(&trace.trace_id.to_be_bytes());
    bytes[16..].copy_from_slice(&trace.span_id.to_be_bytes());
    bytes
}

/// `None` for what [`pack_trace`] never makes.
fn unpack_trace(bytes: &[u8]) -> Option<ClickTrace> {
    let (trace_id, span_id) = bytes.split_first_chunk::<16>()?;
    let trace = ClickTrace { trace_id: u128::from_be_bytes(*trace_id), span_id: u64::from_be_bytes(span_id.try_into().ok()?) };
    (trace.trace_id != 0 && trace.span_id != 0).then_some(trace)
}

/// Fields that are zero or empty are not written, as in every proto3 encoder.
struct Out<'a> {
    bytes: &'a mut [u8; CLICK_LEN_MAX],
    len: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn fixed64(&mut self, number: u8, value: u64) {
        if value != 0 {
            self.put(&[tag(number, FIXED64)]);
            self.put(&value.to_le_bytes());
        }
    }

    fn varint(&mut self, number: u8, value: u64) {
        if value != 0 {
            self.put(&[tag(number, VARINT)]);
            self.raw_varint(value);
        }
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(&[value.to_le_bytes()[0] | 0x80]);
            value >>= 7;
        }
        self.put(&[value.to_le_bytes()[0]]);
    }

    fn text(&mut self, number: u8, text: &str, len_max: usize) {
        self.bytes(number, cut(text, len_max).as_bytes());
    }

    fn bytes(&mut self, number: u8, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.put(&[tag(number, BYTES)]);
            self.raw_varint(bytes.len() as u64);
            self.put(bytes);
        }
    }
}

fn client(browser: Browser, system: System, device: Device) -> u32 {
    u32::from_le_bytes([browser.number(), system.number(), device.number(), 0])
}

/// `None` for what is no domain's number.
fn domain(number: u32) -> Option<DomainNo> {
    (1..=DomainNo::MAX).contains(&number).then(|| DomainNo::new(number))
}

fn cut(text: &str, len_max: usize) -> &str {
    &text[..text.floor_char_boundary(len_max)]
}

fn value(text: &str) -> CompactString {
    CompactString::from(cut(text, DIMENSION_VALUE_LEN_MAX))
}

/// Letters of either case as digits of base 27.
fn pack(letters: &str) -> u32 {
    letters.bytes().rev().fold(0, |number, letter| number * 27 + u32::from(letter & 0x1f))
}

/// Lower-case letters of up to three digits; `None` for 0 and for what [`pack`] never makes.
fn unpack(mut number: u32) -> Option<CompactString> {
    let mut letters = CompactString::default();
    while number > 0 {
        let digit = u8::try_from(number % 27).ok().filter(|digit| *digit > 0 && letters.len() < 3)?;
        letters.push(char::from(b'a' - 1 + digit));
        number /= 27;
    }
    (!letters.is_empty()).then_some(letters)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn picked<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
        (0..all.len()).prop_map(|index| all[index])
    }

    prop_compose! {
        pub(crate) fn clicks()(
            (link, visitor, at) in any::<(u64, u64, i64)>(),
            owner in ".{0,70}",
            country in proptest::option::of("[A-Z]{2}"),
            language in proptest::option::of("[a-z]{2,3}"),
            (browser, system, device) in (picked(Browser::ALL), picked(System::ALL), picked(Device::ALL)),
            texts in proptest::array::uniform5(".{0,120}"),
            domain in 1..=DomainNo::MAX,
            code in ".{0,140}",
        ) -> LoggedClick {
            let [referrer, bot, utm_source, utm_medium, utm_campaign] = texts.map(CompactString::from);
            LoggedClick {
                link: LinkId::new(link), domain: Some(DomainNo::new(domain)), code: code.into(), owner: Owner::from_stored(&owner), at: UnixMs::new(at), visitor,
                country: country.and_then(|text| Country::parse(&text)),
                language: language.and_then(|text| Language::parse(&text)),
                referrer, browser, system, device, bot, utm_source, utm_medium, utm_campaign,
            }
        }
    }

    fn borrowed(click: &LoggedClick) -> Click<'_> {
        Click {
            link: click.link,
            domain: click.domain.unwrap_or(DomainNo::DEFAULT),
            code: &click.code,
            owner: click.owner.as_str(),
            at: click.at,
            visitor: click.visitor,
            country: click.country,
            language: click.language,
            referrer: &click.referrer,
            browser: click.browser,
            system: click.system,
            device: click.device,
            bot: &click.bot,
            utm_source: &click.utm_source,
            utm_medium: &click.utm_medium,
            utm_campaign: &click.utm_campaign,
        }
    }

    /// The click with every text cut as the codec promises.
    fn bounded(click: &LoggedClick) -> LoggedClick {
        let mut click = click.clone();
        click.owner = Owner::from_stored(cut(click.owner.as_str(), OWNER_BYTES_MAX));
        for text in [&mut click.referrer, &mut click.bot, &mut click.utm_source, &mut click.utm_medium, &mut click.utm_campaign] {
            *text = value(text);
        }
        click.code = cut(&click.code, FOREIGN_CODE_LEN_MAX).into();
        click
    }

    fn message(click: &LoggedClick) -> proto::Click {
        proto::Click {
            link: click.link.get(),
            owner: click.owner.as_str().into(),
            at_ms: click.at.get(),
            visitor: click.visitor,
            country: click.country.map_or(0, |country| pack(country.as_str())),
            language: click.language.map_or(0, |language| pack(language.as_str())),
            client: client(click.browser, click.system, click.device),
            referrer: click.referrer.to_string(),
            bot: click.bot.to_string(),
            utm_source: click.utm_source.to_string(),
            utm_medium: click.utm_medium.to_string(),
            utm_campaign: click.utm_campaign.to_string(),
            domain: click.domain.map_or(0, DomainNo::get),
            code: click.code.to_string(),
            trace: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn writes_what_prost_writes_and_reads_it_back(click in clicks(), trace_id in 1..u128::MAX, span_id in 1..u64::MAX) {
            let mut out = [0; CLICK_LEN_MAX];
            let len = encode(&borrowed(&click), Keep::Everything, None, &mut out);
            let click = bounded(&click);
            prop_assert_eq!(&out[..len], &message(&click).encode_to_vec()[..]);
            prop_assert_eq!(decode(&out[..len]).unwrap(), (click.clone(), None));
            prop_assert_eq!(link_of(&out[..len]), click.link.get());

            let less = LoggedClick { domain: None, code: CompactString::default(), ..click };
            let len = encode(&Click { domain: DomainNo::DEFAULT, code: "left out", ..borrowed(&less) }, Keep::Statistics, None, &mut out);
            prop_assert_eq!(&out[..len], &message(&less).encode_to_vec()[..]);
            prop_assert_eq!(decode(&out[..len]).unwrap(), (less.clone(), None));

            let trace = ClickTrace { trace_id, span_id };
            let len = encode(&borrowed(&less), Keep::Statistics, Some(trace), &mut out);
            let traced = proto::Click { trace: [&trace_id.to_be_bytes()[..], &span_id.to_be_bytes()].concat(), ..message(&less) };
            prop_assert_eq!(&out[..len], &traced.encode_to_vec()[..]);
            prop_assert_eq!(decode(&out[..len]).unwrap(), (less, Some(trace)));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..CLICK_LEN_MAX * 2)) {
            let outcome = decode(&bytes);
            prop_assert!(bytes.len() <= CLICK_LEN_MAX || outcome.is_err());
        }

        #[test]
        fn a_later_versions_fields_are_skipped(click in clicks(), number in 16_u32..1000, payload in any::<u64>()) {
            let click = bounded(&click);
            let mut bytes = message(&click).encode_to_vec();
            prost::encoding::uint64::encode(number, &payload, &mut bytes);
            prop_assume!(bytes.len() <= CLICK_LEN_MAX);
            prop_assert_eq!(decode(&bytes).unwrap(), (click, None));
        }

        #[test]
        fn letters_come_back(letters in "[a-z]{2,3}") {
            prop_assert_eq!(unpack(pack(&letters)).unwrap(), letters);
        }
    }

    #[test]
    fn the_longest_click_fits_and_a_usual_one_is_small() {
        let long = "\u{10FFFF}".repeat(100);
        let mut click = Click {
            link: LinkId::new(u64::MAX),
            domain: DomainNo::new(DomainNo::MAX),
            code: &long,
            owner: &long,
            at: UnixMs::new(-1),
            visitor: u64::MAX,
            country: Country::parse("ZZ"),
            language: Language::parse("zzz"),
            referrer: &long,
            browser: Browser::Other,
            system: System::Other,
            device: Device::Other,
            bot: &long,
            utm_source: &long,
            utm_medium: &long,
            utm_campaign: &long,
        };
        let mut out = [0; CLICK_LEN_MAX];
        let trace = Some(ClickTrace { trace_id: u128::MAX, span_id: u64::MAX });
        assert_eq!(encode(&click, Keep::Everything, trace, &mut out), CLICK_LEN_MAX);

        click.owner = "admin";
        click.at = UnixMs::new(1_795_000_000_000);
        (click.referrer, click.bot) = ("", "");
        (click.utm_source, click.utm_medium, click.utm_campaign) = ("", "", "");
        (click.country, click.language) = (Country::parse("DE"), Language::parse("de"));
        (click.browser, click.system, click.device) = (Browser::Chrome, System::Windows, Device::Desktop);
        (click.domain, click.code) = (DomainNo::DEFAULT, "4fK9aQz");
        assert_eq!(encode(&click, Keep::Statistics, None, &mut out), 42);
        assert_eq!(encode(&click, Keep::Everything, None, &mut out), 53);
        click.referrer = "github.com";
        assert_eq!(encode(&click, Keep::Statistics, None, &mut out), 54);
        assert_eq!(encode(&click, Keep::Statistics, trace, &mut out), 54 + 26, "a trace is paid for by those few that have one");
    }

    #[test]
    fn what_is_no_trace_is_none() {
        for bytes in [vec![], vec![1; 23], vec![1; 25], vec![0; 24], [[1; 16].as_slice(), &[0; 8]].concat()] {
            let record = proto::Click { trace: bytes, ..Default::default() }.encode_to_vec();
            assert_eq!(decode(&record).unwrap().1, None);
        }
    }

    #[test]
    fn numbers_that_mean_nothing_yet_read_as_unknown() {
        for number in [0, DomainNo::MAX + 1, u32::MAX] {
            let bytes = proto::Click { domain: number, ..Default::default() }.encode_to_vec();
            assert_eq!(decode(&bytes).unwrap().0.domain, None);
        }
        for number in [27, 1 + 27, 27 * 27 * 27, u32::MAX] {
            let bytes = proto::Click { country: number, language: number, client: 0x00_63_63_63, ..Default::default() }.encode_to_vec();
            let (click, _) = decode(&bytes).unwrap();
            assert_eq!((click.browser, click.system, click.device), (Browser::Unknown, System::Unknown, Device::Unknown));
            assert!(number == 28 || click.country.is_none() && click.language.is_none(), "{number}");
        }
    }
}
