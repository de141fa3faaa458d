use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Notify;

use super::tab;
use crate::config::TabSettings;

/// How long a frozen terminal may hold up the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Alternate screen, bracketed paste, no cursor, all cleared.
const TAKE: &[u8] = b"\x1b[?1049h\x1b[?2004h\x1b[?25l\x1b[2J\x1b[H";
/// Plain attributes, no synchronized update, no mouse, no bracketed paste, the cursor, the other screen.
const GIVE_BACK: &[u8] = b"\x1b[?2026l\x1b[0m\x1b[?1006l\x1b[?1000l\x1b[?2004l\x1b[?25h\x1b[?1049l";
/// Clicks, in the form that has no limit of columns.
const MOUSE: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const NO_MOUSE: &[u8] = b"\x1b[?1006l\x1b[?1000l";

/// The operator's terminal, taken for the screen: raw, on its alternate screen. Given back when dropped.
#[derive(Debug)]
pub(super) struct Terminal {
    writer: Writer,
    mouse: bool,
    /// What is to be undone outside the screen when it is given back, also by a panic.
    tab: Arc<Mutex<TabSettings>>,
    taken: bool,
    gone: bool,
}

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it cannot be set to raw mode, or no thread can be started.
    pub(super) fn take(tab: TabSettings) -> anyhow::Result<Self> {
        // With NO_COLOR crossterm would leave out bold and reverse too, and with them the cursor row; the
        // theme without colours knows better.
        crossterm::style::force_color_output(true);
        let output = rustix::io::dup(rustix::stdio::stdout()).context("standard output cannot be used")?;
        let mut terminal = Self {
            writer: Writer::start(File::from(output)).context("starting the thread that writes")?,
            mouse: false,
            tab: Arc::new(Mutex::new(tab)),
            taken: false,
            gone: false,
        };
        terminal.take_again()?;
        Ok(terminal)
    }

    /// Takes it again after [`Terminal::give_back`], or after something else has changed its mode.
    pub(super) fn take_again(&mut self) -> anyhow::Result<()> {
        // The shell may have changed the mode while the process was stopped, and crossterm sets none twice.
        let _was_not_raw = crossterm::terminal::disable_raw_mode();
        crossterm::terminal::enable_raw_mode().context("the terminal cannot be set to raw mode")?;
        let mut bytes = TAKE.to_vec();
        if !std::mem::replace(&mut self.taken, true) {
            // Only once, or it would keep this program's own title.
            bytes.extend_from_slice(tab::opening(dressed(&self.tab)).as_bytes());
        }
        if self.mouse {
            bytes.extend_from_slice(MOUSE);
        }
        self.writer.write(bytes);
        Ok(())
    }

    /// As the screen that is shown now wants it: the mouse, and what stands outside the screen.
    pub(super) fn dress(&mut self, mouse: bool, tab: TabSettings) {
        let worn = std::mem::replace(&mut *self.tab.lock().unwrap_or_else(PoisonError::into_inner), tab);
        let mut bytes = Vec::new();
        if self.mouse != mouse {
            bytes.extend_from_slice(if mouse { MOUSE } else { NO_MOUSE });
        }
        if worn != tab {
            bytes.extend_from_slice(tab::closing(worn).as_bytes());
            bytes.extend_from_slice(tab::opening(tab).as_bytes());
        }
        self.mouse = mouse;
        if self.taken && !bytes.is_empty() {
            self.writer.write(bytes);
        }
    }

    /// Whether the last frame is out, so that the next one may be written.
    pub(super) fn is_ready(&self) -> bool {
        !self.gone && self.writer.is_idle()
    }

    /// Ends when the last frame is out.
    pub(super) async fn ready(&self) {
        self.writer.pending.none_left.notified().await;
    }

    /// Writes a frame. Only when [`Terminal::is_ready`]: a frame that waits would be stale.
    pub(super) fn write(&mut self, frame: Vec<u8>) {
        self.writer.write(frame);
    }

    /// Gives the terminal back, within [`PATIENCE`] if it is frozen.
    pub(super) fn give_back(&mut self) {
        if !std::mem::take(&mut self.taken) || self.gone {
            return;
        }
        self.writer.write_and_wait(giving_back(dressed(&self.tab)));
        // It may be gone by now, and then there is nothing to set.
        let _gone = crossterm::terminal::disable_raw_mode();
    }

    /// The terminal hung up: nothing is written or set any more.
    pub(super) fn hung_up(&mut self) {
        self.gone = true;
    }

    /// Gives the terminal back, and shows the panic, if this thread panics; another thread's panic goes to
    /// the log, since the screen goes on.
    pub(super) fn mind_panics(&self) {
        let (writer, tab) = (self.writer.clone(), Arc::clone(&self.tab));
        let screen = std::thread::current().id();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == screen {
                writer.write_and_wait(giving_back(dressed(&tab)));
                let _gone = crossterm::terminal::disable_raw_mode();
                before(panic);
            } else {
                tracing::error!("{panic}");
            }
        }));
    }
}

fn dressed(tab: &Mutex<TabSettings>) -> TabSettings {
    *tab.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes that give the terminal back, and end what `tab` began outside the screen.
pub fn giving_back(tab: TabSettings) -> Vec<u8> {
    let mut bytes = GIVE_BACK.to_vec();
    bytes.extend_from_slice(tab::closing(tab).as_bytes());
    bytes
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Writes to the terminal on a thread of its own: one that reads no more (XOFF, a frozen tmux) blocks that
/// thread and nothing else.
#[derive(Debug, Clone)]
struct Writer {
    frames: Sender<Vec<u8>>,
    pending: Arc<Pending>,
}

/// How much was handed over and is not out.
#[derive(Debug, Default)]
struct Pending {
    frames: Mutex<usize>,
    fewer: Condvar,
    none_left: Notify,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_less(&self) {
        let mut frames = self.lock();
        *frames -= 1;
        self.fewer.notify_all();
        if *frames == 0 {
            self.none_left.notify_one();
        }
    }
}

impl Writer {
    fn start(mut output: File) -> io::Result<Self> {
        let (frames, queue) = channel::<Vec<u8>>();
        let pending = Arc::new(Pending::default());
        let done = Arc::clone(&pending);
        std::thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                for frame in queue {
                    // A terminal that is gone tells so by its input.
                    let _gone = output.write_all(&frame);
                    done.one_less();
                }
            })?;
        Ok(Self { frames, pending })
    }

    fn is_idle(&self) -> bool {
        *self.pending.lock() == 0
    }

    fn write(&self, bytes: Vec<u8>) {
        *self.pending.lock() += 1;
        if self.frames.send(bytes).is_err() {
            self.pending.one_less();
        }
    }

    /// Waits until `bytes` and all before them are out, at most [`PATIENCE`].
    fn write_and_wait(&self, bytes: Vec<u8>) {
        self.write(bytes);
        let frames = self.pending.lock();
        let waited = self
            .pending
            .fewer
            .wait_timeout_while(frames, PATIENCE, |frames| *frames > 0);
        drop(waited);
    }
}
