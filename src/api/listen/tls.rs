//! TLS on the listening socket: the certificate in force, and the handshake.
//!
//! Invariant: every handshake shows the certificate that was read last, and a connection that is not TLS is told so in the clear,
//! once. HTTP/1.1 alone is offered: reason phrases exist nowhere else.

use std::fmt::{self, Debug};
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::api::edge;

/// The first byte of a TLS connection: a handshake record.
const HANDSHAKE: u8 = 0x16;

/// A certificate chain and its key.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// Reads the sections of PEM files, in any order; the error never repeats what was read.
    pub fn parse(pem: &str) -> Result<Identity, String> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|e| format!("a certificate cannot be read: {e}"))?;
        if chain.is_empty() {
            return Err("there is no certificate (-----BEGIN CERTIFICATE-----) in it".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| "there is no private key (-----BEGIN PRIVATE KEY-----) that can be read in it".to_owned())?;
        let provider = rustls::crypto::ring::default_provider();
        match CertifiedKey::from_der(chain, key, &provider) {
            Ok(key) => Ok(Identity(Arc::new(key))),
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err("the private key is not that of the first certificate".to_owned())
            }
            Err(error) => Err(format!("certificate and key cannot be used: {error}")),
        }
    }
}

impl Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.0.cert.len()).finish_non_exhaustive()
    }
}

/// What every handshake shows; renewed without a restart.
#[derive(Debug)]
pub struct Shown(RwLock<Identity>);

impl Shown {
    /// Shows this one at first.
    pub fn new(identity: Identity) -> Arc<Shown> {
        Arc::new(Shown(RwLock::new(identity)))
    }

    /// Shows this one from now on; connections that stand stay as they are.
    pub fn renew(&self, identity: Identity) {
        *self.0.write() = identity;
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().0))
    }
}

/// Takes TLS connections.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// With the certificate that is shown.
    pub fn new(shown: Arc<Shown>) -> Result<Tls, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(shown);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls(TlsAcceptor::from(Arc::new(config))))
    }

    /// Shakes hands; `None` when the peer does not speak TLS, which it is told.
    pub(super) async fn accept(&self, mut stream: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
            stream.write_all(&edge::not_tls()).await?;
            stream.shutdown().await?;
            return Ok(None);
        }
        self.0.accept(stream).await.map(Some)
    }
}

impl Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn certificate_and_key_are_found_in_any_order_and_must_belong_together() {
        let ((certificate, key), (_, other)) = (pair(), pair());
        assert!(Identity::parse(&format!("{certificate}\n{key}")).is_ok());
        assert!(Identity::parse(&format!("{key}\n{certificate}")).is_ok());
        let said = |pem: String| Identity::parse(&pem).unwrap_err();
        assert!(said(certificate.clone()).contains("no private key"));
        assert!(said(key.clone()).contains("no certificate"));
        assert!(said(format!("{certificate}\n{other}")).contains("not that of the first certificate"));
        let broken = said(format!("{certificate}\n{}", key.replacen("M", "!", 3)));
        assert!(!broken.contains(&key[40..80]), "{broken}");
    }
}
