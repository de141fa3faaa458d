use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use jiff::tz::TimeZone;
use tokio::sync::mpsc::unbounded_channel;

use super::follow::{Followed, Held, follow};
use super::gate::may_push;
use super::printer::Telling;
use super::session::Session;
use super::setup::{Loaded, Setup, serve};
use super::signals::Signals;
use super::status::Status;
use super::steer::Steer;
use super::{Globals, away, front, list, log, who};
use crate::config::{Config, ConfigError};
use crate::demo::Fleet;
use crate::engine::{Command, Left as LeftWaiting, RunInfo};
use crate::store::Holder;
use crate::text::{CleanText, NOTE_LIMIT};
use crate::tui::actions::bound;
use crate::tui::model::{Model, Options, Start};
use crate::tui::run::{self, Behaviour, Left, Taken};
use crate::tui::screen::Screen;
use crate::tui::setup::{self as told, SetupNews, Wrong};
use crate::tui::theme::Theme;
use crate::tui::update::update;
use crate::tui::{Leave, Message};

/// What this terminal can show.
mod shows;
/// The screen while the config cannot be used.
mod wrong;

pub(super) use shows::tab_of;
use shows::{clipboard, is_terminal_of_dec, needs_ascii, tab_here};
use wrong::Mended;

/// Frames a second over SSH, where each costs the line.
const FRAMES_OVER_SSH: u32 = 5;
const FRAMES: u32 = 20;

/// How the screen ended.
pub(super) enum Ended {
    /// The program ends with it.
    With(Status),
    /// The demo is wanted, on the terminal that is taken.
    ForTheDemo(Box<Taken>),
}

/// The screen, on the operator's config, and on what that becomes while it is open.
pub(super) async fn run(globals: Globals) -> anyhow::Result<Ended> {
    let size = terminal()?;
    front::mind_the_front();
    // From before the screen has them, so that none is lost when it is left.
    let mut signals = Signals::listen()?;
    let first = first_config(&globals, size, &mut signals);
    let (mut loaded, mut setup, mut taken) = match Box::pin(first).await? {
        Ok(first) => first,
        Err(left) => return Ok(Ended::With(left)),
    };
    // The screen with the error may have seen another one.
    let size = taken.as_ref().map_or(size, Taken::size);
    log::start(&loaded.config.log, &globals);
    let mut session = match taken {
        None => Session::of_the_screen(&loaded.config, &globals, LeftWaiting::Awaited).await?,
        Some(_) => behind_the_screen(&loaded, &globals).await?,
    };
    let mut start = start_on(&session, &loaded, &globals, size).await?;
    // Told once: what comes behind it sees all.
    let watches = globals.read_only || denied().await.is_some();
    start.away_since = away::take(&session.folder, session.clock.now(), watches);
    let mut before: Option<Screen> = None;
    let mut wrong = None;
    loop {
        setup.keep(&loaded);
        let now = session.clock.now();
        let mut screen = match before.take() {
            Some(before) => before.reopened(start, now),
            None => Screen::new(start, now),
        };
        screen = screen
            .asking_stripe(session.standings.is_asked())
            .held_by_policy(denied().await);
        if let Some(wrong) = wrong.take() {
            let _nothing_to_do = update(&mut screen, Message::Setup(SetupNews::Wrong(wrong)), now);
        }
        let mut terminal = match taken.take() {
            Some(taken) => taken,
            None => Taken::take(size)?,
        };
        let shown = show(&mut terminal, session, setup, screen, &loaded.config, None).await?;
        setup = shown.setup;
        match (shown.left, setup.take_next()) {
            (Left::ByOperator(Leave::Reload), Some(next)) => {
                shown.session.end().await;
                (session, loaded, wrong) = reopen(next, loaded, &setup, &globals).await?;
                start = start_on(&session, &loaded, &globals, size).await?;
                (before, taken) = (Some(shown.screen), Some(terminal));
            }
            (Left::ByOperator(Leave::Demo), _) => {
                shown.session.end().await;
                return Ok(Ended::ForTheDemo(Box::new(terminal)));
            }
            (left, _) => {
                drop(terminal);
                let status = Box::pin(leave(shown.session, left, shown.screen, &mut signals)).await?;
                return Ok(Ended::With(status));
            }
        }
    }
}

/// Why the operator may not push, if root's policy says so.
async fn denied() -> Option<String> {
    may_push().await.err().map(|denied| denied.to_string())
}

/// The config that it begins with; how the program ends if there is none that can be used.
async fn first_config(
    globals: &Globals,
    size: (u16, u16),
    signals: &mut Signals,
) -> anyhow::Result<Result<(Loaded, Setup, Option<Taken>), Status>> {
    let setup = Setup::of(globals);
    // Sources may take a while: whoever breaks that off has not even seen the screen.
    let load = async { Ok(setup.load().await) };
    let error = match signals.unless_stopped(load).await? {
        Ok(loaded) => return Ok(Ok((loaded, setup, None))),
        Err(error) => error,
    };
    let mut taken = Taken::take(size)?;
    Ok(
        match Box::pin(wrong::mended(&mut taken, setup, &error, size, globals.no_color)).await? {
            Mended::Loaded(mended) => {
                let (loaded, setup) = *mended;
                Ok((loaded, setup, Some(taken)))
            }
            Mended::Left(status) => Err(status),
        },
    )
}

/// A session on `next`; if that cannot be worked with, on what there was before, and why.
async fn reopen(
    next: Loaded,
    before: Loaded,
    setup: &Setup,
    globals: &Globals,
) -> anyhow::Result<(Session, Loaded, Option<Wrong>)> {
    match behind_the_screen(&next, globals).await {
        Ok(session) => Ok((session, next, None)),
        Err(error) => {
            let wrong = Wrong::unusable(&next.config.path, &format!("{error:#}"));
            let mut before = before;
            before.told.newest = None;
            // Some of them may have been written into the config since.
            before.told.added = setup.added().to_vec();
            let session = behind_the_screen(&before, globals).await?;
            Ok((session, before, Some(wrong)))
        }
    }
}

async fn behind_the_screen(loaded: &Loaded, globals: &Globals) -> anyhow::Result<Session> {
    Session::behind_the_screen(&loaded.config, globals, LeftWaiting::Awaited).await
}

async fn start_on(
    session: &Session,
    loaded: &Loaded,
    globals: &Globals,
    size: (u16, u16),
) -> anyhow::Result<Start> {
    let mut start = Start {
        searched: loaded.searched.clone(),
        run: session.last_run().await?,
        setup: loaded.told.clone(),
        ..start(session, &loaded.config, size, globals.no_color)?
    };
    start.options.read_only = globals.read_only;
    start.setup.list_change = list::change(session).await?;
    Ok(start)
}

/// The screen, on a fleet of the demo, with a key that none of its sites serves typed in; in the place of another
/// screen, if the terminal is taken for one.
pub(super) async fn show_demo(
    session: Session,
    config: &Config,
    fleet: Arc<Fleet>,
    taken: Option<Taken>,
    no_color: bool,
) -> anyhow::Result<Status> {
    let size = terminal()?;
    let mut start = start(&session, config, size, no_color)?;
    start.key = Some(fleet.new_key().clone());
    start.options.demo = true;
    front::mind_the_front();
    let mut signals = Signals::listen()?;
    let mut taken = match taken {
        Some(taken) => taken,
        None => Taken::take(size)?,
    };
    let screen = Screen::new(start, session.clock.now()).asking_stripe(session.standings.is_asked());
    let shown = show(&mut taken, session, Setup::default(), screen, config, Some(fleet)).await?;
    drop(taken);
    Box::pin(leave(shown.session, shown.left, shown.screen, &mut signals)).await
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

fn start(session: &Session, config: &Config, size: (u16, u16), no_color: bool) -> Result<Start, ConfigError> {
    Ok(Start {
        sites: Arc::clone(&session.sites),
        states: session.known.clone(),
        ..bare(config, size, no_color)?
    })
}

/// A screen without sites.
fn bare(config: &Config, size: (u16, u16), no_color: bool) -> Result<Start, ConfigError> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let monochrome = no_color || variable("NO_COLOR").is_some() || is_terminal_of_dec(variable("TERM"));
    Ok(Start {
        sites: Vec::new().into(),
        states: Vec::new(),
        operator: operator(),
        config: name_of(&config.path),
        searched: Vec::new(),
        run: None,
        away_since: None,
        key: None,
        setup: told::Setup::default(),
        options: Options {
            ascii: needs_ascii(&config.ui, |name| variable(name)),
            theme: if monochrome {
                Theme::MONOCHROME
            } else {
                Theme::of(config)?
            },
            keys: bound(config)?,
            demo: false,
            read_only: false,
            rollout: config.rollout.clone(),
            clipboard: clipboard(variable("TERM"), variable("TMUX").is_some()),
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

/// A screen that was left, and what it was on.
struct Shown {
    left: Left,
    screen: Screen,
    session: Session,
    setup: Setup,
}

fn behaviour(config: &Config) -> Behaviour {
    let over_ssh = std::env::var_os("SSH_CONNECTION").is_some();
    Behaviour {
        fps: config
            .ui
            .fps
            .unwrap_or(if over_ssh { FRAMES_OVER_SSH } else { FRAMES }),
        mouse: config.ui.mouse,
        tab: tab_here(config),
        look_at_start: config.verify.on_start,
    }
}

async fn show(
    taken: &mut Taken,
    session: Session,
    setup: Setup,
    screen: Screen,
    config: &Config,
    fleet: Option<Arc<Fleet>>,
) -> anyhow::Result<Shown> {
    let clock = session.clock;
    // Made beside all else: nothing that is shown at first waits for it.
    let reached = session.reach();
    let (tell, mut told) = unbounded_channel();
    let (order, orders) = unbounded_channel();
    let (about_config, mends) = unbounded_channel();
    let mender = tokio::spawn(serve(setup, mends, tell.clone()));
    let watches = screen.model.is_watching();
    let steer = Steer::new(session, about_config, fleet, tell, watches);
    let steer = tokio::spawn(steer.run(orders));
    let shown = run::run(taken, screen, behaviour(config), order, &mut told, clock);
    let (left, mut screen) = tokio::select! {
        shown = Box::pin(shown) => shown?,
        // Its sites are not to blame, and nothing of them would ever come.
        Err(error) = reached => bail!("no site can be reached: {error}"),
    };
    // The screen has let go of its orders: that ends who carries them out.
    let session = steer.await?;
    let setup = mender.await??;
    // What was told and not taken in any more: who follows the run must know of it.
    while let Ok(message) = told.try_recv() {
        let _nobody_orders = update(&mut screen, message, clock.now());
    }
    Ok(Shown {
        left,
        screen,
        session,
        setup,
    })
}

async fn leave(
    mut session: Session,
    left: Left,
    screen: Screen,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    let status = after(&mut session, left, screen.model, signals).await;
    session.close().await;
    status
}

/// What becomes of the run when the screen is left.
async fn after(
    session: &mut Session,
    left: Left,
    model: Model,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    let cancels = matches!(left, Left::ByOperator(Leave::Cancel) | Left::Terminated);
    // A screen that only watches is not the operator's: what that one has not seen is still to be told.
    if model.is_run_open() && (model.is_attached() || !cancels) && !model.is_watching() {
        away::leave(&session.folder, session.clock.now());
    }
    if let Some(holder) = model.attached_to() {
        // The run is another process's, and goes on there.
        tell_of_the_other(holder, &model);
        return Ok(Status::Good);
    }
    let go_on = match left {
        Left::ByOperator(Leave::Idle | Leave::Reload | Leave::Demo) => return Ok(Status::Good),
        Left::ByOperator(Leave::RunGoesOn) => Some(Command::GoOn),
        Left::ByOperator(Leave::Cancel) | Left::Terminated => Some(Command::Stop),
        // Nobody can be asked whether a paused run shall go on, or it is wanted so: it waits for another screen.
        Left::HungUp | Left::ByOperator(Leave::RunWaits) => None,
    };
    if let Some(go_on) = go_on {
        session.local.send(go_on);
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
        Left::ByOperator(Leave::RunGoesOn) if model.is_demo() => let_go(run.as_ref(), Alone::Demo),
        Left::ByOperator(Leave::RunGoesOn) => let_go(run.as_ref(), Alone::GoesOn),
        Left::ByOperator(Leave::RunWaits) => let_go(run.as_ref(), Alone::Waits),
        Left::ByOperator(_) => Telling::Plain,
    };
    let held = held_without_screen(&model, left);
    let followed = Followed {
        selection: session.all(),
        states: model.into_states(),
        key: run.as_ref().map(|run| run.key.clone()),
        run,
        begins: false,
        wait: None,
        telling,
        interrupted: left == Left::Terminated,
        held,
        best: Status::Good,
    };
    follow(session, followed, signals).await
}

/// What becomes of a run that is held when its screen is left, or later.
fn held_without_screen(model: &Model, left: Left) -> Held {
    if model.is_demo() && left == Left::ByOperator(Leave::RunGoesOn) {
        // No other screen can attach to it.
        return Held::GoesOn;
    }
    Held::Waits
}

fn tell_of_the_other(holder: &Holder, model: &Model) {
    let Some(run) = model.run().filter(|_| model.is_run_open()) else {
        return;
    };
    let stays = if run.phase.is_held() { "stays" } else { "is" };
    let _closed = writeln!(
        std::io::stderr(),
        "run {} {stays} {} in process {}: opening the screen again attaches to it",
        run.id.0,
        run.phase.word(),
        holder.by.pid
    );
}

/// What becomes of a run whose screen is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    /// It goes on, and can be attached to.
    GoesOn,
    /// It stays paused, and can be attached to.
    Waits,
    /// It goes on where nobody else can see it.
    Demo,
}

impl Alone {
    /// What is said of `run` when the shell has its terminal again.
    fn told(self, run: &str, pid: u32) -> String {
        match self {
            Self::GoesOn => {
                format!(
                    "{run} goes on without the screen (PID {pid}): opening the screen again attaches to it"
                )
            }
            Self::Waits => format!(
                "{run} stays as it is (PID {pid}): opening the screen again within an hour attaches to it, after that \
                 it is left unfinished"
            ),
            Self::Demo => format!(
                "{run} of the demo goes on without the screen (PID {pid}) until it has settled, and ends with the demo"
            ),
        }
    }
}

/// Gives the terminal back to the shell while the run goes on.
fn let_go(run: Option<&RunInfo>, alone: Alone) -> Telling {
    let run = run.map_or_else(|| "the run".to_owned(), |run| format!("run {}", run.id.0));
    if front::let_go(&alone.told(&run, std::process::id())) {
        return Telling::Silent;
    }
    let goes_on = if alone == Alone::Waits {
        "stays as it is for an hour"
    } else {
        "goes on without the screen"
    };
    let _closed = writeln!(
        std::io::stderr(),
        "{run} {goes_on}: ^Z and bg give the shell back, ^C cancels the rest"
    );
    Telling::Plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_left_says_who_can_attach_to_it() {
        let told = [Alone::GoesOn, Alone::Waits, Alone::Demo].map(|alone| alone.told("run 3", 7));
        let attaches = told.each_ref().map(|told| told.contains("attaches to it"));
        assert_eq!(attaches, [true, true, false]);
        assert!(told.iter().all(|told| told.starts_with("run 3 ")), "{told:?}");
    }
}
