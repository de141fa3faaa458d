//! What a push and a verify cost over TLS, beside a bare loop that sends the same, an aiohttp script and curl.
//!
//! `cargo bench --bench speed` measures all, `cargo bench --bench speed -- push` (or `look`, `verify`, `large`,
//! `screen`) a part, and `quick` makes it short. Rounds alternate, so that what else the machine does meets all alike.
//! Without `--bench` (`cargo test --benches`) everything is small and only shows that it works.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::Duration;

use anyhow::bail;
use stripe_propagate::key::PublishableKey;

/// The shops, in a process of their own.
mod shops;
/// The bare client.
mod floor;
/// What a process took.
mod measured;
/// Who sends, and whether they did.
mod contenders;
/// Start to first screen.
mod screen;
/// The table, and the targets.
mod table;
/// What several rounds took.
#[path = "../shared/spread.rs"]
mod spread;

use table::Table;

/// Requests out at once: the program's default.
const AT_ONCE: usize = 64;
/// The settle time, where there is one.
const SETTLE: Duration = Duration::from_secs(1);

/// What is done with each site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    /// GET, PUT, GET on one connection.
    Push,
    /// The same, and a GET on a second connection after the settle time.
    PushAndLook,
    /// GET.
    Verify,
}

const JOBS: [Job; 3] = [Job::Push, Job::PushAndLook, Job::Verify];

impl Job {
    fn word(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::PushAndLook => "push-and-look",
            Self::Verify => "verify",
        }
    }

    /// The part of the benchmark.
    fn part(self) -> &'static str {
        if self == Self::PushAndLook {
            "look"
        } else {
            self.word()
        }
    }

    /// The program's command.
    fn command(self) -> &'static str {
        if self == Self::Verify { "verify" } else { "push" }
    }

    fn parse(word: &str) -> anyhow::Result<Self> {
        match JOBS.into_iter().find(|job| job.word() == word) {
            Some(job) => Ok(job),
            None => bail!("no such job: {word}"),
        }
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Sites, and how often all do each job on them.
    fleets: [(usize, usize); 2],
    /// Sites of the large fleet, which the floor and the program push to once.
    large: usize,
    /// Sites of the screen, and how often it is opened.
    screen: (usize, usize),
}

const FULL: Sizes = Sizes {
    fleets: [(1000, 5), (10_000, 3)],
    large: 100_000,
    screen: (10_000, 11),
};
const QUICK: Sizes = Sizes {
    fleets: [(1000, 3), (10_000, 1)],
    large: 30_000,
    screen: (10_000, 5),
};
const SMALL: Sizes = Sizes {
    fleets: [(8, 1), (24, 1)],
    large: 32,
    screen: (24, 1),
};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [shops::SERVE, sites] => return runtime()?.block_on(shops::serve(sites.parse()?)),
        [floor::FLOOR, job, addresses, ca, key] => {
            let job = Job::parse(job)?;
            return runtime()?.block_on(floor::run(job, addresses.as_ref(), ca.as_ref(), key));
        }
        [measured::MEASURE, ..] => return measured::measure(&words[1..]),
        _ => {}
    }
    let (flags, words): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.starts_with('-'));
    let (quick, parts): (Vec<&String>, Vec<&String>) = words.into_iter().partition(|word| *word == "quick");
    let sizes = match (flags.iter().any(|flag| *flag == "--bench"), quick.is_empty()) {
        (true, true) => FULL,
        (true, false) => QUICK,
        (false, _) => SMALL,
    };
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|word| *word == part);
    let mut table = Table::begin();
    for (sites, rounds) in sizes.fleets {
        for job in JOBS.into_iter().filter(|job| is_wanted(job.part())) {
            table.measure(job, sites, rounds, true)?;
        }
    }
    if is_wanted("large") {
        table.measure(Job::Push, sizes.large, 1, false)?;
        table.measure(Job::PushAndLook, sizes.large, 1, false)?;
    }
    if is_wanted("screen") {
        let (shops, rounds) = sizes.screen;
        table.screen(shops, screen::measure(shops, rounds)?);
    }
    table.print_targets();
    Ok(())
}

/// A folder on the disk that the build is on: a store in memory would write nothing.
fn folder() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
}

/// A key of the usual length that differs by `number`.
fn key(number: usize) -> anyhow::Result<PublishableKey> {
    Ok(PublishableKey::parse(&format!("pk_test_51Bench{number:0>92}"))?)
}
