use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use crate::rules::moment::Moment;
use crate::rules::state::Call;
use crate::site::{Site, SiteId};

/// What goes first when slots are scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// PUTs, and the looks before them.
    Push,
    /// Looks of a run and of the operator.
    Look,
    /// Looks in passing.
    Background,
}

const LANES: usize = 3;
/// Beyond this many sites, looks in passing take only [`BACKGROUND_SLOTS`] slots.
const FEW_SITES: usize = 200;
const BACKGROUND_SLOTS: usize = 8;

/// Something that a site waits for. It is stale when the site was scheduled anew since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket {
    site: SiteId,
    generation: u32,
}

/// A site's place in the schedule.
#[derive(Debug, Clone, Copy)]
struct Place {
    backend: usize,
    generation: u32,
    /// What it waits for, if it does.
    wants: Option<(Call, Lane)>,
}

#[derive(Debug, Default)]
struct Backend {
    out: usize,
    blocked: [VecDeque<Ticket>; LANES],
}

/// Who may call now: slots in all and of each backend, what is ready and what waits for its time.
#[derive(Debug)]
pub(super) struct Schedule {
    concurrency: usize,
    per_backend: usize,
    background_slots: usize,
    out: usize,
    background_out: usize,
    /// Whether PUTs wait.
    pub(super) paused: bool,
    places: Vec<Place>,
    backends: Vec<Backend>,
    ready: [VecDeque<Ticket>; LANES],
    timers: BinaryHeap<Reverse<(Duration, Ticket)>>,
}

impl Schedule {
    pub(super) fn new(sites: &[Site], concurrency: usize, per_backend: usize) -> Self {
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut backends = Vec::new();
        let places = sites
            .iter()
            .map(|site| {
                let backend = *known.entry(&site.backend).or_insert_with(|| {
                    backends.push(Backend::default());
                    backends.len() - 1
                });
                Place {
                    backend,
                    generation: 0,
                    wants: None,
                }
            })
            .collect();
        let background_slots = if sites.len() > FEW_SITES {
            BACKGROUND_SLOTS
        } else {
            concurrency
        };
        Self {
            concurrency: concurrency.max(1),
            per_backend: per_backend.max(1),
            background_slots,
            out: 0,
            background_out: 0,
            paused: false,
            places,
            backends,
            ready: Default::default(),
            timers: BinaryHeap::new(),
        }
    }

    /// `site` wants to make `call` at `at`; what it waited for before is forgotten.
    pub(super) fn want(&mut self, site: SiteId, call: Call, lane: Lane, at: Moment, now: Moment) {
        let place = &mut self.places[site.index()];
        place.generation = place.generation.wrapping_add(1);
        place.wants = Some((call, lane));
        let ticket = Ticket {
            site,
            generation: place.generation,
        };
        if at <= now {
            self.ready[lane as usize].push_back(ticket);
        } else {
            self.timers.push(Reverse((at.since_start, ticket)));
        }
    }

    /// `site` waits for nothing any more.
    pub(super) fn forget(&mut self, site: SiteId) {
        let place = &mut self.places[site.index()];
        place.generation = place.generation.wrapping_add(1);
        place.wants = None;
    }

    /// Nobody waits for anything any more.
    pub(super) fn forget_all(&mut self) {
        for place in &mut self.places {
            place.generation = place.generation.wrapping_add(1);
            place.wants = None;
        }
        self.timers.clear();
    }

    /// When the next timer is due, as time since the start of the process.
    pub(super) fn next_timer(&mut self) -> Option<Duration> {
        while let Some(Reverse((at, ticket))) = self.timers.peek().copied() {
            if self.is_current(ticket) {
                return Some(at);
            }
            self.timers.pop();
        }
        None
    }

    /// Makes ready what is due.
    pub(super) fn wake(&mut self, now: Moment) {
        while let Some(Reverse((at, ticket))) = self.timers.peek().copied() {
            if at > now.since_start {
                break;
            }
            self.timers.pop();
            if let Some((_, lane)) = self.wanted(ticket) {
                self.ready[lane as usize].push_back(ticket);
            }
        }
    }

    fn is_current(&self, ticket: Ticket) -> bool {
        let place = &self.places[ticket.site.index()];
        place.generation == ticket.generation && place.wants.is_some()
    }

    fn wanted(&self, ticket: Ticket) -> Option<(Call, Lane)> {
        self.is_current(ticket)
            .then_some(self.places[ticket.site.index()].wants)?
    }

    /// The next site that may call now. It has a slot until [`Schedule::release`].
    pub(super) fn take(&mut self) -> Option<(SiteId, Call, Lane)> {
        for lane in [Lane::Push, Lane::Look, Lane::Background] {
            if self.out >= self.concurrency {
                return None;
            }
            let closed = match lane {
                Lane::Push => self.paused,
                Lane::Look => false,
                Lane::Background => self.background_out >= self.background_slots,
            };
            if !closed && let Some((site, call)) = self.take_from(lane) {
                self.out += 1;
                self.background_out += usize::from(lane == Lane::Background);
                return Some((site, call, lane));
            }
        }
        None
    }

    fn take_from(&mut self, lane: Lane) -> Option<(SiteId, Call)> {
        while let Some(ticket) = self.ready[lane as usize].pop_front() {
            let Some((call, _)) = self.wanted(ticket) else {
                // It was made ready in the place of another one of its backend.
                self.unblock(self.places[ticket.site.index()].backend, lane as usize);
                continue;
            };
            let place = &mut self.places[ticket.site.index()];
            let backend = &mut self.backends[place.backend];
            if backend.out >= self.per_backend {
                backend.blocked[lane as usize].push_back(ticket);
                continue;
            }
            backend.out += 1;
            place.wants = None;
            return Some((ticket.site, call));
        }
        None
    }

    /// `site` gives back the slot that it took in `lane`; one that waited for its backend gets ready.
    pub(super) fn release(&mut self, site: SiteId, lane: Lane) {
        self.out -= 1;
        self.background_out -= usize::from(lane == Lane::Background);
        let index = self.places[site.index()].backend;
        self.backends[index].out -= 1;
        for lane in 0..LANES {
            self.unblock(index, lane);
        }
    }

    /// Makes ready the next site that waits for this backend.
    fn unblock(&mut self, backend: usize, lane: usize) {
        while let Some(ticket) = self.backends[backend].blocked[lane].pop_front() {
            if self.is_current(ticket) {
                self.ready[lane].push_front(ticket);
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{MasterKeyId, SiteMode, SiteUrl};
    use crate::text::CleanText;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn sites(backends: &[&str]) -> Vec<Site> {
        let site = |(index, backend): (usize, &&str)| Site {
            name: CleanText::note(&index.to_string()),
            url: SiteUrl::parse(&format!("https://shop{index}.example.com")).unwrap(),
            group: None,
            mode: SiteMode::Any,
            backend: (*backend).into(),
            master_key: MasterKeyId(0),
            enabled: true,
        };
        backends.iter().enumerate().map(site).collect()
    }

    fn now() -> Moment {
        Moment {
            since_start: Duration::ZERO,
            wall: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_backend_is_never_called_more_than_its_limit_and_holds_up_no_other() {
        let mut schedule = Schedule::new(&sites(&["a", "a", "a", "b"]), 64, 2);
        for id in 0..4 {
            schedule.want(SiteId(id), Call::Put, Lane::Push, now(), now());
        }
        let taken: Vec<u32> = std::iter::from_fn(|| schedule.take())
            .map(|(site, ..)| site.0)
            .collect();
        assert_eq!(taken, [0, 1, 3]);
        schedule.release(SiteId(0), Lane::Push);
        assert_eq!(schedule.take(), Some((SiteId(2), Call::Put, Lane::Push)));
    }

    #[test]
    fn puts_go_before_looks_and_wait_in_a_pause() {
        let mut schedule = Schedule::new(&sites(&["a", "b", "c"]), 64, 2);
        schedule.want(SiteId(0), Call::Look, Lane::Background, now(), now());
        schedule.want(SiteId(1), Call::Look, Lane::Look, now(), now());
        schedule.want(SiteId(2), Call::Put, Lane::Push, now(), now());
        schedule.paused = true;
        assert_eq!(schedule.take().map(|(site, ..)| site), Some(SiteId(1)));
        schedule.paused = false;
        assert_eq!(schedule.take().map(|(site, ..)| site), Some(SiteId(2)));
        assert_eq!(schedule.take().map(|(site, ..)| site), Some(SiteId(0)));
    }

    #[test]
    fn a_later_wish_replaces_the_earlier_one() {
        let mut schedule = Schedule::new(&sites(&["a"]), 64, 2);
        let later = now() + Duration::from_secs(5);
        schedule.want(SiteId(0), Call::Look, Lane::Look, later, now());
        schedule.want(SiteId(0), Call::Put, Lane::Push, now(), now());
        assert_eq!(schedule.next_timer(), None);
        assert_eq!(schedule.take(), Some((SiteId(0), Call::Put, Lane::Push)));
        schedule.wake(later);
        assert_eq!(schedule.take(), None);
    }

    proptest! {
        #[test]
        fn slots_are_never_exceeded_and_all_get_their_turn(
            backends in proptest::collection::vec(0usize..4, 1..30),
            concurrency in 1usize..8,
            per_backend in 1usize..4,
        ) {
            let names = ["a", "b", "c", "d"];
            let list: Vec<&str> = backends.iter().map(|&index| names[index]).collect();
            let all = sites(&list);
            let mut schedule = Schedule::new(&all, concurrency, per_backend);
            for index in 0..all.len() {
                schedule.want(SiteId(u32::try_from(index).unwrap()), Call::Put, Lane::Push, now(), now());
            }
            let mut out: VecDeque<SiteId> = VecDeque::new();
            let mut done = 0;
            loop {
                while let Some((site, ..)) = schedule.take() {
                    out.push_back(site);
                    prop_assert!(out.len() <= concurrency);
                    for name in names {
                        let at_once = out.iter().filter(|id| &*all[id.index()].backend == name).count();
                        prop_assert!(at_once <= per_backend);
                    }
                }
                let Some(site) = out.pop_front() else { break };
                schedule.release(site, Lane::Push);
                done += 1;
            }
            prop_assert_eq!(done, all.len());
        }
    }
}
