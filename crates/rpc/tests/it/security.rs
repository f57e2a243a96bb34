//! TLS, and certificates of clients.

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::Reason;
use domain::api::Ids as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rpc::{ClientTls, Connector, IdsClient, Replicas, Server, ServerTls, Services, channel};

use crate::fakes::CountedIds;
use crate::port::{Port, options, within};

/// An authority, and who is certified by it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
    ca: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = folder.join(format!("{name}.pem"));
        std::fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder: folder.to_owned(), ca }
    }

    fn certify(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let paths = (self.folder.join(format!("{name}.crt")), self.folder.join(format!("{name}.key")));
        std::fs::write(&paths.0, cert.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }
}

async fn call(port: &Port, tls: Option<ClientTls>) -> domain::Result<Vec<domain::LinkId>> {
    let connector = Connector::new(channel::Options { tls, ..channel::Options::default() }).unwrap();
    IdsClient::new(Replicas::one(port.address, connector)).next_ids(1, within(Duration::from_secs(5))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_is_certified_by_our_authority_gets_in() {
    let folder = tempfile::TempDir::new().unwrap();
    let (ours, theirs) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "theirs"));
    let (cert, key) = ours.certify("ids.terse.test");
    let ids = CountedIds::new(9);
    let tls = ServerTls { cert, key, client_ca: Some(ours.ca.clone()) };
    let port = Port::with(Services::default().ids(ids.clone()), rpc::server::Options { tls: Some(tls), ..options() }).await;
    let client = |ca: &Authority, identity: Option<(PathBuf, PathBuf)>, name: &str| {
        Some(ClientTls { ca: ca.ca.clone(), identity, server_name: name.to_owned() })
    };
    let member = ours.certify("gateway.terse.test");
    assert_eq!(call(&port, client(&ours, Some(member.clone()), "ids.terse.test")).await.unwrap().len(), 1);
    let refused = [
        ("no certificate", client(&ours, None, "ids.terse.test")),
        ("a certificate of somebody else", client(&ours, Some(theirs.certify("stranger.test")), "ids.terse.test")),
        ("a server of somebody else", client(&theirs, Some(member.clone()), "ids.terse.test")),
        ("a server of another name", client(&ours, Some(member), "links.terse.test")),
        ("no TLS", None),
    ];
    for (who, tls) in refused {
        let error = call(&port, tls).await.expect_err(who);
        assert_eq!(error.reason(), Reason::Unavailable, "{who}: {error}");
    }
    assert_eq!(ids.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_authority_for_clients_nobody_is_asked() {
    let folder = tempfile::TempDir::new().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let (cert, key) = ours.certify("ids.terse.test");
    let tls = ServerTls { cert, key, client_ca: None };
    let port = Port::with(Services::default().ids(CountedIds::new(9)), rpc::server::Options { tls: Some(tls), ..options() }).await;
    let client = ClientTls { ca: ours.ca.clone(), identity: None, server_name: "ids.terse.test".into() };
    assert_eq!(call(&port, Some(client)).await.unwrap().len(), 1);
}

#[test]
fn an_error_names_the_file() {
    let folder = tempfile::TempDir::new().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let (cert, key) = ours.certify("ids.terse.test");
    let missing = folder.path().join("missing.pem");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let server = |cert: &Path, key: &Path, client_ca: Option<&Path>| {
        let tls = ServerTls { cert: cert.into(), key: key.into(), client_ca: client_ca.map(Into::into) };
        Server::new(rpc::server::Options { tls: Some(tls), ..options() }).err().unwrap().to_string()
    };
    for (error, file) in [
        (server(&missing, &key, None), &missing),
        (server(&empty, &key, None), &empty),
        (server(&cert, &cert, None), &cert),
        (server(&cert, &key, Some(&empty)), &empty),
    ] {
        assert!(error.contains(file.to_str().unwrap()), "{error}");
    }
}

/// Whether a new connection to `port` is accepted, by a client that keeps trusting what its files say now.
async fn connects(port: &Port, client: &ClientTls) -> bool {
    call(port, Some(client.clone())).await.is_ok()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_under_a_live_port_and_a_live_client() {
    let folder = tempfile::TempDir::new().unwrap();
    let (old, new) = (Authority::new(folder.path(), "old"), Authority::new(folder.path(), "new"));
    let put = |authority: &Authority, names: [&str; 3]| {
        let [ca, cert, key] = names.map(|name| folder.path().join(name));
        let (made, its_key) = authority.certify("ids.terse.test");
        std::fs::rename(its_key, &key).unwrap();
        std::fs::rename(made, &cert).unwrap();
        std::fs::copy(&authority.ca, &ca).unwrap();
        (ca, cert, key)
    };
    let (ca, cert, key) = put(&old, ["server.ca", "server.crt", "server.key"]);
    let tls = ServerTls { cert: cert.clone(), key, client_ca: Some(ca) };
    let every = Duration::from_millis(5);
    let with = rpc::server::Options { tls: Some(tls), tls_look_every: every, ..options() };
    let port = Port::with(Services::default().ids(CountedIds::new(9)), with).await;
    let (ca, client_cert, client_key) = put(&old, ["client.ca", "client.crt", "client.key"]);
    let client = ClientTls { ca, identity: Some((client_cert, client_key)), server_name: "ids.terse.test".into() };
    let connector = Connector::new(channel::Options { tls: Some(client.clone()), ..channel::Options::default() }).unwrap();
    let life = chassis::Lifecycle::new(Duration::from_secs(5));
    connector.follow_certificates(every, &life).unwrap();
    let long_lived = IdsClient::new(Replicas::one(port.address, connector.clone()));
    assert!(long_lived.next_ids(1, within(Duration::from_secs(5))).await.is_ok());

    // A broken one changes nothing.
    let good = std::fs::read(&cert).unwrap();
    std::fs::write(&cert, "broken").unwrap();
    std::fs::write(&cert, &good).unwrap();
    assert!(connects(&port, &client).await);

    // Another authority, at the port alone: who trusts the old one is refused, but not on a connection that is open.
    put(&new, ["server.ca", "server.crt", "server.key"]);
    until("the port shows its new certificate", async || !connects(&port, &client).await).await;
    assert!(long_lived.next_ids(1, within(Duration::from_secs(5))).await.is_ok());
    // Then at the client, whose files are the same and whose connector is.
    put(&new, ["client.ca", "client.crt", "client.key"]);
    until("both have new certificates", async || connects(&port, &client).await).await;
    until("the client's connector has, too", async || {
        IdsClient::new(Replicas::one(port.address, connector.clone())).next_ids(1, within(Duration::from_secs(5))).await.is_ok()
    })
    .await;
    life.drain_in_order().await;
}
