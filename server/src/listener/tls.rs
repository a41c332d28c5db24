//! The identity that listeners show: a certificate and its key, from files that may change while connections are made.
//!
//! One [`TlsIdentity`] serves every listener for clients; each takes a configuration with the protocols that it speaks. TLS 1.2
//! and 1.3, by aws-lc-rs. No client certificates: clients are known by what they say inside.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::task::JoinHandle;
use x509_certificate::X509Certificate;

use crate::config::TlsConfig;
use crate::reload;

/// What an HTTP listener speaks inside of TLS.
pub const HTTP_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why there can be no TLS: which file, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct TlsError {
    /// The setting's dotted path.
    pub(crate) setting: String,
    /// The file, and what is wrong with it.
    pub(crate) reason: String,
}

/// See the module. Clones show the same.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl TlsIdentity {
    /// Reads the files of `config`, and follows them until the handle is aborted. `None` if it names none.
    ///
    /// # Errors
    /// If a file cannot be read, or key and certificate do not fit.
    pub fn start(config: &TlsConfig) -> Result<Option<(Self, JoinHandle<()>)>, TlsError> {
        if !config.is_set() {
            return Ok(None);
        }
        let read = |name: &str, path: &Path| {
            reload::read(path).map_err(|reason| TlsError { setting: format!("tls.{name}"), reason })
        };
        let files = vec![config.cert.clone(), config.key.clone()];
        let known = vec![read("cert", &config.cert)?, read("key", &config.key)?];
        let key = certified_key("tls", &files, &known)?;
        note_expiry("clients", &key);
        let identity = Self { current: Arc::new(Current(ArcSwap::from_pointee(key))) };
        let current = Arc::clone(&identity.current);
        let following = reload::follow(files.clone(), known, move |bytes| {
            let key = certified_key("tls", &files, bytes).map_err(|error| error.to_string())?;
            note_expiry("clients", &key);
            current.0.store(Arc::new(key));
            Ok(())
        });
        Ok(Some((identity, following)))
    }

    /// What a listener that speaks `protocols` makes its connections with. The certificate is always the one that was read last.
    pub fn server_config(&self, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the suites of TLS 1.2 and 1.3");
        let resolver: Arc<dyn ResolvesServerCert> = self.current.clone();
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

/// Named here, as a dependency brings another one: there is no default of the process then.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The chain and the key in two PEM files, in this order, of the section `section`.
pub(crate) fn certified_key(
    section: &str,
    files: &[PathBuf],
    bytes: &[Vec<u8>],
) -> Result<CertifiedKey, TlsError> {
    let [(cert_file, cert), (key_file, key)] = [0, 1].map(|at| {
        let file = files.get(at).map(|file| file.display().to_string()).unwrap_or_default();
        (file, bytes.get(at).map_or(&[][..], Vec::as_slice))
    });
    let fault = |setting: &str, reason: String| TlsError { setting: format!("{section}.{setting}"), reason };
    let chain = certificates(cert).map_err(|reason| fault("cert", format!("{cert_file}: {reason}")))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        fault(
            "key",
            format!("{key_file}: holds no private key in PEM (BEGIN PRIVATE KEY), or an encrypted one"),
        )
    })?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
        fault("key", format!("{key_file} is not the key of the first certificate in {cert_file}: {error}"))
    })
}

/// Tells operators until when `key` is good, which listeners show to others: `clients` or `nodes`.
pub(crate) fn note_expiry(others: &'static str, key: &CertifiedKey) {
    if let Some(expiry) = expiry(&key.cert) {
        let gauge = metrics::gauge!("headwater_certificate_expiry_time_seconds", "listeners" => others);
        gauge.set(expiry.timestamp() as f64);
    }
}

/// When the first certificate of `chain` ends that does.
fn expiry(chain: &[CertificateDer<'_>]) -> Option<DateTime<Utc>> {
    let read = chain.iter().filter_map(|certificate| X509Certificate::from_der(certificate).ok());
    read.map(|certificate| certificate.validity_not_after()).min()
}

/// All certificates in a PEM text; at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| format!("is no PEM: {error}"))?;
    match chain.is_empty() {
        true => Err("holds no certificate in PEM (BEGIN CERTIFICATE)".into()),
        false => Ok(chain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_chain_ends_with_the_first_of_its_certificates() {
        let until = |year: i32| {
            let mut parameters = rcgen::CertificateParams::new(["localhost".to_string()]).unwrap();
            parameters.not_after = rcgen::date_time_ymd(year, 1, 31);
            parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        // Two ways to write a time: up to 2049, and from 2050 on.
        for (chain, first) in [
            (vec![until(2031)], "2031-01-31T00:00:00Z"),
            (vec![until(2051), until(2060)], "2051-01-31T00:00:00Z"),
            (vec![until(2060), until(2030)], "2030-01-31T00:00:00Z"),
        ] {
            assert_eq!(expiry(&chain), Some(first.parse().unwrap()));
        }
        assert_eq!(expiry(&[CertificateDer::from_slice(b"none")]), None);
    }

    #[tokio::test]
    async fn what_is_wrong_with_which_file() {
        let dir = tempfile::tempdir().unwrap();
        let one = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
        let cert = write(dir.path(), "cert.pem", &one.cert.pem());
        let key = write(dir.path(), "key.pem", &one.signing_key.serialize_pem());
        let start = |cert: &Path, key: &Path| {
            TlsIdentity::start(&TlsConfig { cert: cert.into(), key: key.into() })
                .map(|_| ())
                .map_err(|e| e.to_string())
        };
        start(&cert, &key).unwrap();
        assert!(TlsIdentity::start(&TlsConfig::default()).unwrap().is_none());
        let wrong = write(dir.path(), "other.pem", &other.signing_key.serialize_pem());
        let empty = write(dir.path(), "empty.pem", "");
        let cases = [
            (start(&cert, &wrong), ["tls.key", "other.pem", "is not the key"]),
            (start(&cert, &empty), ["tls.key", "empty.pem", "no private key"]),
            (start(&cert, &cert), ["tls.key", "cert.pem", "no private key"]),
            (start(&empty, &key), ["tls.cert", "empty.pem", "no certificate"]),
            (start(&dir.path().join("gone.pem"), &key), ["tls.cert", "gone.pem", "No such file"]),
        ];
        for (result, expected) in cases {
            let message = result.unwrap_err();
            assert!(expected.iter().all(|part| message.contains(part)), "{message}");
        }
    }
}
