//! `check` and the screen's `t`, on a real fleet over real TLS: what they tell is compared with what the fleet saw.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};

use pty::Run;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stage::Stage;
use strangers::Strangers;
use stripe_propagate::demo::faults::Fault;

#[path = "../pty/mod.rs"]
mod pty;
#[path = "../stage/mod.rs"]
mod stage;
#[path = "check/strangers.rs"]
mod strangers;

/// What a command came to.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn events(&self, event: &str) -> Vec<Value> {
        let lines = self.out.lines().map(stage::schema::line);
        lines.filter(|line| line["event"] == event).collect()
    }

    /// What a step of a site came to: its result, its cause and its sentence.
    fn step(&self, site: &str, step: &str) -> (String, Option<String>, String) {
        let checks = self.events("check");
        let check = checks.iter().find(|check| check["site"] == site).unwrap();
        let steps = check["steps"].as_array().unwrap();
        let done = steps.iter().find(|done| done["step"] == step).unwrap();
        let text = |field: &str| done[field].as_str().map(str::to_owned);
        assert!(done["ms"].is_u64(), "{done}");
        (text("result").unwrap(), text("cause"), text("detail").unwrap())
    }

    #[track_caller]
    fn finds(&self, site: &str, step: &str, result: &str, cause: Option<&str>, words: &str) {
        let (found, why, detail) = self.step(site, step);
        assert_eq!(
            (found.as_str(), why.as_deref()),
            (result, cause),
            "{site} {step}: {detail}"
        );
        assert!(detail.contains(words), "{site} {step}: {detail}");
    }
}

impl Stage {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stripe-propagate"));
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .arg("--config")
            .arg(self.path("config.toml"))
            .arg("check")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn check(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().unwrap();
        let ended = Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        for text in [&ended.out, &ended.err, &self.log()] {
            assert!(!text.contains(self.fleet.master_key()));
            assert!(!text.contains("sk_live_51Demo"));
        }
        ended
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("state/stripe-propagate/stripe-propagate.log")).unwrap_or_default()
    }

    fn add_site(&self, name: &str, url: &str) {
        let config = std::fs::read_to_string(self.path("config.toml")).unwrap();
        let site = format!("\n[[sites]]\nname = \"{name}\"\nurl = \"{url}\"\n");
        std::fs::write(self.path("config.toml"), config + &site).unwrap();
    }

    /// A site with this fault: its place and its name.
    fn site_with(&self, fault: Fault) -> (usize, &str) {
        let mut sites = self.fleet.sites().iter().enumerate();
        let (place, site) = sites.find(|(_, site)| site.fault == fault).unwrap();
        (place, &site.name)
    }

    fn all_stored(&self) -> Vec<Option<String>> {
        (0..self.fleet.sites().len())
            .map(|site| self.fleet.stored(site))
            .collect()
    }
}

/// A fleet, and beside it sites with what a fleet has not.
fn with_strangers() -> (Stage, Strangers) {
    let stage = Stage::of(24);
    let strangers = Strangers::new(&stage.path("ca.pem"));
    stage.add_site("other-host", &strangers.serve("other.example.com", 64));
    stage.add_site("ends-soon", &strangers.serve("127.0.0.1", 10));
    stage.add_site("nowhere", "https://nowhere.invalid");
    (stage, strangers)
}

#[test]
fn what_stands_in_the_way_of_a_push_is_found_without_one() {
    let (stage, _strangers) = with_strangers();
    // Without --auth it is not even read.
    std::fs::remove_file(stage.path("master.key")).unwrap();
    let ended = stage.check(&["--json"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert_eq!(ended.events("check").len(), 27);
    let faults = [Fault::Healthy, Fault::Dead, Fault::HtmlPage, Fault::Redirects];
    let [healthy, dead, parked, moved] = faults.map(|fault| stage.site_with(fault).1);
    let (host, soon) = ("other-host", "ends-soon");
    for (site, step, result, cause, words) in [
        (healthy, "dns", "ok", None, "127.0.0.1"),
        (healthy, "tcp", "ok", None, "takes connections"),
        (healthy, "tls", "ok", None, "the certificate ends in "),
        (healthy, "get", "ok", None, "serves pk_test_"),
        (dead, "tcp", "failed", Some("connect"), "refuses the connection"),
        (dead, "get", "skipped", None, "TCP failed"),
        (
            parked,
            "get",
            "failed",
            Some("bad_answer"),
            "something else than this API (200): a page",
        ),
        (moved, "get", "failed", Some("redirect"), "redirects"),
        (host, "tls", "failed", Some("certificate"), "it is another host's"),
        (host, "get", "skipped", None, "TLS failed"),
        (soon, "tls", "warning", None, "the certificate ends in 9 days ("),
        (soon, "get", "ok", None, "serves pk_test_"),
        ("nowhere", "dns", "failed", Some("dns"), ""),
        ("nowhere", "tcp", "skipped", None, "DNS failed"),
    ] {
        ended.finds(site, step, result, cause, words);
    }
    let summary = ended.events("summary").remove(0);
    let counts = ["ok", "warning", "failed", "not_checked", "exit"].map(|count| summary[count].as_u64());
    assert_eq!(counts, [20, 1, 6, 0, 1].map(Some), "{summary}");
    let record = stage.fleet.record();
    let mut requests = record.requests.iter();
    assert!(requests.all(|request| request.method == "GET" && !request.had_master_key));
    let store = stage.path("state/stripe-propagate/store.db");
    assert!(!store.exists(), "it leaves nothing on record");
}

#[test]
fn the_table_has_the_sites_in_the_order_of_the_list() {
    let stage = Stage::of(24);
    let ended = stage.check(&[]);
    let names: Vec<&str> = stage
        .fleet
        .sites()
        .iter()
        .map(|site| site.name.as_str())
        .collect();
    let heads = ended
        .out
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let told: Vec<&str> = heads.filter(|head| names.contains(head)).collect();
    assert_eq!(told, names, "{}", ended.out);
}

#[test]
fn a_warning_is_no_failure() {
    let (stage, _strangers) = with_strangers();
    let ended = stage.check(&["--site", "ends-soon"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let lines: Vec<&str> = ended.out.lines().collect();
    let heads = "SITE       DNS  TCP  TLS  GET  AUTH  NOTE";
    let signs = "ends-soon  ✓    ✓    !    ✓          TLS: the certificate ends in 9 days (";
    assert_eq!(lines[0], heads);
    assert!(lines[1].starts_with(signs), "{}", ended.out);
    assert_eq!(lines[3], "1 site: 0 ok, 1 warning, 0 failed");
}

#[test]
fn the_master_key_is_proven_and_nothing_is_stored() {
    let stage = Stage::of(24);
    let config = std::fs::read_to_string(stage.path("config.toml")).unwrap();
    let narrow = config.replace("[push]", "[push]\nper_backend = 1");
    std::fs::write(stage.path("config.toml"), narrow).unwrap();
    let before = stage.all_stored();
    let ended = stage.check(&["--auth", "--json"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let record = stage.fleet.record();
    let strangers = [Fault::HtmlPage, Fault::Redirects, Fault::ExposesSecret];
    for (index, site) in stage.fleet.sites().iter().enumerate() {
        let asked = record.auth_checks(index).len();
        if strangers.contains(&site.fault) {
            ended.finds(
                &site.name,
                "auth",
                "skipped",
                None,
                "the master key is not sent there",
            );
            assert!(
                record
                    .requests
                    .iter()
                    .all(|request| request.site != index || !request.had_master_key)
            );
            assert_eq!(asked, 0);
        } else if site.fault == Fault::OtherMasterKey {
            ended.finds(
                &site.name,
                "auth",
                "failed",
                Some("refused_key"),
                "invalid_api_key",
            );
        } else if site.fault != Fault::Dead {
            ended.finds(&site.name, "auth", "ok", None, "accepts the master key");
            assert_eq!(asked, 1, "{}", site.name);
        }
        assert!(record.puts(index).is_empty(), "{}", site.name);
    }
    assert!(
        record.most_of_backend.values().all(|most| *most == 1),
        "{record:?}"
    );
    assert_eq!(stage.all_stored(), before);
    stage.heal();
    assert_eq!(stage.check(&["--auth"]).code, Some(0));
    assert_eq!(stage.all_stored(), before);
}

#[test]
fn a_wrong_master_key_is_seen_by_two_sites_at_most() {
    let stage = Stage::of(10);
    stage.heal();
    std::fs::write(stage.path("master.key"), "a-wrong-master-key").unwrap();
    let ended = stage.check(&["--auth", "--json"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let record = stage.fleet.record();
    let asked: Vec<usize> = (0..10)
        .filter(|site| !record.auth_checks(*site).is_empty())
        .collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let results = ["failed", "skipped"].map(|result| {
        let steps = stage
            .fleet
            .sites()
            .iter()
            .map(|site| ended.step(&site.name, "auth"));
        steps.filter(|(found, ..)| found == result).count()
    });
    assert_eq!(results, [2, 8]);
    let fresh = asked.iter().filter(|site| stage.fleet.stored(**site).is_none());
    assert_eq!(fresh.count(), 0, "there a wrong key leaves a trace");
    assert!(!ended.out.contains("a-wrong-master-key"));
}

#[test]
fn what_cannot_be_begun_asks_nobody() {
    let stage = Stage::of(3);
    let unknown = stage.check(&["--site", "nowhere"]);
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown.err.contains("no site is called nowhere"),
        "{}",
        unknown.err
    );
    std::fs::remove_file(stage.path("master.key")).unwrap();
    let unread = stage.check(&["--auth"]);
    assert_eq!(unread.code, Some(2));
    assert!(
        unread.err.contains("nothing sent") && unread.err.contains("master.key"),
        "{}",
        unread.err
    );
    assert_eq!(stage.fleet.record().connections, 0);
}

#[test]
fn an_interrupt_ends_it_and_tells_what_was_not_checked() {
    let stage = Stage::of(3);
    // It takes connections, and never says a word.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    stage.add_site("silent", &format!("https://{}", silent.local_addr().unwrap()));
    let config = std::fs::read_to_string(stage.path("config.toml")).unwrap();
    let patient = config
        .replace("connect_timeout = \"1s\"", "connect_timeout = \"50s\"")
        .replace("timeout = \"3s\"", "timeout = \"60s\"");
    std::fs::write(stage.path("config.toml"), patient).unwrap();
    let mut child = stage.command(&["--json"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut told = String::new();
    for _ in 0..3 {
        // The others do not wait for it.
        out.read_line(&mut told).unwrap();
    }
    interrupt(&child);
    out.read_to_string(&mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{told}");
    let summary = stage::schema::line(told.lines().last().unwrap());
    assert_eq!(
        (&summary["not_checked"], &summary["exit"]),
        (&1.into(), &130.into()),
        "{summary}"
    );
    assert!(!told.contains("silent"), "{told}");
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn the_screen_tries_a_site_and_its_master_key() {
    let stage = Stage::of(24);
    let before = stage.all_stored();
    let mut screen = Run::of(env!("CARGO_BIN_EXE_stripe-propagate"))
        .arg("--config")
        .arg(stage.path("config.toml"))
        .start();
    screen.sees("24 sites").sees("\u{2022} seen").sees_no("checking");
    screen
        .key("/")
        .sees(" filter   ")
        .type_("maison-est")
        .sees("1 of 24 sites");
    screen.key("Enter").sees_no("Enter keep it").key("t");
    screen
        .sees("preflight of maison-est")
        .sees("the certificate ends in ");
    screen.sees("serves pk_test_").sees("a tries the master key too");
    assert!(
        stage
            .fleet
            .record()
            .requests
            .iter()
            .all(|request| !request.had_master_key)
    );
    screen.key("a").sees("accepts the master key");
    screen
        .key("Esc")
        .sees_no("preflight of")
        .key("Esc")
        .sees("  24 sites");
    screen
        .key("a")
        .sees("24 marked")
        .key("t")
        .sees("preflight of 24 sites");
    screen
        .sees("20 ok, 0 warning, 4 failed")
        .key("Enter")
        .sees("(Esc back)");
    screen
        .key("Esc")
        .sees("preflight of 24 sites")
        .key("Esc")
        .sees_no("preflight of");
    screen.key("q");
    assert_eq!(screen.wait_exit(), 0);
    let record = stage.fleet.record();
    let asked: usize = (0..24).map(|site| record.auth_checks(site).len()).sum();
    assert_eq!(asked, 1, "of the one that was under the cursor");
    assert_eq!(stage.all_stored(), before);
}
