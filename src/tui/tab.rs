use std::time::Duration;

use super::model::Model;
use crate::config::TabSettings;
use crate::engine::RunInfo;
use crate::rules::moment::Moment;
use crate::rules::run::RunPhase;

/// A figure in the title or in the progress changes no oftener; what the run does is told at once.
const PACE: Duration = Duration::from_secs(1);

/// What the terminal shows of a run outside the screen, in its tab or task bar. Bytes where something changed,
/// none else.
#[derive(Debug)]
pub(super) struct Tab {
    settings: TabSettings,
    shown: Shown,
    written: Option<Moment>,
    /// When what was held back as too soon is written.
    due: Option<Moment>,
    /// How many ends of runs were rung for.
    rung: u64,
    /// How many notices of a watch were rung for.
    found: u64,
}

/// Title and progress, as the terminal was told them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Shown {
    title: String,
    progress: Progress,
    phase: Option<RunPhase>,
}

/// How far a run is, in percent, in the states that terminals know (`OSC 9 ; 4`, of `ConEmu`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Progress {
    #[default]
    None,
    Goes(usize),
    Halted(usize),
    Paused(usize),
}

impl Tab {
    /// For a screen that begins with `model`: what has ended before is not rung for.
    pub(super) fn new(settings: TabSettings, model: &Model) -> Self {
        Self {
            settings,
            shown: Shown::default(),
            written: None,
            due: None,
            rung: model.live.ended,
            found: model.live.found,
        }
    }

    /// The bytes that bring it to what `model` is now; none if that is shown already.
    pub(super) fn bring(&mut self, model: &Model, now: Moment) -> Vec<u8> {
        let mut bytes = Vec::new();
        let wanted = self.wanted(model);
        let is_new = wanted != self.shown;
        let too_soon = self
            .written
            .map(|written| written + PACE)
            .filter(|soonest| is_new && wanted.phase == self.shown.phase && now < *soonest);
        self.due = too_soon;
        if is_new && too_soon.is_none() {
            if wanted.title != self.shown.title {
                bytes.extend_from_slice(title_bytes(&wanted.title).as_bytes());
            }
            if wanted.progress != self.shown.progress {
                bytes.extend_from_slice(wanted.progress.bytes().as_bytes());
            }
            self.shown = wanted;
            self.written = Some(now);
        }
        if model.live.ended > self.rung {
            self.rung = model.live.ended;
            if self.settings.bell {
                bytes.push(0x07);
            }
        }
        if model.live.found > self.found {
            // Whoever watches wants to hear of it, whatever is wanted of runs.
            self.found = model.live.found;
            bytes.push(0x07);
        }
        bytes
    }

    /// When [`Tab::bring`] has something to write though nothing happens.
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    /// The terminal was given back, or something else may have written to it: all is written anew.
    pub(super) fn forget(&mut self) {
        (self.shown, self.written) = (Shown::default(), None);
    }

    fn wanted(&self, model: &Model) -> Shown {
        let run = model.run.as_ref();
        let done = run.map_or(0, |_| model.done());
        let mut wanted = Shown {
            phase: run.map(|run| run.phase),
            ..Shown::default()
        };
        if self.settings.title {
            wanted.title = title(run, done);
        }
        if self.settings.progress {
            wanted.progress = run.map_or(Progress::None, |run| Progress::of(run, done));
        }
        wanted
    }
}

/// The title, all in ASCII: nothing of it comes from outside.
fn title(run: Option<&RunInfo>, done: usize) -> String {
    const PROGRAM: &str = "stripe-propagate";

    let Some(run) = run else {
        return PROGRAM.to_owned();
    };
    let (number, puts, word) = (run.id.0, run.puts, run.phase.word());
    match run.phase {
        RunPhase::Sending => format!("{PROGRAM} {done}/{puts} run {number}"),
        RunPhase::Paused | RunPhase::Halted => format!("{PROGRAM} {word} {done}/{puts} run {number}"),
        RunPhase::Settling | RunPhase::Settled => format!("{PROGRAM} {word} run {number}"),
    }
}

impl Progress {
    fn of(run: &RunInfo, done: usize) -> Self {
        let percent = (done * 100).checked_div(run.puts).unwrap_or(100).min(100);
        match run.phase {
            RunPhase::Sending => Self::Goes(percent),
            RunPhase::Paused => Self::Paused(percent),
            RunPhase::Halted => Self::Halted(percent),
            // All is sent. That it is proven takes its time, which no percentage tells.
            RunPhase::Settling => Self::Goes(100),
            RunPhase::Settled => Self::None,
        }
    }

    fn bytes(self) -> String {
        let (state, percent) = match self {
            Self::None => (0, 0),
            Self::Goes(percent) => (1, percent),
            Self::Halted(percent) => (2, percent),
            Self::Paused(percent) => (4, percent),
        };
        format!("\x1b]9;4;{state};{percent}\x1b\\")
    }
}

/// `OSC 2` ends with `ST`, not with a bell: one that does not know it must not ring. The title of the icon
/// (`OSC 0` sets both) is left alone, since only this one is put back.
fn title_bytes(title: &str) -> String {
    format!("\x1b]2;{title}\x1b\\")
}

/// What is written when the terminal is taken: it keeps its title, if it can.
pub(super) fn opening(settings: TabSettings) -> &'static str {
    if settings.title { "\x1b[22;2t" } else { "" }
}

/// What is written when the terminal is given back: the title that it kept, or none; no progress.
pub(super) fn closing(settings: TabSettings) -> String {
    let mut bytes = String::new();
    if settings.title {
        bytes.push_str(&title_bytes(""));
        bytes.push_str("\x1b[23;2t");
    }
    if settings.progress {
        bytes.push_str(&Progress::None.bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::engine::Event;
    use crate::key::PublishableKey;
    use crate::store::RunId;
    use crate::tui::Message;
    use crate::tui::model::{Options, Start};
    use crate::tui::screen::Screen;
    use crate::tui::theme::Theme;
    use crate::tui::update::update;

    const ALL: TabSettings = TabSettings {
        title: true,
        progress: true,
        bell: true,
    };

    fn at(milliseconds: u64) -> Moment {
        Moment {
            since_start: Duration::ZERO,
            wall: Timestamp::UNIX_EPOCH,
        } + Duration::from_millis(milliseconds)
    }

    fn screen() -> Screen {
        let start = Start {
            sites: Arc::new([]),
            states: Vec::new(),
            operator: "ops@bastion".to_owned(),
            config: "shops.toml".to_owned(),
            searched: Vec::new(),
            setup: crate::tui::setup::Setup::default(),
            run: None,
            away_since: None,
            key: None,
            options: Options {
                rollout: crate::rules::rollout::Settings::default(),
                ascii: false,
                theme: Theme::DEFAULT,
                keys: crate::tui::keys::Bindings::new(Vec::new()),
                clipboard: crate::tui::model::Clipboard::Takes,
                demo: false,
                read_only: false,
                zone: TimeZone::UTC,
            },
            size: (120, 40),
        };
        Screen::new(start, at(0))
    }

    fn run(screen: &mut Screen, phase: RunPhase, puts: usize) {
        let key = format!("pk_live_51{}", "Example".repeat(13));
        let run = RunInfo {
            kind: crate::rules::run::Kind::Push,
            halt: None,
            rollout: crate::rules::rollout::Rollout::default(),
            id: RunId(12),
            key: PublishableKey::parse(&key).unwrap(),
            phase,
            started: at(0),
            ended: None,
            puts,
        };
        update(screen, Message::Engine(Event::Run(run)), at(0));
    }

    fn text(tab: &mut Tab, screen: &Screen, milliseconds: u64) -> String {
        String::from_utf8(tab.bring(&screen.model, at(milliseconds))).unwrap()
    }

    #[test]
    fn title_progress_and_bell_follow_the_run() {
        let mut screen = screen();
        let mut tab = Tab::new(ALL, &screen.model);
        assert_eq!(text(&mut tab, &screen, 0), "\x1b]2;stripe-propagate\x1b\\");
        assert_eq!(text(&mut tab, &screen, 10_000), "");
        for (phase, bytes) in [
            (
                RunPhase::Sending,
                "\x1b]2;stripe-propagate 0/4 run 12\x1b\\\x1b]9;4;1;0\x1b\\",
            ),
            (
                RunPhase::Paused,
                "\x1b]2;stripe-propagate paused 0/4 run 12\x1b\\\x1b]9;4;4;0\x1b\\",
            ),
            (
                RunPhase::Halted,
                "\x1b]2;stripe-propagate halted 0/4 run 12\x1b\\\x1b]9;4;2;0\x1b\\\x07",
            ),
            (
                RunPhase::Settling,
                "\x1b]2;stripe-propagate settling run 12\x1b\\\x1b]9;4;1;100\x1b\\",
            ),
            (
                RunPhase::Settled,
                "\x1b]2;stripe-propagate settled run 12\x1b\\\x1b]9;4;0;0\x1b\\\x07",
            ),
        ] {
            run(&mut screen, phase, 4);
            assert_eq!(text(&mut tab, &screen, 10_001), bytes);
            run(&mut screen, phase, 4);
            assert_eq!(text(&mut tab, &screen, 20_000), "", "once");
        }
    }

    #[test]
    fn what_a_watch_finds_rings_whatever_is_wanted_of_runs_and_its_end_does_not() {
        let mut screen = screen();
        let quiet = TabSettings {
            title: false,
            progress: false,
            bell: false,
        };
        let mut tab = Tab::new(quiet, &screen.model);
        let found = |over| {
            let text = "maison-est drifted: served the expected key".to_owned();
            Message::Watch(crate::tui::WatchNews::Notice { text, over })
        };
        update(&mut screen, found(false), at(0));
        assert_eq!(text(&mut tab, &screen, 0), "\x07");
        assert_eq!(text(&mut tab, &screen, 1), "", "once");
        update(&mut screen, found(true), at(2));
        assert_eq!(text(&mut tab, &screen, 2), "");
    }

    #[test]
    fn figures_change_once_a_second_and_the_last_one_is_not_lost() {
        let mut screen = screen();
        let mut tab = Tab::new(ALL, &screen.model);
        run(&mut screen, RunPhase::Sending, 4);
        text(&mut tab, &screen, 0);
        run(&mut screen, RunPhase::Sending, 5);
        assert_eq!(text(&mut tab, &screen, 400), "");
        assert_eq!(tab.due(), Some(at(1000)));
        assert_eq!(
            text(&mut tab, &screen, 1000),
            "\x1b]2;stripe-propagate 0/5 run 12\x1b\\"
        );
        assert_eq!(tab.due(), None);
    }

    #[test]
    fn nothing_is_written_that_was_not_asked_for() {
        let nothing = TabSettings {
            title: false,
            progress: false,
            bell: false,
        };
        let mut screen = screen();
        let mut tab = Tab::new(nothing, &screen.model);
        for phase in [RunPhase::Sending, RunPhase::Settled] {
            run(&mut screen, phase, 4);
            assert_eq!(text(&mut tab, &screen, 0), "");
        }
        assert_eq!((opening(nothing), closing(nothing).as_str()), ("", ""));
    }

    #[test]
    fn a_run_that_was_over_before_rings_no_bell_and_a_terminal_that_was_away_is_told_all() {
        let mut screen = screen();
        run(&mut screen, RunPhase::Settled, 4);
        let mut tab = Tab::new(ALL, &screen.model);
        let title = "\x1b]2;stripe-propagate settled run 12\x1b\\";
        assert_eq!(text(&mut tab, &screen, 0), title);
        tab.forget();
        assert_eq!(text(&mut tab, &screen, 0), title);
    }
}
