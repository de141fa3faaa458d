use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::config::StripeApi;
use crate::key::PublishableKey;
use crate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use crate::rules::standing::NotAsked;
use crate::site::Site;
use crate::site_api::{ClientError, HttpSettings, HttpSiteApi, SiteApi};
use crate::stripe::{Answering, AskStripe, HttpStripe};
use crate::text::CleanText;

/// How sites are reached, once somebody wants to: to read the system's certificate authorities takes tens of
/// milliseconds, and a screen shows what is on record before that.
pub(in crate::cli) struct Reach {
    settings: HttpSettings,
    made: OnceLock<Result<Arc<HttpSiteApi>, ClientError>>,
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
            made: OnceLock::new(),
        }
    }

    /// The client of all sites. Who asks first waits until it is made.
    ///
    /// # Errors
    /// [`ClientError`], with what to do.
    pub(in crate::cli) fn client(&self) -> Result<&Arc<HttpSiteApi>, &ClientError> {
        let make = || HttpSiteApi::new(&self.settings).map(Arc::new);
        self.made.get_or_init(make).as_ref()
    }
}

impl SiteApi for Reach {
    async fn look(&self, site: &Site, limit: Duration, close: bool) -> Answer<LookVerdict> {
        match self.client() {
            Ok(client) => client.look(site, limit, close).await,
            Err(error) => unreachable(LookVerdict::Problem(Problem::Connect), error),
        }
    }

    async fn put(&self, site: &Site, key: &PublishableKey) -> Answer<PutVerdict> {
        match self.client() {
            Ok(client) => client.put(site, key).await,
            Err(error) => unreachable(PutVerdict::Problem(Problem::Connect), error),
        }
    }

    fn hang_up(&self, site: &Site) {
        if let Some(Ok(client)) = self.made.get() {
            client.hang_up(site);
        }
    }
}

/// Nothing was sent.
fn unreachable<Verdict>(verdict: Verdict, error: &ClientError) -> Answer<Verdict> {
    Answer {
        verdict,
        http: None,
        took: Duration::ZERO,
        retry_after: None,
        detail: CleanText::note(&error.to_string()),
        alarm: false,
    }
}

/// Stripe, asked in the way in which sites are reached.
pub(super) struct ReachStripe {
    sites: Arc<Reach>,
    api: StripeApi,
    made: OnceLock<Result<HttpStripe, String>>,
}

impl ReachStripe {
    pub(super) fn new(sites: Arc<Reach>, api: StripeApi) -> Self {
        Self {
            sites,
            api,
            made: OnceLock::new(),
        }
    }

    fn client(&self) -> Result<&HttpStripe, &String> {
        let make = || {
            let sites = self.sites.client().map_err(ToString::to_string)?;
            HttpStripe::new(sites, self.api.clone()).map_err(|error| error.to_string())
        };
        self.made.get_or_init(make).as_ref()
    }
}

impl AskStripe for ReachStripe {
    fn ask<'a>(&'a self, key: &'a PublishableKey) -> Answering<'a> {
        match self.client() {
            Ok(client) => client.ask(key),
            Err(error) => {
                let asked = Err(NotAsked::because(error));
                Box::pin(async { asked })
            }
        }
    }
}
