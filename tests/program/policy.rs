//! Who may push: the real binary, two users, root's policy in a private mount namespace, and what the sites saw. Leaves
//! itself out, in one line, where this process is not root or may make no mount namespace.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use stripe_propagate::demo::record::Record;

use machine::{ALICE, BOB, CAROL, Ended, Machine, ROOT, User, give, has_user_namespaces, say};

#[path = "policy/machine.rs"]
mod machine;
/// Orders that one process gives and another one carries out.
#[path = "policy/orders.rs"]
mod orders;
#[path = "../pty/mod.rs"]
mod pty;
#[path = "../stage/mod.rs"]
mod stage;

const MEMBERS: &str = "push_groups = [\"stripe-push\"]\n";
/// The words for a live key that no Stripe knows, to sites that serve a test key.
const ALLOWED: [&str; 3] = [
    "--allow-mode-change",
    "--allow-unknown-key",
    "--allow-other-length",
];

/// A push of the fleet's key to `sites`, which waits for no proof.
fn push<'a>(key: &'a str, sites: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["push", "--key-file", key, "--yes", "--wait", "0"];
    for site in sites {
        arguments.extend(["--site", site]);
    }
    arguments
}

impl Machine {
    fn pushes(&self, user: User, sites: &[&str]) -> Ended {
        let key = self.home(user).join("key.txt").display().to_string();
        self.run(user, &push(&key, sites))
    }

    /// A live key, to sites that serve a test key.
    fn pushes_live(&self, user: User, sites: &[&str]) -> Ended {
        let key = self.home(user).join("live.txt").display().to_string();
        self.run(user, &[&push(&key, sites)[..], &ALLOWED].concat())
    }

    fn gives_live_keys(&self) {
        let live = format!("pk_live_{}", "4eC39HqLyjW".repeat(9));
        for user in [ALICE, CAROL, ROOT] {
            std::fs::write(self.home(user).join("live.txt"), &live).unwrap();
            self.own(user);
        }
    }

    fn index(&self, name: &str) -> usize {
        let mut sites = self.stage.fleet.sites().iter();
        sites.position(|site| site.name == name).unwrap()
    }

    /// Somebody is refused, in words, and no site hears of it.
    fn refuses(&self, ended: &Ended, words: &str) {
        self.refuses_after(0, ended, words);
    }

    /// As [`Machine::refuses`], where sites have heard of so many PUTs before.
    fn refuses_after(&self, puts: usize, ended: &Ended, words: &str) {
        assert_eq!(ended.code, Some(5), "{}{}", ended.out, ended.err);
        assert!(ended.err.contains(words), "{}", ended.err);
        assert_eq!(self.puts(), puts, "{}", ended.err);
        assert!(self.logged().is_empty(), "no run began");
    }
}

#[test]
fn who_is_in_no_group_sends_nothing_whatever_they_try() {
    let Some(machine) = Machine::with(MEMBERS) else {
        return;
    };
    let words = "you are bob (uid 2002), and only members of stripe-push may push \
                 (/etc/stripe-propagate/policy.toml)";
    let site = machine.well()[0].to_owned();
    let home = machine.home(BOB);
    let key = home.join("key.txt").display().to_string();
    let pushes = push(&key, &[&site]);
    machine.refuses(&machine.run(BOB, &pushes), words);
    machine.refuses(&machine.run(BOB, &["resume", "--yes"]), words);
    machine.refuses(&machine.run(BOB, &["check", "--auth", "--site", &site]), words);
    // What the environment says is a claim.
    let alices = machine.home(ALICE).display().to_string();
    let claims = [
        ("SUDO_USER", "alice"),
        ("SUDO_UID", "2001"),
        ("USER", "alice"),
        ("LOGNAME", "root"),
        ("HOME", alices.as_str()),
        ("STRIPE_PROPAGATE_POLICY", "/dev/null"),
        ("XDG_CONFIG_DIRS", "/nowhere"),
        ("XDG_STATE_HOME", "/tmp"),
    ];
    let store = home.join("other.db").display().to_string();
    let elsewhere = [&pushes[..], &["--store", &store]].concat();
    machine.refuses(&machine.run_with(BOB, &claims, &elsewhere), words);
    // Nor is anything of a config heard.
    let config = home.join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    for widens in [
        "[policy]\npush_groups = []\n",
        "[push]\npush_groups = [\"bob\"]\n",
    ] {
        let own = home.join("own.toml");
        std::fs::write(&own, format!("{widens}\n{text}")).unwrap();
        give(&own, BOB);
        let own = own.display().to_string();
        let line = [&["{program}", "--config", &own][..], &pushes].concat();
        machine.refuses(&machine.command(BOB, &[], &line), words);
        let looks = machine.command(BOB, &[], &["{program}", "--config", &own, "verify"]);
        assert_eq!(looks.code, Some(2), "a config knows no such thing: {}", looks.err);
    }
    // Root of a user namespace is anybody, and sees root's files as nobody's.
    if has_user_namespaces(&machine) {
        let config = config.display().to_string();
        let line = [&["unshare", "-r", "{program}", "--config", &config][..], &pushes].concat();
        let hides = "does not belong to root, or a user namespace hides that it does";
        machine.refuses(&machine.command(BOB, &[], &line), hides);
    } else {
        say("left out: nobody may make a user namespace here");
    }
    // To look is free.
    let looks = machine.run(BOB, &["verify", "--site", &site]);
    assert_eq!(looks.code, Some(0), "{}", looks.err);
    assert_eq!(machine.puts(), 0);
}

#[test]
fn who_is_in_a_group_pushes_and_each_run_leaves_one_line_in_the_systems_log() {
    let Some(machine) = Machine::with(MEMBERS) else {
        return;
    };
    let site = machine.well()[0].to_owned();
    let claims = [
        ("SUDO_USER", "eve"),
        ("SSH_CONNECTION", "192.0.2.7 5 192.0.2.1 22"),
    ];
    let key = machine.home(ALICE).join("key.txt").display().to_string();
    let ended = machine.run_with(ALICE, &claims, &push(&key, &[&site]));
    assert_eq!(
        ended.code,
        Some(3),
        "its proof is not due: {}{}",
        ended.out,
        ended.err
    );
    assert_eq!(machine.puts(), 1);
    let lines = machine.logged();
    let [line] = lines.as_slice() else {
        panic!("one line a run: {lines:?}");
    };
    // authpriv (10) and notice (5): 10 * 8 + 5.
    assert!(
        line.starts_with("<85>") && line.contains(" stripe-propagate["),
        "{line}"
    );
    let store = machine.home(ALICE).join("state/stripe-propagate/store.db");
    for words in [
        "]: run 1 begins: push by alice (uid 2001",
        "), whose environment claims sudo by eve and SSH from 192.0.2.7, pk_",
        "(test) to 1 site, store ",
        &store.display().to_string(),
    ] {
        assert!(line.contains(words), "{words}: {line}");
    }
    assert!(!line.contains(machine.stage.key()), "the key is masked");
    // Her run and her store are not bob's to go on with.
    let store = store.display().to_string();
    let bobs = machine.home(BOB).join("key.txt").display().to_string();
    for line in [vec!["resume", "--yes"], push(&bobs, &[&site]), vec!["verify"]] {
        let ended = machine.run(BOB, &[&line[..], &["--store", &store]].concat());
        assert!(matches!(ended.code, Some(2 | 5)), "{}", ended.err);
    }
    assert_eq!(machine.puts(), 1);
    assert!(machine.logged().is_empty());
    // A run on record says who began it.
    let document = machine.home(ALICE).join("run.json");
    let ended = machine.run(ALICE, &["export", &document.display().to_string()]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let exported: serde_json::Value = serde_json::from_slice(&std::fs::read(document).unwrap()).unwrap();
    assert_eq!(exported["run"]["by"]["user"], "alice");
    assert_eq!(exported["run"]["by"]["uid"], 2001);
    assert_eq!(
        exported["run"]["by_claims"],
        serde_json::json!(["sudo_user", "ssh_client"])
    );
}

#[test]
fn live_keys_and_large_pushes_have_rules_of_their_own_and_root_is_not_bound() {
    let policy = "push_groups = [\"stripe-push\"]\nlive_groups = [\"stripe-live\", \"stripe-boss\"]\n";
    let Some(machine) = Machine::with(policy) else {
        return;
    };
    machine.gives_live_keys();
    let sites: Vec<String> = machine
        .well()
        .iter()
        .take(3)
        .map(|name| (*name).to_owned())
        .collect();
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    machine.refuses(
        &machine.pushes_live(ALICE, &sites[..1]),
        "you are alice (uid 2001), and only members of stripe-live or stripe-boss may push live keys \
         (/etc/stripe-propagate/policy.toml); stripe-boss is a group that this machine does not know",
    );
    assert_eq!(
        machine.pushes(ALICE, &sites[..1]).code,
        Some(3),
        "a test key is no live key"
    );
    assert_eq!((machine.puts(), machine.logged().len()), (1, 1));
    machine.policy(&format!("{policy}max_sites_without_canary = 2\n"));
    // Her config says canary = 0.
    machine.refuses_after(
        1,
        &machine.pushes_live(CAROL, &sites),
        "this push goes to 3 sites at once, and without a canary it may go to 2 at most",
    );
    assert_eq!(machine.pushes_live(CAROL, &sites[..1]).code, Some(3));
    assert_eq!(machine.puts(), 2);
    assert_eq!(machine.pushes_live(ROOT, &sites).code, Some(3));
    assert_eq!(machine.puts(), 5);
    assert_eq!(machine.logged().len(), 2);
    // A canary of one site goes first: it must be verified before the others begin.
    let config = machine.home(CAROL).join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text
        .replace("canary = 0\n", "canary = 1\n")
        .replace("settle = \"8s\"", "settle = \"0s\"");
    std::fs::write(&config, text).unwrap();
    let ended = machine.pushes_live(CAROL, &sites);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert_eq!(machine.puts(), 8);
}

#[test]
fn a_run_of_live_keys_that_broke_off_is_taken_up_by_those_only_who_may_push_them() {
    let Some(machine) = Machine::with(MEMBERS) else {
        return;
    };
    machine.gives_live_keys();
    let site = machine.well()[0].to_owned();
    let index = machine.index(&site);
    machine.stage.fleet.hold_next_put(index);
    let key = machine.home(ALICE).join("live.txt").display().to_string();
    let config = machine.home(ALICE).join("config.toml").display().to_string();
    let line = [
        &["{program}", "--config", &config][..],
        &push(&key, &[&site]),
        &ALLOWED,
    ];
    let mut process = machine.process(ALICE, &line.concat());
    let mut child = process
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let line = machine.waits_for_a_line();
    assert!(line.contains("run 1 begins: push by alice"), "{line}");
    // Its PUT is on its way, or was about to be.
    child.kill().unwrap();
    child.wait().unwrap();
    machine.policy(&format!("{MEMBERS}live_groups = [\"stripe-live\"]\n"));
    let resume = ["resume", "--yes", "--allow-unknown-key", "--wait", "0"];
    machine.refuses(
        &machine.run(ALICE, &resume),
        "you are alice (uid 2001), and only members of stripe-live may push live keys",
    );
    machine.stage.fleet.let_go(index);
    machine.policy(MEMBERS);
    let resumed = machine.run(ALICE, &resume);
    assert!(
        matches!(resumed.code, Some(0 | 3)),
        "{}{}",
        resumed.out,
        resumed.err
    );
    let lines = machine.logged();
    let begins = "run 1 begins: resume by alice";
    assert!(matches!(&lines[..], [line] if line.contains(begins)), "{lines:?}");
}

#[test]
fn a_policy_that_is_not_roots_or_is_wrong_lets_nobody_push() {
    let Some(machine) = Machine::with(MEMBERS) else {
        return;
    };
    let site = machine.well()[0].to_owned();
    let refuses = |words: &str| {
        for user in [ALICE, ROOT] {
            machine.refuses(&machine.pushes(user, &[&site]), words);
        }
    };
    let file = machine.policy_file();
    give(&file, ALICE);
    refuses("policy.toml does not belong to root");
    machine.policy(MEMBERS);
    std::fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
    refuses("others than root can change /etc/stripe-propagate/policy.toml: chmod go-w");
    machine.policy("push_groups = [\"stripe-push\"]\nmax_sites = 3\n");
    refuses("/etc/stripe-propagate/policy.toml:2:1: unknown field");
    machine.policy(MEMBERS);
    let folder = file.parent().unwrap();
    give(folder, BOB);
    refuses("/etc/stripe-propagate does not belong to root");
    give(folder, ROOT);
    std::fs::rename(&file, folder.join("real.toml")).unwrap();
    std::os::unix::fs::symlink("real.toml", &file).unwrap();
    refuses("is a symbolic link");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    refuses("is no plain file");
    // Without one everybody may push.
    std::fs::remove_dir_all(folder).unwrap();
    let ended = machine.pushes(BOB, &[&site]);
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    assert_eq!(machine.puts(), 1);
}

#[test]
fn who_may_not_push_gets_the_screen_that_only_watches_and_says_what_is_missing() {
    let Some(machine) = Machine::with(MEMBERS) else {
        return;
    };
    let healthy = machine.index(machine.well()[0]);
    let mut bobs = machine.screen(BOB).start();
    bobs.sees("this screen is read-only: you are bob (uid 2002), and only members of stripe-push may push");
    bobs.sees("watches");
    bobs.key("P").key("R").key("q").wait_exit();
    assert_eq!(machine.puts(), 0);
    let mut alices = machine.screen(ALICE).start();
    alices.sees("no run goes on").never_saw("read-only");
    alices.key("e").paste(machine.stage.key()).key("Enter");
    alices
        .sees("P reviews and pushes 24")
        .key("P")
        .sees("type 24 to push");
    // It is read again before each push.
    machine.policy("push_groups = [\"stripe-live\"]\n");
    alices.type_("24").key("Enter");
    alices.sees("you are alice (uid 2001), and only members of stripe-live may push");
    assert_eq!(machine.puts(), 0);
    assert!(machine.logged().is_empty());
    machine.policy(MEMBERS);
    alices.key("Esc").sees_no("nothing of yours was sent");
    alices.key("P").sees("type 24 to push").type_("24").key("Enter");
    alices.sees("run 1");
    let saw = |record: &Record| !record.puts(healthy).is_empty();
    assert!(machine.stage.fleet.wait_until(Duration::from_secs(20), saw));
    let line = machine.waits_for_a_line();
    assert!(line.contains("run 1 begins: push by alice"), "{line}");
    assert!(machine.logged().is_empty());
    // Its master key is known by then: that alone lets nothing out.
    alices.sees("4qGu  settling");
    machine.policy("push_groups = [\"stripe-live\"]\n");
    let before = machine.puts();
    alices.key("P").sees("type 24 to push").type_("24").key("Enter");
    alices.sees("nothing of yours was sent").key("Esc");
    assert_eq!(machine.puts(), before);
    alices.signal(Signal::TERM).wait_exit();
}
