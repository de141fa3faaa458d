use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::oneshot;
use tokio::time::Interval;

use super::status::NotWritten;

/// How long a terminal that is not read may hold up the end of an interrupted run.
const PATIENCE: Duration = Duration::from_secs(1);
/// Frames of the progress line a second, at most.
const FRAMES: u8 = 5;

/// How a run is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// What happens to standard error, table and summary to standard output.
    Plain,
    /// One JSON object a line to standard output.
    Json,
    /// Nobody is there to read.
    Silent,
}

impl Telling {
    /// As the flag `--json` says.
    pub(super) fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Plain }
    }
}

/// Writes on a thread of its own: a terminal or a pipe that is not read holds up no run, and no signal.
pub(super) struct Printer {
    telling: Telling,
    lines: Sender<Line>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// A progress line waits to be drawn: where the terminal is not read, no others queue behind it.
    waits: AtomicBool,
    /// Results were lost, and not for want of a reader.
    lost: AtomicBool,
}

enum Line {
    /// A line of results, to standard output.
    Out(String),
    /// A line about what happens, to standard error.
    Happens(String),
    /// How far all is, on the last line of the terminal.
    Progress(String),
    /// All before it is written, and the progress line is gone.
    End(oneshot::Sender<std::io::Result<()>>),
}

impl Printer {
    pub(super) fn start(telling: Telling) -> std::io::Result<Self> {
        let (lines, queue) = channel();
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("output".to_owned());
        let writer = Writer {
            shared: Arc::clone(&shared),
            bar: None,
            failed: None,
        };
        thread.spawn(move || writer.write_all(&queue))?;
        Ok(Self {
            telling,
            lines,
            shared,
        })
    }

    fn send(&self, line: Line) {
        // The thread ends with the queue only.
        let _gone = self.lines.send(line);
    }

    pub(super) fn out(&self, text: impl Into<String>) {
        if self.telling != Telling::Silent {
            self.send(Line::Out(text.into()));
        }
    }

    pub(super) fn happens(&self, text: impl Into<String>) {
        if self.telling == Telling::Plain {
            self.send(Line::Happens(text.into()));
        }
    }

    /// How often a progress line may be drawn; none where there is no place for one: standard error is no terminal that
    /// can move its cursor, or the lines of JSON go to it too.
    pub(super) fn progress_every(&self) -> Option<Duration> {
        let term = std::env::var_os("TERM").unwrap_or_default();
        let can_move = !term.is_empty() && term != "dumb";
        let shares = self.telling == Telling::Json && std::io::stdout().is_terminal();
        let draws = self.telling != Telling::Silent && std::io::stderr().is_terminal() && can_move && !shares;
        draws.then(|| Duration::from_secs(1) / u32::from(FRAMES))
    }

    /// How far all is, in place of what was told before.
    pub(super) fn progress(&self, text: String) {
        if !self.shared.waits.swap(true, Ordering::Relaxed) {
            self.send(Line::Progress(text));
        }
    }

    /// Takes the progress line away, until there is another one.
    pub(super) fn clear(&self) {
        drop(self.written());
    }

    /// Whether results were lost, and not only for want of a reader.
    pub(super) fn has_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Until all is written; after an interruption no longer than [`PATIENCE`].
    pub(super) async fn finish(&self, interrupted: bool) {
        let written = self.written();
        if interrupted {
            let _frozen = tokio::time::timeout(PATIENCE, written).await;
        } else {
            let _told = written.await;
        }
    }

    /// Until the answer of a command that only reads is written. A reader that has seen enough is no failure.
    ///
    /// # Errors
    /// When it could not be written: why.
    pub(super) async fn answered(&self) -> anyhow::Result<()> {
        self.written().await.context(NotWritten)
    }

    fn written(&self) -> impl Future<Output = std::io::Result<()>> + use<> {
        let (written, all_written) = oneshot::channel();
        self.send(Line::End(written));
        async move { all_written.await.unwrap_or(Ok(())) }
    }

    /// Takes the progress line away before the process ends at once.
    pub(super) fn clear_now(&self) {
        let (written, all_written) = oneshot::channel();
        self.send(Line::End(written));
        let (tell, told) = channel();
        // A terminal that is not read may block the writer for good.
        let waits = std::thread::Builder::new().spawn(move || {
            let _gone = all_written.blocking_recv();
            let _gone = tell.send(());
        });
        if waits.is_ok() {
            let _frozen = told.recv_timeout(PATIENCE);
        }
    }
}

/// Until the next frame of a progress line, where there is one.
pub(super) async fn next(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// The one that writes.
struct Writer {
    shared: Arc<Shared>,
    bar: Option<ProgressBar>,
    /// Why results could not be written: nothing more is.
    failed: Option<std::io::Error>,
}

impl Writer {
    fn write_all(mut self, queue: &Receiver<Line>) {
        for line in queue {
            match line {
                Line::Out(text) => self.out(&text),
                Line::Happens(text) => self.beside_bar(|| {
                    // A closed pipe is no reason to end a run.
                    let _closed = writeln!(std::io::stderr(), "{text}");
                }),
                Line::Progress(text) => {
                    self.shared.waits.store(false, Ordering::Relaxed);
                    self.bar.get_or_insert_with(bar).set_message(text);
                }
                Line::End(written) => {
                    if let Some(bar) = self.bar.take() {
                        bar.finish_and_clear();
                    }
                    let _gone = written.send(self.told());
                }
            }
        }
    }

    fn beside_bar(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn out(&mut self, text: &str) {
        if self.failed.is_some() {
            return;
        }
        let mut wrote = Ok(());
        self.beside_bar(|| {
            let mut out = std::io::stdout().lock();
            wrote = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
        });
        let Err(error) = wrote else { return };
        if error.kind() != ErrorKind::BrokenPipe {
            self.shared.lost.store(true, Ordering::Relaxed);
            tracing::error!(%error, "results could not be written to standard output: the rest of them is lost");
            self.beside_bar(|| {
                let _closed = writeln!(
                    std::io::stderr(),
                    "error: results cannot be written to standard output ({error}): the rest of them is not printed. \
                     `stripe-propagate status` tells them from what is on record"
                );
            });
        }
        self.failed = Some(error);
    }

    /// What came of the results.
    fn told(&self) -> std::io::Result<()> {
        match &self.failed {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(std::io::Error::new(error.kind(), error.to_string()))
            }
            _ => Ok(()),
        }
    }
}

/// One line at the bottom of the terminal, without colours.
fn bar() -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(FRAMES);
    let bar = ProgressBar::with_draw_target(None, target);
    // The template is a constant: it is right or wrong for all.
    ProgressStyle::with_template("{wide_msg}").map_or(bar.clone(), |style| bar.with_style(style))
}
