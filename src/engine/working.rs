use std::collections::HashSet;

use super::chunks::Part;
use super::run::Engine;
use super::{Chunk, Event};
use crate::rules::state::{Call, Next};
use crate::site::SiteId;
use crate::site_api::SiteApi;
use crate::store::Store;
use crate::store::workers::ChunkId;

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// Takes up the sites of a chunk as those of a run that a process before has left. Who coordinates the run decides
    /// of waves and halts; here each site goes when it can.
    pub(super) fn take_chunk(&mut self, chunk: Chunk) {
        let now = self.clock.now();
        self.chunks.is_worker = true;
        if self.calls_any(&chunk) {
            // What comes of that call is of the run that it was made for.
            return self.chunks.waiting.push(chunk);
        }
        let Chunk {
            id,
            wave,
            puts,
            sites,
            ..
        } = chunk;
        let open = &self.chunks.open;
        let is_open = |run| open.keys().any(|id| id.run == run);
        self.trials.take_chunk(id.run, is_open);
        // What comes of a PUT that another process has overtaken is ordered anew.
        self.records.holds_store = true;
        let of_chunk = sites.iter().map(|(site, _)| *site).collect();
        self.chunks.open.insert(id, of_chunk);
        for (site, newest) in sites {
            if let Some(part) = self.slots[site.index()].chunk.filter(|part| part.chunk != id) {
                // A later run has the site: in this process it may come from another queue.
                self.leave_chunk(site, part);
            }
            self.adopt(site, &newest);
            let slot = &mut self.slots[site.index()];
            (slot.pending, slot.on_record) = (None, None);
            slot.chunk = Some(Part {
                chunk: id,
                look_is_due: true,
            });
            self.schedule.forget(site);
            self.change(site, |state| {
                *state = newest.state;
                state.wave = Some(wave);
            });
            if puts {
                self.take_up(site);
            } else {
                // Also of one whose tries are over, and of whose PUT nobody knows what became.
                self.change(site, |state| state.in_run = true);
            }
            if self.slots[site.index()].state.awaits_look() {
                // It is due where the run is coordinated: by the clock of that.
                self.follow(site, Next::At(now, Call::Look), now);
            }
        }
    }

    /// Whether a call to a site of the chunk is out.
    fn calls_any(&self, chunk: &Chunk) -> bool {
        let out: HashSet<SiteId> = self.out.values().map(|(site, ..)| *site).collect();
        chunk.sites.iter().any(|(site, _)| out.contains(site))
    }

    /// Whether the site's next look is not this worker's: its PUT was looked at once, and the rest is for later.
    pub(super) fn rests_between_looks(&self, site: SiteId, call: Call) -> bool {
        let slot = &self.slots[site.index()];
        let Some(part) = slot.chunk else {
            return self.chunks.is_worker;
        };
        call == Call::Look && !part.look_is_due && !slot.state.awaits_first_look()
    }

    /// Nothing more of the chunk is sent.
    pub(super) fn give_back_chunk(&mut self, id: ChunkId) {
        if let Some(open) = self.chunks.open.get(&id) {
            self.chunks.touched.extend(open);
            self.chunks.given_back.insert(id);
        }
    }

    /// As [`Engine::give_back_chunk`], of the one that the site is in.
    pub(super) fn give_back_chunk_of(&mut self, site: SiteId) {
        if let Some(part) = self.slots[site.index()].chunk {
            self.give_back_chunk(part.chunk);
        }
    }

    /// Lets go of sites that are done with, and tells of chunks that are.
    pub(super) fn end_chunks(&mut self) {
        for chunk in std::mem::take(&mut self.chunks.waiting) {
            self.take_chunk(chunk);
        }
        for site in std::mem::take(&mut self.chunks.touched) {
            self.let_go_if_done(site);
        }
        let answered = self.records.answered;
        while let Some((id, needs)) = self.chunks.ending.front().copied() {
            if needs > answered {
                break;
            }
            self.chunks.ending.pop_front();
            self.tell(Event::ChunkOver(id));
        }
    }

    fn let_go_if_done(&mut self, site: SiteId) {
        let slot = &self.slots[site.index()];
        let Some(part) = slot.chunk.filter(|_| !slot.state.is_calling()) else {
            return;
        };
        let looks = slot.state.awaits_look() && (part.look_is_due || slot.state.awaits_first_look());
        let sends = slot.state.is_to_send() && !self.chunks.given_back.contains(&part.chunk);
        if looks || sends {
            return;
        }
        self.leave_chunk(site, part);
    }

    /// The site is in its chunk no more, which is over with its last.
    fn leave_chunk(&mut self, site: SiteId, part: Part) {
        self.schedule.forget(site);
        self.change(site, |state| state.is_elsewhere());
        self.slots[site.index()].chunk = None;
        let Some(open) = self.chunks.open.get_mut(&part.chunk) else {
            return;
        };
        open.remove(&site);
        if open.is_empty() {
            self.chunks.open.remove(&part.chunk);
            self.chunks.given_back.remove(&part.chunk);
            self.chunks.ending.push_back((part.chunk, self.records.handed));
        }
    }
}
