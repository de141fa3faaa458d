//! A run that broke off more than an hour ago is not taken up without a word of its own: its key may have been
//! replaced since.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use stage::Stage;
use stripe_propagate::engine::Clock;
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::outcome::{Answer, LookVerdict, Problem, PutVerdict};
use stripe_propagate::rules::retry::Policy;
use stripe_propagate::rules::run::Kind;
use stripe_propagate::rules::state::{Allow, Call, Served, SiteState};
use stripe_propagate::site::{Site, SiteUrl};
use stripe_propagate::store::sqlite::SqliteStore;
use stripe_propagate::store::{Intent, NewRun, Operator, PlannedSite, Record, Recorded, RunId, Store};
use stripe_propagate::text::CleanText;

#[path = "../stage/mod.rs"]
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

    /// How often the site was looked at.
    fn looks(&self, site: usize) -> usize {
        let requests = self.fleet.record().requests;
        let looks = requests
            .iter()
            .filter(|request| request.method == "GET" && request.site == site);
        looks.count()
    }

    /// A process has sent a run to the site and died: the last look at it is due in so long.
    fn settles(&self, site: usize, due: Duration) {
        let config = stripe_propagate::config::load(&self.path("config.toml")).unwrap();
        let policy = config.policy();
        let ago = policy.settle.saturating_sub(due);
        let run = self.was_begun(&[site], ago);
        let at = Clock::start().now() - ago;
        let (url, key) = (config.sites[site].url.clone(), self.fleet.new_key().clone());
        let mut state = SiteState::default();
        state.run = Some(run);
        let _next = state.order_push(key.clone(), Allow::default(), false, at);
        state.calling(Call::Put, &policy, at);
        let _next = state.put_answered(&answer(PutVerdict::Stored), &policy, at, 0.0);
        state.calling(Call::Look, &policy, at);
        let _next = state.looked(&answer(LookVerdict::Serves(key.clone())), &policy, at, 0.0);
        self.is_recorded(run, url, key, state);
    }

    /// What a process has sent to the site in `run`, and what came of it, is on record.
    fn is_recorded(&self, run: RunId, url: SiteUrl, key: PublishableKey, state: SiteState) {
        let at = Clock::start().now();
        let (number, site) = (1, url.clone());
        let intent = Intent {
            run,
            site,
            number,
            key,
            at,
        };
        let record = Record {
            site: url,
            at,
            outcome: None,
            state,
            note: CleanText::default(),
        };
        let store = SqliteStore::open(&self.path("state/store.db"), Operator::default()).unwrap();
        let records = async {
            store.resume_run(run, at).await.unwrap();
            assert_eq!(store.record_intent(intent).await.unwrap(), Recorded::Known);
            assert_eq!(store.record(record).await.unwrap(), Recorded::Known);
            store.run_sent(run, at).await.unwrap();
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(records);
    }

    /// A process has sent a run to the site, which has stored the key and did not answer the last look.
    fn was_not_seen(&self, site: usize) -> RunId {
        let config = stripe_propagate::config::load(&self.path("config.toml")).unwrap();
        let policy = Policy {
            settle: Duration::ZERO,
            attempts: 1,
            ..config.policy()
        };
        let run = self.was_begun(&[site], Duration::ZERO);
        let at = Clock::start().now();
        let (url, key) = (config.sites[site].url.clone(), self.fleet.new_key().clone());
        let mut state = SiteState::default();
        state.run = Some(run);
        let _next = state.order_push(key.clone(), Allow::default(), false, at);
        state.calling(Call::Put, &policy, at);
        let _next = state.put_answered(&answer(PutVerdict::Stored), &policy, at, 0.0);
        state.calling(Call::Look, &policy, at);
        let failed = answer(LookVerdict::Problem(Problem::Timeout));
        let _next = state.looked(&failed, &policy, at, 0.0);
        self.is_recorded(run, url, key, state);
        run
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

fn answer<V>(verdict: V) -> Answer<V> {
    Answer {
        verdict,
        http: Some(200),
        took: Duration::from_millis(20),
        retry_after: None,
        detail: CleanText::default(),
        alarm: None,
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
        Some(1),
        "a question is left unanswered, and yet something was sent: {words}"
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

#[test]
fn runs_that_are_not_taken_up_leave_nobody_who_looks_beside_the_others() {
    let stage = Stage::of(4);
    stage.heal();
    for site in 0..3 {
        stage.was_begun(&[site], Duration::from_hours(HOURS));
    }
    stage.settles(3, Duration::from_secs(6));
    let resumed = stage.run(&["resume", "--yes"]);
    let words = said(&resumed);
    assert_eq!(resumed.status.code(), Some(1), "{words}");
    assert_eq!(words.matches("older than an hour").count(), 3, "{words}");
    assert_eq!(stage.looks(3), 1, "{words}");
}

#[test]
fn a_run_whose_key_was_rolled_since_is_not_taken_up_without_a_word() {
    let stage = Stage::of(2);
    stage.heal();
    stage.was_begun(&[0, 1], Duration::from_mins(5));
    stage.fleet.roll(stage.key());
    let refused = stage.run(&["resume", "--yes"]);
    let words = said(&refused);
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(
        words.contains("has expired") && words.contains("--allow-unknown-key"),
        "{words}"
    );
    assert!(stage.puts().is_empty(), "nothing is sent");
    let resumed = stage.run(&["resume", "--yes", "--allow-unknown-key", "--wait", "0"]);
    let words = said(&resumed);
    assert_eq!(resumed.status.code(), Some(3), "proofs are due: {words}");
    let mut puts = stage.puts();
    puts.sort_unstable();
    puts.dedup();
    assert_eq!(puts, [0, 1], "{words}");
}

#[test]
fn an_old_run_is_not_repeated_without_a_word_either() {
    let stage = Stage::of(2);
    stage.heal();
    stage.was_begun(&[0, 1], Duration::from_hours(HOURS));
    let refused = stage.run(&["retry", "--yes"]);
    let words = said(&refused);
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("--allow-old-run"), "{words}");
    assert!(stage.puts().is_empty(), "nothing is sent");
    let retried = stage.run(&["retry", "--yes", "--allow-old-run", "--wait", "0"]);
    assert_eq!(
        retried.status.code(),
        Some(3),
        "proofs are due: {}",
        said(&retried)
    );
    let mut puts = stage.puts();
    puts.sort_unstable();
    puts.dedup();
    assert_eq!(puts, [0, 1]);
}

#[test]
fn where_only_the_look_failed_only_the_look_is_repeated() {
    let stage = Stage::of(2);
    stage.heal();
    let run = stage.was_not_seen(0);
    let dry = stage.run(&["retry", "--dry-run"]);
    let told = String::from_utf8(dry.stdout).unwrap();
    assert!(told.contains("its look failed: it is looked at again"), "{told}");
    let retried = stage.run(&["retry", "--yes"]);
    let words = said(&retried);
    // The site was never sent anything: it answers its old key.
    assert_eq!(retried.status.code(), Some(1), "{words}");
    assert!(stage.puts().is_empty(), "{words}");
    assert_eq!(stage.looks(0), 1, "{words}");
    let rollback = stage.run(&["rollback", "--yes", "--run", &run.0.to_string()]);
    assert_eq!(rollback.status.code(), Some(0), "{}", said(&rollback));
}

#[test]
fn a_push_says_that_a_run_was_not_finished() {
    let stage = Stage::of(4);
    stage.heal();
    let key = stage.path("key.txt").display().to_string();
    let push = ["push", "--key-file", &key, "--yes", "--wait", "0", "--site"];
    let first = stage.fleet.sites()[0].name.clone();
    // Only a proof is due of the first: that needs nobody's word.
    stage.run(&[&push[..], &[&first]].concat());
    let quiet = said(&stage.run(&[&push[..], &[&first]].concat()));
    assert!(!quiet.contains("was not finished"), "{quiet}");
    let left = stage.was_begun(&[1, 2], Duration::from_mins(5));
    let told = said(&stage.run(&[&push[..], &[&first]].concat()));
    let warning = format!("run {} was not finished by ", left.0);
    assert!(told.contains(&warning), "{told}");
    let left = stage.was_begun(&[1, 2], Duration::from_mins(5));
    let dry = said(&stage.run(&["push", "--key-file", &key, "--dry-run"]));
    let warning = format!("run {} was not finished by ", left.0);
    assert!(dry.contains(&warning), "{dry}");
}
