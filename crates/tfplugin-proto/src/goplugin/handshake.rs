//! What terraform says in the environment, and the one line that answers it.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Version of go-plugin's own protocol.
const CORE_PROTOCOL: u32 = 1;
/// Version of the provider protocol that is served.
pub(super) const PROTOCOL: u32 = 6;

const COOKIE_NAME: &str = "TF_PLUGIN_MAGIC_COOKIE";
/// A convention, not a secret: it tells a host that wants a provider from a person who tries the binary.
const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

/// What the environment says about who started us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The certificate that the client will show; without one there is no TLS.
    pub client_cert: Option<CertificateDer<'static>>,
    /// The host knows the seventh field of the handshake line.
    pub knows_multiplexing: bool,
}

/// Why the handshake can't be made.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Not started by terraform.
    #[error("not started by terraform")]
    NoHost,
    /// An older or newer terraform.
    #[error(
        "terraform speaks provider protocol {offered}, this provider speaks {PROTOCOL}; Terraform 1.0 or newer is needed"
    )]
    Protocol {
        /// Versions that it offers.
        offered: String,
    },
    /// PLUGIN_CLIENT_CERT is damaged.
    #[error("PLUGIN_CLIENT_CERT holds no certificate in PEM form: {0}")]
    ClientCert(rustls::pki_types::pem::Error),
}

impl Host {
    /// Reads the environment, through `var`.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, HandshakeError> {
        if var(COOKIE_NAME).as_deref() != Some(COOKIE) {
            return Err(HandshakeError::NoHost);
        }
        if let Some(offered) = var("PLUGIN_PROTOCOL_VERSIONS")
            && !offered.split(',').any(|version| version.trim().parse() == Ok(PROTOCOL))
        {
            return Err(HandshakeError::Protocol { offered });
        }
        let client_cert = match var("PLUGIN_CLIENT_CERT").filter(|pem| !pem.is_empty()) {
            Some(pem) => Some(CertificateDer::from_pem_slice(pem.as_bytes()).map_err(HandshakeError::ClientCert)?),
            // TF_DISABLE_PLUGIN_TLS: the socket's directory is then all that keeps others out.
            None => None,
        };
        Ok(Self { client_cert, knows_multiplexing: var("PLUGIN_MULTIPLEX_GRPC").is_some() })
    }

    /// The line that terraform waits for.
    pub(super) fn line(&self, socket: &Path, server_cert: Option<&CertificateDer<'_>>) -> String {
        // Go decodes this with RawStdEncoding: padding would be an error.
        let cert = server_cert.map(|cert| STANDARD_NO_PAD.encode(cert)).unwrap_or_default();
        let multiplexing = if self.knows_multiplexing { "|false" } else { "" };
        format!("{CORE_PROTOCOL}|{PROTOCOL}|unix|{}|grpc|{cert}{multiplexing}\n", socket.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Result<Host, HandshakeError> {
        let pairs: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Host::from_env(|name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    }

    #[test]
    fn a_person_is_told_from_terraform() {
        assert!(matches!(env(&[]), Err(HandshakeError::NoHost)));
        assert!(matches!(env(&[(COOKIE_NAME, "x")]), Err(HandshakeError::NoHost)));
        let host = env(&[(COOKIE_NAME, COOKIE), ("PLUGIN_PROTOCOL_VERSIONS", "6,5")]).expect("terraform");
        assert_eq!(host, Host { client_cert: None, knows_multiplexing: false });
    }

    #[test]
    fn a_host_of_another_protocol_is_refused() {
        let err = env(&[(COOKIE_NAME, COOKIE), ("PLUGIN_PROTOCOL_VERSIONS", "4,5")]).expect_err("only 6");
        assert!(err.to_string().starts_with("terraform speaks provider protocol 4,5"), "{err}");
    }

    #[test]
    fn a_damaged_client_certificate_is_refused() {
        let err = env(&[(COOKIE_NAME, COOKIE), ("PLUGIN_CLIENT_CERT", "hello")]);
        assert!(matches!(err, Err(HandshakeError::ClientCert(_))));
    }

    #[test]
    fn the_line_has_no_padding_and_a_seventh_field_only_for_who_knows_it() {
        let mut host = Host { client_cert: None, knows_multiplexing: false };
        let cert = CertificateDer::from(vec![1_u8]);
        assert_eq!(host.line(Path::new("/tmp/x/s"), Some(&cert)), "1|6|unix|/tmp/x/s|grpc|AQ\n");
        host.knows_multiplexing = true;
        assert_eq!(host.line(Path::new("/tmp/x/s"), None), "1|6|unix|/tmp/x/s|grpc||false\n");
    }
}
