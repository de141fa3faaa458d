use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stripe_propagate::demo::FleetOptions;
use stripe_propagate::demo::record::RecordedRequest;

use super::floor::{Ended, Floor, Process};
use super::ledger::Ledger;

/// Longer than any cache of the fleet.
const SETTLE: &str = "1s";
const SITES: usize = 24;
/// So many runs at once: they mostly wait.
const AT_ONCE: usize = 4;
/// A run is taken up so often at most.
const RESUMES: usize = 12;

/// When to kill: so long after the fleet took so many requests of the process.
#[derive(Debug, Clone, Copy)]
struct Moment {
    requests: usize,
    then: Duration,
}

impl Moment {
    /// Anywhere in a run of so many requests, from before the first to after the last.
    fn within(requests: usize, dice: &mut fastrand::Rng) -> Self {
        // From between two packets to all of a settle time.
        let longest = [0, 3000, 60_000, 1_500_000][dice.usize(..4)];
        Self {
            requests: dice.usize(..=requests),
            then: Duration::from_micros(dice.u64(..=longest)),
        }
    }
}

/// All that is random in a case.
#[derive(Debug)]
struct Case {
    seed: u64,
    /// Whether its fleet has no fault.
    healthy: bool,
    push: Moment,
    /// Which of the processes that take it up are killed too.
    resumes: Vec<Moment>,
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = |moment: &Moment| format!("{} requests + {:?}", moment.requests, moment.then);
        let fleet = if self.healthy { "healthy, " } else { "" };
        write!(
            formatter,
            "KILL_SEED={}: {fleet}killed after {}",
            self.seed,
            moment(&self.push)
        )?;
        for resume in &self.resumes {
            write!(formatter, ", resumed and killed after {}", moment(resume))?;
        }
        Ok(())
    }
}

impl Case {
    fn of(seed: u64, whole: &Whole) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let push = Moment::within(whole.requests, &mut dice);
        // What is left to do is less, and from the second on it is little.
        let resumes =
            (1..=dice.usize(..3)).map(|turn| Moment::within(whole.requests / (2 * turn), &mut dice));
        let resumes = resumes.collect();
        Self {
            seed,
            healthy: dice.u8(..4) == 0,
            push,
            resumes,
        }
    }

    fn floor(&self) -> Floor {
        let floor = Floor::of(
            FleetOptions {
                sites: SITES,
                seed: self.seed,
                ..FleetOptions::default()
            },
            SETTLE,
        );
        if self.healthy {
            floor.stage.heal();
        }
        floor
    }

    /// Lets the run be killed and taken up until nothing of it is left.
    fn plays(&self, whole: &Whole) {
        let mut story = Story {
            floor: self.floor(),
            needless: BTreeMap::new(),
        };
        let push = story.floor.push();
        let mut status = story.killed_at(self.push, push);
        let mut kills = self.resumes.iter();
        for _ in 0..RESUMES {
            let resume = story.floor.start(&["resume", "--yes"]);
            let ended = match kills.next() {
                Some(kill) => story.killed_at(*kill, resume),
                None => Some(resume.ends()),
            };
            let Some(ended) = ended else { continue };
            if ended.err.contains("there is nothing to resume") {
                assert_eq!(ended.code, Some(0), "{ended:?}");
                return story.is_told_well(status, whole.of(self));
            }
            status = Some(ended);
        }
        panic!("there is always something to resume");
    }
}

/// What happens to one fleet.
struct Story {
    floor: Floor,
    /// The sites that need no more PUTs, with how many they had.
    needless: BTreeMap<usize, usize>,
}

impl Story {
    /// Kills the process at that moment; how it ended, if that was before.
    fn killed_at(&mut self, moment: Moment, mut process: Process) -> Option<Ended> {
        let fleet = &self.floor.stage.fleet;
        let before = fleet.record().requests.len();
        let glance = Duration::from_millis(5);
        while !fleet.wait_until(glance, |record| record.requests.len() >= before + moment.requests)
            && !process.has_ended()
        {}
        std::thread::sleep(moment.then);
        process.kill();
        let ended = process.ends();
        let ledger = Ledger::of(&self.floor);
        ledger.tells_the_truth(&self.floor);
        self.nothing_needless(&ledger);
        self.needless.extend(ledger.need_no_put(&self.floor));
        ended.code.is_some().then_some(ended)
    }

    fn nothing_needless(&self, ledger: &Ledger) {
        for (site, puts) in &self.needless {
            let name = self.floor.name(*site);
            let took = ledger.seen.puts(*site);
            assert_eq!(took.len(), *puts, "{name} got a needless PUT: {took:?}");
        }
    }

    /// Nothing of the run is left to do: the last process that had something to do ended like this.
    fn is_told_well(&self, last: Option<Ended>, words: &BTreeMap<String, Words>) {
        let ledger = Ledger::of(&self.floor);
        ledger.tells_the_truth(&self.floor);
        self.nothing_needless(&ledger);
        if ledger.runs.is_empty() {
            let is_put = |request: &RecordedRequest| request.method == "PUT";
            assert!(!ledger.seen.requests.iter().any(is_put), "PUTs without a run");
            return;
        }
        ledger.is_complete(&self.floor);
        if let Some(last) = last {
            assert_eq!(last.code, Some(ledger.status()), "{last:?}");
        }
        for (site, ended) in ledger.words().into_iter().enumerate() {
            let name = self.floor.name(site);
            assert_eq!(
                ended,
                words[name],
                "{name} ends as without a kill: {:#?}",
                ledger.row(site)
            );
        }
    }
}

/// PUSH and VERIFY.
type Words = (&'static str, &'static str);

/// A run that nobody kills.
struct Whole {
    requests: usize,
    took: Duration,
    /// How each site ends, by its name.
    faulty: BTreeMap<String, Words>,
    healthy: BTreeMap<String, Words>,
}

impl Whole {
    fn measured() -> Self {
        let end = |healthy| {
            let case = Case {
                seed: 0,
                healthy,
                push: Moment {
                    requests: 0,
                    then: Duration::ZERO,
                },
                resumes: Vec::new(),
            };
            let floor = case.floor();
            let begin = std::time::Instant::now();
            let ended = floor.push().ends();
            let took = begin.elapsed();
            let ledger = Ledger::of(&floor);
            ledger.tells_the_truth(&floor);
            ledger.is_complete(&floor);
            assert_eq!(ended.code, Some(ledger.status()), "{ended:?}");
            let words = ledger.words().into_iter().enumerate();
            let by_name: BTreeMap<String, Words> = words
                .map(|(site, words)| (floor.name(site).to_owned(), words))
                .collect();
            (by_name, ledger.seen.requests.len(), took)
        };
        let (healthy, _, _) = end(true);
        let (faulty, requests, took) = end(false);
        Self {
            requests,
            took,
            faulty,
            healthy,
        }
    }

    fn of(&self, case: &Case) -> &BTreeMap<String, Words> {
        if case.healthy { &self.healthy } else { &self.faulty }
    }
}

/// Plays the cases of these seeds, a few at once; tells of each that fails.
#[expect(clippy::print_stdout, reason = "for who watches with --nocapture")]
fn plays_all(seeds: std::ops::Range<u64>) {
    let whole = Whole::measured();
    println!("a whole run: {} requests in {:?}", whole.requests, whole.took);
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    let plays = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let case = Case::of(seed, &whole);
            println!("{case}");
            if let Err(why) = catch_unwind(AssertUnwindSafe(|| case.plays(&whole))) {
                let why = why.downcast_ref::<String>().map_or("", String::as_str);
                failed.lock().unwrap().push(format!("{case}\n{why}"));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(plays);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn a_run_survives_20_kills() {
    let seed = std::env::var("KILL_SEED").ok().map(|seed| seed.parse().unwrap());
    plays_all(seed.map_or(1..21, |seed: u64| seed..seed + 1));
}

#[test]
#[ignore = "takes minutes"]
fn a_run_survives_200_kills() {
    plays_all(1000..1200);
}
