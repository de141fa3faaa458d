use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind, poll, read,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};
use tokio::sync::mpsc::UnboundedSender;

use super::{Input, looks_pasted};

/// How long to wait for the rest of something that was not typed by hand: a paste without brackets comes in
/// pieces over a slow line, and what follows a line end in it must be known to belong to it.
const REST_OF_PASTE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 30_000_000,
};
/// A paste takes no longer than this to arrive; the screen must not wait for ever.
const PASTE_LIMIT: Duration = Duration::from_millis(500);
/// Lines that one notch of the wheel moves.
const WHEEL: isize = 3;
/// crossterm reads only if it is given some time.
const AT_ONCE: Duration = Duration::from_millis(1);
/// Events that are handed on together at most.
const BATCH: usize = 8192;

/// What the terminal's input came to.
#[derive(Debug)]
pub(super) enum Heard {
    /// What came in one read.
    Input(Vec<Input>),
    /// The terminal is gone.
    Gone,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    stop: OwnedFd,
}

impl Listener {
    /// Reads standard input on a thread of its own, which ends when the terminal hangs up: crossterm's
    /// reader would spin then.
    pub(super) fn start(heard: UnboundedSender<Heard>) -> io::Result<Self> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        let stopped = stop.try_clone()?;
        std::thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || listen(&stopped, &heard))?;
        Ok(Self { stop })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The counter cannot be full after one write.
        let _written = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
    }
}

fn listen(stop: &OwnedFd, heard: &UnboundedSender<Heard>) {
    let mut paste_goes_on = false;
    loop {
        let next = match wait(Some(stop), None) {
            Waited::Ready => match batch(paste_goes_on) {
                Ok(batch) => {
                    paste_goes_on = batch.is_cut;
                    if batch.inputs.is_empty() {
                        continue;
                    }
                    Heard::Input(batch.inputs)
                }
                Err(_) => Heard::Gone,
            },
            Waited::Nothing => continue,
            Waited::Stopped => return,
            Waited::Gone => Heard::Gone,
        };
        let gone = matches!(next, Heard::Gone);
        if heard.send(next).is_err() || gone {
            return;
        }
    }
}

enum Waited {
    Ready,
    Nothing,
    Stopped,
    Gone,
}

fn wait(stop: Option<&OwnedFd>, limit: Option<&Timespec>) -> Waited {
    let stdin = rustix::stdio::stdin();
    let mut polled = vec![PollFd::new(&stdin, PollFlags::IN)];
    let stop = stop.map(AsFd::as_fd);
    polled.extend(stop.as_ref().map(|stop| PollFd::new(stop, PollFlags::IN)));
    match rustix::event::poll(&mut polled, limit) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Waited::Nothing,
        Ok(_) => {}
        Err(_) => return Waited::Gone,
    }
    if polled.get(1).is_some_and(|stop| !stop.revents().is_empty()) {
        return Waited::Stopped;
    }
    let about = polled[0].revents();
    if about.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Waited::Gone;
    }
    if about.contains(PollFlags::IN) {
        Waited::Ready
    } else {
        Waited::Nothing
    }
}

/// Esc and a letter in one read look like Alt and the letter, which means nothing here: they are two keys.
fn key(press: KeyEvent) -> Vec<Input> {
    if !press.modifiers.contains(KeyModifiers::ALT) {
        return vec![Input::Key(press)];
    }
    let plain = KeyEvent::new(press.code, press.modifiers - KeyModifiers::ALT);
    vec![Input::Key(KeyEvent::from(KeyCode::Esc)), Input::Key(plain)]
}

/// What the wheel or a click means. The mouse is captured only where the config asks for it.
fn mouse(event: MouseEvent) -> Option<Input> {
    match event.kind {
        MouseEventKind::ScrollUp => Some(Input::Scroll(-WHEEL)),
        MouseEventKind::ScrollDown => Some(Input::Scroll(WHEEL)),
        MouseEventKind::Down(MouseButton::Left) => Some(Input::Click(event.row)),
        _ => None,
    }
}

/// What is handed on together.
struct Batch {
    inputs: Vec<Input>,
    /// Whether it is a paste that was handed on before its end was there.
    is_cut: bool,
}

/// All that is there, and, if it was pasted, all that follows without a pause. What comes right behind a paste that was
/// cut belongs to it, however few letters it is: they would be commands.
fn batch(paste_goes_on: bool) -> io::Result<Batch> {
    let begin = Instant::now();
    let mut inputs = Vec::new();
    if paste_goes_on {
        inputs.push(Input::PasteGoesOn);
    }
    loop {
        while inputs.len() < BATCH && poll(AT_ONCE)? {
            match read()? {
                Event::Key(press) if press.kind != KeyEventKind::Release => inputs.extend(key(press)),
                Event::Paste(text) => inputs.push(Input::Paste(text)),
                Event::Mouse(event) => inputs.extend(mouse(event)),
                // The size comes by its own signal.
                _ => {}
            }
        }
        if !looks_pasted(&inputs) {
            return Ok(Batch {
                inputs,
                is_cut: false,
            });
        }
        let is_cut = inputs.len() >= BATCH || begin.elapsed() > PASTE_LIMIT;
        if is_cut || !matches!(wait(None, Some(&REST_OF_PASTE)), Waited::Ready) {
            return Ok(Batch { inputs, is_cut });
        }
    }
}
