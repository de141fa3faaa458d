use std::time::{Duration, Instant};

use stripe_propagate::demo::FleetOptions;
use stripe_propagate::demo::faults::Fault;
use stripe_propagate::rules::status::{Push, Verify};
use stripe_propagate::store::RunId;

use super::floor::{Ended, Floor, PATIENCE};
use super::ledger::Ledger;

const NEWER: &str = "pk_test_51DemoTheNewerKeyThatReplacesTheOneOnItsWayDemoTheNewerKeyThatReplacesTheOneOnItsWayDemoTheNewerKey";
const SETTLE: Duration = Duration::from_secs(2);

/// A push was killed while its PUT to a site was on its way, where it is held back. No site has a fault.
struct Late {
    floor: Floor,
    site: usize,
}

impl Late {
    fn on_its_way() -> Self {
        let floor = Floor::of(
            FleetOptions {
                sites: 3,
                ..FleetOptions::default()
            },
            "2s",
        );
        let site = floor.site_with(Fault::Healthy);
        floor.stage.heal();
        std::fs::write(floor.stage.path("newer.txt"), NEWER).unwrap();
        floor.stage.fleet.hold_next_put(site);
        let mut push = floor.push();
        floor.is_sending_to(site);
        push.kill();
        assert_eq!(push.ends().code, None);
        Self { floor, site }
    }

    /// Waits until the site has taken the newer PUT, and was seen to serve its key.
    fn is_overtaken(&self) {
        let fleet = &self.floor.stage.fleet;
        let served = fleet.wait_until(PATIENCE, |record| {
            let [put] = record.puts(self.site)[..] else {
                return false;
            };
            record.gets(self.site).iter().any(|get| get.at > put.at)
        });
        assert!(served, "{:?}", fleet.record());
    }

    /// It arrives, over what the site has stored since.
    fn arrives(&self) {
        let fleet = &self.floor.stage.fleet;
        fleet.let_go(self.site);
        let took = fleet.wait_until(PATIENCE, |record| record.puts(self.site).len() == 2);
        assert!(took, "{:?}", fleet.record().puts(self.site));
        let stored = self.floor.stage.fleet.stored(self.site);
        assert_eq!(stored.as_deref(), Some(self.floor.stage.key()));
    }

    /// A command on this site alone, with the newer key.
    fn newer(&self, command: &str) -> Ended {
        let file = self.floor.stage.path("newer.txt").display().to_string();
        let name = self.floor.name(self.site);
        self.floor
            .start(&[command, "--key-file", &file, "--site", name])
            .ends()
    }

    /// The newer key was stored by the newest run, nothing is left to do, and the site is called this.
    fn ends_as(&self, word: Verify) -> Ledger {
        let ledger = Ledger::of(&self.floor);
        let runs: Vec<RunId> = ledger.runs.iter().map(|run| run.id).collect();
        assert_eq!(runs, [RunId(2), RunId(1)]);
        for run in &ledger.runs {
            assert!(run.ended.is_some() && !run.live, "{run:?}");
        }
        let row = ledger.row(self.site);
        assert_eq!((row.planned.key.as_str(), row.push), (NEWER, Push::Stored));
        assert_eq!(ledger.known[self.site].verify, word);
        ledger
    }
}

#[test]
fn a_put_that_arrives_late_over_a_newer_key_is_noticed_at_the_end_of_the_settle_time() {
    let late = Late::on_its_way();
    let newer = late.floor.push_of("newer.txt");
    late.is_overtaken();
    late.arrives();
    let ended = newer.ends();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("mismatch"), "{ended:?}");
    let ledger = late.ends_as(Verify::Mismatch);
    for site in 0..3 {
        let word = if site == late.site {
            Verify::Mismatch
        } else {
            Verify::Verified
        };
        assert_eq!(ledger.row(site).verify, word);
    }
}

#[test]
fn a_put_that_arrives_after_the_proof_of_a_newer_key_is_drift_to_who_looks_next() {
    let late = Late::on_its_way();
    let ended = late.floor.push_of("newer.txt").ends();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    late.arrives();
    let looks = [late.floor.start(&["verify"]).ends(), late.newer("verify")];
    for ended in looks {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.out.contains("drifted"), "{ended:?}");
    }
    late.ends_as(Verify::Drifted);
}

#[test]
fn a_put_that_never_arrived_is_sent_again_however_late_the_run_is_taken_up() {
    let late = Late::on_its_way();
    // A process that looks and is killed too leaves behind that it settles.
    let mut look = late.floor.start(&["verify"]);
    Ledger::until(&late.floor, |ledger| {
        ledger.known[late.site].verify == Verify::Settling
    });
    look.kill();
    let left = Instant::now();
    drop(look);
    // Until nobody would take what the site serves for a cache's any more.
    std::thread::sleep((left + SETTLE).saturating_duration_since(Instant::now()));
    let ended = late.floor.start(&["resume", "--yes"]).ends();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    late.arrives();
    let ledger = Ledger::of(&late.floor);
    ledger.tells_the_truth(&late.floor);
    ledger.is_complete(&late.floor);
}
