//! TLS as it is deployed: a root that clients know, an intermediate they do not, and a leaf. What cannot work is refused at start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cluster::{Cluster, POLL};

const HOST: &str = "go.example.com";

/// A chain in `chain.pem` (leaf and intermediate) with its key, and the root that only clients have.
struct Chain {
    root: CertificateDer<'static>,
    certs: PathBuf,
    key: PathBuf,
}

impl Chain {
    fn write(folder: &Path, name: &str) -> Self {
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).expect("parameters");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            (params, KeyPair::generate().expect("a key"))
        };
        let (root, root_key) = authority("root");
        let root_cert = root.self_signed(&root_key).expect("signed");
        let root = Issuer::new(root, root_key);
        let (intermediate, intermediate_key) = authority("intermediate");
        let intermediate_cert = intermediate.signed_by(&intermediate_key, &root).expect("signed");
        let intermediate = Issuer::new(intermediate, intermediate_key);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec![HOST.to_owned()]).expect("parameters").signed_by(&key, &intermediate).expect("signed");
        let paths = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&paths.0, leaf.pem() + &intermediate_cert.pem()).expect("written");
        std::fs::write(&paths.1, key.serialize_pem()).expect("written");
        Self { root: root_cert.der().clone(), certs: paths.0, key: paths.1 }
    }
}

/// Connects as a client that knows `root` and nothing else, and speaks `protocols`.
async fn connect(server: SocketAddr, root: &CertificateDer<'static>, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(server).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(HOST).expect("a name"), stream).await
}

/// Status and `Location` of `GET path`, over whatever both agreed on.
async fn get(stream: TlsStream<TcpStream>, path: &str) -> (StatusCode, String) {
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    let request = Request::get(format!("https://{HOST}{path}")).header("host", HOST).body(Empty::<Bytes>::new()).expect("a request");
    let response = if is_h2 {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::select! {
            response = sender.send_request(request) => response,
            ended = connection => panic!("the connection ended: {ended:?}"),
        }
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP/1.1");
        tokio::select! {
            response = sender.send_request(request) => response,
            ended = connection => panic!("the connection ended: {ended:?}"),
        }
    };
    let response = response.expect("an answer");
    let location = response.headers().get("location").map_or("", |value| value.to_str().expect("ASCII"));
    (response.status(), location.to_owned())
}

async fn create(stream: TlsStream<TcpStream>, key: &str) -> StatusCode {
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    let body = json!({"target": "https://example.com/a", "alias": "steady"}).to_string();
    let request = Request::post(format!("https://{HOST}/api/v1/links")).header("authorization", format!("Bearer {key}"));
    let request = request.header("content-type", "application/json").body(Full::<Bytes>::from(body)).expect("a request");
    tokio::select! {
        response = sender.send_request(request) => response.expect("an answer").status(),
        ended = connection => panic!("the connection ended: {ended:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_the_root_alone_is_served_over_either_protocol() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, other) = (Chain::write(folder.path(), "ours"), Chain::write(folder.path(), "theirs"));
    let cluster = Cluster::all_in_one()
        .set("TERSE__PUBLIC_URL", &format!("https://{HOST}"))
        .set("TERSE__TLS__CERT", &chain.certs.display())
        .set("TERSE__TLS__KEY", &chain.key.display())
        .start();
    let tls = async |protocols: &[&str]| connect(cluster.public(), &chain.root, protocols).await.expect("trusted");
    assert_eq!(create(tls(&["h2"]).await, &cluster.admin_key()).await, StatusCode::CREATED);
    for (offered, agreed) in [(&["h2", "http/1.1"][..], Some(&b"h2"[..])), (&["http/1.1"], Some(b"http/1.1")), (&[], None)] {
        let stream = tls(offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed, "{offered:?}");
        assert_eq!(get(stream, "/steady").await, (StatusCode::FOUND, "https://example.com/a".into()), "{offered:?}");
    }
    let stranger = connect(cluster.public(), &other.root, &["h2"]).await.expect_err("another root");
    assert!(stranger.to_string().contains("certificate"), "{stranger}");
    // Who speaks no TLS gets no answer, and the port goes on.
    assert!(cluster.anonymous().try_send(http::Method::GET, "/steady", None).await.is_err());
    assert_eq!(get(tls(&["http/1.1"]).await, "/steady").await.0, StatusCode::FOUND);
}

#[test]
fn a_key_of_another_certificate_is_refused_at_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (Chain::write(folder.path(), "ours"), Chain::write(folder.path(), "theirs"));
    let cut = folder.path().join("cut.pem");
    std::fs::write(&cut, &std::fs::read(&ours.certs).expect("read")[..200]).expect("written");
    for (cert, key, why) in [
        (&ours.certs, &theirs.key, "is not the key of the first certificate"),
        (&cut, &ours.key, "is cut off"),
        (&ours.certs, &ours.certs, "holds no private key"),
        (&ours.key, &ours.key, "holds no certificate"),
    ] {
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_terse"));
        command.env_clear().env("TERSE__TLS__CERT", &cert).current_dir(folder.path()).stdin(Stdio::null());
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--set", &format!("tls.key={key}")]);
        let refused = command.output().expect("terse runs");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{cert} {key}: {said}");
        // Value, origin and mend.
        for part in [&cert, &key, "environment TERSE__TLS__CERT", "flag --set", "two PEM files that belong together", why] {
            assert!(said.contains(part), "no `{part}` in:\n{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_under_a_live_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (Chain::write(folder.path(), "old"), Chain::write(folder.path(), "new"));
    let (cert, key) = (folder.path().join("live.pem"), folder.path().join("live.key"));
    let put = |chain: &Chain| {
        std::fs::copy(&chain.key, &key).expect("copied");
        std::fs::copy(&chain.certs, &cert).expect("copied");
    };
    put(&old);
    let cluster = Cluster::all_in_one()
        .set("TERSE__PUBLIC_URL", &format!("https://{HOST}"))
        .set("TERSE__TLS__CERT", &cert.display())
        .set("TERSE__TLS__KEY", &key.display())
        .start();
    let shows = async |chain: &Chain| connect(cluster.public(), &chain.root, &["h2"]).await;
    let kept = shows(&old).await.expect("trusted");
    assert_eq!(create(kept, &cluster.admin_key()).await, StatusCode::CREATED);
    let kept = shows(&old).await.expect("trusted");

    // A broken file keeps the old one, is told once, and is counted.
    let broken = folder.path().join("broken");
    std::fs::write(&broken, "broken").expect("written");
    std::fs::rename(&broken, &cert).expect("replaced");
    cluster.hang_up();
    let reloads = async |outcome: &str| cluster.metric("terse_reloads_total", &[("what", "public"), ("outcome", outcome)]).await;
    while reloads("failed").await < 1.0 {
        tokio::time::sleep(POLL).await;
    }
    cluster.hang_up();
    shows(&old).await.expect("still in use");
    let log = cluster.log();
    assert_eq!(log.matches("live.pem: ").count(), 1, "{log}");

    put(&new);
    cluster.hang_up();
    let began = std::time::Instant::now();
    while shows(&new).await.is_err() {
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "the new certificate is not shown");
        tokio::time::sleep(POLL).await;
    }
    shows(&old).await.expect_err("the old one is shown no more");
    // Who was connected stays so.
    assert_eq!(get(kept, "/steady").await, (StatusCode::FOUND, "https://example.com/a".into()));
}
