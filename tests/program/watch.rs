//! A watch of the real binary on a real fleet: what changes is told once, to a command and to a webhook.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stage::Stage;
use stripe_propagate::demo::FleetOptions;
use stripe_propagate::demo::faults::Fault;

#[path = "../stage/mod.rs"]
mod stage;

/// What is waited for must come within this.
const PATIENCE: Duration = Duration::from_mins(1);

impl Stage {
    /// A command of an operator who has a store of his own.
    fn command(&self, operator: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stripe-propagate"));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TEMPLATE_MASTER_API_KEY", "not-for-commands")
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path(operator))
            .arg("--config")
            .arg(self.path("config.toml"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn push(&self, operator: &str, key: &str, sites: &[&str]) -> Option<i32> {
        let mut arguments = vec!["push", "--key-stdin", "--yes"];
        arguments.extend(sites.iter().flat_map(|site| ["--site", *site]));
        let mut child = self.command(operator, &arguments).spawn().unwrap();
        child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
        child.wait_with_output().unwrap().status.code()
    }

    /// Adds to the fleet's config; what is proven is so at once.
    fn configure(&self, more: &str) {
        let config = std::fs::read_to_string(self.path("config.toml")).unwrap();
        let settle = config.lines().find(|line| line.starts_with("settle")).unwrap();
        let config = config.replace(settle, "settle = \"0s\"");
        std::fs::write(self.path("config.toml"), format!("{config}\n{more}")).unwrap();
    }

    fn change(&self, from: &str, to: &str) {
        let config = std::fs::read_to_string(self.path("config.toml")).unwrap();
        assert!(config.contains(from), "{from}");
        std::fs::write(self.path("config.toml"), config.replace(from, to)).unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("ours/stripe-propagate/stripe-propagate.log")).unwrap()
    }

    fn named(&self, fault: Fault) -> (usize, &str) {
        let mut sites = self.fleet.sites().iter().enumerate();
        let (index, site) = sites.find(|(_, site)| site.fault == fault).unwrap();
        (index, &site.name)
    }

    fn watch(&self, sites: &[&str], webhook: Option<&str>) -> Watch {
        let mut arguments = vec!["verify", "--watch", "--json"];
        arguments.extend(sites.iter().flat_map(|site| ["--site", *site]));
        let mut command = self.command("ours", &arguments);
        command.envs(webhook.map(|webhook| ("WEBHOOK", webhook)));
        let mut child = command.spawn().unwrap();
        let (tell, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _nobody_asks = tell.send(line);
            }
        });
        Watch { child, lines }
    }
}

struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Watch {
    fn line(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).unwrap();
        stage::schema::line(&line)
    }

    /// The notices of the next look at all sites that had any.
    fn notices(&self) -> Vec<Value> {
        loop {
            let notices = self.look();
            if !notices.is_empty() {
                return notices;
            }
        }
    }

    /// The notices of the next look.
    fn look(&self) -> Vec<Value> {
        let mut notices = Vec::new();
        loop {
            let line = self.line();
            match line["event"].as_str().unwrap() {
                "notice" => notices.push(line),
                "watch" => return notices,
                other => panic!("{other}"),
            }
        }
    }

    fn ends(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = self.child.wait().unwrap();
        let mut said = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        (status.code(), said)
    }
}

fn other_key() -> String {
    format!("pk_test_51{}", "Other".repeat(19)) + "xy"
}

/// A webhook on loopback that answers the first posting with 503. Its address, and the bodies of the others.
fn webhook() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook/s3cret", listener.local_addr().unwrap());
    let (tell, posted) = channel();
    std::thread::spawn(move || {
        for (place, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap() > 2 {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let status = if place == 0 { "503 Busy" } else { "204 Thanks" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            if place > 0 {
                let _nobody_asks = tell.send(serde_json::from_slice(&body).unwrap());
            }
        }
    });
    (url, posted)
}

#[test]
fn a_drift_is_told_once_and_its_end_once() {
    let stage = Stage::of(24);
    let (_, site) = stage.named(Fault::Healthy);
    let told = stage.path("told");
    let script = "echo $STRIPE_PROPAGATE_EVENT $STRIPE_PROPAGATE_OVER $STRIPE_PROPAGATE_SITE \
                  $STRIPE_PROPAGATE_COUNT ${WEBHOOK-hidden} ${TEMPLATE_MASTER_API_KEY-hidden} >> \"$0\"";
    stage.configure(&format!(
        "[watch]\ninterval = \"1s\"\n[notify]\ncommand = [\"sh\", \"-c\", '{script}', \"{}\"]\n\
         webhook = {{ env = \"WEBHOOK\" }}\n",
        told.display()
    ));
    let (url, posted) = webhook();
    assert_eq!(stage.push("ours", stage.key(), &[site]), Some(0));
    let watch = stage.watch(&[site], Some(&url));
    assert_eq!(watch.look(), Vec::<Value>::new());

    assert_eq!(stage.push("theirs", &other_key(), &[site]), Some(0));
    let drifted = watch.notices();
    assert_eq!(drifted.len(), 1);
    assert_eq!(
        (&drifted[0]["finding"], &drifted[0]["over"], &drifted[0]["site"]),
        (&"drifted".into(), &false.into(), &site.into())
    );
    assert!(!drifted[0].to_string().contains(&other_key()), "keys are masked");
    for _ in 0..3 {
        assert_eq!(watch.look(), Vec::<Value>::new(), "once, not once a look");
    }
    assert_eq!(stage.push("theirs", stage.key(), &[site]), Some(0));
    let over = watch.notices();
    assert_eq!((over.len(), &over[0]["over"]), (1, &true.into()));
    assert_eq!(over[0]["note"], "serves the expected key again");
    let (status, said) = watch.ends(Signal::TERM);
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    let expected = format!("drifted false {site} 1 hidden hidden\ndrifted true {site} 1 hidden hidden\n");
    assert_eq!(std::fs::read_to_string(&told).unwrap(), expected);
    let bodies: Vec<Value> = (0..2).map(|_| posted.recv_timeout(PATIENCE).unwrap()).collect();
    for (body, over) in bodies.iter().zip([false, true]) {
        assert_eq!(
            (
                &body["v"],
                &body["event"],
                &body["finding"],
                &body["over"],
                &body["site"]
            ),
            (
                &1.into(),
                &"notice".into(),
                &"drifted".into(),
                &over.into(),
                &site.into()
            )
        );
    }
}

#[test]
fn what_was_told_is_not_told_again_after_a_restart() {
    let stage = Stage::of(24);
    let (_, site) = stage.named(Fault::Healthy);
    stage.configure("[watch]\ninterval = \"1s\"\n");
    assert_eq!(stage.push("ours", stage.key(), &[site]), Some(0));
    // While nobody watches.
    assert_eq!(stage.push("theirs", &other_key(), &[site]), Some(0));
    let watch = stage.watch(&[site], None);
    assert_eq!(watch.notices().len(), 1);
    let _killed = watch.ends(Signal::KILL);
    let watch = stage.watch(&[site], None);
    for _ in 0..2 {
        assert_eq!(
            watch.look(),
            Vec::<Value>::new(),
            "it was told before the restart"
        );
    }
    assert_eq!(watch.ends(Signal::INT).0, Some(130));
}

#[test]
fn what_a_run_of_another_process_does_is_no_finding() {
    let stage = Stage::of(24);
    let (_, caches) = stage.named(Fault::CachingProcesses);
    let config = std::fs::read_to_string(stage.path("config.toml")).unwrap();
    std::fs::write(
        stage.path("config.toml"),
        format!("{config}\n[watch]\ninterval = \"1s\"\n"),
    )
    .unwrap();
    assert_eq!(
        stage.push("ours", stage.key(), &[caches]),
        Some(0),
        "it is verified"
    );
    let watch = stage.watch(&[caches], None);
    assert_eq!(watch.look(), Vec::<Value>::new());
    // Its processes answer the old key for a while, and then the new one.
    assert_eq!(stage.push("ours", &other_key(), &[caches]), Some(0));
    for _ in 0..3 {
        assert_eq!(watch.look(), Vec::<Value>::new());
    }
    assert_eq!(watch.ends(Signal::TERM).0, Some(0));
    let told = stage
        .command("ours", &["verify", "--json", "--site", caches])
        .output()
        .unwrap();
    assert_eq!(told.status.code(), Some(0));
}

#[test]
fn an_owed_site_that_comes_back_gets_its_key_and_one_that_refuses_does_not() {
    let stage = Stage::of(24);
    let (back, dead) = stage.named(Fault::Dead);
    let (other, refuses) = stage.named(Fault::OtherMasterKey);
    stage.configure("[watch]\ninterval = \"1s\"\npush_owed = true\n");
    assert_eq!(stage.push("ours", stage.key(), &[dead, refuses]), Some(1));
    let watch = stage.watch(&[dead, refuses], None);
    watch.look();
    watch.look();
    stage.heal();
    assert!(
        stage
            .fleet
            .wait_until(PATIENCE, |record| record.puts(back).len() == 1)
    );
    watch.look();
    watch.look();
    assert_eq!(stage.fleet.stored(back).as_deref(), Some(stage.key()));
    let (status, said) = watch.ends(Signal::TERM);
    assert_eq!(status, Some(0), "{said}");
    let puts = |index: usize| stage.fleet.record().puts(index).len();
    assert_eq!((puts(back), puts(other)), (1, 1), "{said}");
    let mut history = stage.command("ours", &["export", "--run", "2", "run.json"]);
    let _told = history.current_dir(stage.folder.path()).output().unwrap();
    let run = std::fs::read_to_string(stage.path("run.json")).unwrap();
    let run: Value = serde_json::from_str(&run).unwrap();
    assert!(run.to_string().contains("\"retry\""), "{run}");
}

#[test]
fn a_command_that_fails_is_told_and_holds_up_nothing() {
    let stage = Stage::of(24);
    let (_, site) = stage.named(Fault::ExposesSecret);
    stage.configure(
        "[watch]\ninterval = \"1s\"\n[notify]\ncommand = [\"sh\", \"-c\", \"echo no paper >&2; exit 3\"]\n",
    );
    let watch = stage.watch(&[site], None);
    let notices = watch.notices();
    assert_eq!(notices[0]["finding"], "exposed_secret");
    watch.look();
    watch.ends(Signal::TERM);
    let log = stage.log();
    assert!(
        log.contains("[notify] command: failed") && log.contains("no paper"),
        "{log}"
    );
    assert!(log.contains("watch: ") && log.contains("exposed_secret"), "{log}");
    assert!(!log.contains("sk_live_51Demo"));
}

#[test]
fn a_dead_key_is_told_when_stripe_says_so_and_not_one_interval_later() {
    let stage = Stage::of(24);
    let site = stage.fleet.sites().iter().find(|site| site.has_expired_key);
    let site = &site.unwrap().name;
    stage.configure("[watch]\ninterval = \"1h\"\n");
    let watch = stage.watch(&[site], None);
    // Its looks show the key, and Stripe is asked then: one look tells of it, or what comes behind it does.
    let told = std::iter::repeat_with(|| watch.line()).find(|line| line["event"] == "notice");
    let told = told.unwrap();
    assert_eq!(
        (&told["finding"], &told["site"]),
        (&"dead_key".into(), &site.as_str().into())
    );
    assert_eq!(watch.ends(Signal::TERM).0, Some(0));
}

#[test]
fn a_dead_key_that_is_owed_is_not_sent_by_itself() {
    let stage = Stage::of(24);
    let (back, dead) = stage.named(Fault::Dead);
    stage.configure("[watch]\ninterval = \"1s\"\npush_owed = true\n");
    let push = [
        "push",
        "--key-stdin",
        "--yes",
        "--allow-unknown-key",
        "--site",
        dead,
    ];
    let mut child = stage.command("ours", &push).spawn().unwrap();
    let key = format!("{:A<107}", "pk_test_51DemoExpired");
    child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    stage.heal();
    let watch = stage.watch(&[dead], None);
    for _ in 0..4 {
        watch.look();
    }
    let (status, said) = watch.ends(Signal::TERM);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(stage.fleet.record().puts(back).len(), 0, "{said}");
    let log = stage.log();
    let told = "1 site owed a key answer again, and get it by hand only: Stripe has expired the key";
    assert_eq!(log.matches(told).count(), 1, "{log}");
}

#[test]
fn a_retry_that_halts_ends_and_the_next_one_can_begin() {
    let ordered = |stage: &Stage| {
        // It has its turn first.
        stage.named(Fault::NeedsTwoRetries).0 < stage.named(Fault::AsksToSlowDown).0
    };
    let of_seed = |seed| {
        Stage::with(FleetOptions {
            seed,
            ..FleetOptions::default()
        })
    };
    let stage = (1..20).map(of_seed).find(ordered).unwrap();
    let (fails, twice) = stage.named(Fault::NeedsTwoRetries);
    let (waits, once) = stage.named(Fault::AsksToSlowDown);
    stage.configure("[watch]\ninterval = \"1s\"\npush_owed = true\n");
    stage.change("attempts = 3", "attempts = 1\nconcurrency = 1");
    assert_eq!(stage.push("ours", stage.key(), &[twice, once]), Some(1));
    stage.change("stop_after = \"never\"", "stop_after = 1");
    let watch = stage.watch(&[twice, once], None);
    // It fails once more, which halts that retry; the one behind it has it stored.
    let stored = stage
        .fleet
        .wait_until(PATIENCE, |record| record.puts(fails).len() == 3);
    assert!(stored, "{}", stage.log());
    watch.look();
    watch.look();
    let (status, said) = watch.ends(Signal::TERM);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(stage.fleet.stored(fails).as_deref(), Some(stage.key()));
    let puts = |index: usize| stage.fleet.record().puts(index).len();
    let what = "what a halt did not reach is the operator's to send";
    assert_eq!((puts(fails), puts(waits)), (3, 1), "{what}: {}", stage.log());
}
