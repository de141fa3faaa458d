use std::process::Stdio;
use std::time::Duration;

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
