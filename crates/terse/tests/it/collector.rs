//! A collector of traces in the test's own process: what the processes of a cluster export, as it came.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};

/// How long exported spans may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A span, and the service that made it.
#[derive(Clone, Debug)]
pub(crate) struct Collected {
    pub(crate) service: String,
    pub(crate) span: Span,
}

impl Collected {
    pub(crate) fn attribute(&self, key: &str) -> String {
        text(&self.span.attributes, key)
    }

    pub(crate) fn is_named(&self, service: &str, name: &str) -> bool {
        self.service == service && self.span.name == name
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|attribute| attribute.key == key).and_then(|attribute| attribute.value.as_ref()?.value.clone());
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        other => other.map_or_else(String::new, |value| format!("{value:?}")),
    }
}

pub(crate) struct Collector {
    address: SocketAddr,
    spans: watch::Receiver<Vec<Collected>>,
    /// It ends with the test.
    _server: JoinSet<()>,
}

struct Receiver(watch::Sender<Vec<Collected>>);

#[async_trait::async_trait]
impl TraceService for Receiver {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send_modify(|spans| {
            for resource in request.into_inner().resource_spans {
                let service = text(&resource.resource.unwrap_or_default().attributes, "service.name");
                let of_resource = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(of_resource.map(|span| Collected { service: service.clone(), span }));
            }
        });
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, spans) = watch::channel(Vec::new());
        let service = TraceServiceServer::new(Receiver(sender));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let service = TowerToHyperService::new(service.clone());
                let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                // However it ends: whoever exported is gone.
                connections.spawn(async move { drop(http2.serve_connection(TokioIo::new(stream), service).await) });
            }
        });
        Self { address, spans, _server: server }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn now(&self) -> Vec<Collected> {
        self.spans.borrow().clone()
    }

    /// Waits until `find` finds what it looks for in what has come so far.
    pub(crate) async fn until<T>(&self, what: &str, find: impl Fn(&[Collected]) -> Option<T>) -> T {
        let mut spans = self.spans.clone();
        let found = tokio::time::timeout(PATIENCE, spans.wait_for(|spans| find(spans).is_some())).await;
        let found = found.ok().and_then(|spans| find(&spans.ok()?));
        found.unwrap_or_else(|| panic!("no {what} in {:#?}", self.names()))
    }

    /// Of all that came, for whoever wonders why a test failed.
    fn names(&self) -> BTreeSet<String> {
        let spans = self.spans.borrow();
        spans.iter().map(|of| format!("{} {} in {}", of.service, of.span.name, hex(&of.span.trace_id))).collect()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
