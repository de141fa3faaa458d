use std::collections::BTreeMap;
use std::time::Duration;

use super::run::Engine;
use super::{Event, Level};
use crate::rules::moment::Moment;
use crate::rules::run::{Halt, RunId};
use crate::rules::state::Next;
use crate::site::{MasterKeyId, SiteId};
use crate::site_api::SiteApi;
use crate::store::Store;
use crate::text::Count;

/// So long a site waits for another worker at first; each time that it comes back again twice as long, up to the other.
const ELSEWHERE: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(1);
/// So often a site comes back before nobody is taken to have a better master key for it.
const ENOUGH: u32 = 5;

/// How long a site waits that has come back so often.
pub(super) fn wait(times: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(times.saturating_sub(1));
    ELSEWHERE.saturating_mul(doubled).min(LONGEST)
}

/// So often a site comes back unsent before that is told: a worker that ends gives back what it has.
const ODD: u32 = 3;

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// Whether a worker that gives the site back might have sent it all the time that it had it.
    pub(super) fn may_be_unsent(&self, site: SiteId) -> bool {
        let handed = self.slots[site.index()].handed();
        let hands = self.hands.as_ref();
        hands.zip(handed).is_some_and(|(hands, handed)| {
            handed.puts && hands.may_send && !hands.recalled && handed.words == hands.words
        })
    }

    /// A worker gave it back unsent. The first time it goes to the next at once; from then on it waits, lest it goes round
    /// and round between workers that put nothing on record.
    pub(super) fn back_unsent(&mut self, site: SiteId, next: Next, now: Moment) -> Next {
        let slot = &mut self.slots[site.index()];
        slot.unsent = slot.unsent.saturating_add(1);
        let times = slot.unsent;
        if times >= ODD
            && let Some(hands) = &mut self.hands
        {
            hands.unasked.unsent.push(site);
        }
        match next {
            Next::Now(call) if times > 1 => Next::At(now + wait(times - 1), call),
            Next::At(at, call) if times > 1 => Next::At(at.max(now + wait(times - 1)), call),
            next => next,
        }
    }

    /// Tells once in a run that workers send nothing of what they get.
    fn tell_of_unsent(&mut self) {
        let Some(hands) = &mut self.hands else { return };
        let unsent = std::mem::take(&mut hands.unasked.unsent);
        if unsent.is_empty() || std::mem::replace(&mut hands.unasked.is_unsent_told, true) {
            return;
        }
        let sites = Count(unsent.len(), "site");
        self.say(
            Level::Warning,
            format!(
                "workers have given {sites} back {ODD} times without having sent anything, and get them less often from \
                 now on: the logs of the workers say why"
            ),
        );
    }

    /// Tells once of each master key that a worker has wrong, and ends the wait for a better one where none comes.
    pub(super) fn tell_of_unasked(&mut self) {
        self.tell_of_unsent();
        let Some(hands) = &mut self.hands else { return };
        let mut of_key: BTreeMap<(RunId, MasterKeyId), Vec<SiteId>> = BTreeMap::new();
        for site in std::mem::take(&mut hands.unasked.came_back) {
            let slot = &self.slots[site.index()];
            let Some(run) = slot.state.run.filter(|_| slot.state.awaits_put()) else {
                continue;
            };
            let key = self.sites[site.index()].master_key;
            of_key.entry((run, key)).or_default().push(site);
        }
        for ((run, key), sites) in of_key {
            if sites
                .iter()
                .any(|site| self.slots[site.index()].unasked >= ENOUGH)
            {
                self.ask_no_more(key);
            } else if self
                .hands
                .as_mut()
                .is_some_and(|hands| hands.unasked.told.insert(key))
            {
                let (count, by) = (Count(sites.len(), "site"), self.refused_by_in_words(key));
                let text = format!(
                    "run {}: sites refuse a master key that others took from another worker{by}: {count} wait for a \
                     worker that has the right one; mend it where it is wrong, and start that worker anew",
                    run.0
                );
                self.say(Level::Warning, text);
            }
        }
    }

    /// None of the workers has a master key that is taken: what waits for one is not asked.
    fn ask_no_more(&mut self, key: MasterKeyId) {
        let now = self.clock.now();
        for index in 0..self.slots.len() {
            let (slot, site) = (&self.slots[index], SiteId::at(index));
            let waits = slot.unasked > 0 && slot.handed().is_none() && slot.state.in_run;
            if waits && self.sites[index].master_key == key {
                self.leave_not_asked(site, now);
            }
        }
        let halt = Halt::RefusedKey {
            sites: self.sites_not_asked().len(),
            others_took: false,
        };
        let is_told = self.not_asked.replace(halt).is_some();
        if !is_told {
            let text = format!(
                "halted: no worker that is there has a master key that sites take: {} are not asked; check the master \
                 key{}",
                Count(self.sites_not_asked().len(), "site"),
                self.refused_by_in_words(key)
            );
            self.say(Level::Error, text.clone());
            self.tell(Event::Halted(halt, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_that_a_site_comes_back_it_waits_longer_and_at_most_a_minute() {
        let waits: Vec<u64> = (1..=6).map(|times| wait(times).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        assert_eq!(wait(u32::MAX), LONGEST);
    }
}
