//! What a push costs with a store in a file, with one in `PostgreSQL`, and where workers make its calls.
//!
//! `cargo bench --features cluster --bench team` measures it on a server of `PostgreSQL` that it starts itself and that
//! does not wait for its disk: what is told is processor time, of who pushes, of the workers and of the server. Rounds
//! alternate. Without `--bench` everything is small and only shows that it works.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::Duration;

use anyhow::{Context, ensure};
use stripe_propagate::key::PublishableKey;

/// Processor time of a server, and of processes that go on.
mod clocks;
/// Shops, configs, and who pushes to them.
mod ground;
/// The shops, in a process of their own.
#[path = "../speed/shops.rs"]
mod shops;
/// What a process took.
#[path = "../speed/measured.rs"]
mod measured;
/// What several rounds took.
#[path = "../shared/spread.rs"]
mod spread;
/// A server of `PostgreSQL`.
#[expect(
    clippy::unwrap_used,
    reason = "as in the tests: without a server nothing goes"
)]
#[path = "../../tests/stage/servers.rs"]
mod servers;

use ground::Ground;
use spread::Spread;

/// Where a run is on record, and who makes its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    File,
    Postgres,
    Workers(usize),
}

const ALL: [How; 4] = [How::File, How::Postgres, How::Workers(1), How::Workers(3)];

impl How {
    fn words(self) -> String {
        match self {
            Self::File => "one process, a file".to_owned(),
            Self::Postgres => "one process, PostgreSQL".to_owned(),
            Self::Workers(1) => "1 worker".to_owned(),
            Self::Workers(count) => format!("{count} workers"),
        }
    }
}

/// What a push took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    pub(crate) pushes: Duration,
    pub(crate) workers: Duration,
    pub(crate) server: Duration,
}

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [shops::SERVE, sites] => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            return runtime.block_on(shops::serve(sites.parse()?));
        }
        [measured::MEASURE, ..] => return measured::measure(&words[1..]),
        _ => {}
    }
    let is_bench = words.iter().any(|word| word == "--bench");
    let (sites, rounds) = if is_bench { (3000, 3) } else { (24, 1) };
    let Some(server) = servers::own_postgres() else {
        println!("PostgreSQL is not installed");
        return Ok(());
    };
    for of_a_backend in [1, 30] {
        println!("\n{sites} shops, {of_a_backend} of a backend: milliseconds of processor time a shop");
        println!(
            "{:<24} {:>8} {:>8} {:>10} {:>8}   seconds in all",
            "", "pushes", "workers", "PostgreSQL", "sum"
        );
        let mut ground = Ground::open(&server, sites, of_a_backend)?;
        let mut all = vec![Vec::new(); ALL.len()];
        for _ in 0..rounds {
            for (how, took) in ALL.into_iter().zip(&mut all) {
                took.push(ground.measure(how).with_context(|| how.words())?);
            }
        }
        for (how, took) in ALL.into_iter().zip(&all) {
            ensure!(!took.is_empty(), "nothing was measured");
            print(how, took, sites);
        }
    }
    Ok(())
}

fn print(how: How, took: &[Took], sites: usize) {
    let sites = f64::from(u32::try_from(sites).unwrap_or(u32::MAX));
    let of_a_site = |part: fn(&Took) -> Duration| {
        let milliseconds = took.iter().map(|took| part(took).as_secs_f64() * 1000.0 / sites);
        Spread::of(milliseconds)
    };
    let wall = Spread::of(took.iter().map(|took| took.wall.as_secs_f64()));
    println!(
        "{:<24} {:>8.2} {:>8.2} {:>10.2} {:>8.2}   {:.1} ({:.1} to {:.1})",
        how.words(),
        of_a_site(|took| took.pushes).median,
        of_a_site(|took| took.workers).median,
        of_a_site(|took| took.server).median,
        of_a_site(|took| took.pushes + took.workers + took.server).median,
        wall.median,
        wall.least,
        wall.most
    );
}

/// A folder on the disk that the build is on: a store in memory would write nothing.
fn folder() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
}

/// A key of the usual length that differs by `number`.
fn key(number: usize) -> anyhow::Result<PublishableKey> {
    Ok(PublishableKey::parse(&format!("pk_test_51Bench{number:0>92}"))?)
}
