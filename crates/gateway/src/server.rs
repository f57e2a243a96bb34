//! The public port: accepts, and stops accepting without losing anybody.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chassis::Reloaded;
use chassis::lifecycle::{Lifecycle, OnError, Stage};
use socket2::{SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::connection::{self, Connections, Place, Protocol};
use crate::front::Door;
use crate::request::Remote;
use crate::state::Gateway;
use crate::{api, metrics, tls};

/// Connections the system may hold for us until we accept them.
const BACKLOG: i32 = 4_096;
/// Pause after an `accept` that failed for want of files or memory: those at work give some back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The public port.
pub struct Server;

impl Server {
    /// Takes the address, so that the port is known and held before anything is built on it. Who connects
    /// waits for [`Self::serve`].
    pub fn listen(listen: SocketAddr) -> io::Result<TcpListener> {
        open(listen)
    }

    /// Serves until `life` drains. Answers the address, with the port the system chose for port 0.
    ///
    /// # Errors
    /// Certificate or key cannot be read; the message names it.
    pub fn serve(gateway: Arc<Gateway>, listener: TcpListener, life: &Lifecycle) -> io::Result<SocketAddr> {
        let tls = match &gateway.options.tls {
            Some(files) => Some(tls::acceptor(files, life)?),
            None => None,
        };
        let address = listener.local_addr()?;
        let intake = Intake {
            connections: Connections::new(gateway.options.connections, gateway.metrics.connections.clone()),
            protocol: Arc::new(connection::protocol(life)),
            door: Arc::new(Door { api: api::router(gateway.clone()), gateway }),
            tls,
            life: life.clone(),
        };
        life.spawn("public port", Stage::Intake, OnError::Drain, intake.run(listener));
        Ok(address)
    }

    /// Both at once.
    ///
    /// # Errors
    /// The address cannot be had, or certificate or key cannot be read; the message names it.
    pub fn bind(gateway: Arc<Gateway>, listen: SocketAddr, life: &Lifecycle) -> io::Result<SocketAddr> {
        let listener = open(listen).map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}")))?;
        Self::serve(gateway, listener, life)
    }
}

fn open(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(socket2::Domain::for_address(listen), Type::STREAM, None)?;
    // A restart does not wait for the last connections of the process before.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

struct Intake {
    connections: Arc<Connections>,
    protocol: Arc<Protocol>,
    door: Arc<Door>,
    tls: Option<Reloaded<TlsAcceptor>>,
    life: Lifecycle,
}

impl Intake {
    async fn run(self, listener: TcpListener) -> io::Result<()> {
        let draining = self.life.draining(Stage::Intake);
        // Said once when it begins and once when it ends, however many attempts lie between.
        let mut starved = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = draining.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    if std::mem::take(&mut starved) {
                        tracing::info!("connections are accepted again");
                    }
                    self.admit(stream, address);
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut starved, true) {
                        tracing::warn!(%error, "cannot accept connections for the moment: they wait");
                    }
                    metrics::connection_refused("system");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.connections.drain();
        self.accept_the_waiting(listener)
    }

    /// Whoever has connected before is served; then the port closes.
    fn accept_the_waiting(&self, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        // With no backlog left hardly anybody can slip in between the last accept and the close.
        SockRef::from(&listener).listen(0)?;
        loop {
            match listener.accept() {
                Ok((stream, address)) => {
                    stream.set_nonblocking(true)?;
                    self.admit(TcpStream::from_std(stream)?, address);
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        let gateway = &self.door.gateway;
        let remote = Remote::new(address, &gateway.options.trusted_proxies);
        let place = match self.connections.enter(remote) {
            Ok(place) => place,
            Err(bound) => {
                metrics::connection_refused(bound);
                return;
            }
        };
        // Answers are small and whole: waiting to fill a segment only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY refused");
        }
        let (door, protocol, tls) = (self.door.clone(), self.protocol.clone(), self.tls.clone());
        self.life.spawn("connection", Stage::Intake, OnError::Log, async move {
            match tls {
                None => connection::serve(stream, remote, place, door, &protocol).await,
                Some(tls) => serve_tls(tls.current(), stream, (remote, place), door, &protocol).await,
            }
            Ok::<_, Infallible>(())
        });
    }
}

async fn serve_tls(tls: TlsAcceptor, stream: TcpStream, (remote, place): (Remote, Place), door: Arc<Door>, protocol: &Protocol) {
    let patience = door.gateway.options.timeouts.first_byte;
    match tokio::time::timeout(patience, tls.accept(stream)).await {
        Ok(Ok(stream)) => Box::pin(connection::serve(stream, remote, place, door, protocol)).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => metrics::connection_closed("handshake"),
    }
}

/// Errors of `accept` that concern one connection only.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}
