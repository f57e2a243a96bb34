//! The admin port: `/livez /readyz /metrics /config /doctor`, for operators and orchestrators, never for the public.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::{Check, Finding, Lifecycle, OnError, Stage, Status, process};

/// Connections at one time; more wait in the listen queue.
const CONNECTIONS_MAX: usize = 64;
/// For a request's head; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For one examination by `/doctor`.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// What the port shows.
pub struct Admin {
    /// The effective configuration, secrets masked: [`crate::config::Loaded::to_json`].
    pub config: serde_json::Value,
    pub metrics: Option<PrometheusHandle>,
    /// Called before each rendering of metrics, to refresh gauges that nothing else updates.
    pub before_metrics: Option<Arc<dyn Fn() + Send + Sync>>,
    pub checks: Vec<(&'static str, Check)>,
}

struct State {
    admin: Admin,
    config: Bytes,
    lifecycle: Lifecycle,
}

/// Serves `listener` until everything else has drained, and answers where it listens.
///
/// # Errors
/// When the listener's address cannot be read.
pub fn serve(listener: TcpListener, admin: Admin, lifecycle: &Lifecycle) -> std::io::Result<SocketAddr> {
    let local = listener.local_addr()?;
    let config = Bytes::from(format!("{:#}\n", admin.config));
    let state = Arc::new(State { admin, config, lifecycle: lifecycle.clone() });
    // The last stage: an orchestrator reads `/readyz` all through the drain.
    lifecycle.spawn("admin port", Stage::Background, OnError::Log, accept(listener, state));
    Ok(local)
}

async fn accept(listener: TcpListener, state: Arc<State>) -> Result<(), Infallible> {
    let draining = state.lifecycle.draining(Stage::Background);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Said once, however many attempts follow.
    let mut starved = false;
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = draining.cancelled() => return Ok(()),
            accepted = next => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                starved = false;
                let connection = serve_connection(stream, state.clone());
                state.lifecycle.spawn("admin connection", Stage::Background, OnError::Log, async move {
                    let _slot = slot;
                    connection.await;
                    Ok::<_, Infallible>(())
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: they come back as connections end.
                if !std::mem::replace(&mut starved, true) {
                    tracing::warn!(%error, "admin port cannot accept for the moment");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, state: Arc<State>) {
    let draining = state.lifecycle.draining(Stage::Background);
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(answer(&request, &state).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "admin connection ended");
    }
}

async fn answer(request: &Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" if state.lifecycle.is_ready() => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        "/metrics" => match &state.admin.metrics {
            Some(handle) => {
                if let Some(refresh) = &state.admin.before_metrics {
                    refresh();
                }
                let mut text = handle.render();
                process::render(&mut text);
                with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
            }
            None => text(StatusCode::NOT_FOUND, "this process keeps no metrics\n"),
        },
        "/config" => with_type(StatusCode::OK, "application/json", state.config.clone()),
        "/doctor" => examine(state).await,
        "/" => text(StatusCode::OK, "/livez\n/readyz\n/metrics\n/config\n/doctor\n"),
        _ => text(StatusCode::NOT_FOUND, "there are: /livez /readyz /metrics /config /doctor\n"),
    }
}

/// Every check at the same time, each bounded.
async fn examine(state: &State) -> Response<Full<Bytes>> {
    let findings = state.admin.checks.iter().map(|(name, check)| async move {
        let finding = tokio::time::timeout(CHECK_TIMEOUT, check()).await;
        finding.unwrap_or_else(|_| Finding::fail(*name, "no answer within 5 s", "see the log of the server"))
    });
    let findings = futures_util::future::join_all(findings).await;
    let failed = findings.iter().any(|finding| finding.status == Status::Fail);
    let status = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = serde_json::to_string(&findings).unwrap_or_default();
    with_type(status, "application/json", body)
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn start(checks: Vec<(&'static str, Check)>) -> (SocketAddr, Lifecycle) {
        let lifecycle = Lifecycle::new(Duration::from_secs(5));
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || metrics::counter!("test_total").increment(3));
        let config = serde_json::json!({ "listen": { "value": "127.0.0.1:1", "origin": "default" } });
        let admin = Admin { config, metrics: Some(recorder.handle()), before_metrics: None, checks };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (serve(listener, admin, &lifecycle).unwrap(), lifecycle)
    }

    async fn ask(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn answers_each_path_and_only_reads() {
        let (address, lifecycle) = start(Vec::new()).await;
        for (line, status, body) in [
            ("GET /livez", "200 OK", "ok\n"),
            ("GET /readyz", "200 OK", "ready\n"),
            ("GET /metrics", "200 OK", "test_total 3"),
            ("GET /config", "200 OK", "\"127.0.0.1:1\""),
            ("GET /doctor", "200 OK", "[]"),
            ("GET /nothing", "404 Not Found", "/livez"),
            ("POST /config", "405 Method Not Allowed", "only GET and HEAD"),
            ("HEAD /livez", "200 OK", "content-length: 3"),
        ] {
            let answer = ask(address, line).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{line}: {answer}");
            assert!(answer.contains(body), "{line}: {answer}");
        }
        lifecycle.drain_in_order().await;
        assert!(TcpStream::connect(address).await.is_err(), "closed after the drain");
    }

    #[tokio::test]
    async fn not_ready_while_latched_and_while_draining() {
        let (address, lifecycle) = start(Vec::new()).await;
        let latch = lifecycle.latch();
        assert!(ask(address, "GET /readyz").await.starts_with("HTTP/1.1 503"));
        drop(latch);
        assert!(ask(address, "GET /readyz").await.starts_with("HTTP/1.1 200"));
        lifecycle.drain();
        assert!(ask(address, "GET /readyz").await.starts_with("HTTP/1.1 503"));
        assert!(ask(address, "GET /livez").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn doctor_runs_every_check_and_fails_when_one_fails() {
        let check = |finding: Finding| -> Check { Arc::new(move || std::future::ready(finding.clone()).boxed()) };
        let fine = check(Finding::ok("store", "answers"));
        let broken = check(Finding::fail("clicks", "disk full", "free some space"));
        let (address, _lifecycle) = start(vec![("store", fine), ("clicks", broken)]).await;
        let answer = ask(address, "GET /doctor").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        let findings: Vec<Finding> = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(findings.len(), 2);
        assert_eq!(findings[1].mend.as_deref(), Some("free some space"));
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_does_not_hold_up_the_drain() {
        let (address, lifecycle) = start(Vec::new()).await;
        let _silent = TcpStream::connect(address).await.unwrap();
        ask(address, "GET /livez").await;
        tokio::time::timeout(Duration::from_secs(3), lifecycle.drain_in_order()).await.unwrap();
    }
}
