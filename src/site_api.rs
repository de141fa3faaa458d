//! The HTTP contract of a template site, as typed answers (contract.md has every row).

use std::future::Future;
use std::time::Duration;

use crate::key::PublishableKey;
use crate::rules::outcome::{Answer, LookVerdict, PutVerdict};
use crate::site::Site;

/// The two calls of a template site. One implementation talks HTTP; the engine's tests in virtual time have
/// another.
pub trait SiteApi: Send + Sync + 'static {
    /// `GET {site}/api/stripe-pk`, without any key. `limit` bounds the whole request; `close` asks the server
    /// to close the connection after it.
    fn look(
        &self,
        site: &Site,
        limit: Duration,
        close: bool,
    ) -> impl Future<Output = Answer<LookVerdict>> + Send;

    /// `PUT {site}/api/export/settings/stripe_publishable_key` with the master key of the site.
    fn put(&self, site: &Site, key: &PublishableKey) -> impl Future<Output = Answer<PutVerdict>> + Send;

    /// Nothing follows on the site's connection: what waits holds none.
    fn hang_up(&self, _site: &Site) {}
}

/// How many calls a backend has at once.
mod backends;
/// TLS sessions of servers.
mod sessions;
/// Whom connections trust, and how sites are reached.
mod trust;
/// A connection whose reading has an end.
mod bounded;
/// A connection is made.
mod dial;
/// Until when a request may be out.
mod limit;
/// Connections, each with an end.
mod lines;
/// Clients for other places than sites.
mod elsewhere;
/// The two calls over HTTP.
mod client;
/// The steps of a preflight, on the network.
mod preflight;
/// What an answer's status and body mean. Pure.
pub mod answer;
/// What a request that brought no answer died of.
mod failure;
/// Text of an answer, cleaned and cleared of secrets.
pub mod wash;

pub use client::HttpSiteApi;
pub use elsewhere::plain_client;
pub use failure::words_of;
pub use trust::{ClientError, HttpSettings};
