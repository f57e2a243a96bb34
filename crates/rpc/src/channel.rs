//! The connection to one address of another service: opened when first needed, opened again when lost.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chassis::trace::{self, Span};
use chassis::{Lifecycle, Reloaded};
use domain::api::Deadline;
use domain::{Error, Reason, Result};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::answer::too_late;
use crate::call::{self, Body, Frame};
use crate::method::{MessageLimits, Method};
use crate::tls::{self, ClientTls};
use crate::traced::{self, Calling};
use crate::{clock, metrics, status};

/// How connections to other services behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// For TCP and TLS together.
    pub connect_timeout: Duration,
    /// A connection is pinged this often, idle ones too, and given up when the answer takes longer than
    /// `keepalive_timeout`.
    pub keepalive_interval: Duration,
    pub keepalive_timeout: Duration,
    /// `None`: plain text.
    pub tls: Option<ClientTls>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(5),
            keepalive_timeout: Duration::from_secs(2),
            tls: None,
        }
    }
}

/// Bytes of the trailers of one answer: a status with its wrong fields.
const HEADERS_LEN_MAX: u32 = 128 << 10;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Opens channels, all alike, to the replicas of one service.
#[derive(Clone)]
pub struct Connector(Arc<Settings>);

struct Settings {
    options: Options,
    tls: Option<(Reloaded<TlsConnector>, rustls::pki_types::ServerName<'static>)>,
    clock: clock::Offset,
}

impl Connector {
    /// # Errors
    /// Certificate, key or authority cannot be read; the message names the file.
    pub fn new(options: Options) -> io::Result<Self> {
        let tls = options.tls.as_ref().map(tls::connector).transpose()?;
        Ok(Self(Arc::new(Settings { options, tls, clock: clock::Offset::default() })))
    }

    /// Takes up changed certificates until `life` drains. Connections that are open stay as they are; each is replaced when
    /// it has the age at which its server closes it.
    ///
    /// # Errors
    /// The system takes no handler for `SIGHUP`.
    pub fn follow_certificates(&self, every: Duration, life: &Lifecycle) -> io::Result<()> {
        self.0.tls.as_ref().map_or(Ok(()), |(tls, _)| tls.watch(every, life))
    }

    pub(crate) fn origin(&self, address: SocketAddr) -> (Scheme, Authority) {
        let scheme = if self.0.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        (scheme, Authority::try_from(address.to_string()).unwrap_or_else(|_| Authority::from_static("invalid")))
    }

    /// One connection beside all channels.
    pub(crate) async fn open(&self, address: SocketAddr) -> io::Result<(SendRequest<Body>, Driver)> {
        open(&self.0, address).await
    }

    /// A channel to one address. Connects when it is first used.
    pub fn channel(&self, address: SocketAddr) -> Channel {
        Channel(Arc::new(Inner {
            address,
            origin: self.origin(address),
            settings: self.0.clone(),
            state: Mutex::new(State { sender: None, dial: None, tasks: JoinSet::new(), failed_at: None, is_failing: false }),
            in_flight: AtomicUsize::new(0),
        }))
    }
}

/// One address of another service. Cheap to clone; the connection ends with the last clone.
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    origin: (Scheme, Authority),
    settings: Arc<Settings>,
    state: Mutex<State>,
    in_flight: AtomicUsize,
}

struct State {
    sender: Option<SendRequest<Body>>,
    /// Changes when the connection under way is there, or has failed.
    dial: Option<watch::Receiver<Option<bool>>>,
    /// The connection itself and the attempt to open one. They end with the channel.
    tasks: JoinSet<()>,
    failed_at: Option<Instant>,
    /// Whether the last attempt failed: it is logged when that changes.
    is_failing: bool,
}

enum Way {
    Open(SendRequest<Body>),
    Wait(watch::Receiver<Option<bool>>),
}

impl Channel {
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Calls under way.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Whether an attempt to connect failed less than `within` ago, and none succeeded since.
    pub fn failed_within(&self, within: Duration) -> bool {
        self.0.state().failed_at.is_some_and(|at| at.elapsed() < within)
    }

    /// One call, given up at `deadline`.
    ///
    /// # Errors
    /// What the service answered; `Unavailable` when it cannot be reached; `DeadlineExceeded`. Marked as
    /// never sent only where no byte of it can have reached the service.
    pub(crate) async fn call<T: Message + Default>(
        &self,
        method: &Method,
        limits: MessageLimits,
        frame: &Frame,
        deadline: Deadline,
    ) -> Result<T> {
        let _busy = Busy::new(&self.0.in_flight);
        let calling = Calling { method, address: self.0.address };
        let span = Span::begin(&calling);
        let outcome = trace::in_scope(span.scope(), self.exchange(method, limits, frame, deadline)).await;
        let code = outcome.as_ref().map_or_else(status::code, |_| tonic::Code::Ok);
        span.end_with(traced::error_type(code), &[traced::status(code)]);
        outcome
    }

    async fn exchange<T: Message + Default>(&self, method: &Method, limits: MessageLimits, frame: &Frame, deadline: Deadline) -> Result<T> {
        let sent_ms = clock::now_ms();
        match tokio::time::timeout_at(deadline.at().into(), self.send(method, frame, deadline)).await {
            Ok(response) => {
                let response = response?;
                self.0.settings.clock.notice(method.service, response.headers(), sent_ms);
                let read = tokio::time::timeout_at(deadline.at().into(), call::read(response, limits));
                read.await.unwrap_or_else(|_| Err(too_late()))
            }
            Err(_) => Err(too_late()),
        }
    }

    async fn send(&self, method: &Method, frame: &Frame, deadline: Deadline) -> Result<http::Response<hyper::body::Incoming>> {
        let uri = self.uri(method)?;
        let mut sender = self.sender().await?;
        let mut request = frame.request(uri, deadline)?;
        // A connection that the server is closing gives the request back unsent: a new one takes it.
        for attempt in 0.. {
            let mut failed = match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            let unsent = failed.take_message();
            let error = failed.into_error();
            request = match unsent {
                None => return Err(lost(error)),
                Some(_) if attempt > 0 => return Err(lost(error).with_never_sent()),
                Some(request) => request,
            };
            sender = self.sender().await?;
        }
        Err(unreachable_address(self.0.address))
    }

    fn uri(&self, method: &Method) -> Result<Uri> {
        let (scheme, authority) = self.0.origin.clone();
        let mut parts = http::uri::Parts::default();
        (parts.scheme, parts.authority) = (Some(scheme), Some(authority));
        parts.path_and_query = Some(PathAndQuery::from_static(method.path));
        Uri::from_parts(parts).map_err(|error| call::broken("a path").with_source(error))
    }

    /// The connection, when it is there.
    async fn sender(&self) -> Result<SendRequest<Body>> {
        loop {
            let mut dial = match self.0.way() {
                Way::Open(sender) => return Ok(sender),
                Way::Wait(dial) => dial,
            };
            let connected = dial.wait_for(Option::is_some).await.is_ok_and(|outcome| *outcome == Some(true));
            if !connected {
                return Err(unreachable_address(self.0.address));
            }
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn way(self: &Arc<Self>) -> Way {
        let mut state = self.state();
        if let Some(sender) = state.sender.as_ref().filter(|sender| !sender.is_closed()) {
            return Way::Open(sender.clone());
        }
        if let Some(dial) = state.dial.as_ref().filter(|dial| dial.borrow().is_none() && dial.has_changed().is_ok()) {
            return Way::Wait(dial.clone());
        }
        state.sender = None;
        while state.tasks.try_join_next().is_some() {}
        let (outcome, dial) = watch::channel(None);
        state.dial = Some(dial.clone());
        let (settings, address, inner) = (self.settings.clone(), self.address, Arc::downgrade(self));
        state.tasks.spawn(async move {
            let connected = open(&settings, address).await;
            publish(&inner, connected, &outcome);
        });
        Way::Wait(dial)
    }
}

pub(crate) type Driver = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn publish(inner: &Weak<Inner>, connected: io::Result<(SendRequest<Body>, Driver)>, outcome: &watch::Sender<Option<bool>>) {
    let Some(inner) = inner.upgrade() else { return };
    let mut state = inner.state();
    match connected {
        Ok((sender, driver)) => {
            state.tasks.spawn(driver);
            (state.sender, state.failed_at) = (Some(sender), None);
            if std::mem::take(&mut state.is_failing) {
                tracing::info!(address = %inner.address, "connected again");
            }
            metrics::connected("ok");
            outcome.send_replace(Some(true));
        }
        Err(error) => {
            state.failed_at = Some(Instant::now());
            if !std::mem::replace(&mut state.is_failing, true) {
                tracing::warn!(address = %inner.address, %error, "cannot connect; tried again with the next call");
            }
            metrics::connected("failed");
            outcome.send_replace(Some(false));
        }
    }
}

async fn open(settings: &Settings, address: SocketAddr) -> io::Result<(SendRequest<Body>, Driver)> {
    let open = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        match &settings.tls {
            None => handshake(&settings.options, stream).await,
            Some((tls, name)) => handshake(&settings.options, tls.current().connect(name.clone(), stream).await?).await,
        }
    };
    match tokio::time::timeout(settings.options.connect_timeout, open).await {
        Ok(opened) => opened,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long")),
    }
}

async fn handshake<S>(options: &Options, stream: S) -> io::Result<(SendRequest<Body>, Driver)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .keep_alive_while_idle(true)
        .max_header_list_size(HEADERS_LEN_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake::<_, http_body_util::Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let driver = async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection lost");
        }
    };
    Ok((sender, Box::pin(driver)))
}

fn unreachable_address(address: SocketAddr) -> Error {
    Error::new(Reason::Unavailable, "a service does not answer; try again")
        .with_source(format!("cannot connect to {address}"))
        .with_never_sent()
}

/// The request may have reached the service, and may have been served, unless the service said that it was not.
fn lost(error: hyper::Error) -> Error {
    let is_refused = is_refused(&error);
    let error = Error::new(Reason::Unavailable, "a service does not answer; try again").with_source(error);
    if is_refused { error.with_never_sent() } else { error }
}

/// A server that drains names the last stream it takes; later ones end with that `GOAWAY` of no error (RFC 9113, 6.8).
fn is_refused(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            let drains = h2.is_go_away() && h2.is_remote() && h2.reason() == Some(h2::Reason::NO_ERROR);
            return drains || h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
        }
        source = cause.source();
    }
    false
}

/// Counts a call while it is under way, however it ends.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
