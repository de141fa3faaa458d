//! The real program in a pseudo-terminal, on a fleet of template sites over TLS. What its screen says is
//! compared with the fleet's own record.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use pty::{Pty, Run};
use rustix::process::Signal;
use stage::Stage;
use stripe_propagate::demo::faults::Fault;

#[path = "../pty/mod.rs"]
mod pty;
#[path = "../stage/mod.rs"]
mod stage;

#[path = "screen/killed.rs"]
mod killed;
/// What is typed and pasted where it must do nothing.
#[path = "screen/pasted.rs"]
mod pasted;
/// A master key that sites refuse.
#[path = "screen/refused.rs"]
mod refused;

/// A secret's prefix, and what no one may see behind it: letters that nothing else on the screen has.
const SECRET: &str = "sk_live_51Zq\u{de}xWv\u{d0}Kj";
/// What of it must be in no file. Two letters of it are in many.
const KEPT_NOWHERE: [&str; 2] = ["51Zq", "xWv"];
const BEHIND: [&str; 5] = ["51Zq", "\u{de}", "xWv", "\u{d0}", "Kj"];

impl Stage {
    fn screen(&self) -> Run {
        Run::of(env!("CARGO_BIN_EXE_stripe-propagate"))
            .arg("--config")
            .arg(self.path("config.toml"))
    }

    /// The screen, when it has looked at each site once.
    fn looked_at(&self) -> Pty {
        let mut pty = self.screen().start();
        // All looks are out before the first of them is answered.
        pty.sees("\u{2022} seen").sees_no("checking");
        pty
    }

    fn puts(&self) -> usize {
        let requests = self.fleet.record().requests;
        requests.iter().filter(|request| request.method == "PUT").count()
    }

    fn sites_with(&self, healthy: bool) -> impl Iterator<Item = usize> {
        let sites = self.fleet.sites().iter().enumerate();
        sites
            .filter(move |(_, site)| (site.fault == Fault::Healthy) == healthy)
            .map(|(index, _)| index)
    }
}

/// What one does with the key.
trait Operator {
    fn enters(&mut self, key: &str) -> &mut Self;
    fn pushes(&mut self, phrase: &str) -> &mut Self;
    fn quits(&mut self) -> u32;
}

impl Operator for Pty {
    fn enters(&mut self, key: &str) -> &mut Self {
        self.key("e").sees("paste or type a publishable key").type_(key);
        self.sees("\u{2713} test publishable key")
            .key("Enter")
            .sees("P reviews and pushes")
    }

    fn pushes(&mut self, phrase: &str) -> &mut Self {
        self.key("P")
            .sees(&format!("type {phrase} to push"))
            .type_(phrase);
        self.sees(&format!("> {phrase}_")).key("Enter").sees_no("> ")
    }

    fn quits(&mut self) -> u32 {
        let status = self.key("q").wait_exit();
        self.is_restored();
        status
    }
}

#[test]
fn the_main_job() {
    let stage = Stage::of(24);
    let mut pty = stage.looked_at();
    pty.sees("24 sites").enters(stage.key()).pushes("24");
    pty.sees("\u{25cd} serving").sees("verified").sees("settled");
    pty.sees("verified 16");
    let key = Some(stage.key().to_owned());
    for index in stage.sites_with(true) {
        let (name, stored) = (&stage.fleet.sites()[index].name, stage.fleet.stored(index));
        assert_eq!(stored, key, "{name}");
        assert_eq!(stage.fleet.record().puts(index).len(), 1, "{name}");
    }

    let before = stage.puts();
    stage.heal();
    pty.key("R").sees("held back: push all the same?").key("Esc");
    pty.sees("verified 21").sees("settled");
    assert_eq!(stage.puts(), before + 5, "only what failed is sent again");
    pty.key("V").sees("verified 22");
    assert_eq!(stage.puts(), before + 5, "a look sends nothing");
    for index in stage.sites_with(false) {
        let all = stage.fleet.serves_now(index);
        assert!(all.iter().all(Option::is_some), "{all:?}");
    }
    assert_eq!(stage.fleet.record().to_redirect_target, 0);
    assert_eq!(pty.quits(), 0);
}

#[test]
fn a_dry_run_shows_the_plan_and_pushes_nothing() {
    let stage = Stage::of(6);
    let mut pty = stage.looked_at();
    pty.key("d").sees("there is no key for a dry run");
    pty.enters(stage.key()).key("d");
    pty.sees("dry run: what P would do").sees("sites 1-6 of 6");
    // What confirms a push is nothing here; Enter closes it.
    pty.type_("6")
        .sees("Esc closes")
        .key("Enter")
        .sees_no("dry run: what");
    pty.key("P")
        .sees("type 6 to push")
        .key("Esc")
        .sees_no("to push, then Enter");
    pty.key("d")
        .sees("dry run: what")
        .key("q")
        .sees_no("dry run: what");
    assert_eq!(pty.quits(), 0);
    assert_eq!(stage.puts(), 0);
}

#[test]
fn a_dry_run_needs_no_master_key() {
    let stage = Stage::of(6);
    let mut pty = stage.looked_at();
    std::fs::remove_file(stage.path("master.key")).unwrap();
    pty.enters(stage.key()).key("d").sees("dry run: what P would do");
    pty.key("Esc").sees_no("dry run: what");
    assert_eq!(pty.quits(), 0);
}

#[test]
fn a_key_that_sites_serve_is_taken_from_the_field() {
    let stage = Stage::of(24);
    let mut pty = stage.looked_at();
    pty.key("e").sees("\u{2191} known keys").key("Up");
    pty.sees("known keys: Enter takes one")
        .sees("served by ")
        .sees_no("being read");
    pty.key("Enter")
        .sees_no("known keys: ")
        .sees("\u{2713} test publishable key");
    pty.key("Enter").sees("P reviews and pushes 24");
    // It is whole, and offered with the run that put it out.
    pty.pushes("24").sees("settled");
    pty.key("e").sees("known keys").key("Up").sees("; run 1, 20");
    pty.key("Esc")
        .sees_no("known keys: ")
        .key("Esc")
        .sees_no("Enter done");
    assert_eq!(pty.quits(), 0);
}

#[test]
fn a_terminated_run_gives_the_terminal_back() {
    let stage = Stage::of(24);
    let mut pty = stage.looked_at();
    pty.enters(stage.key()).pushes("24").sees("run 1");
    assert!(pty.is_raw());
    pty.signal(Signal::TERM).is_restored();
    assert_eq!(pty.wait_exit(), 130);
    // What became of the run is told.
    pty.sees("24 sites in ");
}

/// A fleet without a fault whose master key takes a second to be read, so that what was confirmed is still to
/// begin when something else happens.
fn slow_to_begin() -> Stage {
    let stage = Stage::of(6);
    stage.heal();
    let path = stage.path("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let slow = format!(
        "command = ['sh', '-c', 'sleep 1; cat {}']",
        stage.path("master.key").display()
    );
    std::fs::write(&path, config.replace("file = \"master.key\"", &slow)).unwrap();
    stage
}

impl Stage {
    fn all_serve_the_key(&self) {
        for index in 0..self.fleet.sites().len() {
            for served in self.fleet.serves_now(index) {
                assert_eq!(
                    served.as_deref(),
                    Some(self.key()),
                    "{}",
                    self.fleet.sites()[index].name
                );
            }
        }
    }
}

#[test]
fn a_line_that_drops_right_behind_the_confirmation_loses_no_run() {
    let stage = slow_to_begin();
    let mut pty = stage.looked_at();
    pty.enters(stage.key()).pushes("6").signal(Signal::HUP);
    assert_eq!(pty.wait_exit(), 0);
    stage.all_serve_the_key();
}

#[test]
fn a_run_that_is_left_right_behind_the_confirmation_goes_on() {
    let stage = slow_to_begin();
    let mut pty = stage.looked_at();
    pty.enters(stage.key()).pushes("6").key("q");
    pty.sees("leave it running, without the screen").key("l");
    pty.sees("goes on without the screen (PID ").is_restored();
    let screen = pty.screen();
    let pid = screen
        .split("(PID ")
        .nth(1)
        .unwrap()
        .split(')')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(pty.wait_exit(), 0, "the shell has its terminal back");
    // The run has a process of its own, which ends when all is settled.
    let deadline = Instant::now() + Duration::from_mins(1);
    while Path::new("/proc").join(&pid).exists() {
        assert!(Instant::now() < deadline, "process {pid} goes on for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
    stage.all_serve_the_key();
}

#[test]
fn a_run_that_is_left_before_it_begins_can_still_be_stopped() {
    let stage = slow_to_begin();
    let mut pty = stage.looked_at();
    pty.enters(stage.key()).pushes("6").key("q");
    pty.sees("leave it running, without the screen").key("l");
    pty.is_restored().signal(Signal::TERM);
    assert_eq!(pty.wait_exit(), 130);
    assert_eq!(stage.puts(), 0);
}

#[test]
fn a_paste_does_not_answer_the_question_of_a_small_push() {
    let stage = Stage::of(3);
    for text in [SECRET.to_owned(), format!("{}y\ry", stage.key())] {
        for paste in [Pty::paste, Pty::raw_paste] {
            let mut pty = stage.looked_at();
            pty.enters(stage.key()).key("P").sees("press y to push");
            paste(&mut pty, &text).sees(" pasted ");
            pty.sees("press y to push").key("Esc").sees_no("press y to push");
            for text in BEHIND {
                pty.never_saw(text);
            }
            for text in KEPT_NOWHERE {
                pty.never_wrote(text);
            }
            assert_eq!(pty.quits(), 0);
        }
    }
    assert_eq!(stage.puts(), 0);
}

#[test]
fn a_signal_ends_the_hidden_question() {
    let stage = Stage::of(3);
    for signal in [Signal::INT, Signal::TERM] {
        let mut pty = stage.screen().arg("push").start();
        pty.sees("publishable key (hidden)").signal(signal);
        pty.sees("nothing was sent").is_restored();
        assert_eq!(pty.wait_exit(), 130);
    }
}

#[test]
fn questions_of_the_push_command_end_at_an_interrupt() {
    let stage = slow_to_begin();
    let mut hidden = stage.screen().arg("push").start();
    hidden
        .sees("publishable key (hidden)")
        .key("^C")
        .sees("nothing was sent");
    assert_eq!(hidden.wait_exit(), 130);
    hidden.is_restored();
    let mut typed = stage.screen().arg("push").start();
    typed
        .sees("publishable key (hidden)")
        .type_(stage.key())
        .key("Enter");
    typed.sees("type 6 to push").key("^C").sees("nothing was sent");
    assert_eq!(typed.wait_exit(), 130);
    assert_eq!(stage.puts(), 0);
}

#[test]
fn an_interrupt_key_asks_while_a_run_goes_and_esc_stays() {
    let stage = Stage::of(24);
    let mut pty = stage.looked_at();
    pty.enters(stage.key()).pushes("24").sees("run 1").key("^C");
    pty.sees("leave it running, without the screen").key("Esc");
    pty.sees_no("leave it running, without the screen")
        .sees("settled");
    assert_eq!(pty.key("^C").wait_exit(), 0);
    pty.is_restored();
}

#[test]
fn what_is_copied_goes_to_the_terminals_clipboard() {
    let stage = Stage::of(3);
    let mut pty = stage.looked_at();
    let (lines, mut sites) = (pty.reverse_lines(), stage.fleet.sites().iter());
    let site = sites
        .find(|site| lines.iter().any(|line| line.contains(&site.name)))
        .unwrap();
    let url = base64::engine::general_purpose::STANDARD.encode(site.url.to_string());
    let asks = format!("\u{1b}]52;c;{url}\u{1b}\\");
    pty.never_saw("]52;").key("y").sees("copies nothing").key("u");
    pty.sees("copied the URL, if the terminal takes OSC 52")
        .received(&asks);
    // In the detail too, which stays open.
    pty.key("Enter").sees("what cannot be seen from here").key("y");
    pty.sees("copies nothing")
        .key("k")
        .sees("copied the key")
        .received("\u{1b}]52;c;cGtf");
    pty.sees("attempts, newest first")
        .key("Esc")
        .sees_no("attempts, newest first");
    assert_eq!(pty.quits(), 0);

    let mut console = stage.screen().env("TERM", "linux").start();
    console.sees("* seen").key("y").sees("copies nothing").key("u");
    console.sees("the URL was not copied").never_saw("]52;");
    assert_eq!(console.quits(), 0);
}

#[test]
fn an_idle_screen_writes_nothing() {
    let stage = Stage::of(3);
    stage.looked_at().writes_nothing_for(Duration::from_secs(5));
}

#[test]
fn a_terminal_that_cannot_move_the_cursor_is_refused_with_what_to_do_instead() {
    let stage = Stage::of(1);
    for kind in ["dumb", ""] {
        let mut pty = stage.screen().env("TERM", kind).start();
        assert_eq!(pty.wait_exit(), 2);
        pty.sees("stripe-propagate push").is_restored();
    }
}

#[test]
fn without_colours_the_row_under_the_cursor_stands_out() {
    let stage = Stage::of(3);
    // Whatever the config says.
    with_config(&stage, "[ui]\ntheme = \"high-contrast\"");
    for run in [
        stage.screen().env("NO_COLOR", "1"),
        stage.screen().arg("--no-color"),
    ] {
        shows_no_colour(&stage, run.start());
    }
}

fn shows_no_colour(stage: &Stage, mut pty: Pty) {
    pty.sees("\u{2022} seen").sees_no("checking");
    let names = stage.fleet.sites().iter().map(|site| site.name.as_str());
    let lines = pty.reverse_lines();
    let row: Vec<&str> = names
        .filter(|name| lines.iter().any(|line| line.contains(name)))
        .collect();
    assert_eq!(row.len(), 1, "{lines:?}");
    for colour in ["\u{1b}[31m", "\u{1b}[38;5;", "\u{1b}[32m"] {
        pty.never_saw(colour);
    }
}

/// The screen in a config that asks for all that a terminal can show outside of it, on a fleet without a fault.
fn with_all_in_the_tab(stage: &Stage, kind: &str) -> Pty {
    stage.heal();
    let path = stage.path("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{config}\n[ui]\nprogress = true\nbell = true\n")).unwrap();
    let mut pty = stage.screen().env("TERM", kind).start();
    pty.sees("6 sites").sees("seen 6");
    pty
}

#[test]
fn title_progress_and_bell_tell_of_a_run_and_go_with_the_screen() {
    let stage = Stage::of(6);
    let mut pty = with_all_in_the_tab(&stage, "xterm-256color");
    pty.receives("\u{1b}[22;2t")
        .receives("\u{1b}]2;stripe-propagate\u{1b}\\");
    pty.enters(stage.key()).pushes("6").sees("settled");
    pty.receives("\u{1b}]2;stripe-propagate settling run 1\u{1b}\\")
        .receives("\u{1b}]9;4;1;100\u{1b}\\");
    pty.receives("\u{1b}]2;stripe-propagate settled run 1\u{1b}\\\u{1b}]9;4;0;0\u{1b}\\\u{7}");
    assert_eq!(pty.quits(), 0);
    pty.receives("\u{1b}]2;\u{1b}\\\u{1b}[23;2t\u{1b}]9;4;0;0\u{1b}\\");
    assert_eq!(pty.bells(), 1, "one run, one bell");
}

#[test]
fn a_terminal_that_knows_no_titles_is_sent_none() {
    for kind in ["linux", "vt100"] {
        let stage = Stage::of(6);
        let mut pty = with_all_in_the_tab(&stage, kind);
        pty.key("e").sees("paste or type").type_(stage.key());
        pty.sees("test publishable key, ").key("Enter").sees("P reviews");
        pty.key("P").sees("type 6 to push").type_("6");
        pty.sees("> 6_").key("Enter").sees("verified 6").sees("settled");
        assert_eq!(pty.quits(), 0);
        pty.never_saw("\u{1b}]")
            .never_saw("\u{1b}[22;2t")
            .never_saw("\u{1b}[23;2t");
        assert_eq!(pty.bells(), 1, "{kind} can ring");
    }
}

#[test]
fn a_terminal_that_changes_its_size_is_followed() {
    let stage = Stage::of(6);
    let mut pty = stage.looked_at();
    pty.sees("MS").resize(80, 24).sees_no(" MS ").sees("6 sites");
    pty.resize(59, 14).sees("needs 60 x 15");
    pty.resize(120, 40).sees(" MS ").sees("no run goes on");
    assert_eq!(pty.quits(), 0);
}

/// Adds lines to a stage's config.
fn with_config(stage: &Stage, lines: &str) {
    let path = stage.path("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{config}\n{lines}\n")).unwrap();
}

#[test]
fn some_letters_of_a_name_and_enter_do_it() {
    let stage = Stage::of(3);
    let mut pty = stage.looked_at();
    let looks = stage.fleet.record().requests.len();
    pty.key(":")
        .sees("> _")
        .type_("vfyall")
        .sees("> vfyall_")
        .sees("verify all");
    pty.key("Enter").sees_no("> vfyall");
    pty.key(":")
        .sees("> _")
        .type_("messag")
        .sees("> messag_")
        .key("Enter");
    pty.sees("messages, newest first")
        .key("Esc")
        .sees_no("messages, newest first");
    pty.key(":")
        .sees("> _")
        .type_("quit")
        .sees("> quit_")
        .key("Enter");
    assert_eq!(pty.wait_exit(), 0);
    assert!(
        stage.fleet.record().requests.len() > looks,
        "it looks at the sites"
    );
}

#[test]
fn a_config_changes_keys() {
    let stage = Stage::of(3);
    with_config(&stage, "[keys]\nmessages = [\"F7\", \"ctrl-t\"]\nquit = \"X\"\n");
    let mut pty = stage.looked_at();
    pty.sees("X quit")
        .key("m")
        .key("q")
        .key("^T")
        .sees("messages, newest first");
    pty.key("Esc").sees_no("messages, newest first").key("X");
    assert_eq!(pty.wait_exit(), 0);
    pty.is_restored();
}

#[test]
fn a_clash_of_keys_and_an_unknown_theme_are_errors_with_their_line() {
    for (lines, said) in [
        ("[keys]\nmessages = \"P\"", "messages = "),
        ("[ui]\ntheme = \"dark\"", "theme = "),
    ] {
        let stage = Stage::of(1);
        with_config(&stage, lines);
        let config = std::fs::read_to_string(stage.path("config.toml")).unwrap();
        let line = 1 + config.lines().position(|line| line.starts_with(said)).unwrap();
        let mut pty = stage.screen().start();
        let place = format!("config.toml:{line}:{}", said.len() + 1);
        pty.sees("The config cannot be used").sees(&place).key("q");
        assert_eq!(pty.wait_exit(), 2);
        pty.is_restored().sees(&format!("{place}: "));
        let mut verify = stage.screen().arg("verify").start();
        assert_eq!(verify.wait_exit(), 2);
    }
}

#[test]
fn after_a_dropped_line_what_happened_meanwhile_comes_first() {
    let stage = Stage::of(6);
    let open = || stage.screen().arg("--store").arg(stage.path("store.db")).start();
    let mut pty = open();
    pty.sees("6 sites").sees("\u{2022} seen").sees_no("checking");
    pty.enters(stage.key()).pushes("6").sees("run 1").key("q");
    pty.sees("leave it running, without the screen")
        .key("l")
        .wait_exit();
    let mut again = open();
    again
        .sees(", while away: run 1 ")
        .key("m")
        .sees("messages, newest first");
    again.key("Esc").sees_no("messages, newest first").sees("settled");
    assert_eq!(again.quits(), 0);
    // It was told.
    let mut third = open();
    third
        .sees("6 sites")
        .sees("run 1")
        .key("m")
        .sees("messages, newest first")
        .sees_no("while away");
}
