use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::pty::{Pty, Run};
use super::stage::Stage;
use super::{PATIENCE, source, wait_for};

/// A watch, and what it says.
struct Watch {
    child: Child,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Watch {
    fn says(&mut self, text: &str) {
        let said = self.lines.find(|line| line.contains(text));
        assert!(said.is_some(), "it did not say {text}");
    }
}

#[test]
fn a_watch_reads_its_list_again_when_it_is_told_to() {
    let stage = Stage::of(24);
    stage.write("shops.txt", &stage.url(0));
    stage.lists(&source("kind = \"file\"\nname = \"shops\"\npath = \"shops.txt\""));
    let mut child = stage.command(&["verify", "--watch"]).spawn().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let pid = Pid::from_child(&child);
    let mut looks = Watch {
        child,
        lines: Box::new(BufReader::new(out).lines().map_while(Result::ok)),
    };
    let mut remarks = BufReader::new(err).lines().map_while(Result::ok);
    looks.says("looked at 1 site:");
    stage.write("shops.txt", &format!("{}\n{}\n", stage.url(0), stage.url(1)));
    kill_process(pid, Signal::USR1).unwrap();
    assert!(remarks.any(|line| line == "read again: 2 sites"));
    looks.says("looked at 2 sites:");
    // What is wrong by then changes nothing.
    stage.write("config.toml", "[[sources]]\nkind = \"ldap\"\n");
    kill_process(pid, Signal::USR1).unwrap();
    assert!(
        remarks.any(|line| line.contains("the config is as before:") && line.contains("config.toml:2:8"))
    );
    looks.says("looked at 2 sites:");
    // So does a file that it names and that is not there.
    stage.lists(&source("kind = \"file\"\nname = \"shops\"\npath = \"shops.txt\""));
    let text = std::fs::read_to_string(stage.path("config.toml")).unwrap();
    stage.write("config.toml", &text.replace("\"ca.pem\"", "\"gone.pem\""));
    kill_process(pid, Signal::USR1).unwrap();
    assert!(remarks.any(|line| line.contains("the config is as before:") && line.contains("gone.pem")));
    looks.says("looked at 2 sites:");
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(looks.child.wait().unwrap().code(), Some(0));
    let of_now = stage.run(&["verify", "--watch", "--owed"]);
    assert_eq!(of_now.code, Some(2), "who is owed changes while it watches");
}

impl Stage {
    fn screen(&self) -> Pty {
        let run = Run::of(env!("CARGO_BIN_EXE_stripe-propagate")).size(120, 40);
        run.arg("--config")
            .arg(self.path("config.toml"))
            .arg("--store")
            .arg(self.path("state/store.db"))
            .start()
    }
}

#[test]
fn the_screen_tells_of_sources_and_its_plan_asks_for_a_word_when_one_failed() {
    let stage = Stage::of(24);
    stage.write("shops.txt", &format!("{}\nnowhere\n", stage.url(0)));
    let good = source("kind = \"file\"\nname = \"shops\"\npath = \"shops.txt\"");
    stage.lists(
        &[
            good.clone(),
            source("kind = \"file\"\nname = \"gone\"\npath = \"gone.txt\""),
        ]
        .concat(),
    );
    let mut pty = stage.screen();
    pty.sees("source gone: ").sees("1 site");
    pty.key("m")
        .sees("shops, line 2: url: begin with https://")
        .sees("1 warning about the list of sites");
    pty.key("Esc").sees_no("newest first");
    pty.key("e")
        .sees("paste or type")
        .paste(stage.key())
        .key("Enter")
        .sees("reviews and pushes 1");
    pty.key("P")
        .sees("1 source could not be read: sites that only stand there get nothing")
        .sees("source");
    pty.type_("y").key("Enter");
    pty.key("Esc").sees_no("could not be read: sites");
    assert_eq!(stage.puts(), 0);
    // Mended, and read again: by the signal, as by the key.
    stage.write("gone.txt", &stage.url(1));
    pty.signal(Signal::USR1).sees("read again: 2 sites, 1 new");
    stage.write("gone.txt", &format!("{}\n{}\n", stage.url(1), stage.url(2)));
    pty.key("F5").sees("read again: 3 sites, 1 new");
    pty.key("P")
        .sees("3 sites get a PUT")
        .sees_no("could not be read: sites");
    pty.key("Esc").sees_no("sites get a PUT");
    // Where only the source that fails lists the canary, there is no plan that could be confirmed.
    let name = stage.healthy()[1].url.default_name();
    let text = std::fs::read_to_string(stage.path("config.toml")).unwrap();
    let canary = text.replace("canary = 0", &format!("canary = [\"{name}\"]"));
    assert_ne!(canary, text);
    stage.write("config.toml", &canary);
    std::fs::remove_file(stage.path("gone.txt")).unwrap();
    pty.key("F5").sees("source gone: ");
    pty.key("P")
        .sees("nothing sent: a site that rollout.canary names is missing")
        .sees_no("plan: push");
    pty.key("q").wait_exit();
    assert_eq!(stage.puts(), 0);
    let ended = stage.push(&["--allow-failed-source"]);
    assert_eq!((ended.code, stage.puts()), (Some(2), 0), "{}", ended.err);
    assert!(
        ended
            .err
            .contains("nothing sent: a site that rollout.canary names is missing"),
        "{}",
        ended.err
    );
}

#[test]
fn a_command_on_a_terminal_says_what_it_waits_for() {
    let stage = Stage::of(6);
    let (go, url) = (stage.path("go"), stage.url(0));
    stage.lists(&source(&format!(
        "kind = \"command\"\nname = \"slow list\"\ncommand = [\"sh\", \"-c\", \"until test -e {}; do sleep 0.01; done; echo {url}\"]",
        go.display(),
    )));
    let run = Run::of(env!("CARGO_BIN_EXE_stripe-propagate")).size(120, 40);
    let run = run.arg("--config").arg(stage.path("config.toml")).arg("verify");
    let mut pty = run.start();
    pty.sees("reading sites from slow list …");
    std::fs::write(&go, "").unwrap();
    assert_eq!(pty.wait_exit(), 0);
}

#[test]
fn a_screen_is_left_at_once_while_a_source_is_being_read() {
    let stage = Stage::of(6);
    let lock = stage.path("lock");
    stage.lists(&source(&format!(
        "kind = \"command\"\ncommand = [\"sh\", \"-c\", \"test ! -e {0} || {{ touch {0}.met; sleep 600; }}; echo {1}\"]\ntimeout = \"10 min\"",
        lock.display(),
        stage.url(0)
    )));
    let mut pty = stage.screen();
    pty.sees("1 site");
    std::fs::write(&lock, "").unwrap();
    pty.key("F5").sees("reading the config");
    wait_for(|| stage.path("lock.met").exists().then_some(()));
    let begin = Instant::now();
    pty.key("q");
    assert_eq!(pty.wait_exit(), 0);
    assert!(begin.elapsed() < PATIENCE, "it waited for the source");
}
