use stripe_propagate::demo::FleetOptions;
use stripe_propagate::demo::faults::Fault;
use stripe_propagate::demo::record::RecordedRequest;
use stripe_propagate::rules::status::Push;

use super::floor::{Ended, Floor, Process};
use super::ledger::Ledger;

const NEWER: &str = "pk_test_51DemoAnotherKeyThatMustNotGoOutMeanwhileDemoAnotherKeyThatMustNotGoOutMeanwhileDemoAnotherKeyThatM";

/// A push to sites without a fault, one of which it still sends to.
struct Beside {
    floor: Floor,
    push: Process,
    site: usize,
    /// One that has the key, and waits for its proof.
    sent: usize,
}

impl Beside {
    fn a_push() -> Self {
        let floor = Floor::of(
            FleetOptions {
                sites: 6,
                ..FleetOptions::default()
            },
            "2s",
        );
        let site = floor.site_with(Fault::Healthy);
        floor.stage.heal();
        std::fs::write(floor.stage.path("newer.txt"), NEWER).unwrap();
        floor.stage.fleet.hold_next_put(site);
        let push = floor.push();
        floor.is_sending_to(site);
        let sent = floor.site_with(Fault::OtherMasterKey);
        Ledger::until(&floor, |ledger| {
            ledger.rows.len() == 6 && ledger.row(sent).push == Push::Stored
        });
        Self {
            floor,
            push,
            site,
            sent,
        }
    }

    fn does(&self, arguments: &[&str]) -> Ended {
        self.floor.start(arguments).ends()
    }

    fn path(&self, name: &str) -> String {
        self.floor.stage.path(name).display().to_string()
    }

    /// The last PUT arrives, and the push ends as if nobody had been beside it.
    fn goes_on_as_if_alone(self) {
        self.floor.stage.fleet.let_go(self.site);
        let ended = self.push.ends();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let ledger = Ledger::of(&self.floor);
        ledger.tells_the_truth(&self.floor);
        ledger.is_complete(&self.floor);
        for words in ledger.words() {
            assert_eq!(words, ("stored", "verified"));
        }
    }
}

#[test]
fn a_second_push_is_told_who_sends_and_its_sites_see_nothing_of_it() {
    let beside = Beside::a_push();
    let gets = || beside.floor.stage.fleet.record().gets(beside.site).len();
    let before = gets();
    let user = Ledger::of_store(&beside.floor).runs[0].by.user.clone();
    let pid = beside.push.pid().as_raw_nonzero();
    let file = beside.path("newer.txt");
    let all = ["push", "--key-file", &file, "--yes"];
    let one = [&all[..], &["--site", beside.floor.name(beside.site)]].concat();
    for arguments in [&all[..], &one] {
        let second = beside.does(arguments);
        assert_eq!(second.code, Some(5), "{second:?}");
        let who = format!("run 1 of {user} is sending (PID {pid}, since 20");
        assert!(second.err.contains(&who), "{second:?}");
        let way_out = "opening the screen attaches to it";
        assert!(second.err.contains(way_out), "{second:?}");
    }
    let resume = beside.does(&["resume", "--yes"]);
    assert_eq!(resume.code, Some(0), "{resume:?}");
    assert!(resume.err.contains("there is nothing to resume"), "{resume:?}");
    assert_eq!(gets(), before);
    let brought = |request: &RecordedRequest| request.value.as_deref() == Some(NEWER);
    assert!(!beside.floor.stage.fleet.record().requests.iter().any(brought));
    beside.goes_on_as_if_alone();
}

#[test]
fn a_verify_beside_a_push_ends_as_its_own_looks_say() {
    let beside = Beside::a_push();
    let [key, newer] = ["key.txt", "newer.txt"].map(|name| beside.path(name));
    let (sends, sent) = (beside.floor.name(beside.site), beside.floor.name(beside.sent));
    let cases: [(&[&str], i32, &str); 4] = [
        (&["verify", "--site", sent], 0, "1 verified"),
        (&["verify", "--site", sent, "--key-file", &key], 0, "1 verified"),
        (&["verify", "--site", sent, "--key-file", &newer], 1, "1 mismatch"),
        // What will become of it only the push can say.
        (&["verify", "--site", sends], 3, "1 sending"),
    ];
    for (arguments, status, word) in cases {
        let ended = beside.does(arguments);
        assert_eq!(ended.code, Some(status), "{arguments:?}: {ended:?}");
        assert!(ended.out.contains(word), "{arguments:?}: {ended:?}");
    }
    beside.goes_on_as_if_alone();
}
