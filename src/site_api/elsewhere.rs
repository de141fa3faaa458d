use std::time::Duration;

use reqwest::{Client, Proxy, redirect, retry};

use super::trust::{ClientError, HttpSettings, tls};

/// No idle connections to speak of: a reused idle one is the one source of doubtful resets.
const IDLE: Duration = Duration::from_secs(1);

/// A client for something else than a site, reached as sites are: checked TLS, no redirects, no retries of its own.
///
/// # Errors
/// [`ClientError`], with what to do.
pub fn plain_client(settings: &HttpSettings) -> Result<Client, ClientError> {
    build(settings, &tls(settings)?)
}

/// As [`plain_client`], with what was loaded already.
///
/// # Errors
/// [`ClientError`], with what to do.
pub(super) fn build(settings: &HttpSettings, tls: &rustls::ClientConfig) -> Result<Client, ClientError> {
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
