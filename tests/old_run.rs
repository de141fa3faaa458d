//! A run that broke off more than an hour ago is not taken up without a word of its own: its key may have been
//! replaced since.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use stage::Stage;
use stripe_propagate::engine::Clock;
use stripe_propagate::rules::run::Kind;
use stripe_propagate::rules::state::{Allow, Served};
use stripe_propagate::site::Site;
use stripe_propagate::store::sqlite::SqliteStore;
use stripe_propagate::store::{NewRun, Operator, PlannedSite, RunId, Store};

mod stage;

const HOURS: u64 = 26;

impl Stage {
    fn run(&self, arguments: &[&str]) -> Output {
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
        command.output().unwrap()
    }

    /// To which sites the key was sent.
    fn puts(&self) -> Vec<usize> {
        let requests = self.fleet.record().requests;
        let puts = requests.iter().filter(|request| request.method == "PUT");
        puts.map(|put| put.site).collect()
    }

    /// A process has begun a run on these sites so long ago, and died before it sent anything.
    fn was_begun(&self, sites: &[usize], ago: Duration) -> RunId {
        let config = stripe_propagate::config::load(&self.path("config.toml")).unwrap();
        let key = self.fleet.new_key().clone();
        let planned = |site: &Site| PlannedSite {
            site: site.url.clone(),
            name: site.name.clone(),
            group: None,
            left_out: None,
            key: key.clone(),
            serves: Served::Unknown,
        };
        let run = NewRun {
            kind: Kind::Push,
            parent: None,
            allow: Allow::default(),
            at: Clock::start().now() - ago,
            sites: sites.iter().map(|site| planned(&config.sites[*site])).collect(),
            key: key.clone(),
        };
        let store = SqliteStore::open(&self.path("state/store.db"), Operator::default()).unwrap();
        let begins = tokio::runtime::Builder::new_current_thread().build().unwrap();
        begins.block_on(store.begin_run(run)).unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_old_run_needs_a_word_of_its_own() {
    let stage = Stage::of(4);
    stage.heal();
    stage.was_begun(&[0, 1, 2, 3], Duration::from_hours(HOURS));
    let refused = stage.run(&["resume", "--yes"]);
    let words = said(&refused);
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(
        words.contains("older than an hour") && words.contains("--allow-old-run"),
        "{words}"
    );
    assert!(stage.puts().is_empty(), "nothing is sent");
    let resumed = stage.run(&["resume", "--yes", "--allow-old-run", "--wait", "0"]);
    let words = said(&resumed);
    assert_eq!(resumed.status.code(), Some(3), "proofs are due: {words}");
    let mut puts = stage.puts();
    puts.sort_unstable();
    puts.dedup();
    assert_eq!(puts, [0, 1, 2, 3], "{words}");
}

#[test]
fn an_old_run_does_not_hold_up_a_younger_one() {
    let stage = Stage::of(4);
    stage.heal();
    stage.was_begun(&[0, 1], Duration::from_hours(HOURS));
    let younger = stage.was_begun(&[2, 3], Duration::from_mins(5));
    let resumed = stage.run(&["resume", "--yes", "--wait", "0"]);
    let words = said(&resumed);
    assert_eq!(
        resumed.status.code(),
        Some(2),
        "a question is left unanswered: {words}"
    );
    assert!(
        words.contains("run 1 is older than an hour") && words.contains(&format!("run {}: ", younger.0)),
        "{words}"
    );
    let mut puts = stage.puts();
    puts.sort_unstable();
    puts.dedup();
    assert_eq!(puts, [2, 3], "{words}");
}
