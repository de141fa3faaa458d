//! Asks Stripe whether it knows a publishable key (contract.md, "Stripe itself"): without any secret, and without
//! changing anything.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use reqwest::{Client, Response};

use crate::config::StripeApi;
use crate::key::PublishableKey;
use crate::rules::standing::{Asked, NotAsked, judge};
use crate::site_api::{ClientError, HttpSiteApi, words_of};

/// How long an answer may take, with DNS, TCP and TLS.
pub const LIMIT: Duration = Duration::from_secs(3);
/// How much of an answer is read, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// An answer that is on its way.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Asked> + Send + 'a>>;

/// Who can be asked of a key. One implementation talks to Stripe; tests in virtual time have another.
///
/// Only a [`PublishableKey`] can be given to it.
pub trait AskStripe: Send + Sync + 'static {
    /// Asks once.
    fn ask<'a>(&'a self, key: &'a PublishableKey) -> Answering<'a>;
}

/// Asks over HTTP.
pub struct HttpStripe {
    client: Client,
    api: StripeApi,
}

impl fmt::Debug for HttpStripe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HttpStripe")
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

impl HttpStripe {
    /// Asks there, with the connections of sites.
    ///
    /// # Errors
    /// [`ClientError`], with what to do.
    pub fn new(sites: &HttpSiteApi, api: StripeApi) -> Result<Self, ClientError> {
        let client = sites.for_another_place(LIMIT)?;
        Ok(Self { client, api })
    }

    async fn asked(&self, key: &PublishableKey) -> Asked {
        let request = self
            .client
            .get(self.api.question())
            .timeout(LIMIT)
            .basic_auth(key.as_str(), None::<&str>);
        let failed = |error: &reqwest::Error| NotAsked::because(&words_of(error));
        let mut response = request.send().await.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let body = read(&mut response).await.map_err(|error| failed(&error))?;
        judge(status, &body)
    }
}

/// The body's beginning; a longer one is none of Stripe's, and is dropped with its connection.
async fn read(response: &mut Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < BODY_LIMIT
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk[..chunk.len().min(BODY_LIMIT - body.len())]);
    }
    Ok(body)
}

impl AskStripe for HttpStripe {
    fn ask<'a>(&'a self, key: &'a PublishableKey) -> Answering<'a> {
        Box::pin(async move {
            let asked = self.asked(key).await;
            match &asked {
                Ok(standing) => tracing::info!(%key, ?standing, "asked Stripe"),
                Err(why) => tracing::warn!(%key, %why, "asked Stripe in vain"),
            }
            asked
        })
    }
}
