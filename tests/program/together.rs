//! Several processes of one operator on one store: screens that attach to a run, watch it and steer it; what was
//! left is asked about; history, rollback and export from the screen.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pty::{Pty, Run};
use rustix::process::Signal;
use stage::Stage;
use stripe_propagate::demo::faults::Fault;

#[path = "../pty/mod.rs"]
mod pty;
#[path = "../stage/mod.rs"]
mod stage;

impl Stage {
    /// A fleet whose proofs come after a second.
    fn quick(sites: usize) -> Self {
        let stage = Self::of(sites);
        let config = std::fs::read_to_string(stage.path("config.toml")).unwrap();
        let quick = config.replace("settle = \"8s\"", "settle = \"1s\"");
        assert_ne!(quick, config);
        std::fs::write(stage.path("config.toml"), quick).unwrap();
        stage
    }

    fn arguments(&self) -> [String; 4] {
        let path = |name| self.path(name).display().to_string();
        [
            "--config".to_owned(),
            path("config.toml"),
            "--store".to_owned(),
            path("state/store.db"),
        ]
    }

    fn screen(&self) -> Run {
        let run = Run::of(env!("CARGO_BIN_EXE_stripe-propagate")).size(120, 40);
        self.arguments().into_iter().fold(run, Run::arg)
    }

    /// A command without a screen, with the key on its standard input.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stripe-propagate"));
        command.args(self.arguments()).args(arguments);
        command.env("HOME", self.folder.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Pushes this key without a screen, and waits for the end.
    fn push(&self, key: &str) {
        let file = self.path("pushed.txt");
        std::fs::write(&file, key).unwrap();
        let file = file.display().to_string();
        let ended = self
            .command(&["push", "--yes", "--key-file", &file])
            .output()
            .unwrap();
        assert!(
            ended.status.code().is_some(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
    }

    /// A push of the fleet's key without a screen, while it goes on.
    fn begins_to_push(&self) -> Child {
        std::fs::write(self.path("key"), self.key()).unwrap();
        let key = self.path("key").display().to_string();
        let mut push = self.command(&["push", "--yes", "--key-file", &key]);
        push.spawn().unwrap()
    }

    /// From another machine: its runs are on another store.
    fn somebody_else_pushes(&self, index: usize, key: &str) {
        let file = self.path("theirs.txt");
        std::fs::write(&file, key).unwrap();
        let ended = Command::new(env!("CARGO_BIN_EXE_stripe-propagate"))
            .arg("--config")
            .arg(self.path("config.toml"))
            .arg("--store")
            .arg(self.path("theirs/store.db"))
            .args([
                "push",
                "--yes",
                "--site",
                &self.fleet.sites()[index].name,
                "--key-file",
            ])
            .arg(&file)
            .env("HOME", self.folder.path())
            .output()
            .unwrap();
        assert_eq!(
            ended.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
    }

    fn healthy(&self) -> Vec<usize> {
        let sites = self.fleet.sites().iter().enumerate();
        sites
            .filter(|(_, site)| site.fault == Fault::Healthy)
            .map(|(index, _)| index)
            .collect()
    }
}

const OTHER_KEY: &str = "pk_test_51ExampleOtherKeyExampleOtherKeyExampleOtherKeyExampleOtherKeyExampleOtherKeyExampleOtherKeyExOther";

trait Operator {
    fn confirms(&mut self, phrase: &str) -> &mut Self;
    fn confirms_with_y(&mut self) -> &mut Self;
}

impl Operator for Pty {
    fn confirms(&mut self, phrase: &str) -> &mut Self {
        self.sees(&format!("type {phrase} to push")).type_(phrase);
        self.sees(&format!("> {phrase}_")).key("Enter").sees_no("> ")
    }

    /// Confirms a plan of a test key for a few sites.
    fn confirms_with_y(&mut self) -> &mut Self {
        self.sees("press y to push").key("y").sees_no("press y to push")
    }
}

#[test]
fn a_screen_opens_with_what_is_on_record_and_notices_what_others_find() {
    let stage = Stage::quick(3);
    stage.push(stage.key());
    let puts = stage.fleet.record().requests.len();
    let mut pty = stage.screen().start();
    pty.sees("run 1").sees("settled").sees("3 sites");
    assert_eq!(
        stage.fleet.record().requests.len(),
        puts,
        "what is known is an hour's truth"
    );
    // Somebody else pushes from another place: the hourly look of this machine finds it.
    let healthy = stage.healthy()[0];
    stage.somebody_else_pushes(healthy, OTHER_KEY);
    let looked = stage.command(&["verify"]).output().unwrap();
    assert_eq!(looked.status.code(), Some(1));
    pty.sees("drifted").sees("\u{2026}ther");
    pty.key("q");
    assert_eq!(pty.wait_exit(), 0);
}

#[test]
fn a_run_that_is_left_paused_waits_for_another_screen() {
    let stage = Stage::quick(24);
    let mut first = stage.screen().start();
    first.sees("\u{2022} seen").sees_no("checking");
    first
        .key("e")
        .sees("paste or type a publishable key")
        .type_(stage.key());
    first
        .sees("\u{2713} test publishable key")
        .key("Enter")
        .sees("P reviews and pushes");
    first.key("P").confirms("24");
    first.sees("retrying").key("c").sees("stay paused");
    // The question comes before the run has taken the pause: until then it would be left as one that sends.
    first
        .key("Esc")
        .sees_no("stay paused")
        .sees("4qGu  paused")
        .key("q");
    first.sees("leave it as it is").key("p");
    first.sees("run 1 stays as it is (PID ").is_restored();
    assert_eq!(first.wait_exit(), 0);
    // Whoever attaches and leaves again is told where it stays.
    let mut second = stage.screen().start();
    second.sees("attached").sees("paused").key("q");
    second.sees("run 1 stays paused in process ").is_restored();
    assert_eq!(second.wait_exit(), 0);
    let mut third = stage.screen().start();
    third
        .sees("attached")
        .sees("paused")
        .key("c")
        .sees("stay paused")
        .key("g");
    third.sees("settled").sees("all is on record").key("q");
    assert_eq!(third.wait_exit(), 0);
    for index in stage.healthy() {
        assert_eq!(stage.fleet.stored(index).as_deref(), Some(stage.key()));
    }
}

#[test]
fn a_paused_run_of_which_the_line_dropped_goes_on_from_another_screen() {
    let stage = Stage::quick(24);
    let mut first = stage.screen().start();
    first.sees("\u{2022} seen").sees_no("checking");
    first
        .key("e")
        .sees("paste or type a publishable key")
        .type_(stage.key());
    first
        .sees("\u{2713} test publishable key")
        .key("Enter")
        .sees("P reviews and pushes");
    first.key("P").confirms("24");
    first.sees("retrying").key("c").sees("stay paused").sees("paused");
    first.signal(Signal::HUP);
    let mut watcher = stage.screen().arg("--read-only").start();
    watcher
        .sees("watches")
        .sees("paused")
        .key("c")
        .sees("read-only")
        .sees_no("stay paused");
    let mut second = stage.screen().start();
    second
        .sees("attached")
        .sees("paused")
        .key("c")
        .sees("stay paused")
        .key("g");
    second.sees("settled").sees("all is on record");
    watcher.sees("settled").key("q");
    assert_eq!(watcher.wait_exit(), 0);
    first.wait_exit();
    for index in stage.healthy() {
        assert_eq!(stage.fleet.stored(index).as_deref(), Some(stage.key()));
    }
    second.key("q");
    assert_eq!(second.wait_exit(), 0);
}

impl Stage {
    /// With another `[rollout]`.
    fn rolled_out(self, rollout: &str) -> Self {
        let config = std::fs::read_to_string(self.path("config.toml")).unwrap();
        let other = config.replace("canary = 0\nstop_after = \"never\"", rollout);
        assert_ne!(other, config);
        std::fs::write(self.path("config.toml"), other).unwrap();
        self
    }

    /// A screen with the fleet's key in its field, when it has looked at each site.
    fn with_key(&self, screen: Run) -> Pty {
        let mut pty = screen.start();
        pty.sees("\u{2022} seen").sees_no("checking");
        pty.key("e")
            .sees("paste or type a publishable key")
            .type_(self.key());
        pty.sees("\u{2713} test publishable key")
            .key("Enter")
            .sees("P reviews and pushes");
        pty
    }

    fn sites_with_a_put(&self) -> usize {
        let record = self.fleet.record();
        let saw = |index: &usize| !record.puts(*index).is_empty();
        (0..self.fleet.sites().len()).filter(saw).count()
    }
}

#[test]
fn a_run_that_is_left_running_goes_on_between_waves_only_where_somebody_says_so() {
    let waves = "canary = 0\nstop_after = \"never\"\nwaves = [\"30%\", \"60%\", \"100%\"]\npause = \"ask\"";
    let stage = Stage::quick(3).rolled_out(waves);
    // No process stands before it that could give the shell back: it stays and tells.
    let mut first = stage.with_key(stage.screen().env("STRIPE_PROPAGATE_FRONT", "none"));
    first.key("P").confirms_with_y().sees("4qGu  paused").key("q");
    first.sees("let it go on, without the screen").key("l");
    first.sees("run 1 goes on without the screen: ").is_restored();
    first.sees("run 1 is paused: opening the screen within an hour");
    // The second wave goes. Nobody has said that of the third.
    let mut second = stage.screen().start();
    second.sees("attached").sees("4qGu  paused");
    assert_eq!(stage.sites_with_a_put(), 2);
    second.key("c").sees("stay paused").key("g");
    second.sees("settled").sees("all is on record").key("q");
    assert_eq!((second.wait_exit(), first.wait_exit()), (0, 0));
    assert_eq!(stage.sites_with_a_put(), 3);
}

#[test]
fn a_run_that_halted_and_was_let_go_on_ends_as_its_sites_do() {
    let stage = Stage::quick(24);
    let sites = stage.fleet.sites();
    let canary = sites
        .iter()
        .position(|site| site.fault == Fault::SaysNotStored)
        .unwrap();
    let name = &sites[canary].name;
    let rollout = format!("canary = [\"{name}\"]\nstop_after = \"never\"\npause = \"ask\"");
    let stage = stage.rolled_out(&rollout);
    let mut first = stage.with_key(stage.screen());
    stage.fleet.hold_next_put(canary);
    first.key("P").confirms("24");
    first.sees("4qGu  sending").signal(Signal::HUP);
    let mut second = stage.screen().start();
    second.sees("attached").sees("4qGu  sending");
    // It halts when its screen is gone.
    stage.fleet.let_go(canary);
    second.sees("4qGu  halted");
    assert_eq!(stage.sites_with_a_put(), 1);
    stage.heal();
    second.key("c").sees("stay halted").key("g");
    second.sees("all is on record").key("q");
    assert_eq!(second.wait_exit(), 0);
    assert_eq!(first.wait_exit(), 1, "the canary has failed, and that is all");
}

#[test]
fn an_interrupt_at_the_question_between_waves_cancels_the_rest_and_tells_so() {
    let waves = "canary = 0\nstop_after = \"never\"\nwaves = [\"60%\", \"100%\"]\npause = \"ask\"";
    let stage = Stage::quick(3).rolled_out(waves);
    std::fs::write(stage.path("key"), stage.key()).unwrap();
    let file = stage.path("key").display().to_string();
    let push = stage.screen().arg("push").arg("--key-file").arg(file);
    let mut push = push.start();
    push.sees("type y to push").type_("y").key("Enter");
    push.sees("does the next wave go?").key("^C");
    push.sees("stopping: what is out ends, the rest is cancelled");
    assert_eq!(push.wait_exit(), 130);
    push.sees("cancelled").never_saw("nothing was sent");
    assert_eq!(stage.sites_with_a_put(), 2);
    // What was cancelled is on record as that: it is not left over.
    let resumed = stage.command(&["resume", "--yes"]).output().unwrap();
    let said = String::from_utf8_lossy(&resumed.stderr);
    assert!(said.contains("there is nothing to resume"), "{said}");
}

#[test]
fn a_screen_retries_in_the_run_that_it_is_attached_to() {
    let stage = Stage::of(24);
    let mut push = stage.begins_to_push();
    let mut pty = stage.screen().start();
    pty.sees("attached")
        .sees("settling")
        .sees("refuses the master key");
    let name = stage
        .fleet
        .sites()
        .iter()
        .position(|site| site.fault == Fault::OtherMasterKey)
        .unwrap();
    stage.heal();
    pty.key("R").sees("held back: push all the same?").key("Esc");
    pty.sees("retries");
    // A backend that failed under load is left alone for half a minute: longer than a screen is waited for.
    assert!(push.wait().unwrap().code().is_some());
    pty.sees("settled");
    assert_eq!(stage.fleet.stored(name).as_deref(), Some(stage.key()));
    pty.key("q");
    assert_eq!(pty.wait_exit(), 0);
}

#[test]
fn an_unfinished_run_is_asked_about_and_goes_on() {
    let stage = Stage::quick(24);
    let mut push = stage.begins_to_push();
    let deadline = Instant::now() + Duration::from_mins(1);
    while stage
        .fleet
        .record()
        .requests
        .iter()
        .filter(|request| request.method == "PUT")
        .count()
        < 5
    {
        assert!(Instant::now() < deadline, "nothing is sent");
        std::thread::sleep(Duration::from_millis(1));
    }
    push.kill().unwrap();
    push.wait().unwrap();
    let mut pty = stage.screen().start();
    // All of the question is there: what is not drawn yet would count as gone.
    pty.sees("unfinished run").sees("close it").key("Esc");
    pty.sees_no("close it")
        .key("o")
        .sees("look at the unknown")
        .key("g");
    let has_it = |index: usize| stage.fleet.stored(index).as_deref() == Some(stage.key());
    let all_have_it = |_: &_| stage.healthy().into_iter().all(has_it);
    assert!(stage.fleet.wait_until(Duration::from_mins(1), all_have_it));
    pty.sees("run 1").sees("settled");
    for index in stage.healthy() {
        let puts = stage.fleet.record().puts(index).len();
        assert!(puts <= 2, "{puts} PUTs where one or two do");
    }
    pty.key("h")
        .sees("history  (")
        .sees("push")
        .key("Esc")
        .sees_no("history  (")
        .key("q");
    assert_eq!(pty.wait_exit(), 0);
}

#[test]
fn a_run_in_history_opens_is_written_down_and_rolled_back() {
    let stage = Stage::quick(3);
    stage.push(stage.key());
    stage.push(OTHER_KEY);
    let mut pty = stage.screen().start();
    pty.sees("run 2")
        .key("h")
        .sees(" push  pk_test")
        .key("Enter")
        .sees("f failed");
    pty.sees("4qGu \u{2192} ")
        .key("Enter")
        .sees("attempts")
        .sees("PUT 1")
        .key("Esc");
    let file = stage.path("report.html");
    pty.sees("f failed").key("e").sees("write it to a file").key("^u");
    pty.type_(&file.display().to_string())
        .key("Enter")
        .sees("written");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    pty.key("e")
        .sees("write it to a file")
        .key("^u")
        .type_(&file.display().to_string())
        .key("Enter");
    pty.sees("is there already")
        .key("n")
        .sees_no("is there already")
        .key("Esc");
    pty.sees_no("write it to a file");
    pty.key("u").sees("rollback of run 2").confirms_with_y();
    pty.sees("run 3").sees("settled");
    for index in stage.healthy() {
        assert_eq!(
            stage.fleet.stored(index).as_deref(),
            Some(stage.key()),
            "put back"
        );
    }
    pty.key("q");
    assert_eq!(pty.wait_exit(), 0);
}
