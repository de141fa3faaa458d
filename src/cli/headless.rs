use std::collections::HashSet;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use jiff::SignedDuration;

use super::dead::ask_of_plan;
use super::follow::{Followed, Held, follow};
use super::key::{KeyArgs, refuse_strays};
use super::list::ask_of_list;
use super::printer::Telling;
use super::session::{Session, find_config};
use super::signals::{Signals, asked};
use super::status::Status;
use super::watch::watch;
use super::{Common, Globals, log};
use crate::config::{Config, Searched};
use crate::engine::{Attempts, Command, Left};
use crate::key::PublishableKey;
use crate::report::some_names;
use crate::rules::plan::{Confirm, Danger, OTHER_ACCOUNT, Plan, begins_otherwise};
use crate::rules::state::{Allow, SiteState};
use crate::rules::status::SkipReason;
use crate::site::{Site, SiteId};
use crate::store::Store;
use crate::text::Count;
use crate::tui::model::KNOWN_FOR;

/// Flags of `push`.
#[derive(Debug, Args)]
pub(super) struct PushArgs {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    common: Common,
    /// Do not ask; for scripts and cron.
    #[arg(long)]
    yes: bool,
    /// Wait at most so long for proofs, once all is sent and looked at ("90s", "5 min", 0).
    #[arg(long, value_name = "DURATION", value_parser = wait)]
    wait: Option<Duration>,
    #[command(flatten)]
    skip: SkipArgs,
    #[command(flatten)]
    allow: AllowArgs,
    /// Also send a key that is as long as none of those that the sites serve: it may not be whole.
    #[arg(long)]
    allow_other_length: bool,
    /// Also send a key that Stripe does not know or has expired: shops that serve it take no payments.
    #[arg(long)]
    allow_unknown_key: bool,
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

/// What a script says to the questions that a push can raise.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct AllowArgs {
    /// Also replace a key of the other mode (live over test, or test over live).
    #[arg(long)]
    allow_mode_change: bool,
    /// Also send key and master key to what does not answer like a template site.
    #[arg(long)]
    allow_unrecognised: bool,
    /// Also replace a key that someone else has put on a site since it was last looked at from here.
    #[arg(long)]
    allow_changed: bool,
}

impl From<AllowArgs> for Allow {
    fn from(args: AllowArgs) -> Self {
        Self {
            mode_change: args.allow_mode_change,
            unrecognised: args.allow_unrecognised,
            changed: args.allow_changed,
        }
    }
}

/// Flags of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    common: Common,
    /// Ask Stripe anew of each key that the sites serve: what it said is remembered for a day otherwise.
    #[arg(long)]
    ask_stripe_again: bool,
    /// Look again each `[watch] interval`, until a signal ends it: a line for each change and for each look.
    #[arg(long)]
    watch: bool,
}

pub(super) fn wait(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration = text.parse::<SignedDuration>().ok().map(Duration::try_from);
    duration
        .and_then(Result::ok)
        .ok_or_else(|| "a time is written 90s, \"5 min\" or 0".to_owned())
}

/// `push`.
pub(super) async fn push(globals: &Globals, args: PushArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.common.stray)?;
    let config = config_with_sites(globals)?;
    let selection = select(&config.sites, &args.common.sites)?;
    let mut signals = Signals::listen()?;
    let key = args.key.read(&mut signals).await?;
    if let Some(odd) = key.odd_length() {
        let _closed = writeln!(std::io::stderr(), "warning: the key has {odd}");
    }
    log::start(&config.log, globals);
    let mut session = Session::of_config(&config, globals, Left::Alone).await?;
    let hint = hint(&session, &key).await?;
    if let Some(hint) = hint.filter(|_| args.yes) {
        let _closed = writeln!(std::io::stderr(), "warning: {hint}");
    }
    let mut plan = plan(&session, &config, key, selection, &args);
    let asked = async {
        ask_of_list(&session, &mut plan, args.yes, args.allow_list_change).await?;
        ask_of_plan(&session, &mut plan, args.allow_unknown_key, &mut signals).await
    };
    if let Err(error) = asked.await {
        session.close().await;
        return Err(error);
    }
    let is_length = |danger: &&Danger| matches!(danger, Danger::OtherLength { .. });
    if let Some(danger) = plan.dangers.iter().find(is_length)
        && args.yes
        && !args.allow_other_length
    {
        session.close().await;
        bail!(
            "nothing sent: {} (--allow-other-length sends it all the same)",
            danger.sentence()
        );
    }
    let stdin_is_taken = args.key.stdin;
    if !args.yes && !confirmed(&plan, &session.sites, hint, stdin_is_taken, &mut signals).await? {
        let _closed = writeln!(std::io::stderr(), "nothing sent");
        return Ok(Status::NothingSent);
    }
    let needed: Vec<SiteId> = plan.put_sites().collect();
    if needed.is_empty() {
        let _closed = writeln!(std::io::stderr(), "no site is to get the key: nothing is sent");
    }
    let load = session.local.master_keys.load(&needed);
    let loaded = signals.unless_stopped(load).await;
    loaded.context("nothing sent")?;
    let telling = telling(args.common.json);
    let status = carry_out(&mut session, plan, args.yes, args.wait, telling, &mut signals).await;
    session.close().await;
    status
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

/// Gives the plan to the engine and follows it to its end.
pub(super) async fn carry_out(
    session: &mut Session,
    plan: Plan,
    yes: bool,
    wait: Option<Duration>,
    telling: Telling,
    signals: &mut Signals,
) -> anyhow::Result<Status> {
    let followed = Followed {
        selection: plan.rows.iter().map(|row| row.site).collect(),
        states: session.known.clone(),
        key: Some(plan.key.clone()),
        run: None,
        begins: true,
        interrupted: false,
        wait,
        telling,
        held: if yes { Held::GoesOn } else { Held::Asks },
    };
    session.local.handle.send(Command::Push(plan));
    follow(session, followed, signals).await
}

/// `verify`.
pub(super) async fn verify(globals: &Globals, args: VerifyArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.common.stray)?;
    let config = config_with_sites(globals)?;
    let mut selection = select(&config.sites, &args.common.sites)?;
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
    if args.ask_stripe_again {
        session.standings.ask_afresh();
    }
    if args.watch {
        return Box::pin(watch(session, selection, telling(args.common.json), &mut signals)).await;
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

/// The sites of these names, or all, in the order of the list.
pub(super) fn select(sites: &[Site], names: &[String]) -> anyhow::Result<Vec<SiteId>> {
    for name in names {
        if !sites.iter().any(|site| site.name.as_str() == name) {
            bail!("no site is called {name}{}", near(sites, name));
        }
    }
    let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
    let ids = (0..).map(SiteId).zip(sites);
    let chosen = ids.filter(|(_, site)| names.is_empty() || wanted.contains(site.name.as_str()));
    Ok(chosen.map(|(id, _)| id).collect())
}

/// Which names may be meant.
fn near(sites: &[Site], name: &str) -> String {
    let lower = name.to_lowercase();
    let alike = |site: &&Site| {
        let known = site.name.as_str().to_lowercase();
        known.contains(&lower) || lower.contains(&known)
    };
    let names: Vec<&str> = sites
        .iter()
        .filter(alike)
        .take(5)
        .map(|site| site.name.as_str())
        .collect();
    if names.is_empty() {
        return format!(" (the config names {})", Count(sites.len(), "site"));
    }
    format!(" (is it {}?)", crate::text::list(&names, "or"))
}

/// Shows the plan and asks for its phrase.
async fn confirmed(
    plan: &Plan,
    sites: &[Site],
    hint: Option<&str>,
    stdin_is_taken: bool,
    signals: &mut Signals,
) -> anyhow::Result<bool> {
    let ask = match plan.confirm() {
        Confirm::Nothing => return Ok(true),
        Confirm::Yes => "y".to_owned(),
        Confirm::Phrase(phrase) => phrase,
    };
    if stdin_is_taken || !std::io::stdin().is_terminal() {
        bail!("nobody is here to confirm the push: give --yes");
    }
    let mut err = std::io::stderr();
    let puts = plan.put_sites();
    let names: Vec<&str> = puts.map(|site| sites[site.index()].name.as_str()).collect();
    writeln!(
        err,
        "{} ({}) to {} of {}: {}",
        plan.key,
        plan.key.mode().word(),
        names.len(),
        Count(plan.rows.len(), "site"),
        some_names(&names)
    )?;
    for reason in [
        SkipReason::Disabled,
        SkipReason::WrongMode,
        SkipReason::OtherMode,
        SkipReason::Equal,
    ] {
        if plan.skipped(reason) > 0 {
            writeln!(
                err,
                "{} left out: {}",
                Count(plan.skipped(reason), "site"),
                reason.sentence()
            )?;
        }
    }
    if let Some(rollout) = plan.rollout_in_words(|site| sites[site.index()].name.to_string()) {
        writeln!(err, "{rollout}")?;
    }
    if let Some(hint) = hint {
        writeln!(err, "{hint}")?;
    }
    for danger in &plan.dangers {
        writeln!(err, "{}", danger.sentence())?;
    }
    asked(&format!("type {ask} to push: "), &ask, signals).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_duration_or_a_plain_zero() {
        assert_eq!(wait("0"), Ok(Duration::ZERO));
        assert_eq!(wait("0s"), Ok(Duration::ZERO));
        assert_eq!(wait("5 min"), Ok(Duration::from_mins(5)));
        assert!(wait("-5s").is_err());
        assert!(wait("soon").is_err());
    }
}
