//! TLS between services: certificates from files, read in one place, with errors that name the file.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chassis::Reloaded;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What a server shows, and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// PEM: the certificate, then those that lead to its authority.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// PEM: whoever has no certificate of this authority fails in the handshake. `None`: nobody is asked.
    pub client_ca: Option<PathBuf>,
}

/// Whom a client trusts, and what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// PEM: the authority of the servers' certificates.
    pub ca: PathBuf,
    /// PEM, certificate and key, for servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name servers are certified for. Addresses come from DNS and change; the name does not.
    pub server_name: String,
}

/// The only protocol spoken.
const H2: &[u8] = b"h2";

/// What a port accepts with, read again whenever a file changes.
pub(crate) fn acceptor(tls: &ServerTls) -> io::Result<Reloaded<TlsAcceptor>> {
    let files = [&tls.cert, &tls.key].into_iter().chain(&tls.client_ca).cloned().collect::<Vec<_>>();
    let tls = tls.clone();
    Reloaded::new("grpc", files, move || Ok(TlsAcceptor::from(Arc::new(server(&tls)?))))
}

/// What connections to other services are opened with, read again whenever a file changes.
pub(crate) fn connector(tls: &ClientTls) -> io::Result<(Reloaded<TlsConnector>, ServerName<'static>)> {
    let name = ServerName::try_from(tls.server_name.clone())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is no name of a server", tls.server_name)))?;
    let identity = tls.identity.iter().flat_map(|(cert, key)| [cert, key]);
    let files = std::iter::once(&tls.ca).chain(identity).cloned().collect::<Vec<_>>();
    let tls = tls.clone();
    let connector = Reloaded::new("services", files, move || Ok(TlsConnector::from(Arc::new(client(&tls)?))))?;
    Ok((connector, name))
}

fn server(tls: &ServerTls) -> io::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&tls.cert, &error))?;
    let builder = match &tls.client_ca {
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider)
                .build()
                .map_err(|error| wrong(path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain(&tls.cert)?, key(&tls.key)?).map_err(|error| wrong(&tls.key, &error))?;
    config.alpn_protocols = vec![H2.to_vec()];
    Ok(config)
}

fn client(tls: &ClientTls) -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&tls.ca, &error))?
        .with_root_certificates(roots(&tls.ca)?);
    let mut config = match &tls.identity {
        Some((cert, path)) => builder.with_client_auth_cert(chain(cert)?, key(path)?).map_err(|error| wrong(path, &error))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![H2.to_vec()];
    Ok(config)
}

fn roots(path: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots.add(certificate).map_err(|error| wrong(path, &error))?;
    }
    Ok(roots)
}

fn chain(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(path).map_err(|error| wrong(path, &error))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| wrong(path, &error))?;
    if chain.is_empty() {
        return Err(wrong(path, &"holds no certificate"));
    }
    Ok(chain)
}

fn key(path: &Path) -> io::Result<PrivateKeyDer<'static>> {
    let pem = std::fs::read(path).map_err(|error| wrong(path, &error))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| wrong(path, &error))
}

fn wrong(path: &Path, error: &dyn Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {error}", path.display()))
}
