//! A fleet whose sites share servers, a database, workers, and who pushes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stripe_propagate::demo::FleetOptions;
use stripe_propagate::secret::Secret;
use stripe_propagate::store::postgres::PostgresStore;
use stripe_propagate::store::{Operator, Request, Store, StoredAttempt};

use super::servers::{Kind, PASSWORD, PASSWORD_IN_URL, number};
use super::stage::Stage;

/// More attempts than any test makes.
const ALL: usize = 1_000_000;
/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_mins(6);
/// Where the log is in the home of a process.
const LOG: &str = ".local/state/stripe-propagate/stripe-propagate.log";
/// The limit of the config.
pub(crate) const PER_BACKEND: usize = 2;

pub(crate) struct Ground {
    pub(crate) stage: Stage,
    pub(crate) url: String,
    /// The limit of a request.
    timeout: Duration,
}

impl Ground {
    /// `rollout` is in the place of the demo's.
    pub(crate) fn of(options: FleetOptions, url: String, rollout: &str) -> Self {
        Self::with_timeout(options, url, rollout, Duration::from_secs(3))
    }

    pub(crate) fn with_timeout(options: FleetOptions, url: String, rollout: &str, timeout: Duration) -> Self {
        let stage = Stage::with(options);
        let config = std::fs::read_to_string(stage.path("config.toml")).unwrap();
        let limit = format!("\ntimeout = \"{}s\"", timeout.as_secs());
        let config = config
            .replace("\ntimeout = \"3s\"", &limit)
            .replace("settle = \"8s\"", "settle = \"2s\"");
        let config = config.replace(
            "[push]\n",
            &format!("[push]\nconcurrency = 16\nper_backend = {PER_BACKEND}\n"),
        );
        let (head, rest) = config.split_once("[rollout]").unwrap();
        let (_, rest) = rest.split_once("\n\n").unwrap();
        std::fs::write(
            stage.path("config.toml"),
            format!(
                "[store]\nurl = {{ file = \"url\" }}\n\n[cluster]\nenabled = true\n\n{head}[rollout]\n{rollout}\n\n{rest}"
            ),
        )
        .unwrap();
        // The file has the modes of another secret.
        std::fs::copy(stage.path("master.key"), stage.path("url")).unwrap();
        std::fs::write(stage.path("url"), &url).unwrap();
        Self { stage, url, timeout }
    }

    pub(crate) fn start(&self, home: &str, arguments: &[&str]) -> Running {
        let program = Command::new(env!("CARGO_BIN_EXE_stripe-propagate"));
        self.start_as(program, home, "config.toml", arguments)
    }

    fn start_as(&self, mut program: Command, home: &str, config: &str, arguments: &[&str]) -> Running {
        let home = self.stage.path(home);
        std::fs::create_dir_all(&home).unwrap();
        let child = program
            .env_clear()
            .env("HOME", &home)
            .arg("--config")
            .arg(self.stage.path(config))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running::of(child, home)
    }

    pub(crate) fn push(&self) -> Running {
        let key = self.stage.path("key.txt").display().to_string();
        self.start("pushes", &["push", "--key-file", &key, "--yes", "--json"])
    }

    /// One that is ready.
    pub(crate) fn worker(&self, name: &str) -> Running {
        let worker = self.start(name, &["worker"]);
        worker.says("takes work on");
        worker
    }

    /// One with a config of its own, on a machine of this name where the test may give it one; and its machine.
    pub(crate) fn worker_elsewhere(&self, host: &str, config: &str) -> (Running, String) {
        let program = env!("CARGO_BIN_EXE_stripe-propagate");
        let (program, host) = if rustix::process::getuid().is_root() {
            let named = format!("echo {host} > /proc/sys/kernel/hostname && exec \"$@\"");
            let mut unshare = Command::new("/usr/bin/unshare");
            unshare.args(["--uts", "sh", "-c", &named, "sh", program]);
            (unshare, host.to_owned())
        } else {
            let system = rustix::system::uname();
            let name = system.nodename().to_string_lossy();
            let host = name.split('.').next().unwrap().to_owned();
            (Command::new(program), host)
        };
        let worker = self.start_as(program, "elsewhere", config, &["worker"]);
        worker.says(&format!("on {host} takes work on"));
        (worker, host)
    }

    /// Until the fleet has taken so many PUTs.
    pub(crate) fn sees_puts(&self, count: usize) {
        let puts = |record: &stripe_propagate::demo::record::Record| {
            let puts = record.requests.iter().filter(|request| request.method == "PUT");
            puts.count() >= count
        };
        assert!(self.stage.fleet.wait_until(LIMIT, puts), "no {count} PUTs came");
    }

    /// Until a push has ended; where it does not, what everybody was at.
    pub(crate) fn follows(&self, mut push: Running) -> Ended {
        let begin = std::time::Instant::now();
        while !push.has_ended() {
            assert!(begin.elapsed() < LIMIT, "the push never ended\n{}", self.state());
            thread::sleep(Duration::from_millis(50));
        }
        push.ends()
    }

    pub(crate) fn state(&self) -> String {
        let tables = [
            "stripe_propagate.chunks",
            "stripe_propagate.processes",
            "stripe_propagate.runs",
            "stripe_propagate_jobs._private_jobs",
            "stripe_propagate_jobs._private_job_queues",
            "stripe_propagate_jobs._private_workers",
        ];
        let mut state = String::new();
        for table in tables {
            let rows = format!("SELECT string_agg(t::text, chr(10)) FROM (SELECT * FROM {table}) t");
            let rows = text(&self.url, &rows).replace('\n', "\n    ");
            writeln!(state, "{table}\n    {rows}").unwrap();
        }
        for home in ["pushes", "one", "two", "three"] {
            let log = self.stage.path(home).join(LOG);
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let odd = log.lines().filter(|line| !line.contains(" attempt "));
            let odd: Vec<&str> = odd.collect();
            let last = odd.len().saturating_sub(40);
            writeln!(state, "{home}\n    {}", odd[last..].join("\n    ")).unwrap();
        }
        state
    }

    pub(crate) fn asked(&self, sql: &str) -> i64 {
        number(Kind::Postgres, &self.url, sql)
    }

    pub(crate) fn attempts(&self) -> Vec<StoredAttempt> {
        let url = Secret::parse(self.url.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let db = PostgresStore::open(&url, Operator::default()).await.unwrap();
            db.attempts(None, None, ALL).await.unwrap()
        })
    }

    /// No site took a PUT that is not on record, or two at once; no server had more calls at once than it may have.
    /// Returns how many PUTs the sites took.
    pub(crate) fn is_true(&self) -> usize {
        let record = self.stage.fleet.record();
        for (backend, most) in &record.most_of_backend {
            assert!(*most <= PER_BACKEND, "{backend}: {most} calls at once");
        }
        let mut intents: BTreeMap<String, Vec<StoredAttempt>> = BTreeMap::new();
        for attempt in self.attempts() {
            if attempt.request == Request::Put {
                intents.entry(attempt.site.to_string()).or_default().push(attempt);
            }
        }
        let mut all = 0;
        for (index, site) in self.stage.fleet.sites().iter().enumerate() {
            let took = record.puts(index).len();
            let mut intents = intents.remove(&site.url.to_string()).unwrap_or_default();
            assert!(
                took <= intents.len(),
                "{} took {took}, intents: {}",
                site.name,
                intents.len()
            );
            intents.sort_by_key(|attempt| attempt.at);
            for pair in intents.windows(2) {
                let between = pair[1].at.duration_since(pair[0].at).unsigned_abs();
                let was_out = pair[0].ms.map_or(self.timeout, Duration::from_millis);
                assert!(between >= was_out, "{}: two PUTs at once: {pair:?}", site.name);
            }
            all += took;
        }
        all
    }

    /// Each site serves the key in all its processes.
    pub(crate) fn all_serve(&self) {
        for (index, site) in self.stage.fleet.sites().iter().enumerate() {
            let serves = self.stage.fleet.serves_now(index);
            let is_ours = |served: &Option<String>| served.as_deref() == Some(self.stage.key());
            assert!(serves.iter().all(is_ours), "{}", site.name);
        }
    }
}

pub(crate) fn text(url: &str, sql: &str) -> String {
    use sqlx::Connection;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        let found = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection);
        found
            .await
            .unwrap_or_else(|error| Some(error.to_string()))
            .unwrap_or_default()
    })
}

/// A process of the program.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    out: Option<thread::JoinHandle<String>>,
    home: PathBuf,
}

impl Running {
    fn of(mut child: Child, home: PathBuf) -> Self {
        let (tell, lines) = channel();
        let mut out = child.stdout.take().unwrap();
        let out = thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            text
        });
        let err = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in err.lines().map_while(Result::ok) {
                // Nobody may want to know.
                let _gone = tell.send(line);
            }
        });
        Self {
            child,
            lines,
            out: Some(out),
            home,
        }
    }

    /// Until it says so on standard error.
    pub(crate) fn says(&self, what: &str) {
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) if line.contains(what) => return,
                Ok(line) => said.push(line),
                Err(error) => panic!("it never said {what:?} ({error}): {said:?}\n{}", self.log()),
            }
        }
    }

    fn log(&self) -> String {
        let log = self.home.join(LOG);
        std::fs::read_to_string(log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Its exit, its lines of JSON, and what it said.
    pub(crate) fn ends(mut self) -> Ended {
        let begin = std::time::Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < LIMIT, "it never ended\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        };
        let out = self.out.take().unwrap().join().unwrap();
        let mut err: Vec<String> = self.lines.iter().collect();
        err.push(self.log());
        let err = err.join("\n");
        for text in [&out, &err] {
            // The demo's master keys begin so.
            for secret in ["demo-master-", PASSWORD, PASSWORD_IN_URL] {
                assert!(!text.contains(secret), "{secret} is told");
            }
        }
        Ended { status, out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, or a test has failed.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn events(&self, event: &str) -> Vec<Value> {
        let mut lines: Vec<Value> = self.out.lines().map(super::stage::schema::line).collect();
        lines.retain(|line| line["event"] == event);
        lines
    }

    pub(crate) fn has(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{}\n{}", self.out, self.err);
        self
    }

    pub(crate) fn verified(&self, sites: usize) {
        let summary = self.has(0).events("summary").remove(0);
        assert_eq!(summary["verify"]["verified"], sites, "{summary}");
    }
}

/// So many sites, a few on each server.
pub(crate) fn sharing(sites: usize, of_a_server: usize) -> FleetOptions {
    use stripe_propagate::demo::asked::{AskedFault, Share};
    use stripe_propagate::demo::faults::Fault;

    FleetOptions {
        sites,
        faults: vec![AskedFault {
            fault: Fault::SharedBackend,
            share: Share::Sites(sites),
        }],
        of_a_server,
        ..FleetOptions::default()
    }
}
