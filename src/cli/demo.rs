use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::dead::ask_of_plan;
use super::printer::Telling;
use super::sending::{Planned, carry_out};
use super::session::{Judged, Session, store_at};
use super::signals::Signals;
use super::status::Status;
use super::{Globals, log, screen};
use crate::config::{self, Config, Place};
use crate::demo::asked::AskedFault;
use crate::demo::faults::{FAULTS, Fault};
use crate::demo::{Fleet, FleetOptions, FleetSite};
use crate::engine::Left;
use crate::rules::plan::Plan;
use crate::rules::state::{Allow, SiteState};
use crate::secret::MasterKey;
use crate::text::Count;
use crate::tui::run::Taken;

/// How many sites, if nobody says otherwise.
const SITES: u32 = 24;

/// Flags of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// How many sites.
    #[arg(long, value_name = "N", default_value_t = SITES, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    sites: u32,
    /// The same seed makes the same sites and keys. Default: another one each time.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// With a canary, waves and a halt, as for a real fleet: without it a run goes to all at once and never halts,
    /// since some sites fail by design.
    #[arg(long)]
    rollout: bool,
    /// Push without a screen; ends with 1, since some sites fail by design.
    #[arg(long)]
    headless: bool,
    /// Only serve the sites, and write config.toml, ca.pem, master.key and key.txt into this folder, for the
    /// real commands in a second terminal. SIGUSR2 mends the sick sites. Its Stripe knows the keys of these sites, the
    /// one in key.txt, and any with `Known` in it.
    #[arg(long, value_name = "DIR")]
    serve: Option<PathBuf>,
    /// So many of the sites (3) or so much of them (10%) have this fault, and the rest is well. As often as you like;
    /// docs/faults.md has all names.
    #[arg(long = "fault", value_name = "NAME=SHARE")]
    faults: Vec<AskedFault>,
}

impl DemoArgs {
    /// Those of the demo that a screen opens.
    pub(super) fn of_the_screen() -> Self {
        Self {
            sites: SITES,
            seed: None,
            rollout: false,
            headless: false,
            serve: None,
            faults: Vec::new(),
        }
    }

    /// Whether it opens the screen, where there is a terminal.
    pub(super) fn shows_screen(&self) -> bool {
        !self.headless && self.serve.is_none()
    }
}

/// `demo`.
pub(super) async fn run(globals: &Globals, args: DemoArgs) -> anyhow::Result<Status> {
    if globals.read_only && args.serve.is_none() {
        bail!(
            "--read-only promises that nothing is sent, and `demo` pushes to its own sites: leave out one of the two"
        );
    }
    // Its shops are not worth a line in the log of the real ones.
    if globals.log.is_some() {
        log::start(&Config::empty().log, globals);
    }
    begin(args, None, globals.no_color).await
}

/// The demo; in the place of a screen, if the terminal is taken for one.
pub(super) async fn begin(args: DemoArgs, taken: Option<Taken>, no_color: bool) -> anyhow::Result<Status> {
    let options = FleetOptions {
        sites: args.sites as usize,
        seed: args.seed.unwrap_or_else(|| fastrand::u64(..100_000)),
        faults: args.faults.clone(),
        ..FleetOptions::default()
    };
    let fleet = Fleet::start(options).await.context("starting the demo's sites")?;
    fleet.know_only_its_keys();
    if let Some(folder) = &args.serve {
        return serve(&fleet, folder, args.rollout).await;
    }
    let config = config(&fleet, args.rollout)?;
    let ca_pem = fleet.ca_pem().as_bytes().to_vec();
    // Its runs are nobody's: they go with it, and never into the operator's store.
    let folder = tempfile::Builder::new()
        .prefix("stripe-propagate-demo-")
        .tempdir()?;
    let place = store_at(&folder.path().join("store.db"))?;
    let mut session = Session::open(&config, Some(ca_pem), place, Left::Awaited, Judged::ByNobody).await?;
    session
        .local
        .master_keys
        .set(MasterKey::parse(fleet.master_key().to_owned())?)
        .await?;
    if args.shows_screen() && std::io::stdout().is_terminal() {
        // The sites serve until all is over, also after the screen is left.
        let fleet = Arc::new(fleet);
        let shown = screen::show_demo(session, &config, Arc::clone(&fleet), taken, no_color);
        return Box::pin(shown).await;
    }
    let unknown = SiteState::default();
    let plan = Plan::new(
        fleet.new_key().clone(),
        session.all(),
        &session.sites,
        |_| &unknown,
        Allow::default(),
    );
    let mut plan = plan.in_waves(&config.rollout, &session.sites, |_| &unknown, session.clock.now());
    let mut signals = Signals::listen()?;
    ask_of_plan(&session, &mut plan, false, &mut signals).await?;
    let planned = Planned {
        plan: Some(plan),
        ..Planned::default()
    };
    let status = carry_out(&mut session, planned, true, None, Telling::Plain, &mut signals).await?;
    let record = fleet.record();
    say(&format!(
        "The demo's sites saw {}, {} at once at most.",
        Count(record.connections, "connection"),
        record.most_connections
    ));
    Ok(status)
}

fn config(fleet: &Fleet, rollout: bool) -> anyhow::Result<Config> {
    let place = Place {
        path: Path::new("demo"),
        home: None,
        owner_only: true,
    };
    let text = if rollout {
        fleet.rollout_toml()
    } else {
        fleet.config_toml()
    };
    Ok(config::parse(&text, place)?)
}

async fn serve(fleet: &Fleet, folder: &Path, rollout: bool) -> anyhow::Result<Status> {
    let mut mend = signal(SignalKind::user_defined2())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let _served = claim(folder)?;
    fleet.write_files_with_a_store(folder, rollout)?;
    let in_folder = |name: &str| quoted(&folder.join(name).display().to_string());
    say(&format!(
        "{}\n\n\
         In a second terminal:\n\n  \
         {program} --config {config}\n  \
         {program} --config {config} push --key-file {key} --yes\n\n\
         kill -USR2 {pid} mends the sick sites; ^C ends. The files in {folder} stay, with the store of its \
         runs, until the next `demo --serve` there.",
        oddities(fleet),
        program = quoted(&program()),
        config = in_folder("config.toml"),
        key = in_folder("key.txt"),
        folder = folder.display(),
        pid = std::process::id(),
    ));
    loop {
        tokio::select! {
            _ = mend.recv() => say(&format!("mended {}", Count(fleet.heal(), "site"))),
            _ = interrupt.recv() => return Ok(Status::Good),
            _ = terminate.recv() => return Ok(Status::Good),
        }
    }
}

/// Makes the folder this process's own as long as the file is held: the files of one that serves it must stay.
fn claim(folder: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    let held = File::open(folder).with_context(|| format!("opening {}", folder.display()))?;
    match held.try_lock() {
        Ok(()) => Ok(held),
        Err(TryLockError::WouldBlock) => bail!(
            "another `demo --serve` serves {} already: end that one, or name another folder",
            folder.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking the folder {}", folder.display()))
        }
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// How many sites there are, and a line for each fault: how many have it, the first of them, and what it does.
fn oddities(fleet: &Fleet) -> String {
    let sites = fleet.sites();
    let of_fault = |fault: Fault| -> Vec<&FleetSite> {
        let with_it = sites.iter().filter(|site| site.fault == fault);
        with_it.collect()
    };
    let expired: Vec<&FleetSite> = sites.iter().filter(|site| site.has_expired_key).collect();
    let odd = FAULTS.iter().filter(|row| row.fault != Fault::Healthy);
    let rows = odd.map(|row| (of_fault(row.fault), row.sentence));
    let rows = rows.chain([(expired, "serves a key at first that Stripe has expired")]);
    let rows: Vec<_> = rows.filter(|(sites, _)| !sites.is_empty()).collect();
    let first = |(sites, _): &(Vec<&FleetSite>, &str)| match sites[..] {
        [one] => one.name.clone(),
        [first, ..] => format!("{}, …", first.name),
        [] => String::new(),
    };
    let width = rows
        .iter()
        .map(|row| first(row).chars().count())
        .max()
        .unwrap_or_default();
    let well = of_fault(Fault::Healthy).len();
    let mut told = format!(
        "{} on this machine, {well} of them well.",
        Count(sites.len(), "site")
    );
    if !rows.is_empty() {
        told += " Of the others:\n";
    }
    for row in &rows {
        let (sites, sentence) = row;
        // Writing into a string cannot fail.
        let _written = write!(told, "\n  {:>5}  {:<width$}  {sentence}", sites.len(), first(row));
    }
    told
}

/// This program, as it was called: a build need not be in the PATH.
fn program() -> String {
    std::env::args()
        .next()
        .unwrap_or_else(|| "stripe-propagate".to_owned())
}

fn say(text: &str) {
    // Nobody reads it: the sites serve all the same.
    let _closed = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_read_more_into_it() {
        for (word, said) in [
            ("/tmp/shops/config.toml", "/tmp/shops/config.toml"),
            ("my shops", "'my shops'"),
            ("it's $HOME", "'it'\\''s $HOME'"),
            ("~x", "'~x'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), said);
        }
    }
}
