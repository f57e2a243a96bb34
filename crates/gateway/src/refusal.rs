//! What is no HTTP the library refuses by itself, without a word. Here the refusal gets one, and an id, as
//! every answer has.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::request::RequestId;
use crate::state::Gateway;

/// How the library's refusals begin after their first line. No answer of ours does.
const WORDLESS: &[u8] = b"connection: close\r\ncontent-length: 0\r\n";

struct Refusal {
    status: &'static str,
    code: &'static str,
    title: &'static str,
    detail: &'static str,
}

const REFUSALS: [Refusal; 3] = [
    Refusal {
        status: "400",
        code: "bad_request",
        title: "The request is not HTTP",
        detail: "the request cannot be read, or can be read in more than one way",
    },
    Refusal { status: "414", code: "uri_too_long", title: "The URL is too long", detail: "a URL has less than 16 KiB here" },
    Refusal {
        status: "431",
        code: "headers_too_large",
        title: "The headers are too large",
        detail: "a request has at most 100 header fields, and 16 KiB of them with its first line",
    },
];

impl Refusal {
    fn body(&self, id: RequestId) -> String {
        let Self { status, code, title, detail } = self;
        json!({
            "type": format!("/api/v1/problems#{code}"), "title": title, "status": status.parse::<u16>().unwrap_or(400), "detail": detail,
            "code": code, "request_id": id.as_str(),
        })
        .to_string()
    }
}

/// The library's refusal with what belongs to an answer of ours. `None`: it is something else.
fn worded(bytes: &[u8], id: impl FnOnce() -> RequestId) -> Option<Vec<u8>> {
    let status = bytes.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let refusal = REFUSALS.iter().find(|refusal| refusal.status.as_bytes() == status)?;
    let line_len = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let rest = bytes[line_len..].strip_prefix(WORDLESS)?;
    let id = id();
    let body = refusal.body(id);
    let head = format!(
        "content-type: application/problem+json\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\nx-request-id: {id}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    Some([&bytes[..line_len], head.as_bytes(), rest, body.as_bytes()].concat())
}

/// A connection whose refusals say why.
pub(crate) struct Worded<S> {
    stream: S,
    gateway: Arc<Gateway>,
    /// Instead of what the library writes; the last thing on the connection.
    answer: Option<Vec<u8>>,
    written: usize,
}

impl<S> Worded<S> {
    pub(crate) fn new(stream: S, gateway: Arc<Gateway>) -> Self {
        Self { stream, gateway, answer: None, written: 0 }
    }

    fn listen(&mut self, bytes: &[u8]) {
        if self.answer.is_none() {
            self.answer = worded(bytes, || self.gateway.request_ids.next());
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Worded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Worded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.listen(bytes);
        let Some(answer) = &this.answer else { return Pin::new(&mut this.stream).poll_write(cx, bytes) };
        while let Some(rest) = answer.get(this.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut this.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => this.written += written,
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(first) = slices.iter().find(|slice| !slice.is_empty()) else {
            return Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        };
        this.listen(first);
        if this.answer.is_some() {
            return Pin::new(this).poll_write(cx, first);
        }
        Pin::new(&mut this.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &str) -> Option<String> {
        let id = || RequestId::parse(b"request-1").unwrap();
        worded(bytes.as_bytes(), id).map(|answer| String::from_utf8(answer).unwrap())
    }

    #[test]
    fn a_wordless_refusal_gets_words_and_keeps_what_it_had() {
        let refusal = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: today\r\n\r\n";
        let answer = said(refusal).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/problem+json\r\n"), "{head}");
        assert!(head.ends_with(&format!("connection: close\r\ncontent-length: {}\r\ndate: today", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["status"], &body["code"], &body["request_id"]), (&json!(431), &json!("headers_too_large"), &json!("request-1")));
    }

    #[test]
    fn everything_else_is_left_alone() {
        for other in [
            "",
            "HTTP/1.1 ",
            "HTTP/1.1 400 Bad Request",
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 302 Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            "PRI * HTTP/2.0",
        ] {
            assert_eq!(said(other), None, "{other}");
        }
    }
}
