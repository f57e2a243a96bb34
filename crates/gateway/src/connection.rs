//! One connection from accept to close: one task, one timer.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use chassis::lifecycle::{Lifecycle, OnError, Stage};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use metrics::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep_until};

use crate::activity::{Activity, Expiry, Watched};
use crate::front::{Door, Front};
use crate::limits::network_of;
use crate::metrics::connection_closed;
use crate::options::{ConnectionLimits, Timeouts};
use crate::plain::{Ended, Plain, Prefixed};
use crate::refusal::Worded;
use crate::request::Remote;

/// Header fields of one request, and bytes of all of them with the request line.
const HEADERS_MAX: usize = 100;
const HEAD_LEN_MAX: usize = 16 * 1024;
const HTTP2_STREAMS_MAX: u32 = 100;
/// Streams that a peer may reset before we have taken them, and that we may reset on its account.
const HTTP2_PENDING_RESETS_MAX: usize = 20;
const HTTP2_LOCAL_RESETS_MAX: usize = 256;
/// A peer with streams open that does not answer a ping is gone.
const HTTP2_PING_EVERY: Duration = Duration::from_secs(20);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// While draining, how often a connection that is still busy is looked at.
const DRAIN_TICK: Duration = Duration::from_millis(50);

/// Runs the streams of HTTP/2 connections, tracked like every task.
#[derive(Clone)]
pub(crate) struct Streams(Lifecycle);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.spawn("http/2 stream", Stage::Intake, OnError::Log, async move {
            stream.await;
            Ok::<_, Infallible>(())
        });
    }
}

pub(crate) type Protocol = auto::Builder<Streams>;

pub(crate) fn protocol(life: &Lifecycle) -> Protocol {
    let mut builder = auto::Builder::new(Streams(life.clone()));
    // Timeouts are ours (`activity.rs`): the library's one would box a timer for each request. Who has
    // sent all of a request may say so, and still waits for the answer.
    builder.http1().header_read_timeout(None).max_headers(HEADERS_MAX).max_buf_size(HEAD_LEN_MAX).half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_LEN_MAX).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_LOCAL_RESETS_MAX)
        .keep_alive_interval(HTTP2_PING_EVERY)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT);
    builder
}

/// All open connections: bounded, and told together when to end.
pub(crate) struct Connections {
    limits: ConnectionLimits,
    gauge: Gauge,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    activities: HashMap<u64, Arc<Activity>>,
    by_network: HashMap<IpAddr, usize>,
    draining: bool,
}

/// A place among the open connections, until dropped.
pub(crate) struct Place {
    connections: Arc<Connections>,
    number: u64,
    network: Option<IpAddr>,
    pub(crate) activity: Arc<Activity>,
}

impl Connections {
    pub(crate) fn new(limits: ConnectionLimits, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self { limits, gauge, open: Mutex::default() })
    }

    /// # Errors
    /// Which bound is reached.
    pub(crate) fn enter(self: &Arc<Self>, remote: Remote) -> Result<Place, &'static str> {
        let network = (!remote.ip.is_loopback() && !remote.trusted && self.limits.per_ip != 0).then(|| network_of(remote.ip));
        let mut open = self.lock();
        if self.limits.total != 0 && open.activities.len() >= self.limits.total {
            return Err("total");
        }
        if let Some(network) = network {
            let count = open.by_network.entry(network).or_default();
            if *count >= self.limits.per_ip {
                return Err("per_ip");
            }
            *count += 1;
        }
        let number = open.next;
        open.next += 1;
        let activity = Activity::new();
        if open.draining {
            activity.drain();
        }
        open.activities.insert(number, activity.clone());
        self.gauge.increment(1.0);
        Ok(Place { connections: self.clone(), number, network, activity })
    }

    pub(crate) fn drain(&self) {
        let mut open = self.lock();
        open.draining = true;
        for activity in open.activities.values() {
            activity.drain();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.activities.remove(&self.number);
        if let Some(network) = self.network
            && let Some(count) = open.by_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                open.by_network.remove(&network);
            }
        }
        self.connections.gauge.decrement(1.0);
    }
}

/// Serves a connection until either side has had enough.
pub(crate) async fn serve<S>(stream: S, remote: Remote, place: Place, door: Arc<Door>, protocol: &Protocol)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let timeouts = door.gateway.options.timeouts;
    let activity = place.activity.clone();
    let gateway = door.gateway.clone();
    let front = Front { door, remote, activity: activity.clone() };
    let mut stream = Watched::new(stream, activity.clone());
    let mut watch = Watch::new(&activity, timeouts);
    let unread = match plainly(&mut stream, &front, &mut watch).await {
        Ok(Ended::HandedOver(unread)) => unread,
        Ok(Ended::Closed) => return,
        Err(error) => {
            tracing::debug!(%error, "connection ended");
            return;
        }
    };
    let io = TokioIo::new(Worded::new(Prefixed::new(unread, stream), gateway));
    let mut connection = pin!(protocol.serve_connection(io, front));
    let outcome = poll_fn(|cx| {
        if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
            return Poll::Ready(outcome.err());
        }
        activity.waker.register(cx.waker());
        match watch.poll_verdict(cx) {
            Verdict::GoOn => Poll::Pending,
            Verdict::Close => Poll::Ready(None),
            Verdict::ShutDown => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().poll(cx).map(Result::err)
            }
        }
    })
    .await;
    if let Some(error) = outcome {
        tracing::debug!(%error, "connection ended");
    }
}

/// Serves it for as long as its requests are plain.
async fn plainly<S>(stream: &mut S, front: &Front, watch: &mut Watch<'_>) -> io::Result<Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut plain = pin!(Plain::new(stream, front).run());
    poll_fn(|cx| {
        if let Poll::Ready(ended) = plain.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        front.activity.waker.register(cx.waker());
        match watch.poll_verdict(cx) {
            Verdict::GoOn => Poll::Pending,
            // Told to end it is with nothing at work: there is nobody to tell.
            Verdict::Close | Verdict::ShutDown => Poll::Ready(Ok(Ended::Closed)),
        }
    })
    .await
}

enum Verdict {
    GoOn,
    /// Drop it: the peer is too slow, or never said anything.
    Close,
    /// Tell it to end after what is at work.
    ShutDown,
}

/// Looks at the activity when the one timer says so, or when something short of patience began.
struct Watch<'a> {
    activity: &'a Activity,
    timeouts: Timeouts,
    timer: Pin<Box<Sleep>>,
    drained_since: Option<Instant>,
    told: bool,
}

impl<'a> Watch<'a> {
    fn new(activity: &'a Activity, timeouts: Timeouts) -> Self {
        let first = next_look(activity.expiry(&timeouts), Instant::now(), &timeouts);
        Self { activity, timeouts, timer: Box::pin(sleep_until(first.into())), drained_since: None, told: false }
    }

    fn poll_verdict(&mut self, cx: &mut Context<'_>) -> Verdict {
        if self.activity.is_draining() && self.drained_since.is_none() {
            let now = Instant::now();
            self.drained_since = Some(now);
            self.timer.as_mut().reset(now.into());
        }
        if self.activity.is_urgent()
            && let Some((at, _)) = self.activity.expiry(&self.timeouts)
            && at < self.timer.deadline().into_std()
        {
            self.timer.as_mut().reset(at.into());
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let expiry = self.activity.expiry(&self.timeouts);
            if let Some((at, patience)) = expiry
                && at <= now
            {
                connection_closed(patience);
                return Verdict::Close;
            }
            if let Some(verdict) = self.drain_verdict(now) {
                return verdict;
            }
            let next = next_look(expiry, now, &self.timeouts);
            let drain_tick = self.drained_since.filter(|_| !self.told).map(|_| now + DRAIN_TICK);
            self.timer.as_mut().reset(drain_tick.map_or(next, |tick| tick.min(next)).into());
        }
        Verdict::GoOn
    }

    /// HTTP/2 can say that it ends without losing a request. On HTTP/1 the next answer says so; only
    /// a connection without a request is closed, and not before one already sent has arrived.
    fn drain_verdict(&mut self, now: Instant) -> Option<Verdict> {
        let since = self.drained_since.filter(|_| !self.told)?;
        let lingered = now.saturating_duration_since(since) >= self.timeouts.linger;
        let may_end = self.activity.is_http2() || lingered && self.activity.is_quiet();
        if !may_end {
            return None;
        }
        self.told = true;
        Some(if self.activity.has_said_anything() { Verdict::ShutDown } else { Verdict::Close })
    }
}

/// The patience between requests may begin at any moment without being told: whatever begins after
/// `now` ends after `now + idle`. The urgent ones are looked at when they begin.
fn next_look(expiry: Option<Expiry>, now: Instant, timeouts: &Timeouts) -> Instant {
    let latest = now + timeouts.idle;
    expiry.map_or(latest, |(at, _)| at.min(latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(ip: &str, trusted: bool) -> Remote {
        Remote { ip: ip.parse().unwrap(), trusted }
    }

    #[test]
    fn one_ip_has_so_many_places_and_gives_them_back() {
        let connections = Connections::new(ConnectionLimits { total: 0, per_ip: 2 }, Gauge::noop());
        let stranger = remote("203.0.113.1", false);
        let first = connections.enter(stranger).map_err(drop).unwrap();
        let _second = connections.enter(stranger).map_err(drop).unwrap();
        assert_eq!(connections.enter(stranger).err(), Some("per_ip"));
        assert!(connections.enter(remote("203.0.113.2", false)).is_ok());
        drop(first);
        let _third = connections.enter(stranger).map_err(drop).unwrap();
        assert_eq!(connections.enter(stranger).err(), Some("per_ip"));
    }

    #[test]
    fn a_subscribers_addresses_are_one_and_proxies_are_not_held_to_it() {
        let connections = Connections::new(ConnectionLimits { total: 0, per_ip: 1 }, Gauge::noop());
        let _first = connections.enter(remote("2001:db8::1", false)).map_err(drop).unwrap();
        assert_eq!(connections.enter(remote("2001:db8::2", false)).err(), Some("per_ip"));
        let exempt = [remote("127.0.0.1", false), remote("::1", false), remote("203.0.113.1", true)];
        let places: Vec<_> = exempt.into_iter().cycle().take(30).map_while(|remote| connections.enter(remote).ok()).collect();
        assert_eq!(places.len(), 30);
    }

    #[test]
    fn whoever_comes_while_draining_is_told_at_once() {
        let connections = Connections::new(ConnectionLimits::default(), Gauge::noop());
        let before = connections.enter(remote("203.0.113.1", false)).map_err(drop).unwrap();
        assert!(!before.activity.is_draining());
        connections.drain();
        let after = connections.enter(remote("203.0.113.1", false)).map_err(drop).unwrap();
        assert!(before.activity.is_draining() && after.activity.is_draining());
    }
}
