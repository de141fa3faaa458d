use std::io::Write;

use clap::Args;

use super::key::{KeyArgs, refuse_strays};
use super::list::tell_of_list;
use super::printer::Telling;
use super::sending::{AllowArgs, Planned, SendArgs, config_to_send, send, session};
use super::session::Session;
use super::signals::Signals;
use super::status::Status;
use super::{Common, Globals, log};
use crate::config::Config;
use crate::key::PublishableKey;
use crate::rules::plan::{OTHER_ACCOUNT, Plan, begins_otherwise};
use crate::rules::state::SiteState;
use crate::site::SiteId;
use crate::store::Store;
use crate::tui::model::KNOWN_FOR;

/// Flags of `push`.
#[derive(Debug, Args)]
pub(super) struct PushArgs {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    send: SendArgs,
    #[command(flatten)]
    skip: SkipArgs,
    #[command(flatten)]
    allow: AllowArgs,
    /// Also send a key that is as long as none of those that the sites serve: it may not be whole.
    #[arg(long)]
    allow_other_length: bool,
    /// Also go on where the list of sites changed by at least 5 sites and a tenth since the last run.
    #[arg(long)]
    allow_list_change: bool,
}

/// What the operator leaves out of a push.
#[derive(Debug, Clone, Copy, Args)]
struct SkipArgs {
    /// Leave out sites that serve the key already, as far as was seen within the hour: it may be a fallback.
    #[arg(long)]
    skip_equal: bool,
}

/// `push`.
pub(super) async fn run(globals: &Globals, args: PushArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.common.stray)?;
    let mut signals = Signals::listen()?;
    let config = config_to_send(globals, "push", &args.send, &mut signals).await?;
    let named = args.common.selection.by_name(&config.sites)?;
    let key = args.key.read(&mut signals).await?;
    if let Some(odd) = key.odd_length() {
        let _closed = writeln!(std::io::stderr(), "warning: the key has {odd}");
    }
    log::start(&config.log, globals);
    let session = session(&config, globals, args.send.dry_run).await?;
    let planned = match planned(&session, &config, key, named, &args).await {
        Ok(planned) => planned,
        Err(error) => {
            session.close().await;
            return Err(error);
        }
    };
    if let Some(hint) = planned.hint.filter(|_| args.send.yes && !args.send.dry_run) {
        let _closed = writeln!(std::io::stderr(), "warning: {hint}");
    }
    send(
        session,
        planned,
        &args.send,
        Telling::of(args.common.json),
        &mut signals,
    )
    .await
}

async fn planned(
    session: &Session,
    config: &Config,
    key: PublishableKey,
    named: Vec<SiteId>,
    args: &PushArgs,
) -> anyhow::Result<Planned> {
    let selection = args.common.selection.by_state(named, &session.known)?;
    let hint = hint(session, &key).await?;
    let mut plan = plan(session, config, key, selection, args);
    tell_of_list(session, &mut plan, args.allow_list_change).await?;
    Ok(Planned {
        hint,
        plan: Some(plan),
        aside: Vec::new(),
        crew: None,
        stdin_is_taken: args.key.stdin,
        allow_other_length: args.allow_other_length,
    })
}

/// The plan of the push.
fn plan(
    session: &Session,
    config: &Config,
    key: PublishableKey,
    selection: Vec<SiteId>,
    args: &PushArgs,
) -> Plan {
    let unknown = SiteState::default();
    let now = session.clock.now();
    // What was seen long ago is no reason to leave a site out, or to say that somebody changed it.
    let lately = |state: &&SiteState| state.looked_at.is_some_and(|at| now.since(at) < KNOWN_FOR);
    let state = |id: SiteId| {
        Some(&session.known[id.index()])
            .filter(lately)
            .unwrap_or(&unknown)
    };
    let mut plan = Plan::new(key, selection, &session.sites, state, args.allow.into());
    plan.skip_equal(args.skip.skip_equal, state);
    // Who goes first is judged by all that is known: that ranks by age itself.
    let known = |id: SiteId| &session.known[id.index()];
    plan.in_waves(&config.rollout, &session.sites, known, now)
}

/// What is said of a key that may be of another Stripe account.
async fn hint(session: &Session, key: &PublishableKey) -> anyhow::Result<Option<&'static str>> {
    let served = session.known.iter().filter_map(|state| state.now.key());
    if !begins_otherwise(key, served) || session.store.was_served(key).await? {
        return Ok(None);
    }
    Ok(Some(OTHER_ACCOUNT))
}
