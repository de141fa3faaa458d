use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::engine::{Event, RunInfo};
use crate::rules::state::SiteState;
use crate::site::SiteId;

/// How many of the newest messages are kept, for who comes and for who is slow.
const MESSAGES: usize = 200;
/// How many of the newest attempts.
const ATTEMPTS: usize = 500;
/// How many other events a client may leave unread before it is given up.
const OTHERS: usize = 1000;

/// What a new listener is told, and what each listener has not been told yet.
#[derive(Debug)]
pub(super) struct Mirror {
    states: Vec<SiteState>,
    run: Option<RunInfo>,
    messages: VecDeque<Arc<Event>>,
    attempts: VecDeque<Arc<Event>>,
    /// The newest of each backend that anything was told of.
    backends: BTreeMap<Arc<str>, Arc<Event>>,
    listeners: BTreeMap<u64, Backlog>,
    next_listener: u64,
    ended: bool,
}

/// What a listener is told next.
#[derive(Debug)]
pub(super) enum Next {
    /// These events, in this order.
    Events(Vec<Arc<Event>>),
    /// Nothing, until it is woken.
    Nothing,
    /// Nothing any more.
    End,
    /// It has left too much unread: it is not told any more.
    TooSlow,
}

impl Mirror {
    pub(super) fn new(states: Vec<SiteState>) -> Self {
        Self {
            states,
            run: None,
            messages: VecDeque::new(),
            attempts: VecDeque::new(),
            backends: BTreeMap::new(),
            listeners: BTreeMap::new(),
            next_listener: 0,
            ended: false,
        }
    }

    pub(super) fn run(&self) -> Option<&RunInfo> {
        self.run.as_ref()
    }

    /// Takes in what happened. Wakes nobody: [`Mirror::wake`] does, once for many events.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Site { site, state } => {
                if let Some(known) = self.states.get_mut(site.index()) {
                    known.clone_from(state);
                    for backlog in self.listeners.values_mut() {
                        backlog.site_changed(*site);
                    }
                }
                return;
            }
            Event::Run(run) => self.run = Some(run.clone()),
            Event::Backend { backend, .. } => {
                self.backends.insert(Arc::clone(backend), Arc::new(event.clone()));
                for backlog in self.listeners.values_mut() {
                    backlog.backends.insert(Arc::clone(backend));
                }
                return;
            }
            // Of what is on record here, who is attached knows nothing.
            Event::Refreshed { .. } => return,
            _ => {}
        }
        let event = Arc::new(event.clone());
        match &*event {
            Event::Message(_) => push_newest(&mut self.messages, Arc::clone(&event), MESSAGES),
            Event::Attempt(_) => push_newest(&mut self.attempts, Arc::clone(&event), ATTEMPTS),
            _ => {}
        }
        for backlog in self.listeners.values_mut() {
            backlog.push(Arc::clone(&event));
        }
    }

    /// Nothing happens any more.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn wake(&self) {
        for backlog in self.listeners.values() {
            backlog.wake.notify_one();
        }
    }

    /// A new listener: it is told the state of each site, the run, the newest messages and attempts, how backends are
    /// treated, then what happens. The second value wakes it.
    pub(super) fn listen(&mut self) -> (u64, Arc<Notify>) {
        let mut backlog = Backlog::new(self.states.len());
        let run = self.run.clone().map(|run| Arc::new(Event::Run(run)));
        let newest = self.messages.iter().chain(&self.attempts).cloned();
        for event in run.into_iter().chain(newest) {
            backlog.push(event);
        }
        backlog.backends.extend(self.backends.keys().cloned());
        let wake = Arc::clone(&backlog.wake);
        let listener = self.next_listener;
        self.next_listener += 1;
        self.listeners.insert(listener, backlog);
        (listener, wake)
    }

    /// The listener is gone.
    pub(super) fn forget(&mut self, listener: u64) {
        self.listeners.remove(&listener);
    }

    /// What the listener is told next, so many events at most.
    pub(super) fn next(&mut self, listener: u64, count: usize) -> Next {
        let Some(backlog) = self.listeners.get_mut(&listener) else {
            return Next::End;
        };
        if backlog.too_slow {
            return Next::TooSlow;
        }
        let mut events = Vec::new();
        while events.len() < count {
            if let Some(event) = backlog.next_event() {
                events.push(event);
            } else if let Some(site) = backlog.next_site() {
                let state = Box::new(self.states[site.index()].clone());
                events.push(Arc::new(Event::Site { site, state }));
            } else if let Some(backend) = backlog.backends.pop_first() {
                events.extend(self.backends.get(&backend).cloned());
            } else {
                break;
            }
        }
        match (events.is_empty(), self.ended) {
            (false, _) => Next::Events(events),
            (true, true) => Next::End,
            (true, false) => Next::Nothing,
        }
    }
}

fn push_newest<T>(queue: &mut VecDeque<T>, item: T, limit: usize) {
    if queue.len() >= limit {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// What a listener has not been told yet.
///
/// Sites are told in the order in which they changed first, each with the state that it has by then. An event
/// of another kind waits until each site that had changed before it was told, so that who reads it knows no
/// less of any site than the engine did. Backends come last, each as it is treated by then: nothing else depends on them.
#[derive(Debug)]
struct Backlog {
    changed: VecDeque<SiteId>,
    has_changed: Vec<bool>,
    /// How many sites were told, each counted as often as it was.
    told: u64,
    backends: BTreeSet<Arc<str>>,
    /// Messages, attempts, others: each kind is bounded on its own.
    waiting: [VecDeque<Waiting>; 3],
    /// How many events have waited.
    pushed: u64,
    too_slow: bool,
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Waiting {
    /// Its place among all kinds.
    place: u64,
    /// How many sites must have been told before it.
    after: u64,
    event: Arc<Event>,
}

impl Backlog {
    /// Everything, for a list of so many sites.
    fn new(sites: usize) -> Self {
        Self {
            changed: (0..sites).map(SiteId::at).collect(),
            has_changed: vec![true; sites],
            told: 0,
            backends: BTreeSet::new(),
            waiting: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
            pushed: 0,
            too_slow: false,
            wake: Arc::new(Notify::new()),
        }
    }

    fn site_changed(&mut self, site: SiteId) {
        if !std::mem::replace(&mut self.has_changed[site.index()], true) {
            self.changed.push_back(site);
        }
    }

    fn push(&mut self, event: Arc<Event>) {
        let (kind, limit) = match &*event {
            Event::Message(_) => (0, MESSAGES),
            Event::Attempt(_) => (1, ATTEMPTS),
            _ => (2, OTHERS),
        };
        if kind == 2 && self.waiting[kind].len() >= limit {
            // None of these can be left out: each changes what the ones behind it mean.
            self.too_slow = true;
        }
        let waiting = Waiting {
            place: self.pushed,
            after: self.told + self.changed.len() as u64,
            event,
        };
        self.pushed += 1;
        push_newest(&mut self.waiting[kind], waiting, limit);
    }

    /// The next event that waits for no site.
    fn next_event(&mut self) -> Option<Arc<Event>> {
        let first = |queue: &&mut VecDeque<Waiting>| queue.front().map(|waiting| waiting.place);
        let queue = self.waiting.iter_mut().filter(|queue| !queue.is_empty());
        let queue = queue.min_by_key(first)?;
        let waiting = queue.pop_front_if(|waiting| waiting.after <= self.told)?;
        Some(waiting.event)
    }

    fn next_site(&mut self) -> Option<SiteId> {
        let site = self.changed.pop_front()?;
        self.has_changed[site.index()] = false;
        self.told += 1;
        Some(site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Level, Message, Shown};
    use crate::rules::moment::Moment;

    fn site(index: u32, http: u16) -> Event {
        let mut state = SiteState::default();
        state.http = Some(http);
        Event::Site {
            site: SiteId(index),
            state: Box::new(state),
        }
    }

    fn message(text: &str) -> Event {
        Event::Message(Message {
            at: Moment::from((0, 0)),
            level: Level::Info,
            text: text.to_owned(),
        })
    }

    /// What a listener is told until nothing is left, in short.
    fn told(mirror: &mut Mirror, listener: u64) -> Vec<String> {
        let mut told = Vec::new();
        while let Next::Events(events) = mirror.next(listener, 2) {
            assert!(events.len() <= 2);
            told.extend(events.iter().map(|event| match &**event {
                Event::Site { site, state } => format!("{} {}", site.0, state.http.unwrap_or(0)),
                Event::Message(message) => message.text.clone(),
                other => format!("{other:?}"),
            }));
        }
        told
    }

    #[test]
    fn a_site_is_told_once_with_its_newest_state_and_before_what_followed_its_change() {
        let mut mirror = Mirror::new(vec![SiteState::default(); 3]);
        mirror.apply(&message("early"));
        let (listener, _wake) = mirror.listen();
        mirror.apply(&site(1, 1));
        assert_eq!(told(&mut mirror, listener), ["0 0", "1 1", "2 0", "early"]);
        mirror.apply(&site(2, 2));
        mirror.apply(&message("two"));
        mirror.apply(&Event::Taken);
        mirror.apply(&site(0, 3));
        mirror.apply(&site(2, 4));
        assert_eq!(told(&mut mirror, listener), ["2 4", "two", "Taken", "0 3"]);
        assert!(matches!(mirror.next(listener, 1), Next::Nothing));
        mirror.end();
        assert!(matches!(mirror.next(listener, 1), Next::End));
    }

    #[test]
    fn an_idle_listener_costs_no_more_than_its_bounds() {
        let mut mirror = Mirror::new(vec![SiteState::default(); 2]);
        let (listener, _wake) = mirror.listen();
        for number in 0..10_000 {
            mirror.apply(&site(number % 2, 200));
            mirror.apply(&message(&number.to_string()));
        }
        let told = told(&mut mirror, listener);
        assert_eq!(told[..2], ["0 200", "1 200"]);
        assert_eq!(told.len(), 2 + MESSAGES);
        assert_eq!(told.last().map(String::as_str), Some("9999"));
    }

    #[test]
    fn a_listener_that_misses_what_cannot_be_left_out_is_given_up() {
        let mut mirror = Mirror::new(Vec::new());
        let (listener, _wake) = mirror.listen();
        for _ in 0..=OTHERS {
            mirror.apply(&Event::Taken);
        }
        assert!(matches!(mirror.next(listener, 1), Next::TooSlow));
        mirror.forget(listener);
        assert!(matches!(mirror.next(listener, 1), Next::End));
    }

    #[test]
    fn who_comes_late_is_told_how_each_backend_is_treated_by_now_and_nobody_is_given_up_for_it() {
        let backend = |name: usize, calls| Event::Backend {
            backend: format!("server-{name}").into(),
            shown: Shown {
                at_once: 1,
                most: 2,
                open_until: None,
                held_until: None,
                calls,
                retries: 0,
            },
        };
        let mut mirror = Mirror::new(Vec::new());
        let (early, _wake) = mirror.listen();
        for calls in 0..3 * OTHERS {
            mirror.apply(&backend(calls % 2, calls));
        }
        let (late, _wake) = mirror.listen();
        let newest =
            [backend(0, 3 * OTHERS - 2), backend(1, 3 * OTHERS - 1)].map(|event| format!("{event:?}"));
        assert_eq!(told(&mut mirror, early), newest);
        assert_eq!(told(&mut mirror, late), newest);
        assert!(matches!(mirror.next(late, 1), Next::Nothing));
    }

    #[test]
    fn a_site_outside_of_the_list_is_nobodys() {
        let mut mirror = Mirror::new(Vec::new());
        let (listener, _wake) = mirror.listen();
        mirror.apply(&site(7, 200));
        assert!(matches!(mirror.next(listener, 1), Next::Nothing));
    }
}
