use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use jiff::tz::TimeZone;
use tokio::sync::mpsc::unbounded_channel;

use super::follow::{Followed, follow};
use super::printer::Telling;
use super::session::{Session, find_config};
use super::signals::Signals;
use super::status::Status;
use super::steer::Steer;
use super::{Globals, away, front, log, who};
use crate::config::{Config, Searched, TabSettings, UiSettings};
use crate::demo::Fleet;
use crate::engine::{Command, Left as LeftWaiting, RunInfo};
use crate::store::Holder;
use crate::text::{CleanText, NOTE_LIMIT};
use crate::tui::Leave;
use crate::tui::actions::bound;
use crate::tui::model::{Model, Options, Start};
use crate::tui::run::{self, Behaviour, Left};
use crate::tui::screen::Screen;
use crate::tui::theme::Theme;
use crate::tui::update::update;

/// Frames a second over SSH, where each costs the line.
const FRAMES_OVER_SSH: u32 = 5;
const FRAMES: u32 = 20;

/// The screen, on the operator's config.
pub(super) async fn run(globals: Globals) -> anyhow::Result<Status> {
    let size = terminal()?;
    let (config, searched) = match find_config(&globals)? {
        Ok(config) => (config, Vec::new()),
        Err(Searched(places)) => (Config::empty(), places),
    };
    log::start(&config.log, &globals);
    let session = Session::of_config(&config, &globals, LeftWaiting::Awaited).await?;
    let mut start = Start {
        searched,
        run: session.last_run().await?,
        away_since: away::take(&session.folder, session.clock.now(), globals.read_only),
        ..start(&session, &config, size)?
    };
    start.options.read_only = globals.read_only;
    show(session, &config, start, None).await
}

/// The screen, on a fleet of the demo, with a key that none of its sites serves typed in.
pub(super) async fn show_demo(
    session: Session,
    config: &Config,
    fleet: Arc<Fleet>,
) -> anyhow::Result<Status> {
    let size = terminal()?;
    let mut start = start(&session, config, size)?;
    start.key = Some(fleet.new_key().clone());
    start.options.demo = true;
    show(session, config, start, Some(fleet)).await
}

/// The terminal's size, if there is one that can show a screen.
fn terminal() -> anyhow::Result<(u16, u16)> {
    const INSTEAD: &str = "for scripts there are `stripe-propagate push` and `stripe-propagate verify`";

    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        bail!("the screen needs a terminal on standard input and output; {INSTEAD}");
    }
    let kind = std::env::var_os("TERM").unwrap_or_default();
    if kind.is_empty() || kind == "dumb" {
        bail!("the screen needs a terminal that can move the cursor, and TERM is unset or dumb; {INSTEAD}");
    }
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout())?;
    Ok((size.ws_col.max(1), size.ws_row.max(1)))
}

fn start(session: &Session, config: &Config, size: (u16, u16)) -> anyhow::Result<Start> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let no_colour = variable("NO_COLOR").is_some() || is_terminal_of_dec(variable("TERM"));
    Ok(Start {
        sites: Arc::clone(&session.sites),
        states: session.known.clone(),
        operator: operator(),
        config: name_of(&config.path),
        searched: Vec::new(),
        run: None,
        away_since: None,
        key: None,
        options: Options {
            ascii: needs_ascii(&config.ui, |name| variable(name)),
            theme: if no_colour {
                Theme::MONOCHROME
            } else {
                Theme::of(config)?
            },
            keys: bound(config)?,
            demo: false,
            read_only: false,
            clipboard: takes_clipboard(variable("TERM")),
            zone: TimeZone::system(),
        },
        size,
    })
}

/// `user@host`.
fn operator() -> String {
    let who = who::operator();
    format!("{}@{}", who.user, who.host)
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(OsStr::new("no config"));
    CleanText::new(&name.to_string_lossy(), NOTE_LIMIT).to_string()
}

/// Whether it is a terminal of DEC's, or something that passes for one: it has neither Unicode nor colours, and takes
/// the numbers of a colour for other attributes, such as blinking.
fn is_terminal_of_dec(kind: Option<std::ffi::OsString>) -> bool {
    let kind = kind.unwrap_or_default();
    let digits = |kind: &str| kind.starts_with(|letter: char| letter.is_ascii_digit());
    // Not `vte`.
    kind.to_string_lossy().strip_prefix("vt").is_some_and(digits)
}

/// Whether the terminal shows ASCII only: the Linux console, one of DEC's, or a locale without UTF-8.
fn needs_ascii(ui: &UiSettings, variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    if let Some(ascii) = ui.ascii {
        return ascii;
    }
    let kind = variable("TERM");
    let console = kind.as_ref().is_some_and(|kind| kind == "linux") || is_terminal_of_dec(kind);
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(&variable);
    let utf8 = locale.is_some_and(|locale| {
        let locale = locale.to_string_lossy().to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    });
    console || !utf8
}

/// What of it this kind of terminal can show. One that does not know these sequences would print them: only those
/// that do are sent any. All know the bell.
fn tab(settings: TabSettings, kind: &str) -> TabSettings {
    const KNOW: [&str; 15] = [
        "alacritty",
        "contour",
        "foot",
        "ghostty",
        "gnome",
        "iterm",
        "konsole",
        "mintty",
        "rxvt",
        "screen",
        "st-",
        "tmux",
        "vte",
        "wezterm",
        "xterm",
    ];

    let knows = KNOW.iter().any(|known| kind.starts_with(known));
    TabSettings {
        title: settings.title && knows,
        progress: settings.progress && knows,
        bell: settings.bell,
    }
}

/// Whether the terminal may know OSC 52: the Linux console and DEC's terminals do not. What a terminal makes of it is
/// its own matter, and asking it would bring answers that look like key presses.
fn takes_clipboard(kind: Option<std::ffi::OsString>) -> bool {
    let kind = kind.unwrap_or_default();
    let kind = kind.to_string_lossy();
    kind != "linux" && !kind.starts_with("vt")
}

async fn show(
    session: Session,
    config: &Config,
    start: Start,
    fleet: Option<Arc<Fleet>>,
) -> anyhow::Result<Status> {
    let over_ssh = std::env::var_os("SSH_CONNECTION").is_some();
    let behaviour = Behaviour {
        fps: config
            .ui
            .fps
            .unwrap_or(if over_ssh { FRAMES_OVER_SSH } else { FRAMES }),
        mouse: config.ui.mouse,
        tab: tab(config.ui.tab, &std::env::var("TERM").unwrap_or_default()),
        look_at_start: config.verify.on_start,
    };
    front::mind_the_front();
    // From before the screen has them, so that none is lost when it is left.
    let mut signals = Signals::listen()?;
    let clock = session.clock;
    let screen = Screen::new(start, clock.now());
    let (tell, mut told) = unbounded_channel();
    let (order, orders) = unbounded_channel();
    let steer = tokio::spawn(Steer::new(session, fleet, tell).run(orders));
    let (left, mut screen) = run::run(screen, behaviour, order, &mut told, clock).await?;
    // The screen has let go of its orders: that ends who carries them out.
    let mut session = steer.await?;
    // What was told and not taken in any more: who follows the run must know of it.
    while let Ok(message) = told.try_recv() {
        let _nobody_orders = update(&mut screen, message, clock.now());
    }
    let status = after(&mut session, left, screen.model, &mut signals).await?;
    session.close().await;
    Ok(status)
}

/// What becomes of the run when the screen is left.
async fn after(
    session: &mut Session,
    left: Left,
    model: Model,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    let cancels = matches!(left, Left::ByOperator(Leave::Cancel) | Left::Terminated);
    if model.is_run_open() && (model.is_attached() || !cancels) {
        away::leave(&session.folder, session.clock.now());
    }
    if let Some(holder) = model.attached_to() {
        // The run is another process's, and goes on there.
        tell_of_the_other(holder, &model);
        return Ok(Status::Good);
    }
    let go_on = match left {
        Left::ByOperator(Leave::Idle) => return Ok(Status::Good),
        Left::ByOperator(Leave::RunGoesOn) => Some(Command::GoOn),
        Left::ByOperator(Leave::Cancel) | Left::Terminated => Some(Command::Stop),
        // Nobody can be asked whether a paused run shall go on: it waits for another screen.
        Left::HungUp => None,
    };
    if let Some(go_on) = go_on {
        session.local.handle.send(go_on);
    }
    if !model.is_run_open() {
        if left == Left::Terminated {
            return Ok(Status::Interrupted);
        }
        if let Some(why) = model.refused_order() {
            tracing::error!(why, "nothing sent");
            bail!("nothing sent: {why}");
        }
        return Ok(Status::Good);
    }
    // What was ordered and not taken yet tells of itself, if it still comes to that.
    let run = model.run().filter(|_| !model.is_ordered()).cloned();
    let telling = match left {
        Left::HungUp => Telling::Silent,
        Left::Terminated => {
            let _closed = writeln!(
                std::io::stderr(),
                "stopping: what is out ends, the rest is cancelled; once more stops at once"
            );
            Telling::Plain
        }
        Left::ByOperator(Leave::RunGoesOn) => let_go(run.as_ref()),
        Left::ByOperator(_) => Telling::Plain,
    };
    let followed = Followed {
        selection: session.all(),
        states: model.into_states(),
        key: run.as_ref().map(|run| run.key.clone()),
        run,
        begins: false,
        wait: None,
        telling,
        interrupted: left == Left::Terminated,
        attachable: telling == Telling::Silent,
    };
    follow(session, followed, signals).await
}

fn tell_of_the_other(holder: &Holder, model: &Model) {
    let Some(run) = model.run().filter(|_| model.is_run_open()) else {
        return;
    };
    let _closed = writeln!(
        std::io::stderr(),
        "run {} is {} in process {}: opening the screen again attaches to it",
        run.id.0,
        run.phase.word(),
        holder.by.pid
    );
}

/// Gives the terminal back to the shell while the run goes on.
fn let_go(run: Option<&RunInfo>) -> Telling {
    let run = run.map_or_else(|| "the run".to_owned(), |run| format!("run {}", run.id.0));
    let told = format!(
        "{run} goes on without the screen (PID {}): opening the screen again attaches to it",
        std::process::id()
    );
    if front::let_go(&told) {
        return Telling::Silent;
    }
    let _closed = writeln!(
        std::io::stderr(),
        "{run} goes on without the screen: ^Z and bg give the shell back, ^C cancels the rest"
    );
    Telling::Plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_that_knows_titles_is_sent_any() {
        let all = TabSettings {
            title: true,
            progress: true,
            bell: true,
        };
        for kind in ["xterm-256color", "tmux-256color", "screen", "foot", "st-256color"] {
            assert_eq!(tab(all, kind), all, "{kind}");
        }
        for kind in ["linux", "vt100", "vt220", "ansi", "cons25", ""] {
            let plain = tab(all, kind);
            assert!(!plain.title && !plain.progress && plain.bell, "{kind}");
        }
    }

    #[test]
    fn a_console_takes_nothing_into_a_clipboard() {
        for (kind, takes) in [
            ("linux", false),
            ("vt100", false),
            ("vt220", false),
            ("xterm", true),
            ("tmux-256color", true),
        ] {
            assert_eq!(takes_clipboard(Some(kind.into())), takes, "{kind}");
        }
    }

    #[test]
    fn the_locale_and_the_console_decide_on_ascii() {
        let judge = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            needs_ascii(&UiSettings::default(), |name| {
                pairs
                    .iter()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.into())
            })
        };
        assert!(!judge(&[("TERM", "screen"), ("LANG", "fr_FR.UTF-8")]));
        assert!(judge(&[("TERM", "linux"), ("LANG", "fr_FR.UTF-8")]));
        assert!(judge(&[("TERM", "vt100"), ("LANG", "fr_FR.UTF-8")]));
        assert!(!judge(&[("TERM", "vte-256color"), ("LANG", "fr_FR.UTF-8")]));
        assert!(judge(&[("LC_ALL", "C"), ("LANG", "fr_FR.UTF-8")]));
        assert!(judge(&[("TERM", "xterm")]));
        assert!(!judge(&[("LC_CTYPE", "C.utf8")]));
    }
}
