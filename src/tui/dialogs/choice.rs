use std::path::{Path, PathBuf};
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::text::{Line, Span};

use super::{Deed, Dialog, PlanDialog, Pressed, draw_box};
use crate::engine::{Attempts, Command, LeftRun, Level, RunInfo};
use crate::rules::progress::Progress;
use crate::rules::run::{Halt, RunId};
use crate::rules::state::{Allow, RetryPlan};
use crate::site::{SiteId, SiteUrl};
use crate::store::RunRecord;
use crate::text::Count;
use crate::tui::model::Model;
use crate::tui::setup::{SetupOrder, shown};
use crate::tui::theme::Part;
use crate::tui::{Effect, Leave};

/// A run this old is asked about again: its key may have been replaced since.
pub const OLD_RUN: Duration = Duration::from_hours(1);

/// A question with a few answers; `Esc` is always the harmless one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    title: &'static str,
    text: Told,
    answers: Vec<Answer>,
    /// What `Esc` means here.
    escape: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    key: char,
    label: &'static str,
    meaning: Meaning,
}

/// What stands above the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Text(String),
    /// How much is left of a paused run.
    Paused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    GoOn,
    GoOnAndRetry(Vec<SiteId>),
    Retry(Vec<SiteId>),
    Cancel,
    CancelAndRollBack(RunId),
    Leave(Leave),
    RetryWithRunsKey(Vec<SiteId>),
    PlanWithFieldsKey(Vec<SiteId>),
    /// Takes up a run that was left; asks once more if it is old.
    Resume(Box<LeftRun>, Option<String>),
    /// Ends it.
    Close(RunId),
    /// Writes sites of the session to the config, or not.
    WriteSites(PathBuf, Vec<SiteUrl>),
    Nothing,
    Do(Deed, Vec<SiteId>),
}

fn answer(key: char, label: &'static str, meaning: Meaning) -> Answer {
    Answer { key, label, meaning }
}

/// Repeats what failed on these sites. Those where only the look failed need no master key.
pub fn again(model: &Model, sites: &[SiteId]) -> Vec<Effect> {
    let looks = |id: &SiteId| model.state(*id).retry_plan() == RetryPlan::Look;
    let (looks, puts): (Vec<SiteId>, Vec<SiteId>) = sites.iter().copied().partition(looks);
    let mut effects = Vec::new();
    if !puts.is_empty() {
        let allow = Allow::default();
        effects.push(Effect::Engine(Command::Retry { sites: puts, allow }));
    }
    if !looks.is_empty() {
        effects.push(Effect::Engine(Command::Look {
            sites: looks,
            expected: None,
            attempts: Attempts::Policy,
            background: false,
        }));
    }
    effects
}

/// As a sentence begins.
fn capital(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(characters).collect()
}

/// What `Esc` means where a key asks again; which one is added.
const LATER: &str = "later";

impl Choice {
    /// The run is paused, or halted by itself: what now?
    pub fn paused(run: Option<&RunInfo>, failed: Vec<SiteId>) -> Self {
        let mut answers = vec![
            answer('g', "go on", Meaning::GoOn),
            answer(
                'x',
                "cancel the rest; what is stored gets its proof",
                Meaning::Cancel,
            ),
        ];
        let halt = run.and_then(|run| run.halt);
        if !failed.is_empty() {
            answers.push(if halt == Some(Halt::Canary) {
                let label = "retry what failed; the rest follows when the canary serves the key";
                answer('r', label, Meaning::Retry(failed))
            } else if matches!(halt, Some(Halt::RefusedKey { .. })) {
                // Those that were not asked are among them.
                answer('r', "go on, and retry what failed", Meaning::Retry(failed))
            } else {
                answer('r', "go on, and retry what failed", Meaning::GoOnAndRetry(failed))
            });
        }
        if let Some(run) = run {
            answers.push(answer(
                'u',
                "cancel the rest, and plan to roll back what was sent",
                Meaning::CancelAndRollBack(run.id),
            ));
        }
        let halted = halt.is_some_and(Halt::is_bad);
        Self {
            title: if halted { "halted" } else { "paused" },
            text: Told::Paused,
            answers,
            escape: if halted { "stay halted" } else { "stay paused" },
        }
    }

    /// The screen is to be left while a run goes on.
    pub fn quit(model: &Model) -> Self {
        let held = model.run().map(|run| run.phase).filter(|phase| phase.is_held());
        let demo = model.options.demo;
        let text = match held {
            _ if demo => "The run can go on without the screen until all is settled. The demo ends with it, and no \
                          screen can attach to it."
                .to_owned(),
            Some(phase) => format!(
                "The run is {0}. It can go on without the screen, or stay {0}: then it waits an hour for a screen to \
                 attach to it, and is left unfinished after that.",
                phase.word()
            ),
            None if model.is_sending() => {
                "A run is sending. It can go on without the screen: it sends and looks until all is settled."
                    .to_owned()
            }
            None => "Proofs are still due. The program can go on without the screen until each site has its proof."
                .to_owned(),
        };
        let goes_on = if demo || held.is_some() {
            "let it go on, without the screen"
        } else {
            "leave it running, without the screen"
        };
        let mut answers = vec![answer('l', goes_on, Meaning::Leave(Leave::RunGoesOn))];
        if held.is_some() && !demo {
            answers.push(answer('p', "leave it as it is", Meaning::Leave(Leave::RunWaits)));
        }
        let cancels = if model.is_sending() || held.is_some() {
            "cancel: what is out ends, the rest is not sent, nothing more is looked at"
        } else {
            "end it: nothing more is looked at, so no proof comes"
        };
        answers.push(answer('x', cancels, Meaning::Leave(Leave::Cancel)));
        Self {
            title: "quit",
            text: Told::Text(text),
            answers,
            escape: "stay",
        }
    }

    /// The field holds another key than the run of the sites that are to be repeated.
    pub fn which_key(sites: Vec<SiteId>, run: &str, field: &str) -> Self {
        let answers = vec![
            answer(
                '1',
                "repeat the run with its own key",
                Meaning::RetryWithRunsKey(sites.clone()),
            ),
            answer(
                '2',
                "plan a push of the key in the field",
                Meaning::PlanWithFieldsKey(sites),
            ),
        ];
        let text = format!("The run's key is {run}; the field holds {field}. Which of them?");
        Self {
            title: "which key",
            text: Told::Text(text),
            answers,
            escape: "neither",
        }
    }

    /// Something is to be done to marked sites, of which the filter hides some: the last of `marked`.
    pub fn hidden_marks(deed: Deed, marked: Vec<SiteId>, hidden: usize) -> Self {
        let shown = marked[..marked.len() - hidden].to_vec();
        let text = format!(
            "{} marked, and the filter hides {hidden} of them. What is to be {}?",
            Count(marked.len(), "site"),
            deed.done()
        );
        let mut answers = vec![answer('a', "all that are marked", Meaning::Do(deed, marked))];
        if !shown.is_empty() {
            answers.push(answer('s', "only those that are shown", Meaning::Do(deed, shown)));
        }
        Self {
            title: "marks out of sight",
            text: Told::Text(text),
            answers,
            escape: "nothing",
        }
    }

    /// Nothing of what was ordered was sent: why. There is nothing to choose, but it is not to be overlooked.
    pub fn not_sent(why: String) -> Self {
        Self {
            title: "nothing of yours was sent",
            text: Told::Text(why),
            answers: Vec::new(),
            escape: "closes this",
        }
    }

    /// A run that a process before has left, and that nobody works on.
    pub fn unfinished(model: &Model, run: &RunRecord) -> Self {
        let of_run = || {
            model
                .all()
                .into_iter()
                .filter(|id| model.state(*id).run == Some(run.id))
        };
        let left: Vec<SiteId> = of_run().filter(|id| model.state(*id).is_left_over()).collect();
        let mask = model.mask(&run.key);
        let mode = run.key.mode().word().to_uppercase();
        let text = format!(
            "Run {} of {} ({mode} {mask}, begun {}) was not finished: {}.",
            run.id.0,
            run.by.user,
            model.clock(run.began),
            Progress::of(of_run().map(|id| model.state(id))).words(),
        );
        let age = model.now.since(run.began);
        let old = (age >= OLD_RUN).then(|| {
            let hours = age.as_secs() / 3600;
            format!(
                "Run {} is {} old. Its key {mask} may have been replaced since: is it still the right one?",
                run.id.0,
                Count(usize::try_from(hours).unwrap_or(usize::MAX), "hour")
            )
        });
        let resumed = LeftRun {
            id: run.id,
            kind: run.kind,
            key: run.key.clone(),
            began: run.began,
            sites: left,
        };
        let answers = vec![
            answer(
                'g',
                "go on: look at the unknown, then push the rest",
                Meaning::Resume(Box::new(resumed), old),
            ),
            answer(
                'x',
                "close it: what it did not reach is left as it is",
                Meaning::Close(run.id),
            ),
        ];
        Self {
            title: "unfinished run",
            text: Told::Text(text),
            answers,
            escape: LATER,
        }
    }

    fn old_run(run: &LeftRun, question: String) -> Self {
        let answers = vec![
            answer(
                'y',
                "yes: go on with it",
                Meaning::Resume(Box::new(run.clone()), None),
            ),
            answer('x', "no: close the run", Meaning::Close(run.id)),
        ];
        Self {
            title: "an old run",
            text: Told::Text(question),
            answers,
            escape: LATER,
        }
    }

    /// Sites that were added stand in no config.
    pub fn write_sites(urls: Vec<SiteUrl>, file: &Path) -> Self {
        let (path, file) = (file.to_owned(), shown(file));
        let text = match urls.as_slice() {
            [url] => format!("Write {url} to {file}? Else it is there for this session only."),
            urls => format!(
                "Write the {} of this session to {file}?",
                Count(urls.len(), "site")
            ),
        };
        let yes = "write it at the end of the file; nothing else there changes";
        Self {
            title: "keep it",
            text: Told::Text(text),
            answers: vec![
                answer('y', yes, Meaning::WriteSites(path, urls)),
                answer('n', "not now", Meaning::Nothing),
            ],
            escape: "not now (adding a site asks again)",
        }
    }

    /// What stands above it.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// Whether it asks what becomes of a paused run.
    pub fn is_about_a_pause(&self) -> bool {
        self.text == Told::Paused
    }

    /// Whether it asks what becomes of this run, which a process before has left.
    pub fn is_about_left(&self, run: RunId) -> bool {
        let mut answers = self.answers.iter();
        answers.any(|answer| matches!(&answer.meaning, Meaning::Resume(left, _) if left.id == run))
    }

    pub(super) fn press(&self, model: &mut Model, press: KeyEvent) -> Pressed {
        if press.modifiers.contains(KeyModifiers::CONTROL) {
            return Pressed::Stays;
        }
        let KeyCode::Char(key) = press.code else {
            return if press.code == KeyCode::Esc {
                Pressed::Closes(Vec::new())
            } else {
                Pressed::Stays
            };
        };
        let Some(answer) = self.answers.iter().find(|answer| answer.key == key) else {
            return Pressed::Stays;
        };
        Pressed::Closes(match &answer.meaning {
            Meaning::GoOn => vec![Effect::Engine(Command::GoOn)],
            Meaning::Cancel => vec![Effect::Engine(Command::Cancel)],
            Meaning::CancelAndRollBack(run) => {
                // What is out ends first: a plan can begin nothing before.
                model.rolls_back_next = Some(*run);
                vec![Effect::Engine(Command::Cancel)]
            }
            Meaning::Do(deed, sites) => return Pressed::Does(*deed, sites.clone()),
            Meaning::Leave(leave) => vec![Effect::Quit(*leave)],
            Meaning::GoOnAndRetry(sites) => {
                model.say_retry(sites.len());
                let mut effects = vec![Effect::Engine(Command::GoOn)];
                effects.extend(again(model, sites));
                effects
            }
            Meaning::Retry(sites) => {
                model.say_retry(sites.len());
                again(model, sites)
            }
            Meaning::Resume(run, Some(question)) if model.setup.has_canary().is_ok() => {
                let asked = Self::old_run(run, question.clone());
                return Pressed::Becomes(Box::new(Dialog::Choice(asked)));
            }
            Meaning::Resume(run, _) => resume(model, run),
            Meaning::Close(run) => {
                model.forget_left(*run);
                vec![Effect::Engine(Command::Close(*run))]
            }
            Meaning::WriteSites(file, urls) => {
                let (file, urls) = (file.clone(), urls.clone());
                vec![Effect::Setup(SetupOrder::WriteSites { file, urls })]
            }
            Meaning::Nothing => Vec::new(),
            Meaning::RetryWithRunsKey(sites) => again(model, sites),
            Meaning::PlanWithFieldsKey(sites) => match PlanDialog::of_push(model, sites) {
                Ok(plan) => return Pressed::Becomes(Box::new(Dialog::Plan(Box::new(plan)))),
                Err(why) => {
                    model.say(Level::Warning, why);
                    Vec::new()
                }
            },
        })
    }

    pub(super) fn draw(&self, model: &Model, frame: &mut Frame) {
        let theme = model.options.theme;
        let text = match &self.text {
            Told::Text(text) => text.clone(),
            // As it is now: what was out when the dialog opened ends behind it.
            Told::Paused => {
                let why = model.run().and_then(|run| run.halt).map(Halt::sentence);
                let why = why.map_or_else(String::new, |why| format!("{}. ", capital(&why)));
                format!(
                    "{why}Nothing new is sent. {} left; what is out ends.",
                    model.left_to_send()
                )
            }
        };
        let mut lines = vec![Line::raw(model.text(&text)), Line::raw("")];
        let key = |name: &str| Span::styled(format!("{name:>3}  "), theme.style(Part::Key));
        for answer in &self.answers {
            lines.push(Line::from(vec![
                key(&answer.key.to_string()),
                Span::raw(answer.label),
            ]));
        }
        let escape = if self.escape == LATER {
            format!("{LATER} ({} asks again)", model.key_of("owed"))
        } else {
            self.escape.to_owned()
        };
        lines.push(Line::from(vec![key("Esc"), Span::raw(escape)]));
        draw_box(model, frame, self.title, lines, 0);
    }
}

/// Goes on with a run that was left; says why not where the canary that is named is missing.
fn resume(model: &mut Model, run: &LeftRun) -> Vec<Effect> {
    if let Err(why) = model.setup.has_canary() {
        model.say(Level::Warning, why);
        return Vec::new();
    }
    model.forget_left(run.id);
    vec![Effect::Engine(Command::Resume(run.clone()))]
}
