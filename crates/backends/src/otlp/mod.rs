//! Spans to an OpenTelemetry collector, by OTLP over gRPC.
//!
//! Spans are sent in batches, one batch at a time. A collector that does not answer in time costs the batch, and nothing
//! else: what waits meanwhile is bounded where it waits, and the rest is dropped and counted there.

mod message;

use std::error::Error as _;
use std::time::Duration;

use ::metrics::Counter;
use chassis::trace::{self, Finished};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Uri};

/// Spans of one message.
const BATCH_LEN_MAX: usize = 512;
/// How long a span may wait for others.
const LINGER: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For one batch, the connection included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Who tells.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://HOST:PORT`, or `https://…` for a collector with a certificate of a public authority.
    pub endpoint: Uri,
    /// `service.name`.
    pub service: String,
    /// `service.version`.
    pub version: &'static str,
    /// `service.instance.id`: different for each process.
    pub instance: String,
}

pub struct Exporter {
    client: TraceServiceClient<Channel>,
    options: Options,
    /// Said when it changes.
    is_failing: bool,
    exported: Counter,
    failed: Counter,
}

impl Exporter {
    /// Connects with the first batch, and again whenever the connection is lost. Must be called within a runtime.
    ///
    /// # Errors
    /// The endpoint can never work.
    pub fn new(options: Options) -> Result<Self, tonic::transport::Error> {
        let mut endpoint = Endpoint::from(options.endpoint.clone()).connect_timeout(CONNECT_TIMEOUT).timeout(EXPORT_TIMEOUT);
        if options.endpoint.scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_webpki_roots())?;
        }
        Ok(Self {
            client: TraceServiceClient::new(endpoint.connect_lazy()),
            options,
            is_failing: false,
            exported: trace::spans("exported"),
            failed: trace::spans("failed"),
        })
    }

    /// Until `draining`; then sends what is left, as long as the collector takes it.
    pub async fn run(mut self, mut spans: mpsc::Receiver<Finished>, draining: CancellationToken) {
        let mut batch = Vec::new();
        while let Some(Some(first)) = draining.run_until_cancelled(spans.recv()).await {
            batch.push(first);
            let until = Instant::now() + LINGER;
            while batch.len() < BATCH_LEN_MAX {
                let room = BATCH_LEN_MAX - batch.len();
                let more = timeout_at(until, spans.recv_many(&mut batch, room));
                if !matches!(draining.run_until_cancelled(more).await, Some(Ok(1..))) {
                    break;
                }
            }
            self.export(&mut batch).await;
        }
        spans.close();
        while !spans.is_empty() {
            spans.recv_many(&mut batch, BATCH_LEN_MAX).await;
            if self.is_failing {
                self.failed.increment(u64::try_from(batch.len()).unwrap_or(u64::MAX));
                batch.clear();
            } else {
                self.export(&mut batch).await;
            }
        }
    }

    async fn export(&mut self, batch: &mut Vec<Finished>) {
        let len = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let request = message::request(&self.options, batch.drain(..));
        let rejected = match self.send(request).await {
            Ok(rejected) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(endpoint = %self.options.endpoint, "traces are exported again");
                }
                rejected.min(len)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(endpoint = %self.options.endpoint, error, "traces cannot be exported; they are dropped and counted until they can");
                }
                len
            }
        };
        self.failed.increment(rejected);
        self.exported.increment(len - rejected);
    }

    /// Answers how many spans the collector refused.
    async fn send(&mut self, request: ExportTraceServiceRequest) -> Result<u64, String> {
        // The channel's own timeout begins when it is connected.
        let answer = timeout(CONNECT_TIMEOUT + EXPORT_TIMEOUT, self.client.export(request)).await;
        match answer {
            Ok(Ok(answer)) => {
                let rejected = answer.into_inner().partial_success.map_or(0, |partial| partial.rejected_spans);
                Ok(u64::try_from(rejected).unwrap_or(0))
            }
            Ok(Err(status)) => Err(match status.source() {
                Some(source) => format!("{:?}: {}: {source}", status.code(), status.message()),
                None => format!("{:?}: {}", status.code(), status.message()),
            }),
            Err(_) => Err("no answer in time".into()),
        }
    }
}
