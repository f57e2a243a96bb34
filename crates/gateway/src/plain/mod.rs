//! Plain GETs of links, which are nearly all requests, answered without the HTTP library: into one
//! buffer, out of another. Rules, limits and answers are those of `front.rs` and `redirects.rs`;
//! with the first request that is not plain the connection is the library's for the rest of its life.

mod answer;
mod head;
mod prefixed;

use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use chassis::trace;
use domain::Domain;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::activity::InFlight;
use crate::front::{self, Answering, Framing, Front, Plainly, Step};
use crate::metrics::RequestKind;
use crate::redirects;
use crate::traced::Traced;
use answer::{Answers, Goes};
pub(crate) use head::Head;
use head::Parsed;
pub(crate) use prefixed::Prefixed;

/// A longer head is not plain.
const BUFFER_LEN: usize = 4 * 1024;
/// Answers to requests sent together go out together, up to this.
const ANSWERS_LEN: usize = 16 * 1024;

/// How a connection goes on.
pub(crate) enum Ended {
    /// It is over.
    Closed,
    /// The library reads on, beginning with these bytes.
    HandedOver(Vec<u8>),
}

/// What became of the requests in the buffer.
enum Batch {
    /// The next one has not come whole.
    ReadOn,
    /// The answers have to go out first.
    Full,
    /// An answer that needs I/O; those behind it wait for their turn.
    Wait(Answering),
    /// The last answer has been given.
    Last,
    HandOver,
}

pub(crate) struct Plain<'a, S> {
    stream: &'a mut S,
    front: &'a Front,
    unread: Vec<u8>,
    answers: Answers,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Plain<'a, S> {
    pub(crate) fn new(stream: &'a mut S, front: &'a Front) -> Self {
        Self { stream, front, unread: Vec::new(), answers: Answers::default() }
    }

    pub(crate) async fn run(mut self) -> io::Result<Ended> {
        loop {
            let batch = self.answer_what_has_come();
            self.send().await?;
            match batch {
                Batch::Full => {}
                Batch::HandOver => return Ok(Ended::HandedOver(self.unread)),
                Batch::Last => return self.close().await,
                Batch::Wait(answering) => {
                    let Ok(response) = answering.await;
                    let goes = self.answers.push(self.front, response);
                    self.send().await?;
                    if goes == Goes::No {
                        return self.close().await;
                    }
                }
                Batch::ReadOn if self.unread.len() >= BUFFER_LEN => return Ok(Ended::HandedOver(self.unread)),
                Batch::ReadOn => {
                    self.unread.reserve_exact(BUFFER_LEN - self.unread.len());
                    if self.stream.read_buf(&mut self.unread).await? == 0 {
                        return Ok(Ended::Closed);
                    }
                }
            }
        }
    }

    async fn send(&mut self) -> io::Result<()> {
        if !self.answers.bytes.is_empty() {
            self.stream.write_all(&self.answers.bytes).await?;
            self.stream.flush().await?;
            self.answers.clear();
        }
        Ok(())
    }

    async fn close(self) -> io::Result<Ended> {
        self.stream.shutdown().await?;
        Ok(Ended::Closed)
    }

    fn answer_what_has_come(&mut self) -> Batch {
        let mut read = 0;
        let batch = loop {
            if self.answers.bytes.len() >= ANSWERS_LEN {
                break Batch::Full;
            }
            let head = match head::parse(&self.unread[read..]) {
                Parsed::Partial => break Batch::ReadOn,
                Parsed::Declined => break Batch::HandOver,
                Parsed::Plain(head) => head,
            };
            let directory = self.front.door.gateway.services.domains.directory();
            let Some(domain) = directory.find_raw(head.host) else { break Batch::HandOver };
            read += head.len;
            if let Some(batch) = answer(self.front, &mut self.answers, &head, domain) {
                break batch;
            }
        };
        self.unread.drain(..read);
        if matches!(batch, Batch::ReadOn | Batch::HandOver) && !self.unread.is_empty() {
            self.front.activity.awaits_the_rest();
        }
        batch
    }
}

/// Answers one request. `None`: done, and the next may follow.
fn answer(front: &Front, answers: &mut Answers, head: &Head<'_>, domain: &Arc<Domain>) -> Option<Batch> {
    let began = Instant::now();
    let in_flight = InFlight::begin(&front.activity);
    let traced = Traced::plain(front, head);
    let before = answers.bytes.len();
    let work = || match front.plainly(head, domain, traced.id, began) {
        Plainly::Leads(route) => {
            let leads = redirects::leads(&front.door.gateway, domain, &route, head.query);
            ControlFlow::Continue(answers.redirect(front, &leads, (&traced, began)))
        }
        Plainly::Step(step) => ControlFlow::Break(step),
    };
    let work = || catch_unwind(AssertUnwindSafe(work));
    let answered = if traced.is_sampled() { trace::within(traced.scope(), work) } else { work() };
    let answered = match answered {
        Ok(ControlFlow::Continue(Goes::On)) => return None,
        Ok(ControlFlow::Continue(Goes::No)) => return Some(Batch::Last),
        Ok(ControlFlow::Break(step)) => Ok(step),
        Err(panic) => Err(panic),
    };
    let traced = traced.followed();
    let step = answered.unwrap_or_else(|panic| {
        answers.bytes.truncate(before);
        Step::Now(RequestKind::Page, trace::within(traced.scope(), || front::panicked(traced.id, panic.as_ref())))
    });
    match front.answering(step, in_flight, (Framing::Http1, began), traced) {
        Answering::Now(Some(response)) => match answers.push(front, response) {
            Goes::On => None,
            Goes::No => Some(Batch::Last),
        },
        later @ (Answering::Now(None) | Answering::Later(_)) => Some(Batch::Wait(later)),
    }
}

/// The head at the beginning of the bytes, if it is a whole and plain one.
#[cfg(fuzzing)]
pub(crate) fn parse_head(bytes: &[u8]) -> Option<head::Head<'_>> {
    match head::parse(bytes) {
        head::Parsed::Plain(head) => Some(head),
        head::Parsed::Partial | head::Parsed::Declined => None,
    }
}
