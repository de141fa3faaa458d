use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::call::describe_outcome;
use super::hands::{GATHER, Handed, Hands, Part, Told, Unasked};
use super::run::Engine;
use super::slot::Slot;
use super::unasked::wait;
use super::{Event, Level};
use crate::rules::moment::Moment;
use crate::rules::outcome::{Cause, Problem};
use crate::rules::probation::Word;
use crate::rules::run::Halt;
use crate::rules::state::{Call, Next};
use crate::rules::status::Push;
use crate::site::{MasterKeyId, SiteId, SiteUrl};
use crate::site_api::SiteApi;
use crate::store::workers::{Did, News};
use crate::store::{Newest, Outcome, Request, RunId, Store, StoreError};
use crate::text::{CleanText, some_names};

/// Behind so long without a word of who coordinates a run no worker begins a PUT of it.
const UNTOLD: Duration = Duration::from_secs(15);
/// So many sites are in a chunk at most.
const CHUNK: usize = 32;

impl<Api: SiteApi, Db: Store> Engine<Api, Db> {
    /// A run of this engine begins, or is taken up.
    pub(super) fn coordinates(&mut self, run: RunId) {
        if let Some(hands) = &mut self.hands {
            hands.runs.insert(run);
            (hands.may_send, hands.recalled) = (true, false);
            // It may have been held when another process took it up, and nobody here has said anything of it since.
            hands.says(run, true);
            hands.refused_by.clear();
            hands.unasked = Unasked::default();
        }
    }

    /// Whether workers make this call: all of the runs that were begun here, but no looks that somebody orders beside.
    pub(super) fn is_for_workers(&self, site: SiteId, call: Call) -> bool {
        let slot = &self.slots[site.index()];
        let Some(hands) = &self.hands else { return false };
        let is_of_run = slot.state.run.is_some_and(|run| hands.runs.contains(&run));
        let is_alone = slot.pending.is_none() && slot.on_record.is_none();
        is_of_run && is_alone && (call != Call::Look || slot.state.is_settling())
    }

    /// It is the site's turn: it goes to the workers with others.
    pub(super) fn hand(&mut self, site: SiteId, call: Call) {
        let now = self.clock.now();
        let slot = &mut self.slots[site.index()];
        let (Some(hands), Some(run)) = (&mut self.hands, slot.state.run) else {
            return;
        };
        let puts = call != Call::Look;
        if puts && (hands.recalled || !hands.may_send) {
            hands.aside.push(site);
            return;
        }
        if puts && std::mem::take(&mut slot.ordered_again) {
            // Before the chunk: the store takes both in their order.
            self.record(site, None);
        }
        let (Some(hands), slot) = (&mut self.hands, &mut self.slots[site.index()]) else {
            return;
        };
        let is_sent = false;
        let handed = Handed {
            run,
            puts,
            is_sent,
            words: hands.words,
        };
        let _before = slot.set_handed(Some(handed), &mut hands.out);
        if puts {
            hands.puts.push(site);
        } else {
            hands.looks.push(site);
            hands.looks_since.get_or_insert(now);
        }
    }

    /// When looks that were gathered are handed over, or it is seen whether an end is waited for of which the workers cannot be
    /// told; as time since the start of the process.
    pub(super) fn hands_timer(&self) -> Option<Duration> {
        let hands = self.hands.as_ref()?;
        let gathered = hands.looks_since.map(|since| since + GATHER);
        let now = self.clock.now();
        // Whether the store is away is seen only when that is asked.
        let waits = hands.stopping_since.filter(|_| hands.out.puts());
        let untold = waits.map(|_| now + Duration::from_secs(1));
        Some(gathered.into_iter().chain(untold).min()?.since_start)
    }

    /// No worker has the site any more, as far as is known here; what one had.
    pub(super) fn let_go_of(&mut self, site: SiteId) -> Option<Handed> {
        let hands = self.hands.as_mut()?;
        self.slots[site.index()].set_handed(None, &mut hands.out)
    }

    /// Whether workers have anything of the run.
    pub(super) fn workers_have_some_of(&self, run: RunId) -> bool {
        self.hands.as_ref().is_some_and(|hands| hands.out.has(run))
    }

    /// Whether something is to be heard of workers before the engine ends: in any case of PUTs that may be out. Where
    /// the store is away, nothing is heard, and they are not told that it ends: that is waited for until they know by
    /// themselves.
    pub(super) fn awaits_workers(&self) -> bool {
        let now = self.clock.now();
        let is_away = || {
            self.store
                .trouble()
                .is_some_and(|trouble| trouble.borrow().is_some())
        };
        let waits = |hands: &Hands| {
            if self.stopping {
                let since = hands.stopping_since.map(|since| now.since(since));
                hands.out.puts() && (!is_away() || since.is_none_or(|since| since < UNTOLD))
            } else {
                !hands.out.is_empty()
            }
        };
        self.hands.as_ref().is_some_and(waits)
    }

    /// Tells the workers whether they may send, and hands over what has its turn.
    pub(super) fn tell_workers(&mut self) {
        let now = self.clock.now();
        let Some(hands) = &mut self.hands else { return };
        hands.recalled &= hands.out.puts();
        if self.stopping {
            hands.stopping_since.get_or_insert(now);
        }
        let may_send = !self.schedule.paused && !self.stopping && !hands.recalled;
        let run = self.run.as_ref().map(|run| run.id);
        if may_send != std::mem::replace(&mut hands.may_send, may_send)
            && let Some(run) = run.filter(|run| hands.runs.contains(run))
        {
            hands.says(run, may_send);
        }
        let aside = if may_send {
            std::mem::take(&mut hands.aside)
        } else {
            Vec::new()
        };
        // They have had their turn.
        for site in aside {
            if self.slots[site.index()].state.awaits_put() && self.slots[site.index()].handed().is_none() {
                self.hand(site, Call::Put);
            }
        }
        let Some(hands) = &mut self.hands else { return };
        let mut due = std::mem::take(&mut hands.puts);
        if hands.looks_since.is_some_and(|since| since + GATHER <= now) {
            hands.looks_since = None;
            due.append(&mut hands.looks);
        }
        self.hand_over(&due);
    }

    fn hand_over(&mut self, due: &[SiteId]) {
        let mut parts: BTreeMap<(RunId, usize, bool, Arc<str>), Vec<SiteUrl>> = BTreeMap::new();
        let Some(hands) = &mut self.hands else { return };
        for site in due {
            let (slot, row) = (&mut self.slots[site.index()], &self.sites[site.index()]);
            // It may have been ordered anew since it was gathered.
            let Some(handed) = slot.handed().filter(|handed| !handed.is_sent) else {
                continue;
            };
            let is_sent = true;
            let _gathered = slot.set_handed(Some(Handed { is_sent, ..handed }), &mut hands.out);
            let wave = slot.state.wave.unwrap_or_default();
            let of = (handed.run, wave, handed.puts, Arc::clone(&row.backend));
            parts.entry(of).or_default().push(row.url.clone());
        }
        for ((run, wave, puts, backend), sites) in parts {
            for sites in sites.chunks(CHUNK) {
                let backend = Arc::clone(&backend);
                let sites = sites.to_vec();
                let _ended = hands.parts.send(Part {
                    run,
                    wave,
                    backend,
                    puts,
                    sites,
                });
            }
        }
    }

    /// All that the workers have is to come back.
    pub(super) fn recall(&mut self) {
        if let Some(hands) = &mut self.hands {
            hands.recalled = true;
        }
    }

    /// The operator stops the run while a worker has the site.
    pub(super) fn cancel_handed(&mut self, site: SiteId) {
        self.recall();
        self.change(site, |state| state.stop_when_back());
    }

    /// Takes in what was heard.
    pub(super) fn workers_told(&mut self, told: Told) {
        self.worker_told(told);
        // The rest of what is there already, before anything else is asked.
        while let Some(told) = self.hands.as_mut().and_then(|hands| hands.told.try_recv().ok()) {
            self.worker_told(told);
        }
        self.tell_of_strange();
        self.tell_of_unasked();
    }

    fn worker_told(&mut self, told: Told) {
        match told {
            Told::News(news) => self.take_news(news),
            Told::Back(run, sites) => {
                for (url, newest) in sites {
                    self.take_back(run, &url, &newest);
                }
            }
            Told::TakenUp(run, sites) => self.leave_to_others(run, &sites),
            Told::Refused(part, error) => self.not_handed(&part, &error),
            Told::Unheard(error) => self.say(
                Level::Error,
                format!(
                    "the workers could not be told yet whether the run may send, and are told again and again ({error})"
                ),
            ),
            Told::HeardAtLast(run, may) => {
                let not = if may { "" } else { "not " };
                self.say(
                    Level::Info,
                    format!("the workers could be told that run {} may {not}send", run.0),
                );
            }
            Told::Deaf(error) => self.say(
                Level::Error,
                format!("what the workers did is not heard of, and is asked for again and again ({error})"),
            ),
            Told::HearsAgain => self.say(
                Level::Info,
                "what the workers did is heard of again".to_owned(),
            ),
            Told::Silence(level, text) => self.say_in_the_log_too(level, text),
            Told::Idle => self.say_in_the_log_too(
                Level::Warning,
                "no worker is there, so nothing of the run goes on: is `stripe-propagate worker` running somewhere, with \
                 this store?"
                    .to_owned(),
            ),
        }
    }

    /// Who reads the log of a run by cron learns why it waited.
    fn say_in_the_log_too(&mut self, level: Level, text: String) {
        if level == Level::Info {
            tracing::info!("{text}");
        } else {
            tracing::warn!("{text}");
        }
        self.say(level, text);
    }

    /// The site, if a worker has it for this run.
    fn handed(&self, run: RunId, url: &SiteUrl) -> Option<SiteId> {
        let site = *self.hands.as_ref()?.places.get(url)?;
        let handed = self.slots[site.index()].handed()?;
        (handed.run == run).then_some(site)
    }

    fn take_news(&mut self, news: News) {
        let now = self.clock.now();
        let Some(site) = self.handed(news.run, &news.site) else {
            return;
        };
        let policy = self.settings.policy.clone();
        match news.did {
            Did::Intends => {
                self.slots[site.index()].unsent = 0;
                if !self.slots[site.index()].state.is_put_out() {
                    self.change(site, |state| state.calling(Call::Put, &policy, now));
                }
            }
            Did::Asked(outcome) => {
                let attempt = describe_outcome(site, &outcome);
                self.tell(Event::Attempt(attempt));
                let standing = self.standing_of(site, &outcome.served, now);
                let problem = news.state.as_ref().and_then(|told| told.problem);
                // What a worker does not ask is to be sent yet: so it stays until that has given it back.
                if let Some(told) = news.state.filter(|told| !told.is_not_asked()) {
                    self.change(site, |state| {
                        state.told_by_worker(&told);
                        state.take_standing(standing);
                    });
                }
                self.hear_worker(site, (&outcome, problem), news.by, now);
                self.sound(site);
            }
        }
    }

    /// What a worker's answer says of the master key.
    fn hear_worker(
        &mut self,
        site: SiteId,
        (outcome, problem): (&Outcome, Option<Problem>),
        by: CleanText,
        now: Moment,
    ) {
        if outcome.request != Request::Put {
            return;
        }
        let word = match (outcome.cause, outcome.http) {
            (Some(Cause::RefusedKey), Some(_)) => Word::Refused,
            (None | Some(Cause::RefusedFormat), _) => Word::Accepted,
            (Some(Cause::BadAnswer), _) if problem == Some(Problem::SaysNotStored) => Word::Accepted,
            _ => Word::Nothing,
        };
        let key = self.sites[site.index()].master_key;
        if let Some(hands) = self.hands.as_mut().filter(|_| word == Word::Refused) {
            hands.refused_by.entry(key).or_default().insert(by);
        }
        self.hear_of_key(site, word, now);
    }

    /// Whose master key it was that sites have refused, behind a sentence that says so: each worker has its own.
    pub(super) fn refused_by_in_words(&self, key: MasterKeyId) -> String {
        let hosts = self.hands.as_ref().and_then(|hands| hands.refused_by.get(&key));
        let hosts: Vec<&str> = hosts.into_iter().flatten().map(CleanText::as_str).collect();
        match hosts.len() {
            0 => String::new(),
            1 => format!(" (asked by the worker on {})", hosts[0]),
            _ => format!(" (asked by the workers on {})", some_names(&hosts)),
        }
    }

    /// Of sites that a worker does not know, a line for each worker: a note at each site says so, too.
    fn tell_of_strange(&mut self) {
        let Some(hands) = &mut self.hands else { return };
        let mut of_workers: BTreeMap<(RunId, CleanText), Vec<CleanText>> = BTreeMap::new();
        for (site, worker) in std::mem::take(&mut hands.came_back_strange) {
            let Some(run) = self.slots[site.index()].state.run else {
                continue;
            };
            let name = self.sites[site.index()].name.clone();
            of_workers.entry((run, worker)).or_default().push(name);
        }
        let mut lines = Vec::new();
        for ((run, worker), names) in of_workers {
            let strange = hands.strange.entry((run, worker.clone())).or_default();
            lines.extend(strange.add(names).map(|sites| {
                format!(
                    "run {}: {worker} does not know {sites}: bring its config together with this one, start it anew, \
                     and retry them",
                    run.0
                )
            }));
        }
        for line in lines {
            self.say(Level::Warning, line);
        }
    }

    /// A worker has given the site back. What is to come of it is like what the dead have left.
    fn take_back(&mut self, run: RunId, url: &SiteUrl, newest: &Newest) {
        let now = self.clock.now();
        let Some(site) = self.handed(run, url) else {
            return;
        };
        let is_strange = self.slots[site.index()].is_strange_to_worker(run, &newest.state);
        if is_strange && let Some(hands) = &mut self.hands {
            hands.came_back_strange.push((site, newest.state.detail.clone()));
        }
        if !is_strange && self.slots[site.index()].has_ended_unknown(run) {
            // Its tries are over: to order it anew would be to begin with them again.
            self.let_go_of(site);
            self.adopt(site, newest);
            let next = self.slots[site.index()].state.wait_left(now);
            return self.follow(site, next, now);
        }
        let not_asked = self.slots[site.index()].was_not_asked(run, &newest.state);
        let may_be_unsent = self.may_be_unsent(site) && !not_asked;
        let mut next = self.take_from_worker(site, newest);
        if let Push::Unknown(cause) = newest.state.push
            && is_strange
        {
            return self.leave_unknown(site, cause, &newest.state.detail, now);
        }
        if self.slots[site.index()].state.awaits_put() {
            if not_asked {
                self.hear_of_key(site, Word::NotAsked, now);
            }
            if self.is_key_refused(site) {
                return self.leave_not_asked(site, now);
            }
            if let Next::At(_, call) = next
                && not_asked
            {
                // Others take the key: another worker may have it.
                next = Next::At(now + wait(self.slots[site.index()].unasked), call);
                if let Some(hands) = &mut self.hands {
                    hands.unasked.add(site);
                }
            }
            if may_be_unsent {
                next = self.back_unsent(site, next, now);
            }
        }
        self.follow(site, next, now);
        self.hold_too(site, now);
    }

    /// The worker that was to find out what became of the site's PUT does not know it: that is for a retry, once one does.
    fn leave_unknown(&mut self, site: SiteId, cause: Cause, worker: &CleanText, now: Moment) {
        let (policy, worker) = (self.settings.policy.clone(), worker.clone());
        let next = self.change(site, |state| state.stays_unknown(cause, worker, &policy, now));
        self.schedule.forget(site);
        self.follow(site, next, now);
        self.record(site, None);
    }

    /// No worker has the site any more, and this is on record of it.
    fn take_from_worker(&mut self, site: SiteId, newest: &Newest) -> Next {
        let now = self.clock.now();
        self.let_go_of(site);
        let wave = self.slots[site.index()].state.wave;
        let next = self.taken_over(site, newest);
        self.change(site, |state| state.wave = wave);
        let serves = self.slots[site.index()].state.now.clone();
        let standing = self.standing_of(site, &serves, now);
        if self.change(site, |state| state.take_standing(standing)) {
            self.record(site, None);
        }
        self.sound(site);
        next
    }

    /// Another process has taken the run up. From now on it is here like one without workers: its looks are made, and its
    /// first PUT that is not put on record halts it.
    fn leave_to_others(&mut self, run: RunId, sites: &[(SiteUrl, Newest)]) {
        if let Some(hands) = &mut self.hands {
            hands.runs.remove(&run);
        }
        for (url, newest) in sites {
            if let Some(site) = self.handed(run, url) {
                let next = self.take_from_worker(site, newest);
                self.goes_on_here(site, next);
            }
        }
        // Those that were gathered, and no worker was to have yet.
        let of_run = |slot: &Slot| slot.handed().is_some_and(|handed| handed.run == run);
        for index in 0..self.slots.len() {
            if of_run(&self.slots[index]) {
                self.let_go_of(SiteId::at(index));
                let next = self.slots[index].state.wait_left(self.clock.now());
                self.goes_on_here(SiteId::at(index), next);
            }
        }
    }

    fn goes_on_here(&mut self, site: SiteId, next: Next) {
        let now = self.clock.now();
        let is_to_put = next == Next::Rest && self.slots[site.index()].state.awaits_put();
        // What another process is about to send is to be sent here too, as far as this one knows.
        let next = if is_to_put { Next::At(now, Call::Put) } else { next };
        self.follow(site, next, now);
        self.hold_too(site, now);
    }

    /// The store did not take them: they are here again.
    fn not_handed(&mut self, part: &Part, error: &StoreError) {
        let now = self.clock.now();
        let mut any = false;
        for url in &part.sites {
            let Some(site) = self.handed(part.run, url) else {
                continue;
            };
            any = true;
            self.let_go_of(site);
            let call = if part.puts { Call::Put } else { Call::Look };
            let later = if part.puts { now } else { now + GATHER * 30 };
            self.follow(site, Next::At(later, call), now);
        }
        if part.puts && any {
            let text = format!("halted: nothing can be handed over to workers, so nothing is sent ({error})");
            self.hold(Halt::Unrecorded, text);
        }
    }
}
