use std::collections::HashMap;

use super::run::Engine;
use super::{Event, Level};
use crate::rules::acknowledgement::Acknowledgement;
use crate::site::{SiteId, SiteUrl};
use crate::site_api::SiteApi;
use crate::store::Store;

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// Records what the operator says of sites. Where it cannot be recorded it does not count: the next process would
    /// not know of it.
    pub(super) async fn acknowledge(&mut self, sites: Vec<SiteId>, acknowledgement: Option<Acknowledgement>) {
        let urls: Vec<SiteUrl> = sites
            .iter()
            .map(|site| self.sites[site.index()].url.clone())
            .collect();
        if let Err(error) = self.store.acknowledge(&urls, acknowledgement.clone()).await {
            return self.say(
                Level::Error,
                format!("the sites could not be acknowledged: {error}"),
            );
        }
        self.take_acknowledged(sites, acknowledgement);
    }

    /// Tells what another process has recorded of it.
    pub(super) async fn read_acknowledged(&mut self) {
        let known = match self.store.acknowledged().await {
            Ok(known) => known,
            Err(error) => {
                return self.say(
                    Level::Error,
                    format!("which sites are acknowledged cannot be read ({error})"),
                );
            }
        };
        if known == self.acknowledged {
            return;
        }
        // One event for all that were acknowledged in one go.
        let mut changed: HashMap<Option<Acknowledgement>, Vec<SiteId>> = HashMap::new();
        for (index, site) in self.sites.iter().enumerate() {
            let now = known.on_record(&site.url);
            if now != self.acknowledged.on_record(&site.url) {
                changed.entry(now.cloned()).or_default().push(SiteId::at(index));
            }
        }
        for (acknowledgement, sites) in changed {
            self.take_acknowledged(sites, acknowledgement);
        }
        self.acknowledged = known;
    }

    fn take_acknowledged(&mut self, sites: Vec<SiteId>, acknowledgement: Option<Acknowledgement>) {
        for site in &sites {
            let url = self.sites[site.index()].url.clone();
            self.acknowledged.set(url, acknowledgement.clone());
        }
        self.tell(Event::Acknowledged {
            sites,
            acknowledgement,
        });
    }
}
