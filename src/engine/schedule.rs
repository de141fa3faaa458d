use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use super::Settings;
use crate::rules::moment::Moment;
use crate::rules::state::Call;
use crate::site::{Site, SiteId};

/// How a backend is treated: fewer calls where it is weak, none where it fails.
mod pacing;
pub(super) use pacing::Health;
pub use pacing::Shown;
use pacing::{Pacing, Rate, Wait};

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

/// What a site waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) call: Call,
    pub(super) lane: Lane,
    /// Whether it failed before.
    pub(super) is_retry: bool,
}

/// A site's place in the schedule.
#[derive(Debug, Clone, Copy)]
struct Place {
    backend: usize,
    generation: u32,
    /// What it waits for, if it does.
    wants: Option<Want>,
}

#[derive(Debug)]
struct Backend {
    pacing: Pacing,
    out: usize,
    waiting: Option<Box<Waiting>>,
    /// When it is woken, if it is.
    woken_at: Option<Duration>,
}

/// What waits for a backend: for most of a large fleet nothing ever does.
#[derive(Debug, Default)]
struct Waiting {
    blocked: [VecDeque<Ticket>; LANES],
    /// Retries beyond its budget.
    retries: VecDeque<Ticket>,
}

impl Backend {
    fn waiting(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_default()
    }
}

/// Who may call now: slots in all and of each backend, what is ready and what waits for its time.
#[derive(Debug)]
pub(super) struct Schedule {
    concurrency: usize,
    background_slots: usize,
    out: usize,
    background_out: usize,
    rate: Rate,
    /// When the rate lets something go that is ready.
    rate_lets_go: Option<Duration>,
    /// Whether PUTs wait.
    pub(super) paused: bool,
    places: Vec<Place>,
    backends: Vec<Backend>,
    ready: [VecDeque<Ticket>; LANES],
    timers: BinaryHeap<Reverse<(Duration, Ticket)>>,
    /// When backends that hold something are looked at again.
    wakings: BinaryHeap<Reverse<(Duration, usize)>>,
}

impl Schedule {
    pub(super) fn new(sites: &[Site], settings: &Settings) -> Self {
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut backends: Vec<Backend> = Vec::new();
        let places = sites
            .iter()
            .map(|site| {
                let backend = *known
                    .entry(&site.backend)
                    .and_modify(|index| backends[*index].pacing.share())
                    .or_insert(backends.len());
                if backend == backends.len() {
                    backends.push(Backend {
                        pacing: Pacing::new(settings.per_backend, settings.rate.per_backend),
                        out: 0,
                        waiting: None,
                        woken_at: None,
                    });
                }
                Place {
                    backend,
                    generation: 0,
                    wants: None,
                }
            })
            .collect();
        let concurrency = settings.concurrency.max(1);
        let background_slots = if sites.len() > FEW_SITES {
            BACKGROUND_SLOTS
        } else {
            concurrency
        };
        Self {
            concurrency,
            background_slots,
            out: 0,
            background_out: 0,
            rate: Rate::per_second(settings.rate.overall),
            rate_lets_go: None,
            paused: false,
            places,
            backends,
            ready: Default::default(),
            timers: BinaryHeap::new(),
            wakings: BinaryHeap::new(),
        }
    }

    /// `site` wants to make a call at `at`; what it waited for before is forgotten.
    pub(super) fn want(&mut self, site: SiteId, want: Want, at: Moment, now: Moment) {
        let place = &mut self.places[site.index()];
        place.generation = place.generation.wrapping_add(1);
        place.wants = Some(want);
        let ticket = Ticket {
            site,
            generation: place.generation,
        };
        if at <= now {
            self.ready[want.lane as usize].push_back(ticket);
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
        self.wakings.clear();
        for backend in &mut self.backends {
            backend.woken_at = None;
        }
        self.rate_lets_go = None;
    }

    /// When the next timer is due, as time since the start of the process.
    pub(super) fn next_timer(&mut self) -> Option<Duration> {
        let waking = self.wakings.peek().map(|Reverse((at, _))| *at);
        let others = [waking, self.rate_lets_go].into_iter().flatten().min();
        while let Some(Reverse((at, ticket))) = self.timers.peek().copied() {
            if self.is_current(ticket) {
                return Some(others.map_or(at, |other| other.min(at)));
            }
            self.timers.pop();
        }
        others
    }

    /// Makes ready what is due.
    pub(super) fn wake(&mut self, now: Moment) {
        self.rate_lets_go = self.rate_lets_go.filter(|at| *at > now.since_start);
        while let Some(Reverse((at, ticket))) = self.timers.peek().copied() {
            if at > now.since_start {
                break;
            }
            self.timers.pop();
            if let Some(want) = self.wanted(ticket) {
                self.ready[want.lane as usize].push_back(ticket);
            }
        }
        while let Some(Reverse((at, backend))) = self.wakings.peek().copied() {
            if at > now.since_start {
                break;
            }
            self.wakings.pop();
            if self.backends[backend].woken_at == Some(at) {
                self.backends[backend].woken_at = None;
                self.unblock(backend, now);
            }
        }
    }

    fn is_current(&self, ticket: Ticket) -> bool {
        let place = &self.places[ticket.site.index()];
        place.generation == ticket.generation && place.wants.is_some()
    }

    fn wanted(&self, ticket: Ticket) -> Option<Want> {
        self.is_current(ticket)
            .then_some(self.places[ticket.site.index()].wants)?
    }

    /// The next site that may call now. It has a slot until [`Schedule::release`].
    pub(super) fn take(&mut self, now: Moment) -> Option<(SiteId, Call, Lane)> {
        for lane in [Lane::Push, Lane::Look, Lane::Background] {
            if self.out >= self.concurrency {
                return None;
            }
            let closed = match lane {
                Lane::Push => self.paused,
                Lane::Look => false,
                Lane::Background => self.background_out >= self.background_slots,
            };
            if closed || self.ready[lane as usize].is_empty() {
                continue;
            }
            if let Some(at) = self.rate.waits_until(now) {
                self.rate_lets_go = Some(at.since_start);
                return None;
            }
            if let Some((site, call)) = self.take_from(lane, now) {
                self.out += 1;
                self.background_out += usize::from(lane == Lane::Background);
                self.rate.called(now);
                return Some((site, call, lane));
            }
        }
        None
    }

    fn take_from(&mut self, lane: Lane, now: Moment) -> Option<(SiteId, Call)> {
        while let Some(ticket) = self.ready[lane as usize].pop_front() {
            let index = self.places[ticket.site.index()].backend;
            let Some(want) = self.wanted(ticket) else {
                // It was made ready in the place of another one of its backend.
                self.unblock(index, now);
                continue;
            };
            let backend = &mut self.backends[index];
            match backend.pacing.may_call(backend.out, want.is_retry, now) {
                Ok(()) => {
                    backend.out += 1;
                    backend.pacing.called(want.is_retry, now);
                    self.places[ticket.site.index()].wants = None;
                    return Some((ticket.site, want.call));
                }
                Err(Wait::Turn) => backend.waiting().blocked[lane as usize].push_back(ticket),
                Err(Wait::Until(at)) => {
                    backend.waiting().blocked[lane as usize].push_back(ticket);
                    self.wake_backend(index, at);
                }
                Err(Wait::Budget(at)) => {
                    backend.waiting().retries.push_back(ticket);
                    self.wake_backend(index, at);
                }
            }
        }
        None
    }

    fn wake_backend(&mut self, index: usize, at: Moment) {
        let backend = &mut self.backends[index];
        if backend.woken_at.is_none_or(|before| at.since_start < before) {
            backend.woken_at = Some(at.since_start);
            self.wakings.push(Reverse((at.since_start, index)));
        }
    }

    /// `site`, which has a slot, makes another call in it.
    pub(super) fn calls_on(&mut self, site: SiteId, now: Moment) {
        self.rate.called(now);
        self.backend_of(site).pacing.called(false, now);
    }

    /// Whether the backend of `site` is to be left alone now, also by who has a slot.
    pub(super) fn is_held(&mut self, site: SiteId, now: Moment) -> bool {
        self.backend_of(site).pacing.is_held(now)
    }

    /// Whether one more call would be more than may go in a second.
    pub(super) fn exceeds_rate(&mut self, site: SiteId, now: Moment) -> bool {
        self.rate.waits_until(now).is_some() || self.backend_of(site).pacing.exceeds_rate(now)
    }

    fn backend_of(&mut self, site: SiteId) -> &mut Backend {
        let index = self.places[site.index()].backend;
        &mut self.backends[index]
    }

    /// What may be told of the backend of `site`.
    pub(super) fn shown(&self, site: SiteId, now: Moment) -> Shown {
        let index = self.places[site.index()].backend;
        self.backends[index].pacing.shown(now)
    }

    /// A call of `site` was answered, or was not. Returns what may be told of its backend, where that changed.
    pub(super) fn answered(
        &mut self,
        site: SiteId,
        health: Health,
        retry_after: Option<Duration>,
        now: Moment,
    ) -> Option<Shown> {
        let pacing = &mut self.backend_of(site).pacing;
        let before = pacing.shown(now);
        pacing.answered(site, health, retry_after, now);
        let after = pacing.shown(now);
        (before != after).then_some(after)
    }

    /// `site` took a slot in `lane`, and makes no call: it gives it back as if it had not.
    pub(super) fn give_back(&mut self, site: SiteId, lane: Lane, now: Moment) {
        self.rate.undo();
        self.backend_of(site).pacing.undo();
        self.release(site, lane, now);
    }

    /// `site` gives back the slot that it took in `lane`; those that waited for its backend get ready.
    pub(super) fn release(&mut self, site: SiteId, lane: Lane, now: Moment) {
        self.out -= 1;
        self.background_out -= usize::from(lane == Lane::Background);
        let index = self.places[site.index()].backend;
        self.backends[index].out -= 1;
        self.unblock(index, now);
    }

    /// Makes ready those that wait for this backend, as many as it takes now.
    fn unblock(&mut self, index: usize, now: Moment) {
        let backend = &self.backends[index];
        if backend.waiting.is_none() {
            return;
        }
        let room = backend.pacing.at_once().saturating_sub(backend.out);
        for lane in 0..LANES {
            let mut freed: Vec<Ticket> = Vec::new();
            while freed.len() < room {
                let Some(ticket) = self.backends[index].waiting().blocked[lane].pop_front() else {
                    break;
                };
                if self.is_current(ticket) {
                    freed.push(ticket);
                }
            }
            for ticket in freed.into_iter().rev() {
                self.ready[lane].push_front(ticket);
            }
        }
        self.unblock_retry(index, now);
    }

    /// Makes ready the first retry that waits for the budget of this backend, or has it looked at again in time:
    /// perhaps nothing else is called there any more.
    fn unblock_retry(&mut self, index: usize, now: Moment) {
        while let Some(ticket) = self.backends[index].waiting().retries.front().copied() {
            let Some(want) = self.wanted(ticket) else {
                self.backends[index].waiting().retries.pop_front();
                continue;
            };
            let backend = &mut self.backends[index];
            match backend.pacing.may_call(backend.out, true, now) {
                Ok(()) => {
                    backend.waiting().retries.pop_front();
                    self.ready[want.lane as usize].push_back(ticket);
                }
                // What is out unblocks it.
                Err(Wait::Turn) => {}
                Err(Wait::Until(at) | Wait::Budget(at)) => self.wake_backend(index, at),
            }
            return;
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

    fn settings(concurrency: usize, per_backend: usize) -> Settings {
        Settings {
            concurrency,
            per_backend,
            ..Settings::default()
        }
    }

    fn schedule(backends: &[&str], per_backend: usize) -> Schedule {
        Schedule::new(&sites(backends), &settings(64, per_backend))
    }

    fn want(call: Call, lane: Lane) -> Want {
        Want {
            call,
            lane,
            is_retry: false,
        }
    }

    fn now() -> Moment {
        Moment {
            since_start: Duration::ZERO,
            wall: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_backend_is_never_called_more_than_its_limit_and_holds_up_no_other() {
        let mut schedule = schedule(&["a", "a", "a", "b"], 2);
        for id in 0..4 {
            schedule.want(SiteId(id), want(Call::Put, Lane::Push), now(), now());
        }
        let taken: Vec<u32> = std::iter::from_fn(|| schedule.take(now()))
            .map(|(site, ..)| site.0)
            .collect();
        assert_eq!(taken, [0, 1, 3]);
        schedule.release(SiteId(0), Lane::Push, now());
        assert_eq!(schedule.take(now()), Some((SiteId(2), Call::Put, Lane::Push)));
    }

    #[test]
    fn puts_go_before_looks_and_wait_in_a_pause() {
        let mut schedule = schedule(&["a", "b", "c"], 2);
        schedule.want(SiteId(0), want(Call::Look, Lane::Background), now(), now());
        schedule.want(SiteId(1), want(Call::Look, Lane::Look), now(), now());
        schedule.want(SiteId(2), want(Call::Put, Lane::Push), now(), now());
        schedule.paused = true;
        assert_eq!(schedule.take(now()).map(|(site, ..)| site), Some(SiteId(1)));
        schedule.paused = false;
        assert_eq!(schedule.take(now()).map(|(site, ..)| site), Some(SiteId(2)));
        assert_eq!(schedule.take(now()).map(|(site, ..)| site), Some(SiteId(0)));
    }

    #[test]
    fn a_later_wish_replaces_the_earlier_one() {
        let mut schedule = schedule(&["a"], 2);
        let later = now() + Duration::from_secs(5);
        schedule.want(SiteId(0), want(Call::Look, Lane::Look), later, now());
        schedule.want(SiteId(0), want(Call::Put, Lane::Push), now(), now());
        assert_eq!(schedule.next_timer(), None);
        assert_eq!(schedule.take(now()), Some((SiteId(0), Call::Put, Lane::Push)));
        schedule.wake(later);
        assert_eq!(schedule.take(now()), None);
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
            let mut schedule = Schedule::new(&all, &settings(concurrency, per_backend));
            for index in 0..all.len() {
                schedule.want(SiteId(u32::try_from(index).unwrap()), want(Call::Put, Lane::Push), now(), now());
            }
            let mut out: VecDeque<SiteId> = VecDeque::new();
            let mut done = 0;
            loop {
                while let Some((site, ..)) = schedule.take(now()) {
                    out.push_back(site);
                    prop_assert!(out.len() <= concurrency);
                    for name in names {
                        let at_once = out.iter().filter(|id| &*all[id.index()].backend == name).count();
                        prop_assert!(at_once <= per_backend);
                    }
                }
                let Some(site) = out.pop_front() else { break };
                schedule.release(site, Lane::Push, now());
                done += 1;
            }
            prop_assert_eq!(done, all.len());
        }
    }
}
