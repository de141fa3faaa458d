//! The real program on a store in PostgreSQL: a server that crashes in mid-push, a process that is killed, two that push
//! to the same sites; what the fleet saw is compared with what is on record.

use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use stage::Stage;
use stripe_propagate::secret::Secret;
use stripe_propagate::store::postgres::PostgresStore;
use stripe_propagate::store::{Operator, Request, Store, StoredAttempt};

use super::sql::servers::{Kind, PASSWORD, PASSWORD_IN_URL, crash, new_database, own_postgres};

/// A store in a file moves into a database.
mod copy;
#[path = "../stage/mod.rs"]
mod stage;

/// More attempts than any test makes.
const ALL: usize = 10_000;

/// A fleet that is well, and a config whose store is a database.
struct Shared {
    stage: Stage,
    url: String,
}

impl Shared {
    fn of(sites: usize, url: String) -> Self {
        let stage = Stage::of(sites);
        stage.heal();
        let config = std::fs::read_to_string(stage.path("config.toml")).unwrap();
        let config = config
            .replace("settle = \"8s\"", "settle = \"1s\"")
            .replace("[push]\n", "[push]\nconcurrency = 3\n");
        std::fs::write(
            stage.path("config.toml"),
            format!("[store]\nurl = {{ file = \"url\" }}\n\n{config}"),
        )
        .unwrap();
        // The file has the modes of another secret.
        std::fs::copy(stage.path("master.key"), stage.path("url")).unwrap();
        std::fs::write(stage.path("url"), &url).unwrap();
        Self { stage, url }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_stripe-propagate"))
            .env_clear()
            .env("HOME", self.stage.folder.path())
            .env("XDG_STATE_HOME", self.stage.path("state"))
            .arg("--config")
            .arg(self.stage.path("config.toml"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn push(&self) -> Child {
        let key = self.stage.path("key.txt").display().to_string();
        self.start(&["push", "--key-file", &key, "--yes", "--json"])
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.start(arguments))
    }

    /// Until the fleet has taken so many PUTs.
    fn sees_puts(&self, count: usize) {
        let puts = |record: &stripe_propagate::demo::record::Record| {
            let puts = record.requests.iter().filter(|request| request.method == "PUT");
            puts.count() >= count
        };
        assert!(
            self.stage
                .fleet
                .wait_until(std::time::Duration::from_mins(1), puts)
        );
    }

    fn attempts(&self) -> Vec<StoredAttempt> {
        let url = Secret::parse(self.url.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let db = PostgresStore::open(&url, Operator::default()).await.unwrap();
            db.attempts(None, None, ALL).await.unwrap()
        })
    }

    /// No site took a PUT that is not on record, and each serves the key.
    fn is_true(&self) {
        let (record, attempts) = (self.stage.fleet.record(), self.attempts());
        for (index, site) in self.stage.fleet.sites().iter().enumerate() {
            let url = site.url.to_string();
            let intents = attempts
                .iter()
                .filter(|told| told.site.to_string() == url && told.request == Request::Put);
            let (took, intents) = (record.puts(index).len(), intents.count());
            assert!(
                took >= 1 && took <= intents,
                "{url} took {took}, intents: {intents}"
            );
            let serves = self.stage.fleet.serves_now(index);
            assert!(
                serves
                    .iter()
                    .all(|served| served.as_deref() == Some(self.stage.key())),
                "{url}"
            );
        }
    }
}

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(child: Child) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        let ended = Self {
            code: status.code(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        };
        for text in [&ended.out, &ended.err] {
            assert!(
                !text.contains(PASSWORD) && !text.contains(PASSWORD_IN_URL),
                "{text}"
            );
        }
        ended
    }

    fn events(&self, event: &str) -> Vec<Value> {
        let mut lines: Vec<Value> = self.out.lines().map(stage::schema::line).collect();
        lines.retain(|line| line["event"] == event);
        lines
    }

    #[track_caller]
    fn is_good(&self) {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
    }

    fn verified(&self, sites: usize) {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        let summary = self.events("summary").remove(0);
        assert_eq!(summary["verify"]["verified"], sites, "{summary}");
    }
}

#[test]
fn a_push_waits_while_its_server_is_away_and_goes_on_behind_that() {
    let Some(server) = own_postgres() else { return };
    let shared = Shared::of(24, Kind::Postgres.url(server.port, "postgres"));
    // Before it is answered the push cannot end.
    shared.stage.fleet.hold_next_put(23);
    let push = shared.push();
    shared.sees_puts(4);
    crash(&server);
    shared.stage.fleet.let_go(23);
    let ended = Ended::of(push);
    ended.verified(24);
    let told: Vec<Value> = ended
        .events("store")
        .iter()
        .map(|line| line["reached"].clone())
        .collect();
    assert_eq!(
        told[..2],
        [Value::from(false), Value::from(true)],
        "{}",
        ended.out
    );
    shared.is_true();
}

#[test]
fn a_process_that_is_killed_leaves_a_run_that_another_takes_up() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let shared = Shared::of(12, url);
    let mut push = shared.push();
    shared.sees_puts(3);
    push.kill().unwrap();
    push.wait().unwrap();
    // A server cannot tell its death from a network that is gone: as long as a PUT may be out nobody takes the run.
    let resumed = shared.run(&["resume", "--yes", "--json"]);
    assert!(
        format!("{}{}", resumed.out, resumed.err).contains("it may be back"),
        "{}{}",
        resumed.out,
        resumed.err
    );
    assert_eq!(resumed.code, Some(5), "{}", resumed.err);
    let retried = shared.run(&["retry", "--yes"]);
    assert!(retried.err.contains("it may be back"), "{}", retried.err);
    assert_eq!(retried.code, Some(5), "{}", retried.err);
    let history = shared.run(&["history"]);
    assert!(history.out.contains("not heard of"), "{}", history.out);
    let begin = std::time::Instant::now();
    loop {
        let history = shared.run(&["history"]);
        if history.out.contains("left open") {
            break;
        }
        assert!(begin.elapsed().as_secs() < 60, "{}{}", history.out, history.err);
    }
    let resumed = shared.run(&["resume", "--yes", "--json"]);
    assert_eq!(resumed.code, Some(0), "{}{}", resumed.out, resumed.err);
    shared.is_true();
    let status = shared.run(&["status", "--format", "json"]);
    let known: Value = serde_json::from_str(&status.out).unwrap();
    let known = known["sites"].as_array().unwrap();
    assert!(
        known.iter().all(|site| site["verify"] == "verified"),
        "{}",
        status.out
    );
    let info = shared.run(&["info"]);
    assert!(
        info.out.contains("store.url") && info.out.contains("the file "),
        "{}",
        info.out
    );
    // A file that is named on the command line is taken instead, which is said.
    let file = shared.stage.path("other.db").display().to_string();
    let other = shared.run(&["--store", &file, "history"]);
    assert!(
        other.err.contains("not the database of store.url"),
        "{}",
        other.err
    );
}

#[test]
fn a_site_is_held_by_one_run_and_who_holds_it_is_told() {
    let Some((_, url)) = new_database(Kind::Postgres) else {
        return;
    };
    let shared = Shared::of(3, url);
    shared.stage.fleet.hold_next_put(1);
    let push = shared.push();
    shared.sees_puts(1);
    let refused = shared.run(&[
        "push",
        "--key-file",
        &shared.stage.path("key.txt").display().to_string(),
        "--yes",
    ]);
    assert_eq!(refused.code, Some(5), "{}", refused.err);
    assert!(
        refused.err.contains("run 1 of ") && refused.err.contains(" is sending "),
        "{}",
        refused.err
    );
    shared.stage.fleet.let_go(1);
    Ended::of(push).verified(3);
    shared.is_true();
}
