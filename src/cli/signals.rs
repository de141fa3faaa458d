use std::future::Future;
use std::io::{self, BufRead, Write};

use anyhow::bail;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::status::Interrupted;

/// The signals that end a command. Once they are listened to, none of them ends the process by itself, so
/// whoever has them asks for them wherever it waits.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// A run goes on when its terminal is gone; a watch does not.
    hangup: Signal,
    /// Where nobody asks for it, it does nothing.
    reload: Signal,
}

/// Which signal ends a command that would go on for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// SIGINT, or the terminal is gone: somebody breaks it off.
    Interrupted,
    /// SIGTERM: it is stopped as a service is.
    Terminated,
    /// SIGUSR1: it begins anew, on what config and sources are by then.
    Reload,
}

impl Signals {
    /// Listens from now on: what comes before it is asked for is not lost.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            reload: signal(SignalKind::user_defined1())?,
        })
    }

    /// Until an end is wanted; by which signal.
    pub(super) async fn ended(&mut self) -> End {
        tokio::select! {
            _ = self.interrupt.recv() => End::Interrupted,
            _ = self.hangup.recv() => End::Interrupted,
            _ = self.terminate.recv() => End::Terminated,
        }
    }

    /// Until an end is wanted, or config and sources are to be read again.
    pub(super) async fn ended_or_reload(&mut self) -> End {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => End::Interrupted,
            _ = self.hangup.recv() => End::Interrupted,
            _ = self.terminate.recv() => End::Terminated,
            _ = self.reload.recv() => End::Reload,
        }
    }

    /// Until the operator wants an end.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// What `work` comes to, before anything is sent.
    ///
    /// # Errors
    /// [`Interrupted`], if the operator wants an end before that.
    pub(super) async fn unless_stopped<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            () = self.stop() => bail!(Interrupted),
            done = work => done,
        }
    }
}

/// Carries out `work`, which may wait for a terminal or a pipe, without making anything else wait for it.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        // Nobody waits for it any more.
        let _gone = tell.send(work());
    });
    told.await?
}

/// Asks a question on the terminal; whether the answer was `answer`, however its words were spaced.
///
/// # Errors
/// [`Interrupted`], if the operator wants an end instead.
pub(super) async fn asked(question: &str, answer: &str, signals: &mut Signals) -> anyhow::Result<bool> {
    let question = question.to_owned();
    // A terminal that takes nothing holds up the question alone.
    let line = on_a_thread(move || {
        let mut err = io::stderr();
        write!(err, "{question}")?;
        err.flush()?;
        let mut typed = String::new();
        io::stdin().lock().read_line(&mut typed)?;
        Ok(typed)
    });
    let typed = signals.unless_stopped(line).await?;
    Ok(typed.split_whitespace().eq(answer.split_whitespace()))
}
