//! The same answers over HTTP/2 and TLS.

use std::path::Path;
use std::sync::Arc;

use gateway::TlsFiles;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{TARGET, World};

/// Statuses of requests sent together over one HTTP/2 connection.
async fn over_http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, paths: &[&str]) -> Vec<u16> {
    let (sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let requests = paths.iter().map(|path| {
        let mut sender = sender.clone();
        let request = hyper::Request::get(format!("http://s.example{path}")).body(Empty::new()).unwrap();
        async move {
            let response = sender.send_request(request).await.unwrap();
            if response.status() == 302 {
                assert_eq!(response.headers()["location"], TARGET);
            }
            let status = response.status().as_u16();
            response.into_body().collect().await.unwrap();
            status
        }
    });
    let all = futures_util::future::join_all(requests);
    drop(sender);
    tokio::select! {
        statuses = all => statuses,
        ended = connection => panic!("the connection ended: {ended:?}"),
    }
}

#[tokio::test]
async fn http2_without_tls() {
    let world = World::start();
    let stream = TcpStream::connect(world.address).await.unwrap();
    let statuses = over_http2(stream, &["/known", "/later", "/unknown", "/gone", "/panics", "/panics-later", "/api/v1/openapi.json"]).await;
    assert_eq!(statuses, [302, 302, 404, 410, 500, 500, 200]);
}

#[tokio::test]
async fn draining_http2_answers_what_was_asked() {
    let world = World::with(|options| options.deadlines.redirect = std::time::Duration::from_mins(10));
    let stream = TcpStream::connect(world.address).await.unwrap();
    let drain = async {
        world.script.waiting.notified().await;
        world.life.drain();
        world.script.release.notify_one();
        world.life.drain_in_order().await;
    };
    let (statuses, ()) = tokio::join!(over_http2(stream, &["/slow"]), drain);
    assert_eq!(statuses, [302]);
}

fn files() -> TlsFiles {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls");
    TlsFiles { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") }
}

async fn connect(world: &World, protocols: &[&str]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(files().certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(world.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

#[tokio::test]
async fn tls_with_either_protocol() {
    let world = World::with(|options| options.tls = Some(files()));
    let stream = connect(&world, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(over_http2(stream, &["/known"]).await, [302]);

    let stream = connect(&world, &["http/1.1"]).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.unwrap();
    let request = hyper::Request::get("/known").header("host", "s.example").body(Empty::new()).unwrap();
    let response = tokio::select! {
        response = sender.send_request(request) => response.unwrap(),
        ended = connection => panic!("the connection ended: {ended:?}"),
    };
    assert_eq!(response.status(), 302);
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_not_waited_for() {
    let world = World::with(|options| {
        options.tls = Some(files());
        options.timeouts.first_byte = std::time::Duration::from_millis(20);
    });
    assert!(crate::client::Client::connect(world.address).await.is_closed().await);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_named() {
    let missing = Path::new("/nonexistent/key.pem").to_path_buf();
    for (tls, named) in [
        (TlsFiles { key: missing.clone(), ..files() }, "/nonexistent/key.pem"),
        (TlsFiles { certificate: missing, ..files() }, "/nonexistent/key.pem"),
        (TlsFiles { certificate: files().key, ..files() }, "holds no certificate"),
        (TlsFiles { key: files().certificate, ..files() }, "certificate.pem"),
    ] {
        let options = gateway::Options { tls: Some(tls), ..gateway::Options::default() };
        let life = chassis::lifecycle::Lifecycle::new(std::time::Duration::from_secs(1));
        let error = World::listen(([127, 0, 0, 1], 0).into(), options, &life).err().unwrap();
        assert!(error.to_string().contains(named), "{error}");
    }
}
