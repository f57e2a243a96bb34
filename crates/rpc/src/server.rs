//! The port on which a service answers others: accepts, bounds, and stops without losing a call.
//!
//! Drain: the port closes, each connection gets a GOAWAY, calls under way finish.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chassis::lifecycle::{Lifecycle, OnError, Stage};
use chassis::{Reloaded, reload};
use domain::api::{History, Ids, Links, Resolver, Stats};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::routes::{Routes, Shared};
use crate::tls::{self, ServerTls};
use crate::{ids, links, metrics, reflection, resolver, stats};

/// Pause after an `accept` that failed for want of files or memory: those at work give some back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections the system may hold for us until we accept them.
const BACKLOG: i32 = 1_024;
/// Bytes of the headers of one call: a deadline and a few names.
const HEADERS_LEN_MAX: u32 = 16 << 10;
/// Bytes that may be under way before the receiver has read them, for one call and for a connection: a
/// bulk of 16 MiB passes in a few round trips.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How the port behaves.
#[derive(Clone, Debug)]
pub struct Options {
    pub listen: SocketAddr,
    /// `None`: plain text.
    pub tls: Option<ServerTls>,
    /// Between two looks at whether its files have changed.
    pub tls_look_every: Duration,
    /// A connection without traffic is pinged this often, and closed when the answer takes longer than
    /// `keepalive_timeout`.
    pub keepalive_interval: Duration,
    pub keepalive_timeout: Duration,
    /// A connection this old gets a GOAWAY, so that callers spread over new replicas. Its calls finish,
    /// for `max_connection_age_grace` at most.
    pub max_connection_age: Duration,
    pub max_connection_age_grace: Duration,
    /// Calls at work at once on one connection; more wait at the caller.
    pub concurrency_limit: u32,
    /// Connections at once; more are closed.
    pub connections_max: usize,
    /// No call works longer, whatever its caller says.
    pub timeout_max: Duration,
}

impl Options {
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            tls: None,
            tls_look_every: reload::LOOK_EVERY,
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            max_connection_age: Duration::from_mins(10),
            max_connection_age_grace: Duration::from_mins(1),
            concurrency_limit: 1_024,
            connections_max: 1_024,
            timeout_max: Duration::from_mins(1),
        }
    }
}

/// What a port offers.
#[derive(Clone, Default)]
pub struct Services {
    ids: Option<Arc<dyn Ids>>,
    links: Option<Arc<dyn Links>>,
    resolver: Option<Arc<dyn Resolver>>,
    stats: Option<(Arc<dyn Stats>, Arc<dyn History>)>,
}

impl Services {
    #[must_use]
    pub fn ids(mut self, ids: Arc<dyn Ids>) -> Self {
        self.ids = Some(ids);
        self
    }

    #[must_use]
    pub fn links(mut self, links: Arc<dyn Links>) -> Self {
        self.links = Some(links);
        self
    }

    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    #[must_use]
    pub fn stats(mut self, stats: Arc<dyn Stats>, history: Arc<dyn History>) -> Self {
        self.stats = Some((stats, history));
        self
    }

    /// Those that are asked most first.
    fn routes(self, timeout_max: Duration) -> Routes {
        let mut routes = Routes::default();
        if let Some(service) = self.resolver {
            routes.add(resolver::server(service, timeout_max));
        }
        if let Some(service) = self.ids {
            routes.add(ids::server(service, timeout_max));
        }
        if let Some(service) = self.links {
            routes.add(links::server(service, timeout_max));
        }
        if let Some((stats, history)) = self.stats {
            routes.add(stats::server(stats, history, timeout_max));
        }
        routes
    }
}

/// One port.
pub struct Server {
    options: Options,
    tls: Option<Reloaded<TlsAcceptor>>,
}

impl Server {
    /// # Errors
    /// Certificate, key or authority cannot be read; the message names the file.
    pub fn new(options: Options) -> io::Result<Self> {
        let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
        Ok(Self { options, tls })
    }

    /// Takes the address, so that the port is known and held before anything is built on it. Who connects
    /// waits for [`Self::serve`].
    ///
    /// # Errors
    /// The address cannot be had; the message names it.
    pub fn listen(listen: SocketAddr) -> io::Result<TcpListener> {
        let open = || {
            let socket = socket2::Socket::new(socket2::Domain::for_address(listen), socket2::Type::STREAM, None)?;
            // A restart does not wait for the last connections of the process before.
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&listen.into())?;
            socket.listen(BACKLOG)?;
            TcpListener::from_std(socket.into())
        };
        open().map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}")))
    }

    /// Serves until `life` drains. Answers the address, with the port the system chose for port 0.
    ///
    /// # Errors
    /// The listener is broken, or the services' descriptions are.
    pub async fn serve(self, services: Services, listener: TcpListener, life: &Lifecycle) -> io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        if let Some(tls) = &self.tls {
            tls.watch(self.options.tls_look_every, life)?;
        }
        let mut routes = services.routes(self.options.timeout_max);
        let names = routes.names();
        let (health, service) = tonic_health::server::health_reporter();
        for name in &names {
            health.set_service_status(*name, ServingStatus::Serving).await;
        }
        routes.add(service);
        reflection::add(&mut routes)?;
        let intake = Intake {
            connections: Arc::new(Semaphore::new(self.options.connections_max)),
            routes: Shared(Arc::new(routes)),
            options: Arc::new(self.options),
            tls: self.tls,
            health: (health, names),
            life: life.clone(),
        };
        life.spawn("gRPC port", Stage::Intake, OnError::Drain, intake.run(listener));
        Ok(address)
    }
}

struct Intake {
    options: Arc<Options>,
    connections: Arc<Semaphore>,
    routes: Shared,
    tls: Option<Reloaded<TlsAcceptor>>,
    health: (HealthReporter, Vec<&'static str>),
    life: Lifecycle,
}

impl Intake {
    async fn run(self, listener: TcpListener) -> io::Result<()> {
        let draining = self.life.draining(Stage::Intake);
        loop {
            let accepted = tokio::select! {
                biased;
                () = draining.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections for the moment");
                    metrics::connection_refused("system");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let (health, names) = &self.health;
        for name in names.iter().chain([&""]) {
            health.set_service_status(*name, ServingStatus::NotServing).await;
        }
        self.admit_the_waiting(listener)
    }

    /// Whoever has connected before is served, and told to go elsewhere; then the port closes.
    fn admit_the_waiting(&self, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        // With no backlog left hardly anybody can slip in between the last accept and the close.
        socket2::SockRef::from(&listener).listen(0)?;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    self.admit(TcpStream::from_std(stream)?);
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn admit(&self, stream: TcpStream) {
        let Ok(place) = self.connections.clone().try_acquire_owned() else {
            metrics::connection_refused("limit");
            return;
        };
        // Answers are small and whole: waiting to fill a segment only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY refused");
        }
        let (options, routes, tls, life) = (self.options.clone(), self.routes.clone(), self.tls.clone(), self.life.clone());
        self.life.spawn("gRPC connection", Stage::Intake, OnError::Log, async move {
            match tls {
                None => serve_connection(stream, place, routes, &options, &life).await,
                Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.current().accept(stream)).await {
                    Ok(Ok(stream)) => Box::pin(serve_connection(stream, place, routes, &options, &life)).await,
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "TLS handshake failed");
                        metrics::connection_refused("handshake");
                    }
                    Err(_) => metrics::connection_refused("handshake"),
                },
            }
            Ok::<_, Infallible>(())
        });
    }
}

async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    _place: OwnedSemaphorePermit,
    routes: Shared,
    options: &Options,
    life: &Lifecycle,
) {
    let open = ::metrics::gauge!(metrics::CONNECTIONS);
    open.increment(1);
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .max_concurrent_streams(options.concurrency_limit)
        .max_header_list_size(HEADERS_LEN_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), routes));
    let draining = life.draining(Stage::Intake);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => Some(outcome),
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // What ends it at last is the process's grace.
            Some(connection.await)
        }
        () = tokio::time::sleep(options.max_connection_age) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(options.max_connection_age_grace, connection).await.ok()
        }
    };
    if let Some(Err(error)) = outcome {
        tracing::debug!(%error, "gRPC connection failed");
    }
    open.decrement(1);
}

/// Errors of `accept` that concern one connection only.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}
