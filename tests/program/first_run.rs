//! The real program in a pseudo-terminal, from the first start to a config that is as it should be.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pty::{Pty, Run};
use stage::Stage;
use stripe_propagate::demo::record::Record;

#[path = "../pty/mod.rs"]
mod pty;
#[path = "../stage/mod.rs"]
mod stage;

const EXAMPLE: &str = include_str!("../../config.example.toml");
const ALTERNATE_SCREEN: &[u8] = b"\x1b[?1049h";

fn program() -> Run {
    Run::of(env!("CARGO_BIN_EXE_stripe-propagate"))
}

impl Stage {
    fn config(&self) -> PathBuf {
        self.path("config.toml")
    }

    fn screen(&self) -> Run {
        let store = self.path("state/store.db");
        let run = program().arg("--config").arg(self.config());
        run.arg("--store").arg(store)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.config()).unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    /// Takes the last site out of the config; its address.
    fn without_last(&self) -> String {
        let text = self.text();
        let (rest, _) = text.rsplit_once("\n[[sites]]").unwrap();
        self.write(&format!("{rest}\n# The end. # Or is it?\r\n"));
        self.fleet.sites().last().unwrap().url.to_string()
    }

    fn requests(&self, site: usize, method: &str) -> usize {
        let requests = self.fleet.record().requests;
        let of_site = requests.iter().filter(|request| request.site == site);
        of_site.filter(|request| request.method == method).count()
    }
}

trait Operator {
    fn adds(&mut self, url: &str) -> &mut Self;
    fn pushes(&mut self, key: &str, sites: usize) -> &mut Self;
    fn quits(&mut self) -> u32;
}

impl Operator for Pty {
    fn adds(&mut self, url: &str) -> &mut Self {
        self.key("+").sees("The site's address").type_(url);
        self.sees(&format!("> {url}_")).key("Enter")
    }

    fn pushes(&mut self, key: &str, sites: usize) -> &mut Self {
        self.key("e").sees("paste or type a publishable key").type_(key);
        self.sees("test publishable key").key("Enter");
        self.sees(&format!("P reviews and pushes {sites}")).key("P");
        self.sees("press y to push").key("y").sees_no("press y to push")
    }

    fn quits(&mut self) -> u32 {
        let status = self.key("q").wait_exit();
        self.is_restored();
        status
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_wrong_config_shows_its_line_and_opens_when_it_is_mended() {
    let stage = Stage::of(3);
    let good = stage.text();
    stage.write(&good.replace("attempts = 3", "attemps = 3 # qwertyuiop"));
    let place = |line: usize| format!("{}:{line}:1", stage.config().display());
    let line = good
        .lines()
        .position(|line| line.starts_with("attempts"))
        .unwrap()
        + 1;
    let mut pty = stage.screen().start();
    pty.sees("The config cannot be used").sees(&place(line));
    pty.sees("unknown field `attemps`").sees("timeout = …");
    // The sites are known to nobody yet: keys about them do nothing.
    pty.type_("PV+").key("F5").sees("it is still wrong");
    stage.write(&good);
    pty.key("F5").sees("3 sites").sees_no("checking").sees("seen 3");
    pty.never_saw("qwertyuiop");
    assert_eq!(
        pty.times(ALTERNATE_SCREEN),
        1,
        "the screen stays up between the two"
    );
    assert_eq!(pty.quits(), 0);
}

#[test]
fn a_terminal_that_changes_its_size_behind_a_wrong_config_is_followed() {
    let stage = Stage::of(3);
    let good = stage.text();
    stage.write("[push\n");
    let mut pty = stage.screen().size(120, 40).start();
    pty.sees("The config cannot be used").resize(80, 24);
    // The footer of the narrow one is a line, and has another end.
    pty.key("F5").sees("it is still wrong");
    stage.write(&good);
    pty.key("F5").sees("seen 3").sees_no("checking");
    pty.comes_to_rest(Duration::from_millis(300));
    let last = pty.screen();
    let footer = last.lines().nth(23).unwrap();
    assert!(footer.contains("q quit"), "{last}");
    assert_eq!(pty.quits(), 0);
}

#[test]
fn a_config_that_vanishes_leaves_what_was_read_of_it() {
    let stage = Stage::of(3);
    let good = stage.text();
    // Not named: found in the folder that the program is started in.
    let mut pty = program().arg("--store").arg(stage.path("state/store.db")).start();
    pty.sees("There is no config yet");
    let config = pty.home().join("config.toml");
    let in_place = good.replace("ca.pem", &stage.path("ca.pem").display().to_string());
    std::fs::write(
        &config,
        in_place.replace("master.key", &stage.path("master.key").display().to_string()),
    )
    .unwrap();
    pty.key("F5").sees("3 sites").sees("seen 3");
    std::fs::remove_file(&config).unwrap();
    pty.key("F5")
        .sees("it is gone, and there is no config in its place");
    pty.key("Esc")
        .sees_no("What was read before stays")
        .sees("3 sites");
    assert_eq!(pty.quits(), 0);
}

#[test]
fn a_wrong_config_that_is_left_so_is_told_again() {
    let stage = Stage::of(1);
    stage.write("[push]\nattempts = 0\n");
    let mut pty = stage.screen().start();
    pty.sees("The config cannot be used");
    assert_eq!(pty.quits(), 2);
    pty.sees("config.toml:2:12: attempts must be a number");
}

#[test]
fn what_was_read_stays_when_the_config_turns_wrong() {
    let stage = Stage::of(3);
    let good = stage.text();
    let mut pty = stage.screen().start();
    pty.sees("seen 3");
    stage.write(&format!("{good}\n[[sites]]\nurl = \"http://shop.example.com\"\n"));
    pty.key("F5")
        .sees("the config is wrong")
        .sees("http:// would send");
    pty.key("Esc")
        .sees_no("What was read before stays")
        .sees("3 sites");
    stage.write(&good.replace("ca_file = \"ca.pem\"", "ca_file = \"nowhere.pem\""));
    pty.key("F5").sees("tls.ca_file").sees("nowhere.pem");
    pty.key("Esc").sees_no("What was read before stays");
    stage.write(&format!(
        "{good}\n[[sites]]\nurl = \"https://127.0.0.1:9\"\nenabled = false\n"
    ));
    pty.key("F5").sees("read again: 4 sites, 1 new (127.0.0.1:9)");
    // What follows works as at the start.
    let before = stage.requests(0, "GET");
    pty.key("V").sees_no("checking").sees("seen 3");
    assert!(stage.requests(0, "GET") > before);
    assert_eq!(pty.quits(), 0);
}

#[test]
fn a_site_is_added_looked_at_and_written() {
    let stage = Stage::of(3);
    let url = stage.without_last();
    let before = stage.text();
    let last = stage.fleet.sites().len() - 1;
    let mut pty = stage.screen().start();
    pty.sees("2 sites").sees("seen 2").adds(&url);
    pty.sees(&format!("Write {url} to"))
        .sees("this session only")
        .sees("seen 3");
    // The fleet writes down what it has answered.
    let once = |record: &Record| record.gets(last).len() == 1;
    assert!(stage.fleet.wait_until(Duration::from_secs(10), once));
    // A key that comes at once was meant for something else, and is dropped.
    pty.comes_to_rest(Duration::from_millis(800));
    // Not now; it is under the cursor, and it is asked again.
    pty.key("n").sees_no("Write https").key("v");
    let looked = |record: &Record| record.gets(last).len() == 2;
    assert!(stage.fleet.wait_until(Duration::from_secs(10), looked));
    pty.sees_no("checking")
        .key("F5")
        .sees("read again: the same 3 sites")
        .sees("this session only");
    assert_eq!(stage.text(), before);
    pty.key("+")
        .sees("Enter alone asks")
        .key("Enter")
        .sees(&format!("Write {url} to"));
    pty.key("y")
        .sees("1 site written to")
        .sees_no("this session only");
    assert_eq!(
        stage.text(),
        format!("{before}\r\n[[sites]]\r\nurl = \"{url}\"\r\n")
    );
    assert_eq!(mode(&stage.config()), 0o600);
    // Also when what is read next cannot be worked with, and the sites stay those of before.
    let written = stage.text();
    stage.write(&written.replace("ca_file = \"ca.pem\"", "ca_file = \"nowhere.pem\""));
    pty.key("F5")
        .sees("nowhere.pem")
        .key("Esc")
        .sees_no("What was read before stays");
    pty.sees_no("this session only").sees("3 sites");
    stage.write(&written);
    // It stands in the config now, also when that is read again, and takes its master key from there.
    pty.key("F5")
        .sees("the same 3 sites")
        .key("+")
        .sees("The site's address");
    pty.sees_no("Enter alone")
        .key("Esc")
        .sees_no("The site's address");
    pty.pushes(stage.key(), 3).sees("verified");
    assert_eq!(stage.requests(last, "PUT"), 1);
    // While the run goes on the sites stay.
    pty.sees("settled");
    assert_eq!(pty.quits(), 0);
}

#[test]
fn an_address_that_is_none_is_refused_with_its_reason() {
    let stage = Stage::of(2);
    let mut pty = stage.screen().start();
    pty.sees("seen 2")
        .adds("http://shop.example.com")
        .sees("would send the master key unencrypted");
    let (site, url) = (
        &stage.fleet.sites()[0].name,
        stage.fleet.sites()[0].url.to_string(),
    );
    pty.key("^U")
        .sees("> _")
        .type_(&url)
        .key("Enter")
        .sees(&format!("{site} is this site already"));
    pty.key("^U")
        .sees("> _")
        .type_("sk_live_51Zq")
        .sees("typed as an address and dropped");
    // Its rest may still come, for a second.
    pty.comes_to_rest(Duration::from_millis(1500)).never_saw("51Zq");
    assert_eq!(pty.quits(), 0);
}

#[test]
fn the_sites_stay_while_a_run_goes_on() {
    let stage = Stage::of(3);
    let mut pty = stage.screen().start();
    pty.sees("seen 3")
        .pushes(stage.key(), 3)
        .sees("settling")
        .key("F5")
        .sees("waits for its proofs until");
    pty.key("+")
        .sees("the sites can be others after that")
        .sees("settled; ");
    pty.key("F5").sees("read again: ");
    assert_eq!(pty.quits(), 0);
}

#[test]
fn a_screen_on_the_run_of_another_process_reads_its_config_again() {
    let stage = Stage::of(3);
    // The run is still open when the test is over.
    stage.write(&stage.text().replace("settle = \"8s\"", "settle = \"10 min\""));
    let mut sends = stage.screen().start();
    sends.sees("seen 3").pushes(stage.key(), 3).sees("settling");
    let url = stage.without_last();
    let mut watches = stage.screen().arg("--read-only").start();
    watches.sees("2 sites").sees("watches  run 1");
    watches.adds(&url).sees("+ 127.0.0.1").sees("watches  run 1");
    // What the run has told stands above it in the line of messages by now.
    watches
        .sees_no("Write https")
        .key("m")
        .sees("messages, newest first")
        .sees("is there for this session");
    // It is attached anew, to the same run.
    let told = watches.screen();
    assert_eq!(told.matches("attached to run 1 of").count(), 2, "{told}");
    watches.key("Esc").sees_no("messages, newest first");
    assert_eq!(watches.quits(), 0);
    sends.key("q").sees("leave it running").key("x");
    sends.wait_exit();
}

#[test]
fn a_screen_that_watches_looks_here_at_what_is_only_here_and_nowhere_else() {
    let stage = Stage::of(4);
    // The run is still open when the test is over, and nothing is looked at but what it pushes to.
    let slow = stage.text().replace("settle = \"8s\"", "settle = \"10 min\"");
    stage.write(&slow.replace("[verify]\n", "[verify]\non_start = false\n"));
    let url = stage.without_last();
    let mut sends = stage.screen().start();
    sends
        .sees("3 sites")
        .key("e")
        .sees("paste or type a publishable key")
        .type_(stage.key());
    sends
        .sees("test publishable key")
        .key("Enter")
        .sees("P reviews")
        .key("p");
    sends.sees("press y to push").key("y").sees("settling");
    stage.write(&stage.text().replace("on_start = false", "on_start = true"));
    let mut watches = stage.screen().arg("--read-only").start();
    watches.sees("3 sites").sees("watches  run 1").adds(&url);
    let last = stage.fleet.sites().len() - 1;
    assert!(
        stage
            .fleet
            .wait_until(Duration::from_secs(10), |record| record.gets(last).len() == 1),
        "it is looked at at once, although the other process does not know it"
    );
    watches.sees("watches  run 1").sees("seen 1");
    // What it ordered there would have gone out with its end.
    assert_eq!(watches.quits(), 0);
    sends.key("q").sees("leave it running").key("x");
    sends.wait_exit();
    let pushed = (0..last).filter(|site| stage.requests(*site, "PUT") > 0).count();
    let looked = (0..last).filter(|site| stage.requests(*site, "GET") > 0).count();
    assert_eq!(
        (pushed, looked),
        (1, 1),
        "a watcher has the other process look at nothing"
    );
}

#[test]
fn a_newcomer_writes_a_config() {
    let mut pty = program().size(80, 24).start();
    pty.sees("There is no config yet").sees("./config.toml").key("i");
    pty.sees("A commented config is written");
    let path = pty.home().join(".config/stripe-propagate/config.toml");
    let written = std::fs::read_to_string(&path).unwrap();
    let as_before = written.replace("\n#[[sites]]\n#url", "\n[[sites]]\nurl");
    assert_eq!(as_before, EXAMPLE);
    assert_eq!(mode(&path), 0o600);
    // It is the operator's from now on.
    std::fs::write(&path, "# mine\n").unwrap();
    pty.key("i").sees("is there already, and stays as it is");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
    // Its sites are comments: nobody is asked for anything.
    std::fs::write(&path, &written).unwrap();
    pty.key("F5")
        .sees("no sites yet: + adds one")
        .sees("it lists no sites")
        .key("i")
        .sees("there is a config already");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
    assert_eq!(pty.quits(), 0);
}

#[test]
fn a_config_that_is_written_beside_sites_of_the_session_can_keep_them() {
    let stage = Stage::of(1);
    let url = stage.fleet.sites()[0].url.to_string();
    let mut pty = program().size(120, 40).start();
    let path = pty.home().join(".config/stripe-propagate/config.toml");
    pty.sees("There is no config yet")
        .adds(&url)
        .sees("i writes a config that can keep it")
        .key("+")
        .sees("i writes one, once the site is there")
        .key("Esc")
        .sees_no("The site's address");
    pty.type_(":")
        .sees("do  (Up")
        .type_("write")
        .sees("write a config")
        .key("Enter");
    pty.sees(&format!("Write {url} to"))
        .key("n")
        .sees_no("Write https");
    // What is there already stays, and is asked about again.
    pty.key("i").sees("is there already, and stays as it is");
    pty.key("+")
        .sees("Enter alone asks")
        .key("Enter")
        .sees(&format!("Write {url} to"));
    pty.key("y").sees("1 site written to").sees("F5 reads it");
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written.ends_with(&format!("\n[[sites]]\nurl = \"{url}\"\n")),
        "{written}"
    );
    pty.key("F5").sees("read again: the same 1 site");
    assert_eq!(pty.quits(), 0);
}

#[test]
fn a_newcomer_adds_a_site_without_a_config() {
    let stage = Stage::of(1);
    let mut pty = program().start();
    let url = stage.fleet.sites()[0].url.to_string();
    // Without the config's certificate authority its certificate is not taken.
    pty.sees("There is no config yet")
        .adds(&url)
        .sees("this session only")
        .sees("certificate");
    pty.sees("1 site").sees_no("Write https");
    assert_eq!(pty.quits(), 0);
}

#[test]
fn a_newcomer_opens_the_demo() {
    let mut pty = program().start();
    pty.sees("There is no config yet")
        .key("d")
        .sees("24 sites")
        .sees("P reviews and pushes 24");
    pty.key("F5").sees("the demo's sites are its own");
    assert_eq!(pty.times(ALTERNATE_SCREEN), 1);
    assert_eq!(pty.quits(), 0);
}

#[test]
fn a_screen_that_watches_writes_no_config() {
    let mut pty = program().arg("--read-only").start();
    pty.sees("There is no config yet")
        .key("i")
        .sees("it writes no file");
    assert!(!pty.home().join(".config/stripe-propagate").exists());
    assert_eq!(pty.quits(), 0);
}

#[test]
fn where_there_are_no_authorities_no_site_is_blamed() {
    let stage = Stage::of(2);
    let text = stage.text().replace("ca_file = \"ca.pem\"", "");
    stage.write(&text);
    let without = |run: Run| {
        let run = run
            .env("SSL_CERT_FILE", "/nonexistent")
            .env("SSL_CERT_DIR", "/nonexistent");
        let mut pty = run.start();
        pty.receives("tls.ca_file");
        assert_eq!(pty.wait_exit(), 2);
        String::from_utf8_lossy(&pty.received_so_far()).into_owned()
    };
    let key = stage.path("key.txt");
    let pushes = stage.screen().arg("push").arg("--yes").arg("--key-file").arg(key);
    for run in [stage.screen(), stage.screen().arg("verify"), pushes] {
        let said = without(run);
        assert_eq!(said.matches("install ca-certificates").count(), 1, "{said}");
        assert!(said.contains("tls.ca_file"), "{said}");
    }
    let told = std::process::Command::new(env!("CARGO_BIN_EXE_stripe-propagate"))
        .env_clear()
        .env("HOME", stage.folder.path())
        .arg("--config")
        .arg(stage.config())
        .arg("--store")
        .arg(stage.path("state/store.db"))
        .args(["status", "--json"])
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.matches("\"unchecked\"").count(), 2, "{told}");
}
