//! AutoMTLS: both sides show a self-signed certificate that the other was told beforehand.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

/// The TLS side of this process: a fresh certificate, and the only client that may talk.
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) server_cert: CertificateDer<'static>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No key or certificate could be made.
    #[error("can't make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// TLS refused it.
    #[error("can't configure TLS")]
    Config(#[from] Error),
}

/// A server that shows a new certificate for localhost and talks to the owner of `client_cert` only.
pub(super) fn pinned(client_cert: CertificateDer<'static>) -> Result<Tls, TlsError> {
    // P-256; lasts as long as this process.
    let key = rcgen::KeyPair::generate()?;
    let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
    let server_cert = cert.der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|err| Error::General(err.to_owned()))?;

    // aws-lc: terraform's certificate is P-521, which ring can't verify; Go would then send none at all.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = PinnedClient { client_cert, algorithms: provider.signature_verification_algorithms };
    // 1.2 too: where FIPS is enforced, Go may not offer 1.3.
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(vec![server_cert.clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Tls { config: Arc::new(config), server_cert })
}

/// Accepts exactly one certificate, and proof that its key is there.
///
/// rustls' own verifier refuses terraform's certificate as it is a CA used as an end entity.
#[derive(Debug)]
struct PinnedClient {
    client_cert: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for PinnedClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if *end_entity == self.client_cert {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

    use super::*;

    struct Identity {
        cert: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    }

    /// A certificate as terraform makes it: P-521, a CA.
    fn terraform_like() -> Identity {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).expect("key");
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).expect("cert").der().clone();
        Identity { cert, key: PrivateKeyDer::try_from(key.serialize_der()).expect("key") }
    }

    fn client(server_cert: &CertificateDer<'static>, identity: Option<Identity>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(server_cert.clone()).expect("root");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        match identity {
            Some(Identity { cert, key }) => builder.with_client_auth_cert(vec![cert], key).expect("identity"),
            None => builder.with_no_client_auth(),
        }
    }

    /// Runs the handshake in memory; the server's verdict.
    fn handshake(tls: &Tls, client: ClientConfig) -> Result<(), Error> {
        let name = ServerName::try_from("localhost").expect("name");
        let mut client = ClientConnection::new(Arc::new(client), name).expect("client");
        let mut server = ServerConnection::new(Arc::clone(&tls.config)).expect("server");
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).expect("memory");
            server.read_tls(&mut &wire[..]).expect("memory");
            server.process_new_packets()?;
            let mut wire = Vec::new();
            server.write_tls(&mut wire).expect("memory");
            client.read_tls(&mut &wire[..]).expect("memory");
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn only_the_client_that_was_announced_gets_in() {
        let terraform = terraform_like();
        let tls = pinned(terraform.cert.clone()).expect("tls");
        let refused = Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));

        assert_eq!(handshake(&tls, client(&tls.server_cert, Some(terraform_like()))), refused);
        assert_eq!(handshake(&tls, client(&tls.server_cert, None)), Err(Error::NoCertificatesPresented));
        let stolen_cert = Identity { cert: terraform.cert.clone(), key: terraform_like().key };
        assert!(handshake(&tls, with_any_key(&tls.server_cert, stolen_cert)).is_err());
        assert_eq!(handshake(&tls, client(&tls.server_cert, Some(terraform))), Ok(()));
    }

    /// A client that shows a certificate and signs with another key.
    fn with_any_key(server_cert: &CertificateDer<'static>, identity: Identity) -> ClientConfig {
        #[derive(Debug)]
        struct Resolver(Arc<rustls::sign::CertifiedKey>);
        impl rustls::client::ResolvesClientCert for Resolver {
            fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
                Some(Arc::clone(&self.0))
            }
            fn has_certs(&self) -> bool {
                true
            }
        }
        let key = aws_lc_rs::sign::any_ecdsa_type(&identity.key).expect("key");
        let certified = rustls::sign::CertifiedKey::new(vec![identity.cert], key);
        let mut config = client(server_cert, None);
        config.client_auth_cert_resolver = Arc::new(Resolver(Arc::new(certified)));
        config
    }
}
