//! TLS, when a certificate is configured. A new one is taken up without a restart.

use std::io;
use std::sync::Arc;

use chassis::{Lifecycle, Reloaded, reload};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::options::TlsFiles;

/// Reads certificate and key, and again whenever they change; an error names the file.
pub(crate) fn acceptor(files: &TlsFiles, life: &Lifecycle) -> io::Result<Reloaded<TlsAcceptor>> {
    let (read, watched) = (files.clone(), [files.certificate.clone(), files.key.clone()]);
    let acceptor = Reloaded::new("public", watched, move || load(&read))?;
    acceptor.watch(reload::LOOK_EVERY, life)?;
    Ok(acceptor)
}

fn load(files: &TlsFiles) -> io::Result<TlsAcceptor> {
    let wrong = |path: &std::path::Path, error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {error}", path.display()))
    };
    let pem = std::fs::read(&files.certificate).map_err(|error| wrong(&files.certificate, &error))?;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| wrong(&files.certificate, &in_words(&error)))?;
    if chain.is_empty() {
        return Err(wrong(&files.certificate, &"holds no certificate"));
    }
    let key = std::fs::read(&files.key).map_err(|error| wrong(&files.key, &error))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| wrong(&files.key, &in_words(&error)))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&files.certificate, &error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| {
            if error == InconsistentKeys::KeyMismatch.into() {
                wrong(&files.key, &format!("is not the key of the first certificate in {}", files.certificate.display()))
            } else {
                wrong(&files.key, &error)
            }
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The library shows bytes where people wrote a word.
fn in_words(error: &pem::Error) -> String {
    if matches!(error, pem::Error::NoItemsFound) {
        return "holds no private key".into();
    }
    if matches!(error, pem::Error::MissingSectionEnd { .. }) {
        return "is cut off: a section has no end".into();
    }
    error.to_string()
}
