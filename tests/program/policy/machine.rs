//! A machine of its own for each test: root's policy, users, groups and system log in a private mount namespace, so that
//! the real binary needs no switch for it.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use stripe_propagate::demo::faults::Fault;
use tempfile::TempDir;

use super::pty::Run;
use super::stage::Stage;

/// Somebody at the machine: the groups are those of the process, as the kernel has them.
#[derive(Clone, Copy)]
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) uid: u32,
    gid: u32,
    groups: &'static str,
}

pub(crate) const ROOT: User = User {
    name: "root",
    uid: 0,
    gid: 0,
    groups: "0",
};
/// May push.
pub(crate) const ALICE: User = User {
    name: "alice",
    uid: 2001,
    gid: 2001,
    groups: "2100",
};
/// Is in no group that the policies name.
pub(crate) const BOB: User = User {
    name: "bob",
    uid: 2002,
    gid: 2002,
    groups: "2002",
};
/// May push live keys, too: by the process's own group, as `sudo -g` gives one.
pub(crate) const CAROL: User = User {
    name: "carol",
    uid: 2003,
    gid: 2101,
    groups: "2100",
};

/// Alice as `sudo -g` lets her push live keys: the same user, who sees the same runs.
pub(crate) const ALICE_AS_LEAD: User = User { gid: 2101, ..ALICE };

/// What a machine has for all: its users and groups.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    alice:x:2001:2001::/nowhere:/bin/sh\nbob:x:2002:2002::/nowhere:/bin/sh\ncarol:x:2003:2003::/nowhere:/bin/sh\n";
/// `bob` stands in no line of the groups that may push.
const GROUP: &str = "root:x:0:\nalice:x:2001:\nbob:x:2002:\ncarol:x:2003:\n\
    stripe-push:x:2100:alice,carol\nstripe-live:x:2101:carol\n";
/// Devices that the program and its shell may need.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

pub(crate) struct Machine {
    pub(crate) stage: Stage,
    /// Everybody can reach what is in it.
    base: TempDir,
    log: UnixDatagram,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Machine {
    /// A machine with this policy, and a fleet. None, and a line that says so, where no such machine can be made.
    pub(crate) fn with(policy: &str) -> Option<Self> {
        if let Err(why) = can_be_made() {
            say(&format!(
                "left out, since {why}: who may push was not tried with two users"
            ));
            return None;
        }
        let stage = Stage::of(24);
        let base = tempfile::tempdir().unwrap();
        std::fs::set_permissions(base.path(), Permissions::from_mode(0o755)).unwrap();
        let etc = base.path().join("etc");
        let copied = Command::new("cp")
            .arg("-a")
            .arg("/etc")
            .arg(&etc)
            .status()
            .unwrap();
        assert!(copied.success());
        std::fs::write(etc.join("passwd"), PASSWD).unwrap();
        std::fs::write(etc.join("group"), GROUP).unwrap();
        std::fs::write(
            etc.join("nsswitch.conf"),
            "passwd: files\ngroup: files\nhosts: files\n",
        )
        .unwrap();
        std::fs::create_dir_all(etc.join("stripe-propagate")).unwrap();
        std::fs::write(base.path().join("program"), "").unwrap();
        let dev = base.path().join("dev");
        std::fs::create_dir(&dev).unwrap();
        for device in DEVICES {
            std::fs::write(dev.join(device), "").unwrap();
        }
        let log = UnixDatagram::bind(dev.join("log")).unwrap();
        log.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        std::fs::set_permissions(dev.join("log"), Permissions::from_mode(0o666)).unwrap();
        let machine = Self { stage, base, log };
        for user in [ROOT, ALICE, BOB, CAROL] {
            machine
                .stage
                .fleet
                .write_files(&machine.home(user), false)
                .unwrap();
            machine.own(user);
        }
        machine.policy(policy);
        Some(machine)
    }

    /// Root writes another policy.
    pub(crate) fn policy(&self, text: &str) {
        let path = self.policy_file();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        chown(&path, Some(0), Some(0)).unwrap();
    }

    pub(crate) fn policy_file(&self) -> PathBuf {
        self.base.path().join("etc/stripe-propagate/policy.toml")
    }

    pub(crate) fn home(&self, user: User) -> PathBuf {
        self.base.path().join(user.name)
    }

    /// Gives a user what stands in their home.
    pub(crate) fn own(&self, user: User) {
        let home = self.home(user);
        let files = std::fs::read_dir(&home)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        for path in files.chain([home.clone()]) {
            chown(path, Some(user.uid), Some(user.uid)).unwrap();
        }
        std::fs::set_permissions(home, Permissions::from_mode(0o700)).unwrap();
    }

    /// The command line that has `user` run this on the machine. `{program}` in it is the program.
    fn line(&self, user: User, arguments: &[&str]) -> Vec<String> {
        let base = self.base.path().display().to_string();
        let mut script = "set -e; base=$1; shift; mount --bind \"$base/etc\" /etc\n".to_owned();
        let program = env!("CARGO_BIN_EXE_stripe-propagate");
        let binds = |from: &str, to: &str| format!("mount --bind '{from}' \"$base/{to}\"\n");
        script += &binds(program, "program");
        for device in DEVICES {
            script += &binds(&format!("/dev/{device}"), &format!("dev/{device}"));
        }
        script.push_str("mount --rbind \"$base/dev\" /dev\nexec \"$@\"\n");
        let mut line: Vec<String> = ["-m", "--propagation", "private", "sh", "-c", &script, "sh", &base]
            .map(str::to_owned)
            .into();
        if user.uid != 0 {
            line.push("setpriv".to_owned());
            line.extend([
                format!("--reuid={}", user.uid),
                format!("--regid={}", user.gid),
                format!("--groups={}", user.groups),
                "--inh-caps=-all".to_owned(),
            ]);
        }
        let program = format!("{base}/program");
        line.extend(arguments.iter().map(|part| part.replace("{program}", &program)));
        line
    }

    /// Has `user` run the program with their own config.
    pub(crate) fn run(&self, user: User, arguments: &[&str]) -> Ended {
        self.run_with(user, &[], arguments)
    }

    /// As [`Machine::run`], with more in the environment.
    pub(crate) fn run_with(&self, user: User, env: &[(&str, &str)], arguments: &[&str]) -> Ended {
        let config = self.home(user).join("config.toml").display().to_string();
        let line = [&["{program}", "--config", &config][..], arguments].concat();
        self.command(user, env, &line)
    }

    /// Has `user` run a command line.
    pub(crate) fn command(&self, user: User, env: &[(&str, &str)], line: &[&str]) -> Ended {
        let output = self
            .process(user, line)
            .envs(env.iter().copied())
            .output()
            .unwrap();
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A process of `user`: all that comes before the program in it is replaced by the program.
    pub(crate) fn process(&self, user: User, line: &[&str]) -> Command {
        let home = self.home(user);
        let mut command = Command::new("unshare");
        command
            .args(self.line(user, line))
            .current_dir(self.base.path())
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", &home)
            .env("XDG_STATE_HOME", home.join("state"))
            .stdin(Stdio::null());
        command
    }

    /// The screen of `user`.
    pub(crate) fn screen(&self, user: User) -> Run {
        let home = self.home(user);
        let config = home.join("config.toml").display().to_string();
        let line = self.line(user, &["{program}", "--config", &config]);
        let run = line.into_iter().fold(Run::of("unshare"), Run::arg);
        run.env("PATH", PATH)
            .env("HOME", &home.display().to_string())
            .env("XDG_STATE_HOME", &home.join("state").display().to_string())
    }

    /// How many PUTs the sites saw, those that try a master key too.
    pub(crate) fn puts(&self) -> usize {
        let record = self.stage.fleet.record();
        let of = |index| record.puts(index).len() + record.auth_checks(index).len();
        (0..self.stage.fleet.sites().len()).map(of).sum()
    }

    /// What the system's log has got since it was asked last.
    pub(crate) fn logged(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut room = [0; 8192];
        loop {
            match self.log.recv(&mut room) {
                Ok(length) => lines.push(String::from_utf8(room[..length].to_vec()).unwrap()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return lines;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until the system's log gets a line, and takes it.
    pub(crate) fn waits_for_a_line(&self) -> String {
        let wait = |limit| self.log.set_read_timeout(Some(limit)).unwrap();
        let mut room = [0; 8192];
        wait(Duration::from_secs(30));
        let length = self.log.recv(&mut room).unwrap();
        wait(Duration::from_millis(1));
        String::from_utf8(room[..length].to_vec()).unwrap()
    }

    /// Names of sites that are well.
    pub(crate) fn well(&self) -> Vec<&str> {
        let sites = self.stage.fleet.sites().iter();
        let well = sites.filter(|site| site.fault == Fault::Healthy && !site.has_expired_key);
        well.map(|site| site.name.as_str()).collect()
    }
}

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether this process can make such a machine.
fn can_be_made() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("this is not root".to_owned());
    }
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if map.split_whitespace().ne(["0", "0", "4294967295"]) {
        return Err("this is root of a user namespace only".to_owned());
    }
    let arguments = ["-m", "--propagation", "private", "sh", "-c"];
    let script = "mount --bind /etc /etc && exec setpriv --reuid=2002 --regid=2002 --groups=2002 true";
    let tried = Command::new("unshare").args(arguments).arg(script).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("unshare cannot be started ({error})")),
    }
}

/// One line, also where the test passes.
#[expect(clippy::print_stderr, reason = "a test that left something out says so")]
pub(crate) fn say(text: &str) {
    eprintln!("tests/policy.rs: {text}");
}

/// Whether anybody may make a user namespace here.
pub(crate) fn has_user_namespaces(machine: &Machine) -> bool {
    machine.command(BOB, &[], &["unshare", "-r", "true"]).code == Some(0)
}

/// Gives a file away.
pub(crate) fn give(path: &Path, user: User) {
    chown(path, Some(user.uid), Some(user.uid)).unwrap();
}
