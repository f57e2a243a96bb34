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
