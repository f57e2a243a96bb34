//! A collector of traces that forgets them, for `scripts/bench traces`. Prints where it listens, and at the end of its input how
//! many spans have come.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};

#[derive(Clone, Default)]
struct Sink(Arc<AtomicUsize>);

#[async_trait::async_trait]
impl TraceService for Sink {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.get_ref().resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        self.0.fetch_add(scopes.map(|scope| scope.spans.len()).sum(), Ordering::Relaxed);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let sink = Sink::default();
    let mut connections = JoinSet::new();
    let (mut input, mut stdin) = (Vec::new(), tokio::io::stdin());
    let mut ended = pin!(stdin.read_to_end(&mut input));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = &mut ended => break,
        };
        let service = TowerToHyperService::new(TraceServiceServer::new(sink.clone()));
        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        connections.spawn(async move { drop(http2.serve_connection(TokioIo::new(stream), service).await) });
    }
    println!("{}", sink.0.load(Ordering::Relaxed));
    Ok(())
}
