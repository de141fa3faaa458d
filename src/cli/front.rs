use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::ExitStatus;

use anyhow::Context;
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal, setsid};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::TabSettings;
use crate::tui::run::giving_back;

/// Tells the child which process waits for it.
const MARK: &str = "STRIPE_PROPAGATE_FRONT";
/// By which the child says that it goes on alone.
const LET_GO: Signal = Signal::USR2;

/// Whether this process is to stand before the screen: it has a terminal, and nobody stands before it.
pub(super) fn is_needed() -> bool {
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    terminal && std::env::var_os(MARK).is_none()
}

/// Runs the program again behind this process, and waits until it ends or goes on alone. Returns its exit status.
///
/// A screen that is killed leaves behind what it has begun outside of itself: `tab` tells what that can be.
pub(super) fn stand(
    arguments: impl Iterator<Item = OsString>,
    tab: impl FnOnce() -> TabSettings,
) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .context("starting the program")?
        .block_on(wait(arguments, tab))
}

async fn wait(
    mut arguments: impl Iterator<Item = OsString>,
    tab: impl FnOnce() -> TabSettings,
) -> anyhow::Result<u8> {
    let mut let_go = signal(SignalKind::user_defined2())?;
    let mut reload = signal(SignalKind::user_defined1())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let name = arguments.next().unwrap_or_default();
    let mut command = std::process::Command::new("/proc/self/exe");
    command
        .arg0(name)
        .args(arguments)
        .env(MARK, std::process::id().to_string());
    let modes = tcgetattr(rustix::stdio::stdin());
    let mut child = Command::from(command).spawn().context("starting the screen")?;
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status?;
                if let (Some(_), Ok(modes)) = (status.signal(), &modes) {
                    give_back(modes, tab());
                }
                return Ok(code(status));
            }
            _ = let_go.recv() => return Ok(0),
            _ = reload.recv() => forward(&child, Signal::USR1),
            _ = interrupt.recv() => forward(&child, Signal::INT),
            _ = terminate.recv() => forward(&child, Signal::TERM),
            _ = hangup.recv() => forward(&child, Signal::HUP),
        }
    }
}

/// A screen that was killed could not give the terminal back itself.
fn give_back(modes: &Termios, tab: TabSettings) {
    let _gone = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, modes);
    let mut output = std::io::stdout();
    let _gone = output.write_all(&giving_back(tab));
    let _gone = writeln!(
        output,
        "the screen was killed: opening it again tells what became of a run"
    );
}

/// What is sent to this process alone is meant for the screen; what goes to the whole group reaches it twice.
fn forward(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _gone = kill_process(pid, signal);
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The process that stands before this one, if it still does.
fn front() -> Option<Pid> {
    let marked: i32 = std::env::var(MARK).ok()?.parse().ok()?;
    getppid().filter(|parent| parent.as_raw_nonzero().get() == marked)
}

/// Ends as if the terminal had hung up when the process before it is killed.
pub(super) fn mind_the_front() {
    if front().is_some() {
        // Where the system knows no such signal, the terminal's own has to do.
        let _unknown = set_parent_process_death_signal(Some(Signal::HUP));
    }
}

/// Lets the shell have its terminal: from now on this process is on its own, and says nothing there. `told` is
/// said before. Returns whether that is so: without a process before it the shell goes on to wait.
pub(super) fn let_go(told: &str) -> bool {
    let Some(front) = front() else { return false };
    let _closed = writeln!(std::io::stderr(), "{told}");
    let _unknown = set_parent_process_death_signal(None);
    // In a session of its own the terminal's signals do not reach it.
    let _leader = setsid();
    if let Ok(nothing) = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
    {
        let _open = rustix::stdio::dup2_stdin(&nothing);
        let _open = rustix::stdio::dup2_stdout(&nothing);
        let _open = rustix::stdio::dup2_stderr(&nothing);
    }
    kill_process(front, LET_GO).is_ok()
}
