use super::Model;
use crate::rules::acknowledgement::Acknowledgement;
use crate::rules::note::acknowledged_note;
use crate::site::SiteId;
use crate::tui::filter::Looked;

impl Model {
    /// What the operator says of a site that is known to be bad, as long as that holds.
    pub fn acknowledgement(&self, id: SiteId) -> Option<&Acknowledgement> {
        self.acknowledged.of(&self.site(id).url, self.now.wall)
    }

    /// The sentence that goes with a site's state; first that the operator knows of it.
    pub fn note(&self, id: SiteId) -> String {
        let clock = |moment| self.clock(moment);
        acknowledged_note(self.acknowledgement(id), self.state(id), &clock)
    }

    /// The operator knows these sites to be bad from now on, or does not any more.
    pub(in crate::tui) fn take_acknowledged(
        &mut self,
        sites: &[SiteId],
        acknowledgement: Option<&Acknowledgement>,
    ) {
        for &id in sites {
            let url = self.site(id).url.clone();
            self.acknowledged.set(url, acknowledgement.cloned());
            let looked = Looked {
                site: &self.sites[id.index()],
                state: &self.states[id.index()],
                acknowledgement,
                clock: &|moment| crate::rules::moment::clock(moment, self.now, &self.options.zone),
            };
            self.list.change(id, &looked, &self.filter);
        }
    }
}
