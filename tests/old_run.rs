//! A run that broke off more than an hour ago is not taken up without a word of its own: its key may have been
//! replaced since.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use stage::Stage;

mod stage;

const HOURS: u64 = 26;

impl Stage {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stripe-propagate"));
        command.arg("--config").arg(self.path("config.toml"));
        command
            .arg("--store")
            .arg(self.path("state/store.db"))
            .args(arguments);
        command
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn puts(&self) -> usize {
        let requests = self.fleet.record().requests;
        requests.iter().filter(|request| request.method == "PUT").count()
    }

    /// As if the run had begun so long ago.
    fn grows_old(&self) {
        let store = rusqlite::Connection::open(self.path("state/store.db")).unwrap();
        let nanoseconds = i64::try_from(Duration::from_hours(HOURS).as_nanos()).unwrap();
        let runs = store
            .execute("UPDATE runs SET began_ns = began_ns - ?1", [nanoseconds])
            .unwrap();
        assert_eq!(runs, 1);
    }
}

#[test]
fn an_old_run_needs_a_word_of_its_own() {
    let stage = Stage::of(24);
    let key = stage.path("key.txt").display().to_string();
    let mut push = stage
        .command(&["push", "--yes", "--key-file", &key])
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while stage.puts() < 3 {
        assert!(Instant::now() < deadline, "nothing is sent");
        std::thread::sleep(Duration::from_millis(1));
    }
    push.kill().unwrap();
    push.wait().unwrap();
    stage.grows_old();
    let before = stage.puts();
    let refused = stage.run(&["resume", "--yes"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("older than an hour") && said.contains("--allow-old-run"),
        "{said}"
    );
    assert_eq!(stage.puts(), before, "nothing is sent");
    let resumed = stage.run(&["resume", "--yes", "--allow-old-run", "--wait", "0"]);
    let said = String::from_utf8(resumed.stderr).unwrap();
    assert!(stage.puts() > before, "{said}");
}
