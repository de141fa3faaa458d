//! A fleet, sites that echo, and a config with a secret in every form at every place that takes one.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::canaries::{self, Canary, Search};
use super::echo::{ECHOES, Echo};
use super::pty::Run;
use super::stage::Stage;

const PROGRAM: &str = env!("CARGO_BIN_EXE_stripe-propagate");

/// Prints a secret, and writes down what it was started with: its environment, its arguments, those of the program.
const GIVES: &str = r#"{
    tr '\0' '\n' < /proc/$$/environ
    tr '\0' ' ' < /proc/$$/cmdline
    tr '\0' ' ' < /proc/$PPID/cmdline
    echo
} >> "$1"
if [ -n "$2" ]; then cat "$2"; fi
"#;

/// All that a hunt goes over.
pub(crate) struct Ground {
    pub(crate) stage: Stage,
    pub(crate) echo: Echo,
    /// Secrets that may stand in no place but where they were put.
    pub(crate) search: Search,
    /// The key that is pushed, which may stand whole in the store alone.
    whole_key: Search,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let stage = Stage::of(24);
        stage.fleet.hurry(20);
        let mut all = canaries::all();
        let (_, master_key) = stage.fleet.master_key().rsplit_once('-').unwrap();
        all.push(Canary::of("the master key of a file", master_key));
        let key = [Canary::of("the whole publishable key", &stage.key()[30..70])];
        let ground = Self {
            search: Search::of(&all),
            whole_key: Search::of(&key),
            echo: Echo::start(),
            stage,
        };
        for folder in [
            "secrets",
            "credentials",
            "home",
            "state",
            "work",
            "temporary",
            "children",
        ] {
            fs::create_dir(ground.stage.path(folder)).unwrap();
        }
        ground.write("secrets/gives.sh", GIVES);
        ground.write("secrets/command.key", canaries::COMMAND);
        ground.write("credentials/shop", canaries::CREDENTIAL);
        ground.write("secrets/group.key", canaries::GROUP);
        ground.write(
            "secrets/webhook",
            &format!("{}/hook/{}", ground.echo.address, canaries::WEBHOOK),
        );
        ground.write(
            "secrets/password",
            &format!("postgres://ops:{}@127.0.0.1:1/shops", canaries::PASSWORD),
        );
        for (place, secret) in canaries::GIVEN.into_iter().enumerate() {
            ground.write(&format!("secrets/given-{place}"), secret);
        }
        ground.write("config.toml", &ground.config());
        ground
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.stage.path(name).display().to_string()
    }

    /// A file that nobody else can read.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.stage.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    /// A command that gives what is in a file, and tells in another one what it saw.
    fn gives(&self, who: &str, secret: Option<&str>) -> String {
        let (script, told) = (
            self.path("secrets/gives.sh"),
            self.path(&format!("children/{who}")),
        );
        let secret = secret.map_or_else(String::new, |secret| format!(", \"{}\"", self.path(secret)));
        format!("[\"sh\", \"{script}\", \"{told}\"{secret}]")
    }

    /// The fleet's own config with all that can hold a secret, and with the sites that echo.
    fn config(&self) -> String {
        let fleets = self.stage.fleet.config_toml();
        let mut text = fleets
            .replace("settle = \"8s\"", "settle = \"0s\"")
            .replace("attempts = 3", "attempts = 1");
        let of_the_command = self.gives("secret", Some("secrets/command.key"));
        let keys = [
            "{ env = [\"NOT_SET\", \"SHOP_KEY\"] }".to_owned(),
            format!("{{ command = {of_the_command} }}"),
            "{ credential = \"shop\" }".to_owned(),
            format!("{{ value = '{}' }}", canaries::VALUE),
        ];
        let listed = |name: &str| ["row", "of-source"].contains(&name);
        for (place, (name, _)) in ECHOES.iter().enumerate().filter(|(_, (name, _))| !listed(name)) {
            let url = format!("{}/{name}", self.echo.address);
            // A key is made of letters and digits alone.
            let place = if *name == "served" { 0 } else { place % 5 };
            let key = keys.get(place).map_or("group = \"grouped\"".to_owned(), |key| {
                format!("master_key = {key}")
            });
            writeln!(
                text,
                "\n[[sites]]\nname = \"{name}\"\nurl = \"{url}\"\nbackend = \"{name}\"\n{key}"
            )
            .unwrap();
        }
        let (address, listing) = (&self.echo.address, self.gives("listing", None));
        let (notice, own) = (self.gives("notice", None), self.path("secrets"));
        write!(
            text,
            r#"
[groups.grouped]
master_key = {{ file = "{own}/group.key" }}

[[sources]]
kind = "http"
url = "{address}/list"
header = {{ name = "Authorization", value = {{ env = "LIST_TOKEN" }} }}
master_key = {{ env = "SOURCE_KEY" }}

[[sources]]
kind = "command"
command = {listing}

[watch]
interval = "1s"

[notify]
command = {notice}
webhook = {{ file = "{own}/webhook" }}

[rollout]
canary = 0
stop_after = "never"
"#
        )
        .unwrap();
        // The fleet says that already.
        let (before, _) = text.rsplit_once("[rollout]").unwrap();
        before.to_owned()
    }

    /// The environment of each run, of the program's own secrets as well.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let token = format!("Bearer {}", canaries::TOKEN);
        vec![
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("HOME", self.path("home")),
            ("XDG_STATE_HOME", self.path("state")),
            ("XDG_CONFIG_HOME", self.path("home/.config")),
            ("TMPDIR", self.path("temporary")),
            ("CREDENTIALS_DIRECTORY", self.path("credentials")),
            ("TEMPLATE_MASTER_API_KEY", canaries::MISPLACED.to_owned()),
            ("SHOP_KEY", canaries::ENV.to_owned()),
            ("SOURCE_KEY", canaries::SOURCE.to_owned()),
            ("LIST_TOKEN", token),
        ]
    }

    fn globals(&self, config: &str) -> Vec<String> {
        let log = self.path("state/all.log");
        ["--config", &self.path(config), "--log", &log, "-vv"]
            .map(str::to_owned)
            .into()
    }

    /// The program on a config, in a folder that is empty at first.
    pub(crate) fn command(&self, config: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .env_clear()
            .envs(self.environment())
            .current_dir(self.stage.path("work"));
        command.args(self.globals(config)).args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The same, in a pseudo-terminal.
    pub(crate) fn screen(&self, config: &str, arguments: &[&str]) -> Run {
        let run = self
            .environment()
            .into_iter()
            .fold(Run::of(PROGRAM).size(160, 50), |run, (name, value)| {
                run.env(name, &value)
            });
        let arguments = self
            .globals(config)
            .into_iter()
            .chain(arguments.iter().map(|&argument| argument.to_owned()));
        arguments.fold(run, Run::arg)
    }

    /// Runs the program to its end, and searches what it says.
    #[track_caller]
    pub(crate) fn run(&self, config: &str, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(config, arguments).spawn().unwrap();
        // A program that refuses before it reads closes the pipe.
        let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        self.says_nothing(&arguments.join(" "), &output.stdout);
        self.says_nothing(&arguments.join(" "), &output.stderr);
        output
    }

    /// That no secret and no whole key is in what was said.
    #[track_caller]
    pub(crate) fn says_nothing(&self, place: &str, bytes: &[u8]) {
        self.search.finds_nothing(place, bytes);
        self.whole_key.finds_nothing(place, bytes);
    }

    /// That no secret is in any file but those that hold it by the operator's own will, and the whole key in the store
    /// alone.
    #[track_caller]
    pub(crate) fn files_hold_nothing(&self) {
        let mine = ["secrets", "credentials", "master.key", "key.txt"].map(|name| self.stage.path(name));
        for path in files(self.stage.folder.path()) {
            let is_config = path.extension().is_some_and(|end| end == "toml")
                && path.parent() == Some(self.stage.folder.path());
            if is_config || mine.iter().any(|mine| path.starts_with(mine)) {
                continue;
            }
            let (place, bytes) = (path.display().to_string(), fs::read(&path).unwrap());
            self.search.finds_nothing(&place, &bytes);
            if !place.contains("store.db") {
                self.whole_key.finds_nothing(&place, &bytes);
            }
            assert!(
                !place.rsplit('/').next().unwrap().starts_with("core"),
                "a core was dumped: {place}"
            );
        }
    }

    /// That what was started saw no secret, and was started.
    #[track_caller]
    pub(crate) fn children_saw_nothing(&self, who: &[&str]) {
        for who in who {
            let seen = fs::read(self.stage.path(&format!("children/{who}"))).unwrap();
            let text = String::from_utf8_lossy(&seen);
            assert!(
                text.contains("HOME=") && text.contains("stripe-propagate"),
                "{who}: {text}"
            );
            self.says_nothing(who, &seen);
        }
    }

    /// That the arguments of a running process hold no secret, nor its environment any but those that it was started with;
    /// and that it can leave no core behind.
    #[track_caller]
    pub(crate) fn process_shows_nothing(&self, pid: i32) {
        let read = |what: &str| fs::read(format!("/proc/{pid}/{what}"));
        self.says_nothing("its arguments", &read("cmdline").unwrap());
        let own = self.environment();
        // Another process of the same user may not read it at all.
        for line in read("environ").unwrap_or_default().split(|byte| *byte == 0) {
            let line = String::from_utf8_lossy(line);
            let was_given = own.iter().any(|(name, value)| line == format!("{name}={value}"));
            assert!(
                was_given || self.search.find(line.as_bytes()).is_empty(),
                "{line}"
            );
        }
        let limits = String::from_utf8(read("limits").unwrap()).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        let both: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
        assert_eq!(both, ["0", "0"], "{core}");
    }
}

/// All files in a folder, at any depth.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut all = Vec::new();
    for entry in entries {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(files(&entry.path()));
        } else if kind.is_file() {
            all.push(entry.path());
        }
    }
    all
}
