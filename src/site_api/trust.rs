use std::sync::Arc;
use std::time::Duration;

use reqwest::Certificate;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CipherSuite, SupportedCipherSuite};
use rustls_platform_verifier::Verifier;

use super::sessions::Sessions;
use crate::secret::ProxyUrl;

/// Servers whose TLS sessions are remembered at most: about a kilobyte each. Of a larger fleet those that were reached
/// last are, and the others' second connection is a full handshake.
const MAX_SESSIONS: usize = 20_000;

/// How sites are reached.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The limit of DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// The limit of a PUT as a whole.
    pub timeout: Duration,
    /// A proxy. The environment's is never taken.
    pub proxy: Option<ProxyUrl>,
    /// Certificate authorities (PEM) besides the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// How many sites there are: so many TLS sessions are remembered.
    pub sites: usize,
    /// How many calls a backend takes at once, whoever makes them.
    pub per_backend: usize,
}

/// Why there is no HTTP client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `ca_file` is no certificate.
    #[error("tls.ca_file holds no certificate in PEM form")]
    CaFile,
    /// The system's certificate authorities could not be loaded.
    #[error(
        "the system's certificate authorities cannot be read ({0}): install ca-certificates, or name a file of them as tls.ca_file"
    )]
    Roots(rustls::Error),
    /// The proxy was refused.
    #[error("push.proxy cannot be used")]
    Proxy,
    /// Anything else that keeps the client from being built.
    #[error("no HTTP client can be built: {0}")]
    Build(String),
}

/// Whom connections trust, and what they remember of servers.
///
/// # Errors
/// [`ClientError`], with what to do.
pub(super) fn tls(settings: &HttpSettings) -> Result<rustls::ClientConfig, ClientError> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // As safe as the others, and the one of which a handshake costs least: processors have instructions for SHA-256, and
    // few have them for SHA-384.
    let is_quick = |suite: &SupportedCipherSuite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(|suite| !is_quick(suite));
    let provider = Arc::new(provider);
    let mut extra = Vec::new();
    if let Some(pem) = &settings.ca_pem {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            extra.push(certificate.map_err(|_| ClientError::CaFile)?);
        }
        if extra.is_empty() || extra.iter().any(|der| Certificate::from_der(der).is_err()) {
            return Err(ClientError::CaFile);
        }
    }
    let verifier =
        Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).map_err(ClientError::Roots)?;
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Roots)?;
    // "dangerous" is rustls's word for a verifier of one's own; this one is the platform's.
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::store(Arc::new(Sessions::of(settings.sites.min(MAX_SESSIONS))));
    Ok(config)
}
