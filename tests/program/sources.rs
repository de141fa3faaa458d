//! The real binary on sites that stand elsewhere than in its config: in files, on a web server, in what commands print.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use server::Server;
use stage::Stage;
use stripe_propagate::demo::FleetSite;
use stripe_propagate::demo::faults::Fault;

/// Sources that are read again, by a watch and by the screen.
#[path = "sources/again.rs"]
mod again;
/// Canaries that stand in sources, and those that are missing.
#[path = "sources/canary.rs"]
mod canary;
/// Databases, where they are installed.
#[path = "sources/databases.rs"]
mod databases;
#[path = "../pty/mod.rs"]
mod pty;
/// A web server with lists of sites, over TLS.
#[path = "sources/server.rs"]
mod server;
#[path = "../stage/mod.rs"]
mod stage;

/// What is waited for must come within this.
const PATIENCE: Duration = Duration::from_mins(1);

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    /// The names of the sites that have a result, sorted.
    fn results(&self) -> Vec<String> {
        let lines = self.out.lines().map(stage::schema::line);
        let results = lines.filter(|line| line["event"] == "result");
        let mut urls: Vec<String> = results
            .map(|line| line["url"].as_str().unwrap().to_owned())
            .collect();
        urls.sort();
        urls
    }
}

impl Stage {
    /// The fleet's config with these lines in the place of its sites. What is proven is so at once.
    fn lists(&self, more: &str) {
        let whole = self
            .fleet
            .config_toml()
            .replace("settle = \"8s\"", "settle = \"0s\"");
        let (head, _) = whole.split_once("\n[[sites]]").unwrap();
        self.write("config.toml", &format!("{head}\n{more}"));
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// Healthy sites that nobody shares a server with.
    fn healthy(&self) -> Vec<&FleetSite> {
        let sites = self.fleet.sites().iter();
        sites
            .filter(|site| site.fault == Fault::Healthy && !site.has_expired_key)
            .collect()
    }

    /// The address of one of them.
    fn url(&self, which: usize) -> String {
        self.healthy()[which].url.to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stripe-propagate"));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("TEMPLATE_MASTER_API_KEY", "not-for-commands")
            .env("LIST_TOKEN", "Bearer s3cret-token")
            .arg("--config")
            .arg(self.path("config.toml"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().unwrap();
        let ended = Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ended.err.contains("s3cret"), "{}", ended.err);
        ended
    }

    fn push(&self, more: &[&str]) -> Ended {
        let key = self.path("key.txt").display().to_string();
        let arguments = ["push", "--yes", "--json", "--key-file", &key];
        self.run(&[&arguments[..], more].concat())
    }

    fn puts(&self) -> usize {
        let requests = self.fleet.record().requests;
        requests.iter().filter(|request| request.method == "PUT").count()
    }
}

/// One of `[[sources]]`.
fn source(lines: &str) -> String {
    format!("[[sources]]\n{lines}\n")
}

/// A config whose sites stand in each kind of place; the web server that lists one of them.
fn in_all_places(stage: &Stage, urls: &[String]) -> Server {
    let list = format!(
        "\u{feff}# ours\r\n\r\n{}/ # moves house\r\nnowhere\r\n{}\r\n",
        urls[0], urls[1]
    );
    stage.write("shops.txt", &list);
    stage.write(
        "shops.csv",
        &format!("name,url\n\"the second, again\",{}\nthird,{}\n", urls[1], urls[2]),
    );
    let answer = json!({ "data": [{ "address": urls[3], "id": 7, "status": "active" }] }).to_string();
    let server = Server::start(&stage.path("ca.pem"), move |_| {
        ("200 OK".to_owned(), answer.clone())
    });
    let printed = json!([urls[4], { "url": urls[5], "enabled": false }, { "url": urls[6], "master_key": "another-key" }]);
    stage.lists(
        &[
            format!("[[sites]]\nurl = \"{}\"\nname = \"own\"\n", urls[0]),
            source("kind = \"file\"\nname = \"plain\"\npath = \"shops.txt\""),
            source("kind = \"file\"\npath = \"shops.csv\""),
            source(&format!(
                "kind = \"http\"\nurl = \"{}/api/sites\"\npointer = \"/data\"\nfields = {{ url = \"address\", enabled = \
                 \"status\" }}\nheader = {{ name = \"Authorization\", value = {{ env = \"LIST_TOKEN\" }} }}",
                server.url
            )),
            source(&format!(
                "kind = \"command\"\ncommand = [\"sh\", \"-c\", '''env > {}; echo '{printed}' ''']",
                stage.path("seen.env").display()
            )),
        ]
        .concat(),
    );
    server
}

#[test]
fn sites_of_all_places_are_one_list_and_each_gets_its_key() {
    let stage = Stage::of(60);
    let urls: Vec<String> = (0..7).map(|which| stage.url(which)).collect();
    let server = in_all_places(&stage, &urls);
    let ended = stage.push(&[]);
    assert_eq!(ended.code, Some(1), "one has another master key: {}", ended.err);
    let mut all = urls.clone();
    all.sort();
    assert_eq!(ended.results(), all, "{}", ended.err);
    assert!(
        ended
            .err
            .contains("warning: plain, line 4: url: begin with https://"),
        "{}",
        ended.err
    );
    let index = |url: &String| {
        stage
            .fleet
            .sites()
            .iter()
            .position(|site| site.url.to_string() == *url)
            .unwrap()
    };
    for url in &urls[..5] {
        assert_eq!(
            stage.fleet.stored(index(url)).as_deref(),
            Some(stage.key()),
            "{url}"
        );
    }
    assert_eq!(
        stage.fleet.record().puts(index(&urls[5])).len(),
        0,
        "it is disabled"
    );
    let refused: Vec<u16> = stage
        .fleet
        .record()
        .puts(index(&urls[6]))
        .iter()
        .map(|put| put.status)
        .collect();
    assert_eq!(
        refused,
        [403],
        "the row's own master key went, and it is none of the site's"
    );
    assert!(ended.out.contains("\"the second, again\"") && ended.out.contains("\"own\""));
    let request = server.requests().join("").to_lowercase();
    assert!(
        request.contains("authorization: bearer s3cret-token\r\n"),
        "{request}"
    );
    assert!(!request.contains("x-api-key"), "{request}");
    let seen = std::fs::read_to_string(stage.path("seen.env")).unwrap();
    assert!(seen.contains("PATH=") && !seen.contains("LIST_TOKEN"), "{seen}");
    assert!(!seen.contains("TEMPLATE_MASTER_API_KEY"), "{seen}");
}

/// Sources that fail, and what is told of each.
const FAIL: &[(&str, &str)] = &[
    (
        "kind = \"file\"\npath = \"nothing.txt\"",
        "nothing.txt: cannot be read: No such file",
    ),
    (
        "kind = \"file\"\npath = \"open.txt\"",
        "open.txt: everyone can change it: chmod o-w",
    ),
    (
        "kind = \"file\"\npath = \"bad.txt\"",
        "none of its 2 rows is a site (line 1: url: begin with https://",
    ),
    (
        "kind = \"file\"\npath = \"bad.txt\"\nmax_rows = 1",
        "has more than 1 row: raise max_rows",
    ),
    (
        "kind = \"file\"\npath = \"bad.txt\"\nformat = \"csv\"",
        "its first row must name the columns",
    ),
    (
        "kind = \"command\"\ncommand = [\"sh\", \"-c\", \"echo no way >&2; exit 3\"]",
        "failed (exit status: 3); it said: no way",
    ),
    (
        "kind = \"command\"\ncommand = [\"sleep\", \"60\"]\ntimeout = \"100ms\"",
        "within 100ms",
    ),
    (
        "kind = \"command\"\ncommand = [\"yes\", \"https://shop.example.com\"]",
        "the command yes: prints more than 64 MiB",
    ),
    (
        "kind = \"command\"\ncommand = [\"no-such-program-here\"]",
        "cannot be started",
    ),
    (
        "kind = \"http\"\nurl = \"URL/moved\"",
        "it answers 302 and points elsewhere, which is not followed",
    ),
    (
        "kind = \"http\"\nurl = \"URL/refused\"\nheader = { name = \"X-Token\", value = { env = \"LIST_TOKEN\" } }",
        "it answers 401: is its header right?",
    ),
    (
        "kind = \"http\"\nurl = \"URL/page\"",
        "is no JSON (line 1, column 1)",
    ),
    (
        "kind = \"http\"\nurl = \"URL/list\"\npointer = \"/sites\"",
        "has nothing at /sites: is pointer right?",
    ),
    (
        "kind = \"http\"\nurl = \"URL/list\"\nheader = { name = \"X-Token\", value = { env = \"NOT_SET\" } }",
        "the environment variable NOT_SET is not set",
    ),
    (
        "kind = \"http\"\nurl = \"https://127.0.0.1:9/list\"",
        "connection",
    ),
];

#[test]
fn a_source_that_fails_says_why_and_loses_no_other() {
    let stage = Stage::of(24);
    stage.write("bad.txt", "nowhere\nshop.example.com\n");
    stage.write("open.txt", &stage.url(0));
    std::fs::set_permissions(stage.path("open.txt"), PermissionsExt::from_mode(0o646)).unwrap();
    stage.write("good.txt", &stage.url(0));
    let server = Server::start(&stage.path("ca.pem"), |path| match path {
        "/moved" => ("302 Found\r\nLocation: /list".to_owned(), String::new()),
        "/refused" => ("401 Unauthorized".to_owned(), "s3cret".to_owned()),
        "/page" => ("200 OK".to_owned(), "<html>s3cret</html>".to_owned()),
        _ => ("200 OK".to_owned(), "{\"shops\": []}".to_owned()),
    });
    let (one, other) = FAIL.split_at(FAIL.len() / 2);
    for part in [one, other] {
        let mut text = source("kind = \"file\"\nname = \"good\"\npath = \"good.txt\"");
        for (number, (lines, _)) in part.iter().enumerate() {
            let lines = lines.replace("URL", &server.url);
            text += &source(&format!("name = \"s{number}\"\n{lines}"));
        }
        stage.lists(&text);
        let ended = stage.run(&["verify", "--json"]);
        assert_eq!(
            ended.code,
            Some(1),
            "what is missing is not known to be good: {}",
            ended.err
        );
        assert_eq!(ended.results(), [stage.url(0)]);
        assert!(ended.out.contains("\"exit\":1"), "{}", ended.out);
        for (number, (_, expected)) in part.iter().enumerate() {
            let head = format!("warning: source s{number}: ");
            let told = ended.err.lines().find(|line| line.starts_with(&head));
            let told = told.unwrap_or_else(|| panic!("nothing of s{number}: {}", ended.err));
            assert!(told.contains(expected), "{told}\nnot {expected}");
            assert!(told.ends_with("its sites are missing"), "{told}");
        }
    }
    let asked = server.requests();
    let paths: Vec<&str> = asked.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
    assert!(
        paths.contains(&"/moved") && paths.contains(&"/refused"),
        "{paths:?}"
    );
    assert_eq!(
        paths.iter().filter(|path| **path == "/list").count(),
        1,
        "the redirect is not followed: {paths:?}"
    );
}

#[test]
fn a_push_stops_when_a_source_fails_unless_it_is_allowed() {
    let stage = Stage::of(24);
    stage.write("good.txt", &stage.url(0));
    let good = source("kind = \"file\"\nname = \"good\"\npath = \"good.txt\"");
    let gone = source("kind = \"file\"\nname = \"gone\"\npath = \"gone.txt\"");
    stage.lists(&[good, gone].concat());
    let ended = stage.push(&[]);
    assert_eq!((ended.code, stage.puts()), (Some(2), 0), "{}", ended.err);
    let told = "error: nothing sent: 1 source could not be read, and sites are missing by that: gone. Which modes, \
                exclusions and master keys of other sites stand there is not known either. Mend it, or send to the \
                others with --allow-failed-source";
    assert!(ended.err.contains(told), "{}", ended.err);
    assert_eq!(stage.run(&["resume", "--yes"]).code, Some(2));
    assert_eq!(stage.run(&["check"]).code, Some(1));
    let ended = stage.run(&["check", "--auth"]);
    assert_eq!((ended.code, stage.puts()), (Some(2), 0), "{}", ended.err);
    assert!(ended.err.contains(told), "{}", ended.err);
    let ended = stage.run(&["status"]);
    assert_eq!(ended.code, Some(0), "it reads: {}", ended.err);
    assert!(ended.err.contains("warning: source gone: "), "{}", ended.err);
    let ended = stage.push(&["--allow-failed-source"]);
    assert_eq!((ended.code, stage.puts()), (Some(0), 1), "{}", ended.err);
    let ended = stage.run(&["resume", "--yes", "--allow-failed-source"]);
    assert_eq!(ended.code, Some(0), "nothing is left: {}", ended.err);
    let ended = stage.run(&["check", "--auth", "--allow-failed-source"]);
    assert_eq!((ended.code, stage.puts()), (Some(1), 2), "{}", ended.err);
}

#[test]
fn no_old_key_may_expire_while_a_source_is_missing() {
    let stage = Stage::of(24);
    stage.write("good.txt", &stage.url(0));
    stage.write("dashboard.txt", &stage.url(1));
    let good = source("kind = \"file\"\nname = \"good\"\npath = \"good.txt\"");
    let dashboard = source("kind = \"file\"\nname = \"dashboard\"\npath = \"dashboard.txt\"");
    stage.lists(&[good, dashboard].concat());
    let ended = stage.push(&[]);
    assert_eq!((ended.code, stage.puts()), (Some(0), 2), "{}", ended.err);
    let old_key = || stage.run(&["status", "--old-key"]);
    let document = || {
        let ended = stage.run(&["status", "--old-key", "--format", "json"]);
        (ended.code, stage::schema::document("status", &ended.out))
    };
    let says = |metrics: &Ended, line: &str| metrics.out.lines().any(|told| told == line);
    let metrics = || stage.run(&["status", "--format", "openmetrics"]);
    let whole = old_key();
    let safe = " may expire, as far as can be seen from here";
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    assert!(whole.out.contains(safe), "{}", whole.out);
    let (code, told) = document();
    assert_eq!((code, &told["missing_sources"]), (Some(0), &json!([])));
    let old_keys = told["old_keys"].as_array().unwrap().len();
    assert!(
        old_keys > 0 && told["old_keys"][0]["may_expire"] == true,
        "{told}"
    );
    assert!(says(&metrics(), "stripe_propagate_sources_failed 0"));

    std::fs::remove_file(stage.path("dashboard.txt")).unwrap();
    let lacking = old_key();
    assert_eq!(lacking.code, Some(1), "{}", lacking.err);
    assert!(!lacking.out.contains(safe), "{}", lacking.out);
    let missing =
        "1 source could not be read, and the sites that only stand there may serve any key: dashboard\n";
    assert!(
        lacking.out.contains("do not expire pk_") && lacking.out.contains(missing),
        "{}",
        lacking.out
    );
    let (code, told) = document();
    assert_eq!((code, &told["missing_sources"]), (Some(1), &json!(["dashboard"])));
    assert_eq!(told["old_keys"][0]["may_expire"], false);
    let numbers = metrics();
    assert_eq!(numbers.code, Some(0), "{}", numbers.err);
    assert!(says(&numbers, "stripe_propagate_sources_failed 1"));
    assert!(says(&numbers, "stripe_propagate_old_keys{may_expire=\"true\"} 0"));
    let pushed = stage.push(&["--allow-failed-source"]);
    assert_eq!(pushed.code, Some(0), "{}", pushed.err);
    let summary = stage::schema::line(pushed.out.lines().last().unwrap());
    assert_eq!(summary["missing_sources"], json!(["dashboard"]));
    assert_eq!(summary["old_keys_may_expire"], false);
}

#[test]
fn bad_and_foreign_rows_are_warnings_and_a_push_goes_on() {
    let stage = Stage::of(24);
    let rows = "not-an-address\n".repeat(30);
    stage.write(
        "shops.txt",
        &format!("{}\nhttps://shop.evil.example\n{rows}", stage.url(0)),
    );
    stage.lists(&format!(
        "[inventory]\nallow_hosts = [\"127.*\"]\n{}",
        source("kind = \"file\"\nname = \"shops\"\npath = \"shops.txt\"")
    ));
    let ended = stage.push(&[]);
    assert_eq!((ended.code, stage.puts()), (Some(0), 1), "{}", ended.err);
    let foreign =
        "warning: shops, line 2: host shop.evil.example is none of inventory.allow_hosts: it is left out";
    assert!(ended.err.contains(foreign), "{}", ended.err);
    assert_eq!(
        ended.err.matches("warning: shops, line").count(),
        10,
        "{}",
        ended.err
    );
    assert!(
        ended.err.contains("warning: and 21 more warnings"),
        "{}",
        ended.err
    );
}

#[test]
fn no_site_anywhere_is_an_error_that_speaks_of_sources() {
    let stage = Stage::of(6);
    stage.write("shops.txt", "# none yet\n");
    stage.lists(&source("kind = \"file\"\nname = \"shops\"\npath = \"shops.txt\""));
    let ended = stage.run(&["verify"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.err.contains("warning: shops: lists no sites"),
        "{}",
        ended.err
    );
    assert!(
        ended
            .err
            .contains("lists no sites, and its sources list none: add [[sites]]"),
        "{}",
        ended.err
    );
}

#[test]
fn secrets_come_from_credentials_and_no_command_sees_the_variables_of_others() {
    let stage = Stage::of(24);
    std::fs::create_dir(stage.path("credentials")).unwrap();
    stage.write("credentials/master", stage.fleet.master_key());
    // As systemd may leave them: an access list says who reads it, and the mode does not.
    std::fs::set_permissions(stage.path("credentials/master"), PermissionsExt::from_mode(0o440)).unwrap();
    stage.write("shops.txt", &stage.url(0));
    let list = source("kind = \"file\"\npath = \"shops.txt\"");
    stage.lists(&list);
    let file = "[master_key]\nfile = \"master.key\"";
    let text = std::fs::read_to_string(stage.path("config.toml")).unwrap();
    assert!(text.contains(file));
    stage.write(
        "config.toml",
        &text.replace(file, "[master_key]\ncredential = \"master\""),
    );
    let ended = stage.push(&[]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.err.contains("$CREDENTIALS_DIRECTORY is not set"),
        "{}",
        ended.err
    );
    let key = stage.path("key.txt");
    let mut push = stage.command(&["push", "--yes", "--key-file"]);
    let output = push
        .arg(key)
        .env("CREDENTIALS_DIRECTORY", stage.path("credentials"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stage.puts()), (Some(0), 1), "{said}");
    // The command that prints the master key sees neither that of others nor any that the config names.
    let seen = stage.path("seen.env");
    let printing = format!(
        "[master_key]\ncommand = [\"sh\", \"-c\", \"env > {}; cat {}\"]\n[groups.other]\nmaster_key = {{ env = \"LIST_TOKEN\" }}",
        seen.display(),
        stage.path("master.key").display()
    );
    stage.write("config.toml", &text.replace(file, &printing));
    assert_eq!(stage.push(&[]).code, Some(0));
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(seen.contains("PATH=") && !seen.contains("LIST_TOKEN"), "{seen}");
    assert!(!seen.contains("TEMPLATE_MASTER_API_KEY"), "{seen}");
}

#[test]
fn what_takes_a_while_can_be_broken_off_and_leaves_nothing_behind() {
    let stage = Stage::of(6);
    let pid = stage.path("pid");
    stage.lists(&source(&format!(
        "kind = \"command\"\ncommand = [\"sh\", \"-c\", \"echo $$ > {0}.new; mv {0}.new {0}; sleep 600\"]",
        pid.display()
    )));
    let mut child = stage.command(&["verify"]).spawn().unwrap();
    let shell = wait_for(|| std::fs::read_to_string(&pid).ok());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let shell = Pid::from_raw(shell.trim().parse().unwrap()).unwrap();
    wait_for(|| kill_process(shell, Signal::CONT).is_err().then_some(()));
}

#[test]
fn a_command_that_reads_ends_by_a_signal_while_nobody_takes_what_it_prints() {
    let stage = Stage::of(6);
    let shops: Vec<String> = (0..4000)
        .map(|shop| format!("https://shop-{shop}.example.com\n"))
        .collect();
    stage.write("shops.txt", &shops.concat());
    stage.lists(&source("kind = \"file\"\npath = \"shops.txt\""));
    for (command, signal) in [("sites", Signal::INT), ("status", Signal::TERM)] {
        let mut child = stage.command(&[command]).spawn().unwrap();
        // The sources are read then, and a pipe holds less than it has to say.
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0]).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let ended = wait_for(|| child.try_wait().unwrap());
        assert_eq!(ended.code(), Some(130), "{command}");
    }
}

/// What is asked for, once it is there.
fn wait_for<T>(mut asked: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(there) = asked() {
            return there;
        }
        assert!(begin.elapsed() < PATIENCE, "it did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
