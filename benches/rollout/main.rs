//! How gentle a run is with sick backends, and what that costs: the engine itself pushes a key to 100,000 sites in
//! virtual time, beside what was before there was any pacing.
//!
//! `cargo bench --bench rollout` prints the tables. Without `--bench` (`cargo test --benches`) everything is small
//! and only shows that it works. Ours is all seeded; tokio still picks at random among what is ready, so the last digits
//! differ between runs.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::sync::Arc;
use std::time::Duration;

use stripe_propagate::engine::{self, Clock, Command, Event, Settings};
use stripe_propagate::rules::outcome::Problem;
use stripe_propagate::rules::plan::Plan;
use stripe_propagate::rules::rollout::{self, Canary, Share, StopAfter};
use stripe_propagate::rules::state::{Allow, SiteState};
use stripe_propagate::rules::status::Verify;
use stripe_propagate::site::{Site, SiteId};
use stripe_propagate::store::memory::MemoryStore;
use tokio::time::Instant;

/// The sites, well and sick, and what they have seen.
mod world;
/// A push without any pacing.
mod plain;
use world::{Backend, Illness, World};

const SITES: usize = 100_000;
/// Enough for one sick backend of the larger ones.
const FEW_SITES: usize = 400;
/// Sites a backend: a small server, and a large one.
const BEHIND: [usize; 2] = [10, 100];

/// A row of the table.
struct Scenario {
    name: &'static str,
    illness: Illness,
    per_backend: usize,
    /// Whether it goes by a canary and waves of 1, 10 and 100 %.
    waves: bool,
}

const fn row(name: &'static str, illness: Illness, per_backend: usize, waves: bool) -> Scenario {
    Scenario {
        name,
        illness,
        per_backend,
        waves,
    }
}

const DOWN: Illness = Illness::Down(Duration::from_mins(10));

const SCENARIOS: [Scenario; 10] = [
    row("all well", Illness::None, 2, false),
    row(
        "one in twenty: 503 above 4 at once",
        Illness::Weak(Problem::Unavailable),
        16,
        false,
    ),
    row(
        "one in twenty: 500 above 4 at once",
        Illness::Weak(Problem::ServerError),
        16,
        false,
    ),
    row("one in twenty: down for 10 min", DOWN, 2, false),
    row(
        "one in twenty: hangs for 5 min",
        Illness::Hangs(Duration::from_mins(5)),
        2,
        false,
    ),
    row("one in twenty: 429, wait 30 s", Illness::AsksToWait, 2, false),
    row(
        "one in twenty: a third of its calls fails",
        Illness::Flaky,
        2,
        false,
    ),
    row("all: 5 % of the calls fail", Illness::Unreliable, 2, false),
    row("all well, in waves", Illness::None, 2, true),
    row("one in twenty: down for 10 min, in waves", DOWN, 2, true),
];

/// What came of a push.
struct Outcome {
    /// Minutes until all that was stored was seen once, and until the end.
    shown: f64,
    ended: f64,
    verified: usize,
}

fn main() -> anyhow::Result<()> {
    let is_bench = std::env::args().any(|word| word == "--bench");
    let sites = if is_bench { SITES } else { FEW_SITES };
    for behind in BEHIND {
        println!("{sites} sites, {behind} a backend:\n");
        println!(
            "| backends | at once | policy | seen, min | settled, min | verified | calls a site | calls a well \
             backend | a sick one: mean | most | most at once | retries | PUTs in vain |"
        );
        println!("| --- | --: | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
        for scenario in SCENARIOS {
            for is_plain in [false, true] {
                if !(is_plain && scenario.waves) {
                    print_row(&scenario, sites, behind, is_plain)?;
                }
            }
        }
        println!();
    }
    Ok(())
}

fn print_row(scenario: &Scenario, sites: usize, behind: usize, is_plain: bool) -> anyhow::Result<()> {
    let world = Arc::new(World::new(sites, behind, scenario.illness)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    fastrand::seed(1);
    let outcome = runtime.block_on(push(scenario, Arc::clone(&world), is_plain))?;
    let seen = world.seen();
    let numbered = || seen.backends.iter().enumerate();
    let sick: Vec<&Backend> = numbered()
        .filter(|(number, _)| world.is_sick(*number))
        .map(|it| it.1)
        .collect();
    let well: Vec<&Backend> = numbered()
        .filter(|(number, _)| !world.is_sick(*number))
        .map(|it| it.1)
        .collect();
    let sum = |of: &[&Backend], count: fn(&Backend) -> usize| {
        of.iter().map(|backend| count(backend)).sum::<usize>()
    };
    let most = |count: fn(&Backend) -> usize| sick.iter().map(|backend| count(backend)).max();
    let (sick_calls, well_calls) = (sum(&sick, |it| it.calls), sum(&well, |it| it.calls));
    let vain = sum(&sick, |it| it.vain_puts) + sum(&well, |it| it.vain_puts);
    let of_sick = |text: String| if sick.is_empty() { String::new() } else { text };
    println!(
        "| {} | {} | {} | {:.1} | {:.1} | {:.2} % | {:.2} | {:.1} | {} | {} | {} | {} | {vain} |",
        scenario.name,
        scenario.per_backend,
        if is_plain { "before" } else { "now" },
        outcome.shown,
        outcome.ended,
        100.0 * ratio(outcome.verified, sites),
        ratio(sick_calls + well_calls, sites),
        ratio(well_calls, well.len()),
        of_sick(format!("{:.1}", ratio(sick_calls, sick.len()))),
        most(|it| it.calls).map_or_else(String::new, |most| most.to_string()),
        most(|it| it.most_at_once).map_or_else(String::new, |most| most.to_string()),
        of_sick(format!(
            "{:.1} %",
            100.0 * ratio(sum(&sick, |it| it.retries), sick_calls)
        )),
    );
    Ok(())
}

/// A push of a new key to all sites of the world, until nothing is left to do.
async fn push(scenario: &Scenario, world: Arc<World>, is_plain: bool) -> anyhow::Result<Outcome> {
    let begin = Instant::now();
    let settings = Settings {
        per_backend: scenario.per_backend,
        ..Settings::default()
    };
    let sites = world.sites()?;
    let verified = if is_plain {
        plain::push(Arc::clone(&world), sites, &settings).await
    } else {
        run(&world, sites, settings, scenario.waves).await?
    };
    let minutes = |until: Instant| until.duration_since(begin).as_secs_f64() / 60.0;
    let shown = world.seen().last_shown.unwrap_or(begin);
    Ok(Outcome {
        shown: minutes(shown),
        ended: minutes(Instant::now()),
        verified,
    })
}

/// A run of the engine. Returns how many sites ended verified.
async fn run(
    world: &Arc<World>,
    sites: Arc<[Site]>,
    settings: Settings,
    waves: bool,
) -> anyhow::Result<usize> {
    let clock = Clock::with_wall(|| jiff::Timestamp::UNIX_EPOCH);
    let (handle, mut events) = engine::start(
        Arc::clone(&sites),
        Vec::new(),
        Arc::clone(world),
        Arc::new(MemoryStore::default()),
        settings,
        clock,
    );
    let unknown = SiteState::default();
    let state = |_: SiteId| &unknown;
    let all = (0..sites.len()).map(SiteId::at);
    let plan = Plan::new(world.new_key().clone(), all, &sites, state, Allow::default());
    let plan = plan.in_waves(&careful(waves), &sites, state, clock.now());
    handle.send(Command::Push(plan));
    drop(handle);
    let mut verified = vec![false; sites.len()];
    while let Some(event) = events.recv().await {
        match event {
            Event::Site { site, state } => verified[site.index()] = state.verify == Verify::Verified,
            Event::Halted(_, why) => anyhow::bail!("the run was halted: {why}"),
            Event::NotBegun(error) => anyhow::bail!("nothing was sent: {error}"),
            Event::Refused(why) => anyhow::bail!("nothing was sent: {why}"),
            _ => {}
        }
    }
    Ok(verified.into_iter().filter(|verified| *verified).count())
}

fn careful(waves: bool) -> rollout::Settings {
    if waves {
        return rollout::Settings {
            waves: [1, 10, 100].map(Share::Percent).to_vec(),
            ..rollout::Settings::default()
        };
    }
    rollout::Settings {
        canary: Canary::Share(Share::Sites(0)),
        stop_after: StopAfter::Never,
        ..rollout::Settings::default()
    }
}

/// Counts stay far below what a float holds exactly.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
fn ratio(count: usize, of: usize) -> f64 {
    count as f64 / of.max(1) as f64
}
