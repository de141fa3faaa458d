use std::time::{Duration, Instant};

use rustix::process::Signal;
use stripe_propagate::attach::{self, Attached, Found};
use stripe_propagate::demo::FleetOptions;
use stripe_propagate::demo::faults::Fault;
use stripe_propagate::engine::{Command, Event};
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::state::{Allow, SiteState};
use stripe_propagate::rules::status::{Push, Verify};
use stripe_propagate::site::SiteId;
use tokio::runtime::Runtime;

use super::floor::{Floor, PATIENCE};
use super::ledger::Ledger;
use super::pty::{Pty, Run};

const SETTLE: &str = "3s";
/// What Linux counts the time of processes in, a second.
const TICKS: u64 = 100;

impl Floor {
    /// The one process that offers its run.
    fn found(&self, runtime: &Runtime) -> Found {
        let found = runtime.block_on(attach::find(&self.state_folder()));
        let [found] = found.try_into().unwrap();
        found
    }

    /// The screen, in a pseudo-terminal of its own.
    fn screen(&self) -> Pty {
        Run::of(env!("CARGO_BIN_EXE_stripe-propagate"))
            .arg("--config")
            .arg(self.stage.path("config.toml"))
            .env("XDG_STATE_HOME", self.stage.path("state").to_str().unwrap())
            .start()
    }

    /// Waits until a PUT to the site is on its way, and held back there.
    pub(crate) fn is_sending_to(&self, site: usize) {
        let held = self
            .stage
            .fleet
            .wait_until(PATIENCE, |record| record.held == [site]);
        assert!(held, "no PUT is on its way to {}", self.name(site));
    }
}

/// What is told of a run, with what the process has used of the processor meanwhile.
struct Watched {
    runtime: Runtime,
    found: Found,
    attached: Attached,
    states: Vec<SiteState>,
    phase: RunPhase,
    /// When all was sent, and each look at the processor's time after it.
    at_rest: Vec<(Instant, u64)>,
}

impl Watched {
    fn of(floor: &Floor) -> Self {
        let runtime = Runtime::new().unwrap();
        let found = floor.found(&runtime);
        assert!(found.sends);
        let attached = runtime.block_on(found.attach(&floor.config.sites)).unwrap();
        assert_eq!(attached.foreign_sites, 0);
        Self {
            states: vec![SiteState::default(); floor.config.sites.len()],
            phase: attached.run.as_ref().unwrap().phase,
            attached,
            runtime,
            found,
            at_rest: Vec::new(),
        }
    }

    /// Follows what is told until it is so.
    fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            let told = self.attached.events.recv();
            let told = async { tokio::time::timeout(PATIENCE, told).await };
            match self.runtime.block_on(told).unwrap().unwrap() {
                Event::Site { site, state } => self.states[site.index()] = *state,
                Event::Run(run) => self.phase = run.phase,
                _ => {}
            }
            if self.phase == RunPhase::Settling
                && let Some(ticks) = ticks(self.found.about.pid)
            {
                self.at_rest.push((Instant::now(), ticks));
            }
        }
    }

    fn orders(&self, order: Command) {
        self.attached.orders.send(order).unwrap();
    }

    /// That the process did next to nothing while it waited for its proofs.
    fn was_at_rest(&self) {
        let [(begin, before), .., (end, after)] = self.at_rest[..] else {
            panic!("{:?}", self.at_rest)
        };
        let wall = end - begin;
        assert!(wall > Duration::from_secs(1), "too short to tell: {wall:?}");
        let used = Duration::from_millis((after - before) * 1000 / TICKS);
        assert!(used < wall / 3, "{used:?} of {wall:?}");
    }
}

/// What a process has used of the processor; none if it is gone.
fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything: fields 14 and 15 of them all.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn options() -> FleetOptions {
    FleetOptions::default()
}

#[test]
fn a_push_whose_terminal_is_gone_is_watched_and_mended_by_another_process() {
    let floor = Floor::of(options(), SETTLE);
    let [healthy, locked] = [Fault::Healthy, Fault::OtherMasterKey].map(|fault| floor.site_with(fault));
    floor.stage.fleet.hold_next_put(healthy);
    let push = floor.push();
    floor.is_sending_to(healthy);
    push.signal(Signal::HUP);
    let pid = push.pid().as_raw_nonzero().get().cast_unsigned();

    let mut watched = Watched::of(&floor);
    assert_eq!(watched.found.about.pid, pid);
    watched.until(|now| matches!(now.states[locked].push, Push::Failed(_)));
    assert!(watched.states[healthy].push.is_open());
    floor.stage.heal();
    watched.orders(Command::Retry {
        sites: vec![SiteId(u32::try_from(locked).unwrap())],
        allow: Allow::default(),
    });
    watched.until(|now| now.states[locked].push == Push::Stored);
    floor.stage.fleet.let_go(healthy);
    watched.until(|now| now.phase == RunPhase::Settled);
    for site in [healthy, locked] {
        assert_eq!(watched.states[site].verify, Verify::Verified);
        assert!(floor.serves_the_key(site));
    }
    watched.was_at_rest();
    drop(watched);

    let ended = push.ends();
    let ledger = Ledger::of(&floor);
    ledger.tells_the_truth(&floor);
    ledger.is_complete(&floor);
    assert_eq!(ledger.row(locked).verify, Verify::Verified);
    assert_eq!(ledger.seen.puts(locked).len(), 2);
    assert_eq!(ended.code, Some(ledger.status()), "{ended:?}");
}

#[test]
fn a_screen_that_hangs_up_leaves_its_run_to_another_screen() {
    let floor = Floor::of(
        FleetOptions {
            sites: 6,
            ..options()
        },
        SETTLE,
    );
    let [healthy, locked] = [Fault::Healthy, Fault::OtherMasterKey].map(|fault| floor.site_with(fault));
    let mut first = floor.screen();
    first.sees("\u{2022} seen").sees_no("checking");
    first.key("e").sees("paste or type a publishable key");
    first.type_(floor.stage.key()).key("Enter");
    floor.stage.fleet.hold_next_put(healthy);
    first.sees("P reviews and pushes 6").key("P");
    first.sees("type 6 to push").type_("6").sees("> 6_").key("Enter");
    floor.is_sending_to(healthy);
    first.sees("failed 1").signal(Signal::HUP);

    let mut watched = Watched::of(&floor);
    let mut second = floor.screen();
    second.sees("run 1").sees("failed 1").sees("sending");
    floor.stage.heal();
    second.key("R");
    watched.until(|now| now.states[locked].push == Push::Stored);
    second.sees_no("failed 1");
    floor.stage.fleet.let_go(healthy);
    watched.until(|now| now.phase == RunPhase::Settled);
    watched.was_at_rest();
    drop(watched);
    assert_eq!(first.wait_exit(), 0);

    second.sees("verified 6").sees("settled").key("q");
    assert_eq!(second.wait_exit(), 0);
    let ledger = Ledger::of(&floor);
    ledger.tells_the_truth(&floor);
    ledger.is_complete(&floor);
    assert_eq!(ledger.status(), 0);
    assert_eq!(ledger.seen.puts(locked).len(), 2);
}
