use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::dead::ask_first;
use super::follow::{Followed, Held, follow};
use super::gate::may_push;
use super::headless::{config_with_sites, telling, wait};
use super::session::Session;
use super::signals::{Signals, asked};
use super::sources::{ListArgs, may_send};
use super::status::{Interrupted, Status};
use super::{Globals, log};
use crate::engine::{Command, Left, LeftRun};
use crate::rules::plan::left_out;
use crate::rules::progress::Progress;
use crate::rules::run::RunId;
use crate::rules::state::SiteState;
use crate::site::SiteId;
use crate::store::{RunRecord, Store};
use crate::text::Count;
use crate::tui::dialogs::OLD_RUN;

/// Flags of `resume`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct ResumeArgs {
    /// One JSON object a line: attempts as they happen, results at the end.
    #[arg(long)]
    json: bool,
    /// Do not ask; for scripts and cron.
    #[arg(long)]
    yes: bool,
    /// Also take up a run that is older than an hour: its key may have been replaced since.
    #[arg(long)]
    allow_old_run: bool,
    /// Also send a key that Stripe does not know or has expired: shops that serve it take no payments.
    #[arg(long)]
    allow_unknown_key: bool,
    #[command(flatten)]
    list: ListArgs,
    /// Wait at most so long for proofs, once all is sent and looked at ("90s", "5 min", 0).
    #[arg(long, value_name = "DURATION", value_parser = wait)]
    wait: Option<Duration>,
}

/// `resume`.
pub(super) async fn run(globals: &Globals, args: ResumeArgs) -> anyhow::Result<Status> {
    may_push().await.context("nothing sent")?;
    let config = config_with_sites(globals).await?;
    may_send(&config, args.list)?;
    let mut signals = Signals::listen()?;
    log::start(&config.log, globals);
    let mut worst = Status::Good;
    let mut done: Vec<RunId> = Vec::new();
    loop {
        // A session ends with the run that it follows.
        let mut session = Session::of_config(&config, globals, Left::TakenUp).await?;
        let unfinished = session.store.unfinished_runs().await?;
        // What began first is finished first.
        let next = unfinished.into_iter().rev().find(|run| !done.contains(&run.id));
        let Some(run) = next else {
            if done.is_empty() {
                say(&nothing_to_resume(&session).await?);
            }
            return Ok(worst);
        };
        let ended = match resume(&mut session, &run, &args, &mut signals).await {
            Ok(Some(ended)) => {
                session.close().await;
                ended
            }
            // Nobody has told its engine to end: beside the next one it would look at what settles.
            Ok(None) => {
                session.end().await;
                Status::NothingSent
            }
            Err(error) => {
                session.close().await;
                return Err(error);
            }
        };
        if ended == Status::Interrupted {
            return Ok(ended);
        }
        worst = worst.worse(ended);
        done.push(run.id);
    }
}

async fn nothing_to_resume(session: &Session) -> anyhow::Result<String> {
    let goes_on = session.store.live_runs().await?.into_iter().next();
    Ok(goes_on.map_or_else(
        || "no run was left unfinished: there is nothing to resume".to_owned(),
        |live| {
            format!(
                "run {} of {} goes on (PID {}): there is nothing to resume, and opening the screen attaches to it",
                live.run.id.0, live.holder.by.user, live.holder.by.pid
            )
        },
    ))
}

/// None where nothing of the run was ordered.
async fn resume(
    session: &mut Session,
    run: &RunRecord,
    args: &ResumeArgs,
    signals: &mut Signals,
) -> anyhow::Result<Option<Status>> {
    let known = session.read().await?;
    let all = session.all();
    let of_run = |id: &SiteId| known[id.index()].run == Some(run.id);
    let selection: Vec<SiteId> = all.into_iter().filter(of_run).collect();
    let waits = |id: &SiteId| known[id.index()].is_left_over();
    let left: Vec<SiteId> = selection.iter().copied().filter(waits).collect();
    tell_what_is_left(session, run, &known, &selection).await?;
    if selection.is_empty() {
        return Ok(None);
    }
    let order = Command::Resume(LeftRun {
        id: run.id,
        kind: run.kind,
        key: run.key.clone(),
        began: run.began,
        sites: left.clone(),
    });
    // Before anybody is asked, and again when it goes out.
    session.local.gate.judge(&order).await.context("nothing sent")?;
    if !left.is_empty() {
        let old = session.clock.now().since(run.began) >= OLD_RUN;
        if !may_go_on(run.id, old, args, signals).await? {
            say("nothing sent");
            return Ok(None);
        }
        let key = |id: &SiteId| known[id.index()].planned_key();
        let gets =
            |id: &SiteId| key(id).is_some_and(|key| left_out(&session.sites[id.index()], key).is_none());
        let needed: Vec<SiteId> = left.iter().copied().filter(gets).collect();
        let planned = |id: &SiteId| known[id.index()].planned_key().cloned();
        let keys = needed.iter().filter_map(planned).collect();
        match ask_first(session, &keys, args.allow_unknown_key, signals).await {
            Ok(_) => {}
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                // The younger ones are not to wait for a key of this one.
                say(&format!("run {}: {error:#}", run.id.0));
                return Ok(None);
            }
        }
        let load = session.local.master_keys.load(&needed);
        signals.unless_stopped(load).await.context("nothing sent")?;
    }
    session.local.begin(order).await.context("nothing sent")?;
    let followed = Followed {
        selection,
        states: known,
        key: Some(run.key.clone()),
        run: None,
        begins: true,
        interrupted: false,
        wait: args.wait,
        telling: telling(args.json),
        held: if args.yes { Held::GoesOn } else { Held::Asks },
    };
    follow(session, followed, signals).await.map(Some)
}

/// What of the run is done, and what not; and what of it this config does not know.
async fn tell_what_is_left(
    session: &Session,
    run: &RunRecord,
    known: &[SiteState],
    selection: &[SiteId],
) -> anyhow::Result<()> {
    let states = || selection.iter().map(|id| &known[id.index()]);
    let rows = session.store.run_sites(run.id).await?;
    let foreign = rows
        .iter()
        .filter(|row| row.planned.left_out.is_none())
        .count()
        .saturating_sub(selection.len());
    say(&format!(
        "run {} of {} ({} {}, begun {:.0}) was not finished: {}",
        run.id.0,
        run.by.user,
        run.key.mode().word(),
        run.key,
        run.began.wall,
        Progress::of(states()).words(),
    ));
    if foreign > 0 {
        say(&format!(
            "{} of it are not in this config, or a later run has them: nothing is done of them here",
            Count(foreign, "site")
        ));
    }
    Ok(())
}

/// Whether the rest is to be sent. An old run has a question of its own.
async fn may_go_on(run: RunId, old: bool, args: &ResumeArgs, signals: &mut Signals) -> anyhow::Result<bool> {
    let here = std::io::stdin().is_terminal();
    if old && !args.allow_old_run {
        if args.yes || !here {
            // The younger ones are not to wait for this answer.
            say(&format!(
                "run {} is older than an hour, and its key may have been replaced since: give --allow-old-run if it is \
                 still the right one",
                run.0
            ));
            return Ok(false);
        }
        let question = "it is older than an hour, and its key may have been replaced since. Is it still the right one? type yes: ";
        if !asked(question, "yes", signals).await? {
            return Ok(false);
        }
    }
    if args.yes {
        return Ok(true);
    }
    if !here {
        bail!("nobody is here to say that the run shall go on: give --yes");
    }
    asked("look at the unknown, then push the rest? type y: ", "y", signals).await
}

fn say(text: &str) {
    // Nobody reads it: the run goes on all the same.
    let _closed = writeln!(std::io::stderr(), "{text}");
}
