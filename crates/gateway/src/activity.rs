//! What a connection is doing, and since when: so that one timer serves all its timeouts, and a
//! request sets none.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::options::Timeouts;

/// Times are in microseconds since `accepted`; 0 stands for "not".
pub(crate) struct Activity {
    accepted: Instant,
    in_flight: AtomicU32,
    /// Since when the next request is awaited.
    quiet_since: AtomicU64,
    /// Since when the next request has begun to come.
    head_since: AtomicU64,
    /// Since when the peer takes nothing.
    blocked_since: AtomicU64,
    any_byte: AtomicBool,
    http2: AtomicBool,
    draining: AtomicBool,
    pub(crate) waker: AtomicWaker,
}

/// Which patience is at its end, and when.
pub(crate) type Expiry = (Instant, &'static str);

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            accepted: Instant::now(),
            in_flight: AtomicU32::new(0),
            quiet_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            any_byte: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    /// From now on each answer is the connection's last.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// Neither a request at work, nor one on its way in, nor an answer on its way out.
    pub(crate) fn is_quiet(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0 && !self.is_urgent()
    }

    pub(crate) fn has_said_anything(&self) -> bool {
        self.any_byte.load(Ordering::Relaxed)
    }

    /// Whether a patience shorter than that between requests has begun.
    pub(crate) fn is_urgent(&self) -> bool {
        self.head_since.load(Ordering::Relaxed) != 0 || self.blocked_since.load(Ordering::Relaxed) != 0
    }

    /// When to give up, as things are. `None` while a request is at work: it has its own deadline.
    pub(crate) fn expiry(&self, timeouts: &Timeouts) -> Option<Expiry> {
        let at = |since: u64, patience: Duration| self.accepted + Duration::from_micros(since) + patience;
        let blocked = self.blocked_since.load(Ordering::Relaxed);
        if blocked != 0 {
            return Some((at(blocked, timeouts.write), "write"));
        }
        if self.in_flight.load(Ordering::Acquire) != 0 {
            return None;
        }
        if !self.any_byte.load(Ordering::Relaxed) {
            return Some((at(0, timeouts.first_byte), "first_byte"));
        }
        let head = self.head_since.load(Ordering::Relaxed);
        if head != 0 {
            return Some((at(head, timeouts.header), "header"));
        }
        Some((at(self.quiet_since.load(Ordering::Relaxed), timeouts.idle), "idle"))
    }

    /// After answers, with the beginning of another request there already.
    pub(crate) fn awaits_the_rest(&self) {
        if !self.is_http2() && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.accepted.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn has_read(&self, bytes: &[u8]) {
        if !self.any_byte.swap(true, Ordering::Relaxed) {
            // A request line never begins like the preface of HTTP/2.
            self.http2.store(bytes.starts_with(b"PRI"), Ordering::Relaxed);
        }
        // On HTTP/2 frames come that begin no request; the library bounds those that do.
        let awaited = self.in_flight.load(Ordering::Relaxed) == 0 && !self.http2.load(Ordering::Relaxed);
        if awaited && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }
}

/// A request at work, until dropped.
pub(crate) struct InFlight(Arc<Activity>);

impl InFlight {
    pub(crate) fn begin(activity: &Arc<Activity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::AcqRel);
        activity.head_since.store(0, Ordering::Relaxed);
        Self(activity.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.quiet_since.store(self.0.now(), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A stream that tells what passes through it.
pub(crate) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    fn written(&self, outcome: &Poll<io::Result<usize>>) {
        if outcome.is_pending() {
            let _ = self.activity.blocked_since.compare_exchange(0, self.activity.now(), Ordering::Relaxed, Ordering::Relaxed);
        } else {
            self.activity.blocked_since.store(0, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let read = &buffer.filled()[before..];
        if !read.is_empty() {
            this.activity.has_read(read);
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(&outcome);
        outcome
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.written(&outcome);
        outcome
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

    #[test]
    fn each_phase_has_its_patience() {
        let timeouts = Timeouts::default();
        let activity = Activity::new();
        let phase = || activity.expiry(&timeouts).map(|(_, phase)| phase);
        assert_eq!(phase(), Some("first_byte"));
        activity.has_read(b"GET");
        assert_eq!(phase(), Some("header"));
        let first = InFlight::begin(&activity);
        assert_eq!(phase(), None);
        drop(first);
        assert_eq!(phase(), Some("idle"));
        activity.has_read(b"GET");
        assert_eq!(phase(), Some("header"));
        activity.blocked_since.store(1, Ordering::Relaxed);
        assert_eq!(phase(), Some("write"));
        assert!(!activity.is_quiet());
    }

    #[test]
    fn frames_of_http2_are_not_the_beginning_of_a_request() {
        let activity = Activity::new();
        activity.has_read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert_eq!(activity.expiry(&Timeouts::default()).unwrap().1, "idle");
        assert!(activity.is_http2() && activity.is_quiet());
    }

    #[test]
    fn a_drip_does_not_renew_the_patience_for_headers() {
        let activity = Activity::new();
        activity.has_read(b"G");
        let first = activity.expiry(&Timeouts::default());
        activity.has_read(b"E");
        assert_eq!(activity.expiry(&Timeouts::default()), first);
    }
}
