use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::sync::oneshot;

/// How long a terminal that is not read may hold up the end of an interrupted run.
const PATIENCE: Duration = Duration::from_secs(1);

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

/// Writes on a thread of its own: a terminal or a pipe that is not read holds up no run, and no signal.
pub(super) struct Printer {
    telling: Telling,
    lines: Sender<Line>,
}

enum Line {
    /// A line of results, to standard output.
    Out(String),
    /// A line about what happens, to standard error.
    Happens(String),
    /// All before it is written.
    End(oneshot::Sender<()>),
}

impl Printer {
    pub(super) fn start(telling: Telling) -> std::io::Result<Self> {
        let (lines, queue) = channel();
        let thread = std::thread::Builder::new().name("output".to_owned());
        thread.spawn(move || {
            for line in queue {
                // A closed pipe is no reason to end a run.
                let _closed = match line {
                    Line::Out(text) => {
                        let mut out = std::io::stdout().lock();
                        writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush())
                    }
                    Line::Happens(text) => writeln!(std::io::stderr(), "{text}"),
                    Line::End(written) => {
                        let _gone = written.send(());
                        Ok(())
                    }
                };
            }
        })?;
        Ok(Self { telling, lines })
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

    /// Until all is written; after an interruption no longer than [`PATIENCE`].
    pub(super) async fn finish(&self, interrupted: bool) {
        let (written, all_written) = oneshot::channel();
        self.send(Line::End(written));
        if interrupted {
            let _frozen = tokio::time::timeout(PATIENCE, all_written).await;
        } else {
            let _gone = all_written.await;
        }
    }
}
