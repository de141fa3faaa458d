use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::config::StripeApi;
use crate::key::PublishableKey;
use crate::rules::outcome::{Answer, LookVerdict, PutVerdict};
use crate::rules::standing::NotAsked;
use crate::site::Site;
use crate::site_api::{ClientError, HttpSettings, HttpSiteApi, SiteApi};
use crate::stripe::{Answering, AskStripe, HttpStripe};

/// How sites are reached, once somebody wants to: to read the system's certificate authorities takes tens of
/// milliseconds, and a screen shows what is on record before that.
///
/// Where it cannot be made, that is no site's fault: nothing is answered then, and who has opened the session ends with the
/// error of [`Reach::client`].
pub(in crate::cli) struct Reach {
    settings: HttpSettings,
    made: OnceCell<Result<Arc<HttpSiteApi>, ClientError>>,
}

impl fmt::Debug for Reach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reach").finish_non_exhaustive()
    }
}

impl Reach {
    pub(super) fn new(settings: HttpSettings) -> Self {
        Self {
            settings,
            made: OnceCell::new(),
        }
    }

    /// The client of all sites. Who asks before it is made waits, and keeps no thread from its work.
    ///
    /// # Errors
    /// [`ClientError`], with what to do.
    pub(in crate::cli) async fn client(&self) -> Result<&Arc<HttpSiteApi>, &ClientError> {
        let make = async || {
            let settings = self.settings.clone();
            let making = tokio::task::spawn_blocking(move || HttpSiteApi::new(&settings).map(Arc::new));
            let made = making.await;
            made.unwrap_or_else(|error| Err(ClientError::Build(error.to_string())))
        };
        self.made.get_or_init(make).await.as_ref()
    }

    /// The client, where it is made already.
    pub(super) fn made(&self) -> Option<&Arc<HttpSiteApi>> {
        self.made.get()?.as_ref().ok()
    }
}

impl SiteApi for Reach {
    async fn look(&self, site: &Site, limit: Duration, close: bool) -> Answer<LookVerdict> {
        match self.client().await {
            Ok(client) => client.look(site, limit, close).await,
            Err(_told_elsewhere) => pending().await,
        }
    }

    async fn put(&self, site: &Site, key: &PublishableKey) -> Answer<PutVerdict> {
        match self.client().await {
            Ok(client) => client.put(site, key).await,
            Err(_told_elsewhere) => pending().await,
        }
    }

    fn hang_up(&self, site: &Site) {
        if let Some(Ok(client)) = self.made.get() {
            client.hang_up(site);
        }
    }
}

/// Stripe, asked in the way in which sites are reached.
pub(super) struct ReachStripe {
    sites: Arc<Reach>,
    api: StripeApi,
    made: OnceCell<Result<HttpStripe, String>>,
}

impl ReachStripe {
    pub(super) fn new(sites: Arc<Reach>, api: StripeApi) -> Self {
        Self {
            sites,
            api,
            made: OnceCell::new(),
        }
    }

    async fn client(&self) -> Result<&HttpStripe, &String> {
        let make = async || {
            let sites = self.sites.client().await.map_err(ToString::to_string)?;
            HttpStripe::new(sites, self.api.clone()).map_err(|error| error.to_string())
        };
        self.made.get_or_init(make).await.as_ref()
    }
}

impl AskStripe for ReachStripe {
    fn ask<'a>(&'a self, key: &'a PublishableKey) -> Answering<'a> {
        Box::pin(async move {
            match self.client().await {
                Ok(client) => client.ask(key).await,
                Err(error) => Err(NotAsked::because(error)),
            }
        })
    }
}
