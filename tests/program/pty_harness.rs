//! The harness that drives the screen's tests, tried on a shell: what it says must be so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pty::{Pty, Run};
use rustix::process::Signal;

#[path = "../pty/mod.rs"]
mod pty;

fn shell(script: &str) -> Pty {
    Run::of("/bin/sh").arg("-c").arg(script).start()
}

fn fails(test: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(test)).is_err()
}

#[test]
fn what_is_typed_arrives_and_what_is_shown_is_seen() {
    let mut pty = shell("read word; echo got $word in $(stty size); read word; exit $word");
    pty.type_("fish").key("Enter").sees("got fish in 40 120");
    pty.type_("7").key("Enter");
    assert_eq!(pty.wait_exit(), 7);
    assert!(pty.bytes_received() > 20);
}

#[test]
fn a_resize_and_a_signal_arrive() {
    let mut pty =
        shell("trap 'stty size' WINCH; trap 'echo stops; exit 3' TERM; echo on; while :; do read x; done");
    pty.sees("on").resize(90, 30).sees("30 90");
    pty.signal(Signal::TERM).sees("stops");
    assert_eq!(pty.wait_exit(), 3);
}

#[test]
fn nothing_of_this_environment_is_there() {
    let mut pty = shell("env | sort; echo end");
    pty.sees("end").sees("TERM=xterm-256color").sees("LANG=C.UTF-8");
    pty.never_saw("CARGO").never_saw("SSH_CONNECTION");
}

#[test]
fn what_came_once_is_found_also_in_pieces_and_after_it_is_gone() {
    let mut pty = shell(r"printf 'se\033[31mcr\033[2;5Het\033[2J\033[Hend'; read x");
    pty.sees("end").sees_no("secret").never_saw("other");
    assert!(fails(|| drop(pty.never_saw("secret").screen())));
}

#[test]
fn what_was_written_is_found() {
    let mut pty = shell("mkdir -p $XDG_STATE_HOME/a; echo secret > $XDG_STATE_HOME/a/log; echo end; read x");
    pty.sees("end").never_wrote("other");
    assert!(fails(|| drop(pty.never_wrote("secret").screen())));
}

#[test]
fn a_terminal_that_is_not_given_back_is_noticed() {
    let mut pty = shell(
        r"stty raw -echo; printf '\033[?1049h\033[?25lon'
        x=$(dd bs=1 count=1 2>/dev/null); stty sane; printf '\033[?25h\033[?1049l'; echo off; exit 0",
    );
    pty.sees("on");
    assert!(pty.is_raw());
    pty.key("x").sees("off").is_restored();
    assert_eq!(pty.wait_exit(), 0);
    let mut left_raw = shell("stty raw -echo; echo end");
    left_raw.sees("end");
    assert!(fails(|| drop(left_raw.is_restored().screen())));
}

#[test]
fn silence_and_noise_are_told_apart() {
    let mut pty = shell("echo on; read x; while :; do echo noise; done");
    pty.sees("on").comes_to_rest(Duration::from_millis(200));
    pty.writes_nothing_for(Duration::from_millis(200));
    pty.key("Enter").sees("noise");
    assert!(fails(|| drop(
        pty.writes_nothing_for(Duration::from_secs(5)).screen()
    )));
}

#[test]
fn reverse_video_is_seen() {
    let mut pty = shell(r"printf 'one\r\n\033[7mtwo\033[0m\r\nthree'; read x");
    pty.sees("three");
    assert_eq!(pty.reverse_lines(), ["two"]);
}

#[test]
fn a_line_that_the_terminal_wraps_is_seen_whole() {
    let mut pty = shell("printf '%0115d the end' 0; read x");
    pty.sees("0 the end");
}
