use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::clipboard::osc52;
use super::frame::Frames;
use super::input::{Heard, Listener};
use super::screen::Screen;
use super::tab::Tab;
use super::terminal::Terminal;
pub use super::terminal::giving_back;
use super::update::{open, update};
use super::{Effect, Leave, Message};
use crate::config::TabSettings;
use crate::engine::{Clock, Event, Level, Message as Told, sleep_until};

/// Events of the engine that are taken in at most before the operator's keys have their turn again.
const DRAIN: usize = 5000;
/// Between the signal that suspends the process and what comes after it.
const STOPPING: Duration = Duration::from_millis(100);

/// How the screen behaves.
#[derive(Debug, Clone, Copy)]
pub struct Behaviour {
    /// Frames a second at most, when nobody presses a key.
    pub fps: u32,
    /// Whether the mouse is captured.
    pub mouse: bool,
    /// What the terminal shows outside the screen.
    pub tab: TabSettings,
    /// Whether all sites are looked at when it opens.
    pub look_at_start: bool,
}

/// How the screen was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The operator said so.
    ByOperator(Leave),
    /// The terminal hung up.
    HungUp,
    /// SIGTERM or SIGINT.
    Terminated,
}

fn another_follows(left: Left) -> bool {
    matches!(left, Left::ByOperator(Leave::Reload | Leave::Demo))
}

/// Nothing outside the screen.
pub const NO_TAB: TabSettings = TabSettings {
    title: false,
    progress: false,
    bell: false,
};

/// What the loop listens to, besides the frame timer.
struct Ears<'a> {
    heard: &'a mut UnboundedReceiver<Heard>,
    told: &'a mut UnboundedReceiver<Message>,
    signals: &'a mut Signals,
}

/// The operator's terminal, taken, and all that comes from there. It is given back when this is dropped; until then
/// one screen can follow another, and nothing flickers.
pub struct Taken {
    terminal: Terminal,
    frames: Frames,
    heard: UnboundedReceiver<Heard>,
    signals: Signals,
    /// Who reads what is typed, until the last screen is left.
    listener: Option<Listener>,
    size: (u16, u16),
}

impl Taken {
    /// Takes the terminal, of this size.
    ///
    /// # Errors
    /// When it cannot be taken.
    pub fn take((columns, rows): (u16, u16)) -> anyhow::Result<Self> {
        let signals = Signals::new().context("listening to signals")?;
        let terminal = Terminal::take(NO_TAB)?;
        terminal.mind_panics();
        let (speak, heard) = unbounded_channel();
        let listener = Listener::start(speak).context("starting the thread that reads")?;
        Ok(Self {
            terminal,
            frames: Frames::new(columns, rows)?,
            heard,
            signals,
            listener: Some(listener),
            size: (columns, rows),
        })
    }

    /// Its size, as the last screen on it knew it.
    pub fn size(&self) -> (u16, u16) {
        self.size
    }
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    resized: Signal,
    continued: Signal,
    reload: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            resized: signal(SignalKind::window_change())?,
            reload: signal(SignalKind::user_defined1())?,
            continued: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        })
    }
}

/// What woke the loop.
enum Woke {
    Message(Message),
    /// Something that the operator did: it is answered at once.
    Prompt(Message),
    Resized,
    Continued,
    Left(Left),
    /// It is time to draw, or the terminal is ready for it.
    Draw,
    /// The engine ended; nothing more comes from it.
    EngineEnded,
}

struct Show<'a> {
    screen: Screen,
    terminal: &'a mut Terminal,
    frames: &'a mut Frames,
    tab: Tab,
    orders: UnboundedSender<Effect>,
    clock: Clock,
    /// When the next frame may be drawn, if one is owed.
    owed: Option<Instant>,
    drawn: Instant,
    distance: Duration,
    /// What goes to the terminal's clipboard with the next frame; the newest wins.
    copied: Option<String>,
}

/// Shows `screen` until it is left, and returns it. The terminal is given back then, unless another screen follows;
/// what becomes of the run is the caller's. What the screen is `told` comes from outside, and the effects that are no matter of the terminal
/// are carried out there: they go to `orders`.
///
/// # Errors
/// When the terminal cannot be written to.
pub async fn run(
    taken: &mut Taken,
    screen: Screen,
    behaviour: Behaviour,
    orders: UnboundedSender<Effect>,
    told: &mut UnboundedReceiver<Message>,
    clock: Clock,
) -> anyhow::Result<(Left, Screen)> {
    taken.terminal.dress(behaviour.mouse, behaviour.tab);
    let size = screen.model.size;
    if size != taken.size {
        taken.frames.resize(size.0, size.1)?;
    }
    // What was typed before it is seen was not meant for it. A terminal that is gone is still gone.
    while taken.heard.try_recv().is_ok() {}
    let mut show = Show {
        tab: Tab::new(behaviour.tab, &screen.model),
        screen,
        terminal: &mut taken.terminal,
        frames: &mut taken.frames,
        orders,
        clock,
        owed: Some(Instant::now()),
        drawn: Instant::now(),
        distance: Duration::from_secs(1) / behaviour.fps.max(1),
        copied: None,
    };
    for order in open(&mut show.screen, behaviour.look_at_start) {
        show.order(order);
    }
    let ears = Ears {
        heard: &mut taken.heard,
        told,
        signals: &mut taken.signals,
    };
    let left = show.run(ears).await?;
    let screen = show.screen;
    taken.size = screen.model.size;
    if !another_follows(left) {
        taken.listener = None;
    }
    Ok((left, screen))
}

impl Show<'_> {
    async fn run(&mut self, mut ears: Ears<'_>) -> anyhow::Result<Left> {
        let mut engine_lives = true;
        let left = loop {
            let woke = self.next(&mut ears, engine_lives).await;
            engine_lives &= !matches!(woke, Woke::EngineEnded);
            let left = self.answer(woke, &mut ears);
            match left.and_then(|left| self.draw_if_due().map(|()| left)) {
                Ok(None) => {}
                Ok(Some(left)) => break left,
                Err(error) if self.screen.model.is_run_open() => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the screen failed: the run goes on without it"
                    );
                    break Left::HungUp;
                }
                Err(error) => return Err(error),
            }
        };
        if left == Left::HungUp {
            self.terminal.hung_up();
        }
        if !another_follows(left) {
            self.terminal.give_back();
        }
        let goes_on = matches!(
            left,
            Left::HungUp | Left::ByOperator(Leave::RunGoesOn | Leave::RunWaits)
        );
        let other = if goes_on {
            self.await_order(&mut ears).await?
        } else {
            None
        };
        Ok(other.unwrap_or(left))
    }

    fn answer(&mut self, woke: Woke, ears: &mut Ears<'_>) -> anyhow::Result<Option<Left>> {
        match woke {
            Woke::Prompt(message) => self.take(message, true),
            Woke::Message(message) => {
                let mut left = self.take(message, false)?;
                for _ in 0..DRAIN {
                    let Ok(message) = ears.told.try_recv() else { break };
                    left = left.or(self.take(message, false)?);
                }
                Ok(left)
            }
            Woke::Resized => self.resized(),
            Woke::Continued => self.continued(),
            Woke::Left(left) => Ok(Some(left)),
            Woke::Draw => Ok(None),
            Woke::EngineEnded => {
                let text = "the part that sends has ended by a fault of the program: leave it, start it \
                            again and verify all; please report it";
                let told = Told {
                    at: self.clock.now(),
                    level: Level::Error,
                    text: text.to_owned(),
                };
                self.take(Message::Engine(Event::Message(told)), true)
            }
        }
    }

    /// Waits for one thing. The operator's come first.
    async fn next(&self, ears: &mut Ears<'_>, engine_lives: bool) -> Woke {
        let ready = self.terminal.is_ready();
        let due = self.owed.filter(|_| ready);
        let waits = self.owed.is_some() && !ready;
        let wake = self.screen.model.wake_at().map(|at| self.clock.instant(at));
        tokio::select! {
            biased;
            heard = ears.heard.recv() => match heard {
                Some(Heard::Input(batch)) => Woke::Prompt(Message::Input(batch)),
                Some(Heard::Gone) | None => Woke::Left(Left::HungUp),
            },
            _ = ears.signals.hangup.recv() => Woke::Left(Left::HungUp),
            _ = ears.signals.terminate.recv() => Woke::Left(Left::Terminated),
            _ = ears.signals.interrupt.recv() => Woke::Left(Left::Terminated),
            _ = ears.signals.resized.recv() => Woke::Resized,
            _ = ears.signals.continued.recv() => Woke::Continued,
            _ = ears.signals.reload.recv() => Woke::Prompt(Message::Reload),
            () = sleep_until(due) => Woke::Draw,
            () = self.terminal.ready(), if waits => Woke::Draw,
            () = sleep_until(wake) => Woke::Prompt(Message::Wake),
            message = ears.told.recv(), if engine_lives => match message {
                Some(message) => Woke::Message(message),
                None => Woke::EngineEnded,
            },
        }
    }

    /// What the operator confirmed is not lost with the screen: its master keys may still be read, each within
    /// a limit of its own.
    async fn await_order(&mut self, ears: &mut Ears<'_>) -> anyhow::Result<Option<Left>> {
        while self.screen.model.ordered > 0 {
            let message = tokio::select! {
                message = ears.told.recv() => match message {
                    Some(message) => message,
                    None => break,
                },
                _ = ears.signals.terminate.recv() => return Ok(Some(Left::Terminated)),
                _ = ears.signals.interrupt.recv() => return Ok(Some(Left::Terminated)),
            };
            self.take(message, false)?;
        }
        Ok(None)
    }

    fn take(&mut self, message: Message, prompt: bool) -> anyhow::Result<Option<Left>> {
        let effects = update(&mut self.screen, message, self.clock.now());
        let soonest = if prompt {
            Instant::now()
        } else {
            self.drawn + self.distance
        };
        self.owed = Some(self.owed.map_or(soonest, |owed| owed.min(soonest)));
        let mut left = None;
        for effect in effects {
            left = left.or(self.carry_out(effect)?);
        }
        Ok(left)
    }

    fn carry_out(&mut self, effect: Effect) -> anyhow::Result<Option<Left>> {
        match effect {
            order @ (Effect::Engine(_)
            | Effect::Read(_)
            | Effect::AskStripe(_)
            | Effect::Setup(_)
            | Effect::Preflight(_)
            | Effect::Watch(_)
            | Effect::Heal) => self.order(order),
            Effect::Copy(text) => self.copied = Some(text),
            Effect::Redraw => return self.resized(),
            Effect::Suspend => return self.suspend(),
            Effect::Quit(leave) => return Ok(Some(Left::ByOperator(leave))),
        }
        Ok(None)
    }

    fn order(&self, order: Effect) {
        // Who carries it out has ended: its closed channel of messages tells so.
        let _ended = self.orders.send(order);
    }

    fn draw_if_due(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        if self.owed.is_none_or(|due| due > now) || !self.terminal.is_ready() {
            return Ok(());
        }
        self.owed = None;
        self.drawn = now;
        let moment = self.clock.now();
        self.screen.model.arrange(moment);
        let mut bytes = self.copied.take().map(|text| osc52(&text)).unwrap_or_default();
        bytes.extend(self.frames.draw(&self.screen)?.unwrap_or_default());
        bytes.extend(self.tab.bring(&self.screen.model, moment));
        if !bytes.is_empty() {
            self.terminal.write(bytes);
        }
        self.owed = self.tab.due().map(|due| self.clock.instant(due));
        Ok(())
    }

    /// The terminal has another size, or is to be drawn afresh. All of it is, also where the size is what it was: the
    /// terminal may have been smaller in between, and have lost what stood there.
    fn resized(&mut self) -> anyhow::Result<Option<Left>> {
        // Asked of the terminal itself: crossterm would start another program if that fails.
        let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdout()) else {
            return Ok(None);
        };
        let (columns, rows) = (size.ws_col.max(1), size.ws_row.max(1));
        self.frames.resize(columns, rows)?;
        self.take(Message::Resize { columns, rows }, true)
    }

    /// Gives the terminal back and stops, until the shell continues the process.
    fn suspend(&mut self) -> anyhow::Result<Option<Left>> {
        self.terminal.give_back();
        // The whole group, as a key of the terminal would: also a program that has started this one.
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)
            .context("stopping the process")?;
        // By the end of this the process has stopped and was continued; if nobody stops it (no job control),
        // it goes on.
        std::thread::sleep(STOPPING);
        self.continued()
    }

    fn continued(&mut self) -> anyhow::Result<Option<Left>> {
        if self.terminal.take_again().is_err() {
            // The line went while the process was stopped.
            return Ok(Some(Left::HungUp));
        }
        self.tab.forget();
        let left = self.resized()?;
        Ok(left.or(self.take(Message::Resumed, true)?))
    }
}
