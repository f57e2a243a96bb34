//! One connection at a time to each server: opened when it is needed, kept as long as the server keeps it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::ServiceExt as _;

use super::choice::{Choice, Chosen};
use super::dice::Dice;
use super::plan::{Pace, Plan, Planned};
use super::tally::{Answered, Failed, Tallies, Went};

type Sent = Request<Full<Bytes>>;
type Failure = (Failed, String);

/// A connection that asks again at once when nobody listens would only heat the room.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) struct Worker {
    pub(super) number: u32,
    pub(super) seed: u64,
    pub(super) timeout: Duration,
    pub(super) plan: Arc<Plan>,
    pub(super) choice: Arc<Choice>,
    pub(super) tallies: Arc<Tallies>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Reads and writes while it is polled; None once the connection has ended.
    driver: Option<http1::Connection<MaybeHttpsStream<TokioIo<TcpStream>>, Full<Bytes>>>,
}

impl Worker {
    pub(super) async fn run(self) {
        let connector = connector();
        let mut dice = Dice::new(self.seed, u64::from(self.number));
        let mut connections: Vec<Option<Connection>> = (0..self.choice.servers()).map(|_| None).collect();
        while let Some(planned) = self.next(&mut connections).await {
            let chosen = self.choice.request(planned.number, &mut dice);
            let connection = &mut connections[chosen.server];
            let sent_at = Instant::now();
            let asked = tokio::time::timeout(self.timeout, self.ask(connection, &connector, chosen)).await;
            let outcome = asked.unwrap_or_else(|_| Err((Failed::Timeout, format!("no answer within {:?}", self.timeout))));
            let now = Instant::now();
            if outcome.is_err() {
                *connection = None;
            }
            let is_refused = matches!(outcome, Err((Failed::Connect, _)));
            let since = |from: Instant| now.saturating_duration_since(from);
            let went = Went { outcome, since_planned: since(planned.at.min(sent_at)), since_sent: since(sent_at), queued: planned.queued };
            self.tallies.add(self.number, went);
            if is_refused && self.plan.pace == Pace::Closed {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Waits for the next request, and meanwhile notices which connections the server closes.
    async fn next(&self, connections: &mut [Option<Connection>]) -> Option<Planned> {
        let mut next = std::pin::pin!(self.plan.next());
        loop {
            tokio::select! {
                biased;
                planned = &mut next => return planned,
                ended = first_ended(connections) => connections[ended] = None,
            }
        }
    }

    async fn ask(
        &self,
        slot: &mut Option<Connection>,
        connector: &HttpsConnector<HttpConnector>,
        chosen: Chosen<'_>,
    ) -> Result<Answered, Failure> {
        let mut request = chosen.request;
        if let Some(connection) = slot {
            match connection.ask(request).await {
                // The server closed it meanwhile, and nothing was sent: a new one is due.
                Err((_, Some(unsent))) => request = unsent,
                Err((failure, None)) => return Err(failure),
                Ok(answered) => {
                    if connection.driver.is_none() {
                        *slot = None;
                    }
                    return Ok(answered);
                }
            }
        }
        let connection = slot.insert(Connection::open(chosen.address, connector).await?);
        self.tallies.opened(self.number);
        connection.ask(request).await.map_err(|(failure, _)| failure)
    }
}

/// The index of a connection that ends while nothing is asked of it; waits for ever where there is none.
async fn first_ended(connections: &mut [Option<Connection>]) -> usize {
    poll_fn(|context| {
        for (index, connection) in connections.iter_mut().enumerate() {
            let driver = connection.as_mut().and_then(|connection| connection.driver.as_mut());
            if driver.is_some_and(|driver| Pin::new(driver).poll(context).is_ready()) {
                return Poll::Ready(index);
            }
        }
        Poll::Pending
    })
    .await
}

fn connector() -> HttpsConnector<HttpConnector> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    hyper_rustls::HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(http)
}

impl Connection {
    async fn open(address: &Uri, connector: &HttpsConnector<HttpConnector>) -> Result<Self, Failure> {
        let stream = connector.clone().oneshot(address.clone()).await.map_err(|error| (Failed::Connect, causes(&*error)))?;
        let (sender, driver) = http1::handshake(stream).await.map_err(|error| (Failed::Connect, causes(&error)))?;
        Ok(Self { sender, driver: Some(driver) })
    }

    /// On failure the request comes back when nothing of it was sent.
    async fn ask(&mut self, request: Sent) -> Result<Answered, (Failure, Option<Sent>)> {
        let sender = &mut self.sender;
        let exchange = async {
            // Between two requests it has to be asked whether it is done with the first.
            if let Err(error) = sender.ready().await {
                return Err((failure(&error), Some(request)));
            }
            let answer = match sender.try_send_request(request).await {
                Ok(answer) => answer,
                Err(mut error) => {
                    let unsent = error.take_message();
                    return Err((failure(&error.into_error()), unsent));
                }
            };
            let status = answer.status();
            let body_bytes = swallow(answer.into_body()).await.map_err(|error| (failure(&error), None))?;
            Ok(Answered { status, body_bytes })
        };
        let mut exchange = std::pin::pin!(exchange);
        if let Some(driver) = &mut self.driver {
            tokio::select! {
                biased;
                outcome = &mut exchange => return outcome,
                _ = driver => {}
            }
        }
        // It ended; what it had read by then is still there.
        self.driver = None;
        exchange.await
    }
}

/// Bytes of a body that nobody looks at.
async fn swallow(mut body: Incoming) -> Result<u64, hyper::Error> {
    let mut len = 0;
    while let Some(frame) = body.frame().await {
        len += frame?.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(0));
    }
    Ok(len)
}

fn failure(error: &hyper::Error) -> Failure {
    let failed = if error.is_parse() { Failed::Protocol } else { Failed::Closed };
    (failed, causes(error))
}

/// An error and what it came from, in a line.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
