//! On a terminal: the progress line, and the questions.

use super::pty::{Pty, Run};
use super::*;

impl Stage {
    fn terminal(&self, arguments: &[&str]) -> Run {
        let run = Run::of(env!("CARGO_BIN_EXE_stripe-propagate"))
            .arg("--config")
            .arg(self.path("config.toml"))
            .arg("--store")
            .arg(self.path("store.db"));
        arguments.iter().fold(run, |run, argument| run.arg(*argument))
    }

    fn pushes_there(&self, flags: &[&str]) -> Run {
        let push = self.pushes(flags);
        self.terminal(&push.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn ends(mut pty: Pty, code: u32) -> Pty {
    assert_eq!(pty.wait_exit(), code, "{}", pty.screen());
    pty
}

#[test]
fn a_terminal_shows_how_far_a_run_is_and_keeps_what_failed() {
    let stage = Stage::of(24);
    let refuses = stage.name(Fault::OtherMasterKey);
    let mut pty = stage.pushes_there(&["--yes", "--wait", "0"]).start();
    // A slow site takes seconds; the others are over by then.
    pty.sees("sent 2");
    let line = pty.screen();
    let last = line.lines().rev().find(|line| !line.trim().is_empty()).unwrap();
    assert!(last.starts_with("sent ") && last.contains("/24"), "{line}");
    pty.received("refuses the connection");
    // It is gone in the end.
    pty.sees("24 sites in").sees_no("sent 2");
    ends(pty, 1);
    let mut checked = stage.terminal(&["check", "--site", refuses]).start();
    checked.sees("1 site:").sees_no("checked ");
    ends(checked, 0);
}

#[test]
fn there_is_no_progress_line_where_it_would_be_in_the_way() {
    let stage = Stage::of(3);
    let site = stage.name(Fault::Healthy);
    for (flags, kind) in [(&["--yes", "--wait", "0"][..], "dumb"), (&JSON, "xterm")] {
        let flags = [flags, &["--site", site]].concat();
        let mut pty = ends(stage.pushes_there(&flags).env("TERM", kind).start(), 3);
        for progress in ["sent 0/1", "sent 1/1", "\u{1b}["] {
            pty.never_saw(progress);
        }
    }
}

#[test]
fn a_retry_and_a_rollback_ask_for_the_phrase_of_their_plan() {
    let stage = Stage::of(24);
    ends(stage.pushes_there(&["--yes", "--wait", "0"]).start(), 1);
    stage.heal();
    let sent = stage.put_to();
    let mut retry = stage.terminal(&["retry", "--wait", "0"]).start();
    retry
        .sees("retry of run 1: ")
        .sees("to push: ")
        .type_("no")
        .key("Enter");
    retry.sees("nothing sent");
    ends(retry, 2);
    assert_eq!(stage.put_to(), sent);
    let site = stage.name(Fault::OtherMasterKey);
    let mut retry = stage.terminal(&["retry", "--wait", "0", "--site", site]).start();
    retry.sees("to push: ").type_("y").key("Enter");
    ends(retry, 3);
    let mut back = stage.terminal(&["rollback", "--wait", "0", "--run", "2"]).start();
    back.sees("rollback of run 2: ")
        .sees(site)
        .type_("y")
        .key("Enter");
    ends(back, 3);
    assert_ne!(
        stage.fleet.stored(stage.index(site)).as_deref(),
        Some(stage.key())
    );
}
