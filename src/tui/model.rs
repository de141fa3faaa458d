use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use figures::Figures;
use others::Others;
pub use others::OthersRun;
use stripe::Stripe;

use super::field::KeyField;
use super::filter::{Filter, Looked};
use super::keys::Bindings;
use super::list::List;
use super::live::Live;
use super::setup::Setup;
use super::theme::Theme;
use crate::engine::{Attempt, Level, Message, RunInfo, Shown};
use crate::key::PublishableKey;
use crate::rules::acknowledgement::Acknowledged;
use crate::rules::crew::Crew;
use crate::rules::expiry::Expiry;
use crate::rules::moment::{Moment, clock};
use crate::rules::rollout;
use crate::rules::run::{RunId, RunPhase};
use crate::rules::state::{RetryPlan, SiteState};
use crate::rules::tally::Tally;
use crate::site::{Site, SiteId, SiteUrl};
use crate::store::{Holder, RunRecord};
use crate::text::{Count, drawable, width};

/// Sites that the operator knows to be bad.
mod acknowledged;
/// Runs of other processes beside this screen's.
mod others;
/// What it knows of where its sites come from.
mod origin;
/// What its terminal makes of text for a clipboard.
mod clipboard;
/// What is counted over all sites.
mod figures;
/// Which sites are shown, and on which of them an action goes.
mod shown;
/// What has how much room on this terminal.
mod room;
/// A key that may be of another Stripe account.
mod account;
/// What Stripe says of keys.
mod stripe;
/// How keys, times and texts are written on this terminal.
mod written;

pub use clipboard::Clipboard;

/// What a screen that only watches says of what it does not do.
pub(super) const READ_ONLY: &str = "this screen is read-only: it watches, and steers nothing";
/// The smallest screen that is drawn, in columns and rows.
pub(super) const SMALLEST: (u16, u16) = (60, 15);
/// The row of the screen in which the first site stands: below header, keys, a line and the heads.
const FIRST_ROW: u16 = 5;
/// What is known of a site is taken for true so long when the screen opens.
pub const KNOWN_FOR: Duration = Duration::from_hours(1);
/// What the operator is told stays so long at least, whatever happens meanwhile.
const READING: Duration = Duration::from_secs(3);
/// Messages that are kept.
const MESSAGES: usize = 1000;
/// Attempts of a site that are kept.
const ATTEMPTS: usize = 50;

/// What the screen begins with.
#[derive(Debug, Clone)]
pub struct Start {
    /// The sites.
    pub sites: Arc<[Site]>,
    /// What is known of them.
    pub states: Vec<SiteState>,
    /// `user@host`.
    pub operator: String,
    /// The config's name, as the header shows it.
    pub config: String,
    /// Where a config was looked for, if there is none.
    pub searched: Vec<PathBuf>,
    /// The run that went last.
    pub run: Option<RunInfo>,
    /// When the last screen was lost while its run went on, if nobody has looked since.
    pub away_since: Option<Moment>,
    /// A key that stands in the field already.
    pub key: Option<PublishableKey>,
    /// Where the sites come from.
    pub setup: Setup,
    /// How it looks.
    pub options: Options,
    /// Columns and rows.
    pub size: (u16, u16),
}

/// How the screen looks and what it is on.
#[derive(Debug, Clone)]
pub struct Options {
    /// ASCII glyphs and borders.
    pub ascii: bool,
    /// The theme.
    pub theme: Theme,
    /// Which action has which keys.
    pub keys: Bindings,
    /// Whether the sites are the demo's, which `H` mends.
    pub demo: bool,
    /// Whether nothing may be sent or steered from this screen.
    pub read_only: bool,
    /// Who goes first in a push, and when it halts.
    pub rollout: rollout::Settings,
    /// What the terminal may make of text for its clipboard (OSC 52).
    pub clipboard: Clipboard,
    /// Where times of day are read.
    pub zone: TimeZone,
}

/// All state of the screen.
#[derive(Debug)]
pub struct Model {
    pub(super) sites: Arc<[Site]>,
    pub(super) states: Vec<SiteState>,
    pub(super) tally: Tally,
    /// The run that is to be rolled back when nothing of it is sent any more: somebody asked for the plan of that.
    pub(super) rolls_back_next: Option<RunId>,
    /// What the engine has told of backends, by their names.
    pub(super) backends: HashMap<Arc<str>, Shown>,
    /// When the watch looks at all sites next, if it is on.
    pub(super) watch: Option<Moment>,
    /// Sites that the operator knows to be bad.
    pub(super) acknowledged: Acknowledged,
    /// When the next acknowledgement ends.
    acknowledged_until: Option<Timestamp>,
    pub(super) operator: String,
    pub(super) config: String,
    pub(super) searched: Vec<PathBuf>,
    pub(super) setup: Setup,
    pub(super) options: Options,
    pub(super) size: (u16, u16),
    pub(super) list: List,
    pub(super) filter: Filter,
    pub(super) field: KeyField,
    pub(super) messages: VecDeque<Message>,
    /// The message that is shown below the table.
    pub(super) line: Option<Message>,
    /// Since when a dialog may hide it: what is said later is shown by the dialog.
    pub(super) behind_since: Moment,
    /// Whether what happens all the time leaves it there: until the operator presses a key.
    pub(super) pinned: bool,
    /// When the screen opened.
    pub(super) opened: Moment,
    /// Since when nobody has looked, until that was told.
    pub(super) away_since: Option<Moment>,
    /// What happened while nobody looked.
    pub(super) meanwhile: Option<Message>,
    pub(super) attempts: HashMap<SiteId, VecDeque<Attempt>>,
    pub(super) run: Option<RunInfo>,
    pub(super) live: Live,
    /// What Stripe says of keys.
    pub(super) stripe: Stripe,
    figures: Figures,
    /// Whether a site has a group.
    pub(super) has_groups: bool,
    /// The columns of the longest name.
    pub(super) name_columns: usize,
    /// Pushes and retries that were ordered and that the engine has not taken yet: their master keys are
    /// being read, say.
    pub(super) ordered: usize,
    /// Why the last of them was not sent, if its master key could not be read.
    pub(super) refused_order: Option<String>,
    /// Whose run is shown and steered, if it is another process's.
    pub(super) attached: Option<Holder>,
    /// What others do beside that.
    pub(super) others: Others,
    /// The workers that are there, where they make the calls of runs, once that is known.
    pub(super) crew: Option<Crew>,
    /// Runs that a process before has left, newest first.
    pub(super) left: Vec<RunRecord>,
    /// Sites for which a retry does something.
    pub(super) failed: usize,
    /// Sites that a retry asks about first.
    pub(super) held_back: usize,
    /// A key that begins otherwise than those that sites serve, and whether a site ever served it as far as is on
    /// record: none while that is being read.
    pub(super) strange_key: Option<(PublishableKey, Option<bool>)>,
    /// How many preflights were ordered.
    pub(super) preflights: u64,
    /// Why root's policy does not let the operator push, if it does not.
    pub(super) denied: Option<String>,
    pub(super) now: Moment,
}

impl Model {
    /// The screen at its beginning.
    pub fn new(start: Start, now: Moment) -> Self {
        let mut states = start.states;
        states.resize(start.sites.len(), SiteState::default());
        let names = start
            .sites
            .iter()
            .map(|site| width(&drawable(site.name.as_str())));
        let mut model = Self {
            tally: Tally::of(&states),
            watch: None,
            acknowledged: Acknowledged::default(),
            acknowledged_until: None,
            list: List::new(&start.sites, &states),
            filter: Filter::default(),
            figures: Figures::of(start.run.as_ref().map(|run| (run.id, &run.key)), &states),
            name_columns: names.max().unwrap_or_default(),
            has_groups: start.sites.iter().any(|site| site.group.is_some()),
            sites: start.sites,
            states,
            rolls_back_next: None,
            backends: HashMap::new(),
            operator: start.operator,
            config: start.config,
            searched: start.searched,
            setup: start.setup,
            options: start.options,
            size: start.size,
            field: KeyField::new(start.key),
            messages: VecDeque::new(),
            line: None,
            behind_since: now,
            pinned: false,
            opened: now,
            away_since: start.away_since,
            meanwhile: None,
            attempts: HashMap::new(),
            run: start.run,
            live: Live::default(),
            stripe: Stripe::default(),
            ordered: 0,
            refused_order: None,
            attached: None,
            others: Others::default(),
            crew: None,
            left: Vec::new(),
            failed: 0,
            held_back: 0,
            strange_key: None,
            preflights: 0,
            denied: None,
            now,
        };
        for (place, state) in model.states.iter().enumerate() {
            let (failed, held_back) = retry_counts(state);
            model.list.set_failed(SiteId::at(place), (failed, held_back));
            model.failed += failed;
            model.held_back += held_back;
        }
        model.greet();
        model
    }

    fn greet(&mut self) {
        let owed = self.owed().len();
        if owed > 0 {
            let key = self.key_of("owed");
            let text = match owed {
                1 => format!("1 site is owed a key: {key} tells which"),
                owed => format!("{owed} sites are owed a key: {key} lists them"),
            };
            self.say(Level::Warning, text);
        }
        let text = if self.sites.is_empty() || owed > 0 {
            return;
        } else if self.field.key().is_some() {
            format!(
                "{} reviews and pushes {}",
                self.key_of("push all"),
                self.sites.len()
            )
        } else {
            let (edit, help) = (self.key_of("edit key"), self.key_of("help"));
            if self.options.read_only {
                return self.say(Level::Info, format!("{READ_ONLY}; {help} tells all keys"));
            }
            format!("{edit} takes the new key; {help} tells all keys")
        };
        self.say(Level::Info, text);
    }

    /// What is pressed for the action of this name, for a sentence.
    pub(super) fn key_of(&self, action: &str) -> String {
        self.text(&self.options.keys.word(action))
    }

    /// A site.
    pub fn site(&self, id: SiteId) -> &Site {
        &self.sites[id.index()]
    }

    /// Where each address stands in the list.
    pub fn places(&self) -> HashMap<SiteUrl, SiteId> {
        let sites = self.sites.iter().enumerate();
        sites
            .map(|(place, site)| (site.url.clone(), SiteId::at(place)))
            .collect()
    }

    /// What is known of a site.
    pub fn state(&self, id: SiteId) -> &SiteState {
        &self.states[id.index()]
    }

    /// Each site, in the order of the list.
    pub fn all(&self) -> Vec<SiteId> {
        (0..self.sites.len()).map(SiteId::at).collect()
    }

    /// The sites that `P` takes, and a dry run with it.
    pub fn pushed_by_all(&self) -> Vec<SiteId> {
        self.visible()
    }

    /// Sites for which a retry does something without a question.
    pub fn failed_sites(&self) -> Vec<SiteId> {
        let fails = |id: &SiteId| matches!(self.state(*id).retry_plan(), RetryPlan::Push | RetryPlan::Look);
        self.all().into_iter().filter(fails).collect()
    }

    /// Sites that are not known to serve what is expected of them, the longest so first.
    pub fn owed(&self) -> Vec<SiteId> {
        let mut owed: Vec<SiteId> = self
            .all()
            .into_iter()
            .filter(|id| self.state(*id).is_owed())
            .collect();
        owed.sort_by_key(|id| self.state(*id).expected_since);
        owed
    }

    /// Sites of which what is known is so old that a screen that opens looks at them.
    pub fn to_look_at_first(&self) -> Vec<SiteId> {
        let old = |id: &SiteId| {
            let looked = self.state(*id).looked_at;
            looked.is_none_or(|looked| self.now.since(looked) >= KNOWN_FOR)
        };
        let mut sites = self.enabled(self.all());
        sites.retain(old);
        sites
    }

    /// Those of `sites` that the config does not disable: only they are asked for anything.
    pub fn enabled(&self, sites: Vec<SiteId>) -> Vec<SiteId> {
        let mut sites = sites;
        sites.retain(|id| self.site(*id).enabled);
        sites
    }

    /// The run, if there was one.
    pub fn run(&self) -> Option<&RunInfo> {
        self.run.as_ref()
    }

    /// What is known of each site.
    pub fn into_states(self) -> Vec<SiteState> {
        self.states
    }

    /// Whose run is shown, if it is another process's.
    pub fn attached_to(&self) -> Option<&Holder> {
        self.attached.as_ref()
    }

    /// Whether the run that is shown is another process's.
    pub fn is_attached(&self) -> bool {
        self.attached.is_some()
    }

    /// Whether something was ordered that the engine has not taken yet.
    pub fn is_ordered(&self) -> bool {
        self.ordered > 0
    }

    /// Why the last order came to nothing, if it did so before the engine had it.
    pub fn refused_order(&self) -> Option<&str> {
        self.refused_order.as_deref()
    }

    /// Says of which run how many sites are retried, and with which key.
    pub(super) fn say_retry(&mut self, sites: usize) {
        // From a screen that only watches it does not happen.
        if let Some(run) = self.run.as_ref().filter(|_| !self.options.read_only) {
            let sites = Count(sites, "site");
            let paused = if run.phase.is_held() {
                ", once the run goes on"
            } else {
                ""
            };
            let text = format!(
                "retries {sites} of run {} with {}{paused}",
                run.id.0,
                self.mask(&run.key)
            );
            self.say(Level::Info, text);
        }
    }

    /// Whether a run goes on: something of it is still to be sent or to be proven.
    pub fn is_run_open(&self) -> bool {
        let goes_on = |run: &RunInfo| run.phase != RunPhase::Settled;
        self.is_ordered() || self.run.as_ref().is_some_and(goes_on)
    }

    /// Whether PUTs of a run are out or to come.
    pub fn is_sending(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.phase.is_sending())
    }

    /// Sites of the run whose PUT is still to come or out.
    pub fn left_to_send(&self) -> usize {
        if self.run.as_ref().is_some_and(|run| run.halt.is_some()) {
            // Those that are not started may still go: their word does not tell them from others.
            let is_left = |state: &&SiteState| state.in_run && (state.is_to_send() || state.is_not_asked());
            return self.states.iter().filter(is_left).count();
        }
        let words = ["queued", "sending", "retrying"];
        words.into_iter().map(|word| self.tally.push(word)).sum()
    }

    /// Sites of the run that had their turn: not those that wait, or were cancelled.
    pub fn done(&self) -> usize {
        self.figures.done()
    }

    /// Sites that the run gets done a minute of late, while it sends.
    pub fn rate(&self) -> Option<u64> {
        self.run.as_ref().filter(|run| run.phase == RunPhase::Sending)?;
        self.live.pace.a_minute(self.now)
    }

    /// When the last site has had its turn, at the pace of late.
    pub fn done_at(&self) -> Option<Moment> {
        self.run.as_ref().filter(|run| run.phase == RunPhase::Sending)?;
        self.live.pace.finish(self.left_to_send(), self.now)
    }

    /// When the last proof is due, if any is.
    pub fn proof_at(&self) -> Option<Moment> {
        self.figures.proof_at()
    }

    /// Whether the keys that the run replaces may expire now; none without a run.
    pub fn expiry(&self) -> Option<Expiry> {
        let expiry = self.figures.expiry(self.now)?;
        Some(expiry.lacking_sources(self.setup.failed.len()))
    }

    /// When [`super::Message::Wake`] is wanted next.
    pub fn wake_at(&self) -> Option<Moment> {
        let rested = self
            .list
            .rests_until()
            // What is over is done with the next frame, and that may have to wait for the terminal.
            .filter(|rested| *rested > self.now);
        let waits = [rested, self.field.wake_at(), self.acknowledged_until()];
        waits.into_iter().flatten().min()
    }

    pub(super) fn say(&mut self, level: Level, text: impl Into<String>) {
        self.take_message(Message {
            at: self.now,
            level,
            text: text.into(),
        });
    }

    /// As [`Model::say`], of something that happens all the time, and happened `at` then: an answer to the operator is
    /// not pushed away before it can be read.
    pub(super) fn mention(&mut self, at: Moment, level: Level, text: String) {
        let (pinned, now) = (self.pinned, self.now);
        let answer = self.line.take_if(|line| pinned || now.since(line.at) < READING);
        self.take_message(Message { at, level, text });
        if let Some(answer) = answer {
            self.line = Some(answer);
        }
    }

    /// Takes it into its place by time. What is older than the screen is no news.
    pub(super) fn take_message(&mut self, message: Message) {
        let is_news = message.at.since_start >= self.opened.since_start;
        let place = if is_news {
            0
        } else {
            let at = message.at.since_start;
            self.messages.partition_point(|other| other.at.since_start > at)
        };
        if is_news {
            self.line = Some(message.clone());
        }
        self.messages.insert(place, message);
        self.messages.truncate(MESSAGES);
    }

    pub(super) fn take_attempt(&mut self, attempt: Attempt) {
        self.live.take_attempt(&attempt);
        let of_site = self.attempts.entry(attempt.site).or_default();
        of_site.push_back(attempt);
        if of_site.len() > ATTEMPTS {
            of_site.pop_front();
        }
    }

    pub(super) fn take_state(&mut self, id: SiteId, state: SiteState) {
        let old = &self.states[id.index()];
        self.tally.replace(old, &state);
        self.live.take_state(id, old, &state, self.now);
        self.figures.replace(id.index(), old, &state);
        let (before, after) = (retry_counts(old), retry_counts(&state));
        self.failed = self.failed + after.0 - before.0;
        self.held_back = self.held_back + after.1 - before.1;
        self.list.set_failed(id, after);
        self.states[id.index()] = state;
        self.place(id);
    }

    /// Gives a site the place in the list that it has now.
    fn place(&mut self, id: SiteId) {
        let looked = Looked {
            site: &self.sites[id.index()],
            state: &self.states[id.index()],
            acknowledgement: self.acknowledged.of(&self.sites[id.index()].url, self.now.wall),
            clock: &|moment| clock(moment, self.now, &self.options.zone),
        };
        self.list.change(id, &looked, &self.filter);
    }
}

/// How many sites more a retry does something for, and asks about first.
fn retry_counts(state: &SiteState) -> (usize, usize) {
    let plan = state.retry_plan();
    (usize::from(plan.is_failed()), usize::from(plan.asks()))
}
