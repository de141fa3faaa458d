//! A screen that is killed: the process before it gives the terminal back.

use rustix::process::{Pid, Signal, kill_process};

use super::pty::Pty;
use super::stage::Stage;
use super::with_config;

const TITLE_KEPT: &[u8] = b"\x1b[22;2t";
const TITLE_BACK: &[u8] = b"\x1b[23;2t";
const NO_PROGRESS: &[u8] = b"\x1b]9;4;0;0";

/// Kills the screen behind the process that was started.
fn kill_the_screen(pty: &Pty) {
    let front = pty.pid();
    let children = std::fs::read_to_string(format!("/proc/{front}/task/{front}/children")).unwrap();
    let screen: i32 = children.trim().parse().unwrap();
    kill_process(Pid::from_raw(screen).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn what_a_killed_screen_began_outside_of_itself_is_ended_and_nothing_else() {
    for (tab, kind, title, progress) in [
        ("progress = true", "xterm-256color", true, true),
        ("title = false\nprogress = true", "xterm-256color", false, true),
        ("title = false", "xterm-256color", false, false),
        ("progress = true", "vt100", false, false),
    ] {
        let stage = Stage::of(1);
        with_config(&stage, &format!("[ui]\n{tab}"));
        let mut pty = stage.screen().env("TERM", kind).start();
        pty.sees("1 site").sees("seen 1");
        kill_the_screen(&pty);
        assert_eq!(pty.wait_exit(), 128 + 9);
        pty.sees("the screen was killed").is_restored();
        let told = (pty.times(TITLE_KEPT), pty.times(TITLE_BACK));
        assert_eq!(told, (usize::from(title), usize::from(title)), "{kind}: {tab}");
        assert_eq!(pty.times(NO_PROGRESS), usize::from(progress), "{kind}: {tab}");
    }
}
