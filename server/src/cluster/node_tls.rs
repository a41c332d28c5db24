//! TLS between nodes: each shows a certificate of the cluster's own authority, and asks for one.
//!
//! Nodes come and go with their addresses, and what they gossip is not a name that an authority could sign. So all certificates
//! carry one name (`cluster.tls.name`), and that is what is looked for on both sides, wherever a connection goes or comes from: an
//! authority that signs for others as well lets none of them in. Who connects shows in each request the digest of the shared
//! secret besides.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio::task::JoinHandle;

use crate::config::NodeTlsConfig;
use crate::listener::tls::{TlsError, certificates, certified_key, note_expiry, provider};
use crate::reload;

/// What connections between nodes are made with.
pub(super) struct NodeTls {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    /// Follows the certificate and its key.
    pub(super) following: JoinHandle<()>,
}

/// This node's certificate, to whomever it is shown.
#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Looks for one name in the certificate of a node that connects here: the authority's word that it is a node.
#[derive(Debug)]
struct NamedClient {
    inner: Arc<dyn ClientCertVerifier>,
    name: ServerName<'static>,
}

impl ClientCertVerifier for NamedClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, &self.name)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Looks for one name, whatever the connection's is.
#[derive(Debug)]
struct NamedServer {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for NamedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl NodeTls {
    /// Reads the files of `config`; `None` if it names none.
    ///
    /// # Errors
    /// If a file cannot be read or does not hold what it should, or if the name is none.
    pub(super) fn start(config: &NodeTlsConfig) -> Result<Option<Self>, TlsError> {
        if !config.is_set() {
            return Ok(None);
        }
        let fault =
            |setting: &str, reason: String| TlsError { setting: format!("cluster.tls.{setting}"), reason };
        let read = |name: &str, path: &Path| reload::read(path).map_err(|reason| fault(name, reason));
        let files = vec![config.cert.clone(), config.key.clone()];
        let known = vec![read("cert", &config.cert)?, read("key", &config.key)?];
        let key = certified_key("cluster.tls", &files, &known)?;
        note_expiry("nodes", &key);
        let shown = Arc::new(Shown(ArcSwap::from_pointee(key)));

        let of_ca = |reason: String| fault("ca", format!("{}: {reason}", config.ca.display()));
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&read("ca", &config.ca)?).map_err(of_ca)? {
            roots.add(certificate).map_err(|error| of_ca(error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let name = ServerName::try_from(config.name.clone())
            .map_err(|_| fault("name", format!("{:?} is no DNS name", config.name)))?;
        let server = server(Arc::clone(&roots), Arc::clone(&shown), name.clone()).map_err(of_ca)?;
        let client = client(roots, Arc::clone(&shown), name).map_err(of_ca)?;
        let following = reload::follow(files.clone(), known, move |bytes| {
            let key = certified_key("cluster.tls", &files, bytes).map_err(|error| error.to_string())?;
            note_expiry("nodes", &key);
            shown.0.store(Arc::new(key));
            Ok(())
        });
        Ok(Some(Self { server: Arc::new(server), client: Arc::new(client), following }))
    }
}

fn server(
    roots: Arc<RootCertStore>,
    shown: Arc<Shown>,
    name: ServerName<'static>,
) -> Result<ServerConfig, String> {
    let inner = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
    let verifier = Arc::new(NamedClient { inner: inner.map_err(|error| error.to_string())?, name });
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_client_cert_verifier(verifier).with_cert_resolver(shown))
}

fn client(
    roots: Arc<RootCertStore>,
    shown: Arc<Shown>,
    name: ServerName<'static>,
) -> Result<ClientConfig, String> {
    let inner = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
    let inner = inner.map_err(|error| error.to_string())?;
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let verifier = Arc::new(NamedServer { inner, name });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_client_cert_resolver(shown))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    #[test]
    fn who_connects_shows_the_name_of_a_node() {
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut roots = RootCertStore::empty();
        roots.add(authority.self_signed(&key).unwrap().der().clone()).unwrap();
        let issuer = Issuer::new(authority, key);
        let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let verifier = NamedClient { inner, name: "headwater".try_into().unwrap() };
        let shows = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let shown = CertificateParams::new([name.to_string()]).unwrap().signed_by(&key, &issuer).unwrap();
            verifier.verify_client_cert(shown.der(), &[], UnixTime::now()).map(|_| ())
        };
        assert_eq!(shows("headwater"), Ok(()));
        // The authority's word for somebody else.
        for other in ["grafana", "headwater.example", "data-0.headwater"] {
            assert!(matches!(shows(other), Err(Error::InvalidCertificate(_))), "{other}");
        }
    }
}
