//! What `terse doctor` asks of another service: whether it serves what it is asked for, and what time it is there.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use domain::api::Deadline;
use http::uri::{PathAndQuery, Uri};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::call::{self, Frame};
use crate::channel::Connector;
use crate::method::MessageLimits;

const LIMITS: MessageLimits = MessageLimits { request_len_max: 1 << 10, response_len_max: 1 << 10 };
const PATIENCE: Duration = Duration::from_secs(3);

/// What a service that answered said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it takes calls; else it is draining.
    pub serves: bool,
    /// The value of its `Date`, of whole seconds.
    pub date: Option<String>,
    pub took: Duration,
}

/// The gRPC services there are, by the section of the configuration that says where they are.
pub const SERVICES: [(&str, &str); 4] =
    [("ids", "terse.v1.Ids"), ("links", "terse.v1.Links"), ("redirect", "terse.v1.Resolver"), ("analytics", "terse.v1.Stats")];

impl Connector {
    /// Connects to one address, and asks it for one service by the health protocol.
    ///
    /// # Errors
    /// Nobody answers there, or not as this service.
    pub async fn look(&self, address: SocketAddr, service: &str) -> io::Result<Answer> {
        let asked = tokio::time::timeout(PATIENCE, self.ask(address, service)).await;
        asked.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs()))))
    }

    async fn ask(&self, address: SocketAddr, service: &str) -> io::Result<Answer> {
        let (mut sender, driver) = self.open(address).await?;
        let (scheme, authority) = self.origin(address);
        let uri = Uri::builder().scheme(scheme).authority(authority);
        let uri = uri.path_and_query(PathAndQuery::from_static("/grpc.health.v1.Health/Check")).build().map_err(io::Error::other)?;
        let frame = Frame::encode(&HealthCheckRequest { service: service.to_owned() }, LIMITS).map_err(io::Error::other)?;
        let request = frame.request(uri, Deadline::after(Instant::now(), PATIENCE)).map_err(io::Error::other)?;
        let exchange = async {
            let began = Instant::now();
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let took = began.elapsed();
            let date = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
            let answer: HealthCheckResponse = call::read(response, LIMITS)
                .await
                .map_err(|error| io::Error::other(format!("it answers, but not as {service}: {}", error.detail())))?;
            Ok(Answer { serves: answer.status() == ServingStatus::Serving, date, took })
        };
        // The connection only moves while it is polled.
        tokio::select! {
            answer = exchange => answer,
            () = driver => Err(io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke")),
        }
    }
}
