use anyhow::bail;
use clap::Args;

use super::follow::{Followed, Held, follow};
use super::key::{KeyArgs, refuse_strays};
use super::printer::Telling;
use super::sending::PaceArgs;
use super::session::{Session, find_config};
use super::signals::Signals;
use super::status::Status;
use super::watch::watch;
use super::{Common, Globals, log};
use crate::config::{Config, Searched};
use crate::engine::{Attempts, Command, Left};

/// Flags of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    pace: PaceArgs,
    /// Ask Stripe anew of each key that the sites serve: what it said is remembered for a day otherwise.
    #[arg(long)]
    ask_stripe_again: bool,
    /// Look again each `[watch] interval`, until a signal ends it: a line for each change and for each look.
    #[arg(long)]
    watch: bool,
}

/// `verify`.
pub(super) async fn verify(globals: &Globals, args: VerifyArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.common.stray)?;
    let mut config = config_with_sites(globals)?;
    args.pace.apply(&mut config);
    let mut selection = args.common.selection.by_name(&config.sites)?;
    if args.watch && args.key.is_given() {
        bail!("--watch takes no key: what each site should serve is on record");
    }
    let mut signals = Signals::listen()?;
    let key = if args.key.is_given() {
        Some(args.key.read(&mut signals).await?)
    } else {
        None
    };
    selection.retain(|id| config.sites[id.index()].enabled);
    if selection.is_empty() {
        bail!("all of these sites are disabled in the config: there is nothing to look at");
    }
    log::start(&config.log, globals);
    let mut session = Session::of_config(&config, globals, Left::Alone).await?;
    selection = match args.common.selection.by_state(selection, &session.known) {
        Ok(selection) => selection,
        Err(error) => {
            session.close().await;
            return Err(error);
        }
    };
    if args.ask_stripe_again {
        session.standings.ask_afresh();
    }
    if args.watch {
        let sends = !globals.read_only;
        let telling = telling(args.common.json);
        return Box::pin(watch(session, selection, telling, sends, &mut signals)).await;
    }
    session.local.handle.send(Command::Look {
        sites: selection.clone(),
        expected: key.clone(),
        attempts: Attempts::Policy,
        background: false,
    });
    let followed = Followed {
        selection,
        states: session.known.clone(),
        key,
        run: None,
        begins: false,
        interrupted: false,
        wait: None,
        telling: telling(args.common.json),
        held: Held::GoesOn,
        best: Status::Good,
    };
    let status = follow(&mut session, followed, &mut signals).await;
    session.close().await;
    status
}

pub(super) fn telling(json: bool) -> Telling {
    if json { Telling::Json } else { Telling::Plain }
}

pub(super) fn config_with_sites(globals: &Globals) -> anyhow::Result<Config> {
    let config = match find_config(globals)? {
        Ok(config) => config,
        Err(Searched(places)) => {
            let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
            bail!(
                "no config was found; looked for {}. Write one (config.example.toml has all that can stand in \
                 it) or name one with --config; `stripe-propagate demo` needs none",
                places.join(" and ")
            );
        }
    };
    if config.sites.is_empty() {
        bail!(
            "{} lists no sites: add [[sites]] with a url, as config.example.toml shows",
            config.path.display()
        );
    }
    Ok(config)
}
