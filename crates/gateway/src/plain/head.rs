//! The head of a request that can be read in one way only. Whatever is not plainly that is declined,
//! and read by the HTTP library instead: what is accepted here must mean the same there.

use std::ops::Range;

use http::header::{CONNECTION, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::request::Fields;

/// More are not plain.
const FIELDS_MAX: usize = 48;
const METHOD: &[u8] = b"GET ";
const VERSION: &[u8] = b" HTTP/1.1\r\n";
/// Fields that say how the message, the connection or the answer is framed.
const FRAMING: [&str; 10] = [
    "content-length",
    "transfer-encoding",
    "expect",
    "upgrade",
    "te",
    "trailer",
    "connection",
    "proxy-connection",
    "keep-alive",
    "http2-settings",
];

const PATH: u8 = 1;
const QUERY: u8 = 2;
const NAME: u8 = 4;
const VALUE: u8 = 8;

/// Which bytes may stand where. Of a path only what needs no decoding and names no view or file.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0_u8;
    loop {
        let alphanumeric = at.is_ascii_alphanumeric();
        let mut class = 0;
        if alphanumeric || matches!(at, b'-' | b'_' | b'~' | b'/') {
            class |= PATH;
        }
        if alphanumeric
            || matches!(at, b'-' | b'_' | b'~' | b'/' | b'.' | b'=' | b'&' | b'%' | b'+' | b':' | b',' | b';' | b'@' | b'!' | b'*')
        {
            class |= QUERY;
        }
        if alphanumeric || matches!(at, b'!'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~') && at != b'"' {
            class |= NAME;
        }
        if matches!(at, b'\t' | b' '..=b'~' | 0x80..) {
            class |= VALUE;
        }
        classes[at as usize] = class;
        if at == u8::MAX {
            break classes;
        }
        at += 1;
    }
};

/// What stands at the beginning of the bytes.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one lives on the stack while a request is answered; a box would be an allocation for each")]
pub(super) enum Parsed<'b> {
    /// Plain so far, but not all of it has come.
    Partial,
    Declined,
    Plain(Head<'b>),
}

#[derive(Clone, Copy, Debug)]
struct Field<'b> {
    name: &'b [u8],
    value: &'b [u8],
}

/// Where a text stands in the bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    from: u16,
    to: u16,
}

#[derive(Debug)]
pub(crate) struct Head<'b> {
    pub(crate) len: usize,
    pub(crate) path: &'b str,
    pub(crate) query: &'b str,
    pub(crate) host: &'b str,
    target: &'b str,
    bytes: &'b [u8],
    /// Of names and values: a slice of each would make this four times as large, and it is filled for each request.
    fields: [[Span; 2]; FIELDS_MAX],
    count: usize,
}

/// Why reading stopped short.
enum Stop {
    Partial,
    Declined,
}

pub(super) fn parse(bytes: &[u8]) -> Parsed<'_> {
    match read(bytes) {
        Ok(head) => Parsed::Plain(head),
        Err(Stop::Partial) => Parsed::Partial,
        Err(Stop::Declined) => Parsed::Declined,
    }
}

fn read(bytes: &[u8]) -> Result<Head<'_>, Stop> {
    expect(bytes, METHOD)?;
    let start = METHOD.len();
    let path = start..skip(bytes, start, PATH);
    let mut end = path.end;
    let query = if bytes.get(end) == Some(&b'?') {
        let query = end + 1..skip(bytes, end + 1, QUERY);
        end = query.end;
        query
    } else {
        end..end
    };
    let rest = bytes.get(end..).unwrap_or_default();
    let first = bytes.get(path.start..path.end.min(path.start + 2)).unwrap_or_default();
    if first == b"//" || !matches!(first, [] | [b'/', ..]) {
        return Err(Stop::Declined);
    }
    expect(rest, VERSION)?;
    let [path, query, target] = [path, query, start..end].map(|range| text(bytes, range));
    let mut head = Head {
        len: end + VERSION.len(),
        path: path?,
        query: query?,
        host: "",
        target: target?,
        bytes,
        fields: [[Span::default(); 2]; FIELDS_MAX],
        count: 0,
    };
    if is_elsewhere(head.path) {
        return Err(Stop::Declined);
    }
    while expect(&bytes[head.len..], b"\r\n").is_err_and(|stop| matches!(stop, Stop::Declined)) {
        let field = field(bytes, &mut head.len)?;
        head.take(field)?;
    }
    expect(&bytes[head.len..], b"\r\n")?;
    head.len += 2;
    if head.host.is_empty() { Err(Stop::Declined) } else { Ok(head) }
}

fn expect(bytes: &[u8], expected: &[u8]) -> Result<(), Stop> {
    if bytes.starts_with(expected) { Ok(()) } else { Err(if expected.starts_with(bytes) { Stop::Partial } else { Stop::Declined }) }
}

fn skip(bytes: &[u8], from: usize, class: u8) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| CLASSES[usize::from(*byte)] & class == 0).unwrap_or(rest.len())
}

fn text(bytes: &[u8], range: Range<usize>) -> Result<&str, Stop> {
    bytes.get(range).and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or(Stop::Declined)
}

/// Pages and the API, which are not what this is for.
fn is_elsewhere(path: &str) -> bool {
    path.len() <= 1 || crate::front::is_api(path)
}

fn field<'b>(bytes: &'b [u8], at: &mut usize) -> Result<Field<'b>, Stop> {
    let name = *at..skip(bytes, *at, NAME);
    match bytes.get(name.end) {
        None => return Err(Stop::Partial),
        Some(b':') if !name.is_empty() => {}
        Some(_) => return Err(Stop::Declined),
    }
    let end = skip(bytes, name.end + 1, VALUE);
    expect(&bytes[end..], b"\r\n")?;
    *at = end + 2;
    Ok(Field { name: &bytes[name.clone()], value: trim(&bytes[name.end + 1..end]) })
}

/// Without the optional white space around a value.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

impl<'b> Head<'b> {
    fn take(&mut self, field: Field<'b>) -> Result<(), Stop> {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        if is(HOST.as_str()) {
            let host = std::str::from_utf8(field.value).ok().filter(|host| host.bytes().all(|b| b.is_ascii_graphic()));
            match host {
                Some(host) if self.host.is_empty() && !host.is_empty() => self.host = host,
                _ => return Err(Stop::Declined),
            }
        } else if FRAMING.iter().any(|name| is(name)) && !(is(CONNECTION.as_str()) && field.value.eq_ignore_ascii_case(b"keep-alive")) {
            return Err(Stop::Declined);
        }
        let spans = [self.span(field.name)?, self.span(field.value)?];
        let Some(place) = self.fields.get_mut(self.count) else { return Err(Stop::Declined) };
        *place = spans;
        self.count += 1;
        Ok(())
    }

    pub(crate) fn code(&self) -> &'b str {
        self.path.get(1..).unwrap_or_default()
    }

    /// Of a slice of the bytes.
    fn span(&self, text: &[u8]) -> Result<Span, Stop> {
        let from = text.as_ptr().addr() - self.bytes.as_ptr().addr();
        let at = |at: usize| u16::try_from(at).map_err(|_| Stop::Declined);
        Ok(Span { from: at(from)?, to: at(from + text.len())? })
    }

    fn fields(&self) -> impl DoubleEndedIterator<Item = Field<'b>> + '_ {
        let text = |span: Span| self.bytes.get(usize::from(span.from)..usize::from(span.to)).unwrap_or_default();
        self.fields[..self.count].iter().map(move |[name, value]| Field { name: text(*name), value: text(*value) })
    }

    /// The same as the library would make of it. `None` never happens: this is stricter than that.
    pub(crate) fn to_parts(&self) -> Option<Parts> {
        let mut headers = HeaderMap::with_capacity(self.count);
        for Field { name, value } in self.fields() {
            headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
        }
        let (mut parts, ()) = Request::get(self.target).body(()).ok()?.into_parts();
        parts.headers = headers;
        Some(parts)
    }
}

impl Fields for Head<'_> {
    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        let name = name.as_str().as_bytes();
        self.fields().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    fn last_to_first<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let name = name.as_str().as_bytes();
        self.fields().rev().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
