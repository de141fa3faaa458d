use std::sync::Arc;
use std::time::{Duration, Instant};

use stripe_propagate::engine::{self, Clock, Command, Event};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::rules::plan::Plan;
use stripe_propagate::rules::run::RunPhase;
use stripe_propagate::rules::state::{Allow, SiteState};
use stripe_propagate::rules::status::{Push, Verify};
use stripe_propagate::site::SiteId;
use stripe_propagate::store::memory::MemoryStore;
use stripe_propagate::store::sqlite::SqliteStore;
use stripe_propagate::store::{Operator, Store};

use crate::fleet::{Shops, key, settings};
use crate::{Sizes, Spread, cpu, float, folder};

/// What a push took.
#[derive(Debug, Clone, Copy)]
struct Round {
    sites: usize,
    took: Duration,
    /// Of this process: the fleet is another one.
    cpu: Duration,
}

impl Round {
    fn sites_per_second(&self) -> f64 {
        float(self.sites) / self.took.as_secs_f64()
    }

    fn cpu_ms(&self) -> f64 {
        self.cpu.as_secs_f64() * 1000.0 / float(self.sites)
    }
}

/// Pushes to all sites with either store in turn, and prints how they compare.
pub(crate) async fn compare(sizes: Sizes) -> anyhow::Result<()> {
    let shops = Shops::open(sizes.sites)?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..sizes.rounds {
        let folder = folder()?;
        let sqlite = || SqliteStore::open(&folder.path().join("store.db"), Operator::default());
        let (first, second) = (key(2 * round)?, key(2 * round + 1)?);
        // Who comes first changes too.
        let (one, other) = if round % 2 == 0 {
            let one = push(&shops, sqlite()?, first).await?;
            (one, push(&shops, MemoryStore::default(), second).await?)
        } else {
            let other = push(&shops, MemoryStore::default(), first).await?;
            (push(&shops, sqlite()?, second).await?, other)
        };
        // The first finds cold caches, and no TLS sessions.
        if round > 0 {
            with.push(one);
            without.push(other);
        }
    }
    println!(
        "A push of {} sites over TLS (look, PUT, look; {} at once), {} rounds of each store in turn:\n",
        sizes.sites,
        settings().concurrency,
        with.len()
    );
    println!("| store | sites/s: median | least | most | CPU ms a site: median | least | most |");
    println!("| --- | --: | --: | --: | --: | --: | --: |");
    let memory = show("in memory", &without);
    let sqlite = show("SQLite", &with);
    // Rounds beside each other had the same neighbours on the machine.
    let pairs = with.iter().zip(&without);
    let pairs = Spread::of(pairs.map(|(one, other)| one.sites_per_second() / other.sites_per_second()));
    println!(
        "\nWith SQLite {:.1} % of the sites/s in memory (medians); pair by pair {:.1} % ({:.1} to {:.1}).\n",
        100.0 * sqlite / memory,
        100.0 * pairs.median,
        100.0 * pairs.least,
        100.0 * pairs.most
    );
    Ok(())
}

/// A line of the table; returns the median of its sites per second.
fn show(store: &str, rounds: &[Round]) -> f64 {
    let speed = Spread::of(rounds.iter().map(Round::sites_per_second));
    let cpu = Spread::of(rounds.iter().map(Round::cpu_ms));
    println!(
        "| {store} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
        speed.median, speed.least, speed.most, cpu.median, cpu.least, cpu.most
    );
    speed.median
}

/// One push, from the order until all is proven and on record.
async fn push<Db: Store>(shops: &Shops, store: Db, key: PublishableKey) -> anyhow::Result<Round> {
    let store = Arc::new(store);
    let count = shops.sites.len();
    // Nothing is known of them, so that each gets its look before the PUT.
    let unknown = SiteState::default();
    let ids = (0..count).map(SiteId::at);
    let plan = Plan::new(key, ids, &shops.sites, |_| &unknown, Allow::default());
    let (begin, cpu_before) = (Instant::now(), cpu());
    let (handle, mut events) = engine::start(
        Arc::clone(&shops.sites),
        Vec::new(),
        Arc::clone(&shops.api),
        Arc::clone(&store),
        settings(),
        Clock::start(),
    );
    handle.send(Command::Push(plan));
    let mut proven = 0;
    while let Some(event) = events.recv().await {
        match event {
            Event::Site { state, .. } if state.verify == Verify::Verified => {
                anyhow::ensure!(state.push == Push::Stored, "a site was not pushed");
                proven += 1;
            }
            Event::Message(message) => anyhow::bail!(message.text),
            Event::NotBegun(error) => anyhow::bail!(error),
            Event::Refused(why) => anyhow::bail!(why),
            Event::Run(info) if info.phase == RunPhase::Settled => break,
            Event::Site { .. }
            | Event::Attempt(_)
            | Event::Run(_)
            | Event::Halted(..)
            | Event::Alarm(..)
            | Event::Backend { .. }
            | Event::Acknowledged { .. }
            | Event::Refreshed { .. }
            | Event::Store { .. }
            | Event::ChunkOver(_)
            | Event::KeyRefused(..)
            | Event::Taken => {}
        }
    }
    let round = Round {
        sites: count,
        took: begin.elapsed(),
        cpu: cpu().saturating_sub(cpu_before),
    };
    anyhow::ensure!(proven == count, "{proven} of {count} sites are proven");
    drop((handle, events));
    // A store that closes tidies up its file: not while the other one is measured.
    while Arc::strong_count(&store) > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(store);
    Ok(round)
}
