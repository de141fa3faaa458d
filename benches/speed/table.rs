use std::time::Duration;

use crate::contenders::{Arena, Who};
use crate::measured::Taken;
use crate::spread::Spread;
use crate::{JOBS, Job};

/// The program's CPU, in times of the floor's.
const FLOOR_AT_MOST: f64 = 1.25;
/// aiohttp's CPU, in times of the program's.
const AIOHTTP_AT_LEAST: f64 = 3.5;
/// In megabytes, with so many sites or more.
const MEMORY_AT_MOST: f64 = 100.0;
const LARGE: usize = 100_000;
/// In milliseconds.
const SCREEN_AT_MOST: f64 = 50.0;
/// Flat: a site costs at most so many times as much in the largest fleet as in the smallest.
const FLAT: f64 = 1.1;

/// All that was measured, and how it compares.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    /// Sites, and how long each start took until the first screen.
    screen: Option<(usize, Vec<Duration>)>,
}

/// What one did with all sites, as often as there were rounds.
struct Row {
    job: Job,
    sites: usize,
    who: Who,
    rounds: Vec<Taken>,
}

impl Spread {
    fn told(self, digits: usize) -> String {
        format!(
            "{:.digits$} | {:.digits$} | {:.digits$}",
            self.median, self.least, self.most
        )
    }
}

/// A count as a float. They stay far below what one holds exactly.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
fn float(count: u64) -> f64 {
    count as f64
}

impl Row {
    fn wall(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|taken| taken.wall.as_secs_f64()))
    }

    /// In seconds a thousand sites.
    fn cpu(&self) -> Spread {
        let thousands = float(self.sites as u64) / 1000.0;
        Spread::of(
            self.rounds
                .iter()
                .map(|taken| taken.cpu.as_secs_f64() / thousands),
        )
    }

    /// In megabytes, the most of all rounds.
    fn memory(&self) -> f64 {
        let most = self.rounds.iter().map(|taken| taken.memory).max();
        float(most.unwrap_or_default()) / 1e6
    }
}

impl Table {
    /// All do the job in turn, so often; or only the floor and the program.
    pub(crate) fn measure(&mut self, job: Job, sites: usize, rounds: usize, all: bool) -> anyhow::Result<()> {
        let mut arena = Arena::open(sites)?;
        let who = [Who::Floor, Who::Program, Who::Aiohttp, Who::Curl].into_iter();
        let takes_part = |who: &Who| who.can(job) && who.is_here() && (all || *who <= Who::Program);
        let mut rows: Vec<Row> = who
            .filter(takes_part)
            .map(|who| Row {
                job,
                sites,
                who,
                rounds: Vec::new(),
            })
            .collect();
        if job == Job::Verify {
            // There must be something to see.
            arena.measure(Who::Floor, Job::Push)?;
        }
        for _ in 0..rounds {
            for row in &mut rows {
                row.rounds.push(arena.measure(row.who, job)?);
            }
        }
        let from = self.rows.len();
        self.rows.extend(rows);
        self.rows[from..].iter().for_each(|row| self.print_row(row));
        Ok(())
    }

    pub(crate) fn screen(&mut self, sites: usize, starts: Vec<Duration>) {
        println!(
            "| start to first screen | {sites} | program | {} | {} | | | | | | |",
            starts.len(),
            Spread::of(starts.iter().map(Duration::as_secs_f64)).told(3)
        );
        self.screen = Some((sites, starts));
    }

    fn row(&self, job: Job, sites: usize, who: Who) -> Option<&Row> {
        let is_it = |row: &&Row| row.job == job && row.sites == sites && row.who == who;
        self.rows.iter().find(is_it)
    }

    /// How many times the CPU of `base` the row of `who` took.
    fn times(&self, job: Job, sites: usize, who: Who, base: Who) -> Option<f64> {
        let (row, base) = (self.row(job, sites, who)?, self.row(job, sites, base)?);
        Some(row.cpu().median / base.cpu().median)
    }

    /// Begins the table: its rows follow as they are measured.
    pub(crate) fn begin() -> Self {
        println!(
            "| what | sites | who | rounds | wall s: median | least | most | sites/s | CPU s per 1,000 sites: median | \
             least | most | peak MB | CPU ratio |"
        );
        println!("| --- | --: | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
        Self::default()
    }

    fn print_row(&self, row: &Row) {
        let base = if row.who == Who::Program {
            Who::Floor
        } else {
            Who::Program
        };
        let times = self.times(row.job, row.sites, row.who, base);
        let ratio = times.filter(|_| row.who != Who::Floor);
        println!(
            "| {} | {} | {} | {} | {} | {:.0} | {} | {:.0} | {} |",
            row.job.word(),
            row.sites,
            row.who.word(),
            row.rounds.len(),
            row.wall().told(2),
            float(row.sites as u64) / row.wall().median,
            row.cpu().told(3),
            row.memory(),
            ratio.map_or_else(String::new, |times| format!("{times:.2} x {}", base.word()))
        );
    }

    /// Each target that was measured, and whether it was met.
    pub(crate) fn print_targets(&self) {
        println!("\n| target | measured | met |\n| --- | --- | --- |");
        let row = |target: &str, measured: String, met: bool| {
            println!("| {target} | {measured} | {} |", if met { "yes" } else { "no" });
        };
        for row_of in self.rows.iter().filter(|row| row.who == Who::Program) {
            let (job, sites) = (row_of.job, row_of.sites);
            let what = format!("{} of {sites} sites", job.word());
            if let Some(times) = self.times(job, sites, Who::Program, Who::Floor) {
                row(
                    &format!("{what}: at most {FLOOR_AT_MOST} times the floor's CPU"),
                    format!("{times:.2}"),
                    times <= FLOOR_AT_MOST,
                );
            }
            if let Some(times) = self.times(job, sites, Who::Aiohttp, Who::Program) {
                row(
                    &format!("{what}: aiohttp takes at least {AIOHTTP_AT_LEAST} times the CPU"),
                    format!("{times:.2}"),
                    times >= AIOHTTP_AT_LEAST,
                );
            }
            if sites >= LARGE {
                let memory = row_of.memory();
                row(
                    &format!("{what}: at most {MEMORY_AT_MOST} MB"),
                    format!("{memory:.0} MB"),
                    memory <= MEMORY_AT_MOST,
                );
            }
        }
        for job in JOBS {
            let sizes = self
                .rows
                .iter()
                .filter(|row| row.who == Who::Program && row.job == job);
            let costs: Vec<f64> = sizes.map(|row| row.cpu().median).collect();
            if let [first, .., last] = costs.as_slice() {
                let told: Vec<String> = costs.iter().map(|cost| format!("{cost:.3}")).collect();
                row(
                    &format!(
                        "{}: CPU s per 1,000 sites flat from the least to the most sites",
                        job.word()
                    ),
                    told.join(", "),
                    *last <= FLAT * first,
                );
            }
        }
        if let Some((sites, starts)) = &self.screen {
            let ms = 1000.0 * Spread::of(starts.iter().map(Duration::as_secs_f64)).median;
            row(
                &format!("first screen with {sites} sites within {SCREEN_AT_MOST} ms"),
                format!("{ms:.0} ms"),
                ms <= SCREEN_AT_MOST,
            );
        }
    }
}
