//! What the store costs: a whole push with it and without it, the store alone, and what is known of many sites.
//!
//! `cargo bench --bench store` measures all, `cargo bench --bench store -- push` (or `storm`, `known`) a part.
//! Rounds alternate, so that what else the machine does meets both stores alike. Without `--bench`
//! (`cargo test --benches`) everything is small and only shows that it works.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The shops, in a process of their own.
mod fleet;
/// A whole push over TLS.
mod push;
/// The store without an engine.
mod alone;
/// What several rounds took.
#[path = "../shared/spread.rs"]
mod spread;

use spread::Spread;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Sites of a push.
    sites: usize,
    /// Rounds of each store, the first of which does not count.
    rounds: usize,
    /// Sites of the storm of records.
    storm: usize,
    /// Sites that are asked for at once.
    known: [usize; 2],
}

const FULL: Sizes = Sizes {
    sites: 5000,
    rounds: 6,
    storm: 20_000,
    known: [10_000, 100_000],
};
const SMALL: Sizes = Sizes {
    sites: 50,
    rounds: 2,
    storm: 100,
    known: [10, 100],
};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let [serve, sites] = words.as_slice()
        && serve == fleet::SERVE
    {
        return runtime.block_on(fleet::serve(sites.parse()?));
    }
    let (flags, parts): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.starts_with('-'));
    let sizes = if flags.iter().any(|flag| *flag == "--bench") {
        FULL
    } else {
        SMALL
    };
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|word| *word == part);
    runtime.block_on(async {
        if is_wanted("push") {
            push::compare(sizes).await?;
        }
        if is_wanted("storm") {
            alone::storm(sizes).await?;
        }
        if is_wanted("known") {
            alone::known(sizes).await?;
        }
        Ok(())
    })
}

/// A folder for stores, on the disk that the build is on: one in memory would write nothing.
fn folder() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
}

/// The CPU time of this process until now, all threads.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// A count as a float. They stay far below what one holds exactly.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
fn float(count: usize) -> f64 {
    count as f64
}
