use std::time::Duration;

use super::Model;
use crate::rules::acknowledgement::Acknowledgement;
use crate::rules::moment::Moment;
use crate::rules::note::acknowledged_note;
use crate::site::SiteId;

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
            // What is on record may be over already.
            self.place(id);
        }
        self.acknowledged_until = self.acknowledged.next_end(self.now.wall);
    }

    /// Sites whose acknowledgement has ended need attention again.
    pub(in crate::tui) fn mind_ended_acknowledgements(&mut self) {
        let now = self.now.wall;
        if self.acknowledged_until.is_none_or(|until| until > now) {
            return;
        }
        for id in self.all() {
            let known = self.acknowledged.on_record(&self.site(id).url);
            if known.is_some_and(|known| !known.is_in_force(now)) {
                self.place(id);
            }
        }
        self.acknowledged_until = self.acknowledged.next_end(now);
    }

    /// When that is next.
    pub(super) fn acknowledged_until(&self) -> Option<Moment> {
        let left = self.acknowledged_until?.duration_since(self.now.wall);
        Some(self.now + Duration::try_from(left).unwrap_or_default())
    }
}
