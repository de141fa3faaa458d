//! What the screen costs: a frame, its bytes, and how long a key press takes to be seen, while 2,000 changes a second
//! come in; and what it does when nothing happens.
//!
//! `cargo bench --bench screen` measures all, `cargo bench --bench screen -- frames` (or `keys`, `idle`) a part.
//! Without `--bench` (`cargo test --benches`) everything is small and only shows that it works.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::Duration;

/// Sites and what happens to them.
mod fleet;
/// Frames without a terminal.
mod frames;
/// The real loop, in a pseudo-terminal.
mod terminal;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// How many sites.
    sites: [usize; 2],
    /// Frames that are drawn.
    frames: usize,
    /// Keys that are pressed.
    presses: usize,
    /// How long nothing happens.
    idle: Duration,
}

const FULL: Sizes = Sizes {
    sites: [10_000, 100_000],
    frames: 2000,
    presses: 500,
    idle: Duration::from_secs(10),
};
const SMALL: Sizes = Sizes {
    sites: [10, 100],
    frames: 10,
    presses: 3,
    idle: Duration::from_millis(100),
};

/// Changes a second.
const RATE: usize = 2000;
/// Frames a second, as on a machine of one's own; over SSH there are fewer.
const FPS: u32 = 20;
/// Columns and rows.
const SIZE: (u16, u16) = (120, 40);

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [show, sites, rate] = words.as_slice()
        && show == terminal::SHOW
    {
        return terminal::show(sites.parse()?, rate.parse()?);
    }
    let (flags, parts): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.starts_with('-'));
    let sizes = if flags.iter().any(|flag| *flag == "--bench") {
        FULL
    } else {
        SMALL
    };
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|word| *word == part);
    if is_wanted("frames") {
        frames::measure(sizes)?;
    }
    if is_wanted("keys") {
        terminal::keys(sizes)?;
    }
    if is_wanted("idle") {
        terminal::idle(sizes)?;
    }
    Ok(())
}

/// Median and 99th percentile of at least one value.
fn median_and_p99<T: Ord + Copy>(mut values: Vec<T>) -> (T, T) {
    values.sort_unstable();
    let last = values.len() - 1;
    (values[last / 2], values[last * 99 / 100])
}

/// In milliseconds.
fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
