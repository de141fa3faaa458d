use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, Client, Proxy, redirect, retry};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;

use super::sessions::Sessions;
use crate::secret::ProxyUrl;
use crate::site::SiteUrl;

/// No idle connections to speak of: a reused idle one is the one source of doubtful resets.
const IDLE: Duration = Duration::from_secs(1);
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

/// The connections that are kept between the requests of one site's operation, so that they can be closed
/// the moment that nothing follows on them.
///
/// reqwest has no way to close one connection, but a client that is dropped closes all of its own. So each
/// operation has a client to itself; all of them share one TLS config with its roots and sessions, which
/// makes them cheap, and there are no more of them than requests at once.
#[derive(Debug)]
pub(super) struct Lines {
    settings: HttpSettings,
    tls: rustls::ClientConfig,
    /// Tells at the start what keeps clients from being built, and stands in if one cannot be built later.
    first: Client,
    /// Without a connection.
    spare: Mutex<Vec<Client>>,
    /// With the connection of a site whose operation goes on.
    held: Mutex<HashMap<SiteUrl, Client>>,
}

/// A panic elsewhere does not make the clients wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lines {
    pub(super) fn new(settings: HttpSettings) -> Result<Self, ClientError> {
        let tls = tls(&settings)?;
        let first = build(&settings, &tls)?;
        Ok(Self {
            settings,
            tls,
            first,
            spare: Mutex::default(),
            held: Mutex::default(),
        })
    }

    /// A client for another place than a site, which makes its connections in the same way, each within `limit`. The
    /// authorities are loaded already: that takes tens of milliseconds.
    pub(super) fn for_another_place(&self, limit: Duration) -> Result<Client, ClientError> {
        let settings = HttpSettings {
            connect_timeout: limit,
            ..self.settings.clone()
        };
        build(&settings, &self.tls)
    }

    /// The client that has the site's connection, else one without any.
    pub(super) fn take(&self, site: &SiteUrl) -> Client {
        let held = lock(&self.held).remove(site);
        held.unwrap_or_else(|| self.take_fresh())
    }

    /// A client without any connection.
    pub(super) fn take_fresh(&self) -> Client {
        let spare = lock(&self.spare).pop();
        spare.unwrap_or_else(|| build(&self.settings, &self.tls).unwrap_or_else(|_| self.first.clone()))
    }

    /// The site's next request takes the connection that `client` has.
    pub(super) fn hold(&self, site: &SiteUrl, client: Client) {
        lock(&self.held).insert(site.clone(), client);
    }

    /// `client` has no connection any more.
    pub(super) fn put_back(&self, client: Client) {
        lock(&self.spare).push(client);
    }

    /// How sites are reached.
    pub(super) fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// Makes handshakes with the clients' own trust, each of them whole: one that is resumed checks no certificate.
    pub(super) fn connector(&self) -> TlsConnector {
        let mut tls = self.tls.clone();
        tls.resumption = Resumption::disabled();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(tls))
    }

    /// Closes the site's connection, if it has one.
    pub(super) fn hang_up(&self, site: &SiteUrl) {
        drop(lock(&self.held).remove(site));
    }
}

/// A client for something else than a site, reached as sites are: checked TLS, no redirects, no retries of its own.
///
/// # Errors
/// [`ClientError`], with what to do.
pub fn plain_client(settings: &HttpSettings) -> Result<Client, ClientError> {
    build(settings, &tls(settings)?)
}

fn build(settings: &HttpSettings, tls: &rustls::ClientConfig) -> Result<Client, ClientError> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .user_agent(concat!("stripe-propagate/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        // The master key must not travel to where a site points.
        .redirect(redirect::Policy::none())
        // Each PUT on the wire is one counted attempt.
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .pool_idle_timeout(IDLE)
        .connect_timeout(settings.connect_timeout)
        .tcp_nodelay(true);
    if let Some(proxy) = &settings.proxy {
        // Inside TLS only: the master key of a loopback site would pass it in the clear.
        builder = builder.proxy(Proxy::https(proxy.expose()).map_err(|_| ClientError::Proxy)?);
    }
    builder
        .build()
        .map_err(|error| ClientError::Build(error.without_url().to_string()))
}

fn tls(settings: &HttpSettings) -> Result<rustls::ClientConfig, ClientError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn what_is_not_encrypted_does_not_go_to_the_proxy() {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", site.local_addr().unwrap());
        let settings = HttpSettings {
            connect_timeout: Duration::from_secs(9),
            timeout: Duration::from_secs(9),
            proxy: Some(ProxyUrl::parse(&format!("http://{}", proxy.local_addr().unwrap())).unwrap()),
            ca_pem: None,
            sites: 1,
            per_backend: 2,
        };
        let client = Lines::new(settings)
            .unwrap()
            .take(&SiteUrl::parse(&address).unwrap());
        tokio::spawn(async move { client.get(address).send().await });
        let answered = tokio::select! {
            accepted = site.accept() => accepted,
            _ = proxy.accept() => panic!("the proxy got it"),
        };
        answered.unwrap().0.shutdown().await.unwrap();
    }
}
