use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use reqwest::header::{CONNECTION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Client, Proxy, RequestBuilder, Response, redirect, retry};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use tokio::time::Instant;
use url::Url;

use super::answer::{self, Meaning, Raw};
use super::{SiteApi, failure};
use crate::key::PublishableKey;
use crate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use crate::secret::MasterKey;
use crate::site::{MasterKeyId, Site};
use crate::text::CleanText;

/// How much of a body is read, in bytes.
const BODY_LIMIT: usize = 64 * 1024;
/// No idle connections to speak of: a reused idle one is the one source of doubtful resets.
const IDLE: Duration = Duration::from_secs(1);
/// TLS sessions that are remembered at most (rustls counts eight entries a server).
const MAX_SESSIONS: usize = 800_000;
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// How sites are reached.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The limit of DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// The limit of a PUT as a whole.
    pub timeout: Duration,
    /// A proxy. The environment's is never taken.
    pub proxy: Option<Url>,
    /// Certificate authorities (PEM) besides the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// How many sites there are: so many TLS sessions are remembered.
    pub sites: usize,
}

/// Why there is no HTTP client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `ca_file` is no certificate.
    #[error("tls.ca_file holds no certificate in PEM form")]
    CaFile,
    /// The system's certificate authorities could not be loaded.
    #[error("the system's certificate authorities cannot be read ({0}): install ca-certificates")]
    Roots(rustls::Error),
    /// The proxy was refused.
    #[error("push.proxy cannot be used")]
    Proxy,
    /// Anything else that keeps the client from being built.
    #[error("no HTTP client can be built: {0}")]
    Build(String),
}

/// Talks to sites over HTTP. One for the process: it holds TLS sessions and the system's roots.
#[derive(Debug)]
pub struct HttpSiteApi {
    client: Client,
    timeout: Duration,
    master_keys: RwLock<HashMap<MasterKeyId, Arc<MasterKey>>>,
}

impl HttpSiteApi {
    /// A client without master keys.
    ///
    /// # Errors
    /// [`ClientError`], with what to do.
    pub fn new(settings: &HttpSettings) -> Result<Self, ClientError> {
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls(settings)?)
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
            builder = builder.proxy(Proxy::all(proxy.as_str()).map_err(|_| ClientError::Proxy)?);
        }
        let client = builder
            .build()
            .map_err(|error| ClientError::Build(error.without_url().to_string()))?;
        Ok(Self {
            client,
            timeout: settings.timeout,
            master_keys: RwLock::default(),
        })
    }

    /// Gives the key for the sites that name `id`.
    pub fn set_master_key(&self, id: MasterKeyId, key: MasterKey) {
        self.master_keys
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Arc::new(key));
    }

    /// Whether there is a key for the sites that name `id`.
    pub fn has_master_key(&self, id: MasterKeyId) -> bool {
        self.master_key(id).is_some()
    }

    fn master_key(&self, id: MasterKeyId) -> Option<Arc<MasterKey>> {
        self.master_keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }
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
    config.resumption = Resumption::in_memory_sessions((settings.sites * 8).clamp(256, MAX_SESSIONS));
    Ok(config)
}

impl SiteApi for HttpSiteApi {
    async fn look(&self, site: &Site, limit: Duration, close: bool) -> Answer<LookVerdict> {
        let mut request = self.client.get(site.url.look_url()).timeout(limit);
        if close {
            request = request.header(CONNECTION, "close");
        }
        let key = self.master_key(site.master_key);
        let mean = |raw: Raw<'_>| answer::look(raw, key.as_deref());
        // What a 404 means stands in its body.
        ask(request, mean, LookVerdict::Problem, |status| {
            (200..300).contains(&status) || status == 404
        })
        .await
    }

    async fn put(&self, site: &Site, key: &PublishableKey) -> Answer<PutVerdict> {
        let Some(master_key) = self.master_key(site.master_key) else {
            return problem(
                PutVerdict::Problem(Problem::NoMasterKey),
                Duration::ZERO,
                CleanText::default(),
                None,
            );
        };
        let body = serde_json::json!({ "value": key.as_str() }).to_string();
        let request = self
            .client
            .put(site.url.put_url())
            .timeout(self.timeout)
            .header(API_KEY, master_key.header_value())
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let mean = |raw: Raw<'_>| answer::put(raw, Some(&master_key));
        ask(request, mean, PutVerdict::Problem, |status| {
            (200..300).contains(&status)
        })
        .await
    }
}

/// Sends a request, reads the beginning of its answer, and says what it means. An answer that is cut counts
/// by its status, unless its body is needed (`needs_body`) to know what it says.
async fn ask<Verdict>(
    request: RequestBuilder,
    mean: impl Fn(Raw<'_>) -> Meaning<Verdict>,
    failed: impl Fn(Problem) -> Verdict,
    needs_body: impl Fn(u16) -> bool,
) -> Answer<Verdict> {
    let begin = Instant::now();
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            let (what, words) = failure::classify(&error);
            return problem(failed(what), begin.elapsed(), words, None);
        }
    };
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = match read(&mut response).await {
        Ok(body) => body,
        Err(error) if needs_body(status) => {
            let what = if error.is_timeout() {
                Problem::Timeout
            } else {
                Problem::ConnectionLost
            };
            return problem(failed(what), begin.elapsed(), CleanText::default(), Some(status));
        }
        Err(_) => Vec::new(),
    };
    let meaning = mean(Raw {
        status,
        location: text(&headers, &LOCATION),
        body: &body,
    });
    let asked = text(&headers, &RETRY_AFTER);
    Answer {
        verdict: meaning.verdict,
        http: Some(status),
        took: begin.elapsed(),
        retry_after: asked
            .and_then(|asked| answer::retry_after(asked, text(&headers, &DATE), SystemTime::now())),
        detail: meaning.detail,
        alarm: meaning.alarm,
    }
}

fn problem<V>(verdict: V, took: Duration, detail: CleanText, http: Option<u16>) -> Answer<V> {
    Answer {
        verdict,
        http,
        took,
        retry_after: None,
        detail,
        alarm: false,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The body's beginning; what is left of a longer one is dropped with its connection.
async fn read(response: &mut Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk[..chunk.len().min(BODY_LIMIT - body.len())]);
        if body.len() >= BODY_LIMIT {
            break;
        }
    }
    Ok(body)
}
