use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use stripe_propagate::demo::faults::Fault;
use stripe_propagate::demo::record::Record;

use super::machine::{ALICE, ALICE_AS_LEAD, Machine, ROOT};
use super::{ALLOWED, MEMBERS, push};

impl Machine {
    /// The config of alice with other words in it.
    fn edits(&self, words: &[(&str, &str)]) {
        let config = self.home(ALICE).join("config.toml");
        let mut text = std::fs::read_to_string(&config).unwrap();
        for (from, to) in words {
            assert!(text.contains(from), "{from}: {text}");
            text = text.replace(from, to);
        }
        std::fs::write(&config, text).unwrap();
    }

    fn index_of(&self, fault: Fault) -> usize {
        let mut sites = self.stage.fleet.sites().iter();
        sites.position(|site| site.fault == fault).unwrap()
    }
}

#[test]
fn a_run_of_live_keys_is_steered_by_those_only_who_may_push_them() {
    let Some(machine) = Machine::with(&format!("{MEMBERS}live_groups = [\"stripe-live\"]\n")) else {
        return;
    };
    machine.gives_live_keys();
    machine.edits(&[
        ("\ntimeout = \"3s\"", "\ntimeout = \"50s\""),
        ("settle = \"8s\"", "settle = \"120s\""),
    ]);
    // One fails at once, the PUT of the other is on its way for as long as the test needs.
    let well = machine.well()[0].to_owned();
    let (held, failed) = (machine.index(&well), machine.index_of(Fault::OtherMasterKey));
    machine.stage.fleet.hold_next_put(held);
    let name = machine.stage.fleet.sites()[failed].name.clone();
    let key = machine.home(ALICE).join("live.txt").display().to_string();
    let config = machine.home(ALICE).join("config.toml").display().to_string();
    let line = [
        &["{program}", "--config", &config][..],
        &push(&key, &[&well, &name])[..],
        &ALLOWED,
    ];
    let mut process = machine.process(ALICE_AS_LEAD, &line.concat());
    let mut child = process
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let saw = |record: &Record| !record.puts(failed).is_empty();
    assert!(machine.stage.fleet.wait_until(Duration::from_secs(30), saw));
    let before = machine.puts();
    let refused = "you are alice (uid 2001), and only members of stripe-live may push live keys";
    let mut screen = machine.screen(ALICE).start();
    screen
        .sees("c pause")
        .sees("refuses the master key")
        .sees_no("checking");
    screen.key("R").sees("nothing of yours was sent").sees(refused);
    screen.key("Esc").sees_no("nothing of yours was sent");
    // To have it send nothing more is everybody's.
    screen.key("c").sees("stay paused").sees("LyjW  paused").key("g");
    screen
        .sees("nothing of yours was sent")
        .sees(refused)
        .key("Esc")
        .sees_no("nothing of yours was sent")
        .sees("LyjW  paused")
        .key("q");
    assert_eq!(screen.wait_exit(), 0);
    assert_eq!(machine.puts(), before);
    // Who may push live keys steers it.
    let mut leads = machine.screen(ALICE_AS_LEAD).start();
    leads.sees("paused").key("c").sees("stay paused").key("g");
    leads.sees("LyjW  sending").never_saw("nothing of yours was sent");
    child.kill().unwrap();
    child.wait().unwrap();
    machine.stage.fleet.let_go(held);
}

#[test]
fn a_user_directory_that_hangs_does_not_keep_a_look_waiting() {
    let Some(machine) = Machine::with(MEMBERS) else {
        return;
    };
    let site = machine.well()[0].to_owned();
    let config = machine.home(ROOT).join("config.toml").display().to_string();
    // Whoever opens it waits for a writer, as for a directory on the network that is gone.
    let script =
        "mkfifo /tmp/users.$$; mount --bind /tmp/users.$$ /etc/passwd; rm /tmp/users.$$; exec \"$@\"";
    let line = ["timeout", "-s", "KILL", "60", "sh", "-ec", script, "sh"];
    let verify = ["{program}", "--config", &config, "verify", "--site", &site];
    let ended = machine.command(ROOT, &[], &[&line[..], &verify].concat());
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
}

#[test]
fn what_a_failed_canary_has_stopped_is_not_sent_to_many_in_another_way() {
    let Some(machine) = Machine::with(&format!("{MEMBERS}max_sites_without_canary = 2\n")) else {
        return;
    };
    let canary = machine.index_of(Fault::SaysNotStored);
    let name = machine.stage.fleet.sites()[canary].name.clone();
    machine.edits(&[
        ("canary = 0\n", &format!("canary = [\"{name}\"]\n")),
        ("settle = \"8s\"", "settle = \"0s\""),
    ]);
    let others: Vec<String> = machine.well()[..3].iter().map(|&name| name.to_owned()).collect();
    let sites: Vec<&str> = [&name].into_iter().chain(&others).map(String::as_str).collect();
    let halted = machine.pushes(ALICE, &sites);
    assert_eq!(halted.code, Some(4), "{}{}", halted.out, halted.err);
    assert!(machine.logged().len() == 1);
    let before = machine.puts();
    let words = "a key that no site is verified with, and may send it to 2 at most before one is";
    let retry = ["retry", "--yes", "--wait", "0"];
    for line in [&retry[..], &["resume", "--yes", "--wait", "0"]] {
        machine.refuses_after(before, &machine.run(ALICE, line), words);
    }
    // On the screen a word lets such a run go on.
    let mut screen = machine.screen(ALICE).start();
    screen
        .sees("was not finished")
        .key("Esc")
        .sees_no("was not finished");
    screen.key("e").paste(machine.stage.key()).key("Enter");
    screen.sees("P reviews and pushes 24").key("P");
    screen.sees("type 24 to push").type_("24").key("Enter");
    screen.sees("4qGu  halted").key("c").sees("stay halted").key("g");
    screen
        .sees("nothing of yours was sent")
        .sees("no site is verified with");
    screen.key("Esc").sees_no("nothing of yours was sent");
    screen.sees("4qGu  halted").signal(Signal::TERM);
    screen.wait_exit();
    let saw = machine.stage.fleet.record();
    assert!(
        machine
            .well()
            .iter()
            .all(|name| saw.puts(machine.index(name)).is_empty())
    );
    // Once one has it and is verified, the others may.
    machine.logged();
    let one = machine.run(ALICE, &[&retry[..], &["--site", &others[0]]].concat());
    assert_eq!(one.code, Some(0), "{}{}", one.out, one.err);
    let all = machine.run(ALICE, &[&retry[..], &["--run", "2"]].concat());
    assert!(all.code != Some(5), "{}{}", all.out, all.err);
    let saw = machine.stage.fleet.record();
    assert!(
        others
            .iter()
            .all(|name| !saw.puts(machine.index(name)).is_empty())
    );
}
