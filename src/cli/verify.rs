use anyhow::bail;
use clap::Args;

use super::follow::{Followed, Held, follow};
use super::key::{KeyArgs, refuse_strays};
use super::printer::Telling;
use super::sending::{PaceArgs, say};
use super::session::Session;
use super::signals::Signals;
use super::sources::config_with_sites;
use super::status::{Interrupted, Status};
use super::watch::watch;
use super::{Common, Globals, log};
use crate::config::Config;
use crate::engine::{Attempts, Command, Left};
use crate::site::SiteId;
use crate::text::{CleanText, Count};

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
pub(super) async fn run(globals: &Globals, args: VerifyArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.common.stray)?;
    if args.watch && args.key.is_given() {
        bail!("--watch takes no key: what each site should serve is on record");
    }
    if args.watch && args.common.selection.asks_states() {
        bail!(
            "--watch goes on while sites fail and are mended: name them with --site or --group, or watch all"
        );
    }
    let mut signals = Signals::listen()?;
    let mut config = config_with_sites(globals, &mut signals).await?;
    args.pace.apply(&mut config);
    let mut selection = to_look_at(&config, &args)?;
    let key = if args.key.is_given() {
        Some(args.key.read(&mut signals).await?)
    } else {
        None
    };
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
        return Box::pin(watch_on(config, session, globals, &args, &mut signals)).await;
    }
    session.local.send(Command::Look {
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
        telling: Telling::of(args.common.json),
        held: Held::GoesOn,
        best: Status::Good,
    };
    let status = follow(&mut session, followed, &mut signals).await;
    session.close().await;
    status
}

/// The sites that `verify` looks at.
fn to_look_at(config: &Config, args: &VerifyArgs) -> anyhow::Result<Vec<SiteId>> {
    let mut selection = args.common.selection.by_name(&config.sites)?;
    selection.retain(|id| config.sites[id.index()].enabled);
    if selection.is_empty() {
        bail!("all of these sites are disabled in the config: there is nothing to look at");
    }
    Ok(selection)
}

/// Watches until a signal ends it. SIGUSR1 has config and sources read again: where these are wrong by then, it goes on
/// with what there was.
async fn watch_on(
    mut config: Config,
    mut session: Session,
    globals: &Globals,
    args: &VerifyArgs,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    loop {
        let selection = to_look_at(&config, args)?;
        let (telling, sends) = (Telling::of(args.common.json), !globals.read_only);
        let watched = Box::pin(watch(session, selection, telling, sends, signals)).await?;
        if let Some(status) = watched {
            return Ok(status);
        }
        session = match Box::pin(read_again(globals, args, signals)).await {
            Ok((next, opened)) => {
                say(&format!("read again: {}", Count(next.sites.len(), "site")));
                config = next;
                opened
            }
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                let error = CleanText::new(&format!("{error:#}"), 2000);
                say(&format!("warning: the config is as before: {error}"));
                Session::of_config(&config, globals, Left::Alone).await?
            }
        };
    }
}

/// A config that can be watched by, and that is: each file that it names can be read.
async fn read_again(
    globals: &Globals,
    args: &VerifyArgs,
    signals: &mut Signals,
) -> anyhow::Result<(Config, Session)> {
    let mut config = config_with_sites(globals, signals).await?;
    args.pace.apply(&mut config);
    to_look_at(&config, args)?;
    let session = Session::of_config(&config, globals, Left::Alone).await?;
    Ok((config, session))
}
