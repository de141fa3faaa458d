use std::io::IsTerminal;

use anyhow::{Context, bail};
use clap::Args;
use jiff::tz::TimeZone;

use super::dead::{ask_first, tell_of_plan};
use super::follow::{Followed, Held, follow};
use super::printer::Telling;
use super::sending::{SendArgs, config_to_send, is_still_right, say, session, tell_dry, tell_of_crew};
use super::session::Session;
use super::signals::{Signals, asked};
use super::status::{Interrupted, Status};
use super::{Globals, log};
use crate::engine::{Command, Left, LeftRun};
use crate::key::PublishableKey;
use crate::report::ServedKeys;
use crate::report::plan::Told;
use crate::rules::plan::{Plan, left_out};
use crate::rules::progress::Progress;
use crate::rules::run::RunId;
use crate::rules::state::{Allow, SiteState};
use crate::site::SiteId;
use crate::store::{RunRecord, Store, StoreError};
use crate::text::Count;

/// Flags of `resume`.
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// One JSON object a line: attempts as they happen, results at the end.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    send: SendArgs,
    /// Also take up a run that is older than an hour: its key may have been replaced since.
    #[arg(long)]
    allow_old_run: bool,
}

/// `resume`.
pub(super) async fn run(globals: &Globals, args: ResumeArgs) -> anyhow::Result<Status> {
    let mut signals = Signals::listen()?;
    let config = config_to_send(globals, "resume", &args.send, &mut signals).await?;
    log::start(&config.log, globals);
    if args.send.dry_run {
        let session = session(&config, globals, true).await?;
        let told = dry_run(&session, Telling::of(args.json), &mut signals).await;
        session.close().await;
        return told;
    }
    let mut worst: Option<Status> = None;
    let mut done: Vec<RunId> = Vec::new();
    let mut is_left = false;
    loop {
        // A session ends with the run that it follows.
        let mut session = Session::of_config(&config, globals, Left::TakenUp).await?;
        let unfinished = session.store.unfinished_runs().await?;
        // What began first is finished first.
        let next = unfinished.into_iter().rev().find(|run| !done.contains(&run.id));
        let Some(run) = next else {
            if done.is_empty() {
                let why = nothing_to_resume(&session).await;
                session.close().await;
                say(&why?);
            }
            return Ok(match worst {
                // Nothing was sent only where that is so of all of them.
                Some(ended) if is_left => ended.worse(Status::Bad),
                Some(ended) => ended,
                None if is_left => Status::NothingSent,
                None => Status::Good,
            });
        };
        let ended = match resume(&mut session, &run, &args, &mut signals).await {
            Ok(Some(ended)) => {
                session.close().await;
                Some(ended)
            }
            // Nobody has told its engine to end: beside the next one it would look at what settles.
            Ok(None) => {
                session.end().await;
                is_left = true;
                None
            }
            // What was sent before it is no less sent.
            Err(error) if worst.is_some() && !error.is::<Interrupted>() => {
                session.close().await;
                say(&format!("run {}: {error:#}", run.id.0));
                is_left = true;
                None
            }
            Err(error) => {
                session.close().await;
                return Err(error);
            }
        };
        if ended == Some(Status::Interrupted) {
            return Ok(Status::Interrupted);
        }
        worst = ended.map_or(worst, |ended| {
            Some(worst.map_or(ended, |worst| worst.worse(ended)))
        });
        done.push(run.id);
    }
}

/// What would be sent of each run that was not finished.
async fn dry_run(session: &Session, telling: Telling, signals: &mut Signals) -> anyhow::Result<Status> {
    let unfinished = session.store.unfinished_runs().await?;
    if unfinished.is_empty() {
        say(&nothing_to_resume(session).await?);
    }
    let state = |id: SiteId| &session.known[id.index()];
    for run in unfinished.into_iter().rev() {
        let mut of_run = session.all();
        of_run.retain(|id| state(*id).run == Some(run.id));
        tell_what_is_left(session, &run, &session.known, &of_run).await?;
        let left = of_run.into_iter().filter(|id| state(*id).is_left_over());
        let key = |id: SiteId| Some((id, state(id).planned_key()?.clone()));
        let targets: Vec<(SiteId, PublishableKey)> = left.filter_map(key).collect();
        // A site that would be held back is asked about when it is looked at, as in the run itself.
        let allow = Allow {
            mode_change: true,
            ..Allow::default()
        };
        let Some(mut plan) = Plan::retry(Some(run.id), &targets, &session.sites, state, allow) else {
            say("nothing of it is left to send");
            continue;
        };
        tell_of_plan(session, &mut plan, signals).await?;
        let told = Told {
            plan: Some(&plan),
            aside: &[],
            hint: None,
            crew: None,
            resumes: Some(run.id),
            sites: &session.sites,
            states: &session.known,
            now: session.clock.now(),
            zone: &TimeZone::system(),
            served: ServedKeys::default(),
        };
        if tell_dry(&told, telling, signals).await? == Status::Interrupted {
            return Ok(Status::Interrupted);
        }
    }
    Ok(Status::Good)
}

/// Why there is nothing to resume.
///
/// # Errors
/// [`StoreError::Busy`] where a run is not heard of: whether it has left something over cannot be told yet.
async fn nothing_to_resume(session: &Session) -> anyhow::Result<String> {
    let mut live = session.store.live_runs().await?;
    if let Some(unheard) = live.iter().position(|live| live.holder.free_in.is_some()) {
        return Err(StoreError::Busy(Box::new(live.swap_remove(unheard).holder)).into());
    }
    let goes_on = live.into_iter().next();
    Ok(goes_on.map_or_else(
        || "no run was left unfinished: there is nothing to resume".to_owned(),
        |live| {
            let (run, pid) = (live.run.id.0, live.holder.by.pid);
            let goes_on = format!("run {run} of {} goes on", live.holder.who());
            if live.holder.is_elsewhere {
                return format!("{goes_on} (PID {pid} there): there is nothing to resume");
            }
            format!(
                "{goes_on} (PID {pid}): there is nothing to resume, and opening the screen attaches to it"
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
    tell_of_crew(session.crew().await.as_ref());
    // Before anybody is asked, and again when it goes out.
    session.local.gate.judge(&order).await.context("nothing sent")?;
    if !left.is_empty() && !is_ready(session, run, (&known, &left), args, signals).await? {
        return Ok(None);
    }
    session.local.begin(order).await.context("nothing sent")?;
    let followed = Followed {
        selection,
        states: known,
        key: Some(run.key.clone()),
        run: None,
        begins: true,
        interrupted: false,
        wait: args.send.wait,
        telling: Telling::of(args.json),
        held: if args.send.yes { Held::GoesOn } else { Held::Asks },
        best: Status::Good,
    };
    follow(session, followed, signals).await.map(Some)
}

/// Whether what is left may be sent: it was asked, Stripe too, and the master keys are read. What speaks against it was
/// said.
async fn is_ready(
    session: &Session,
    run: &RunRecord,
    (known, left): (&[SiteState], &[SiteId]),
    args: &ResumeArgs,
    signals: &mut Signals,
) -> anyhow::Result<bool> {
    if !may_go_on(session, run, args, signals).await? {
        say("nothing sent");
        return Ok(false);
    }
    let key = |id: &SiteId| known[id.index()].planned_key();
    let gets = |id: &SiteId| key(id).is_some_and(|key| left_out(&session.sites[id.index()], key).is_none());
    let needed: Vec<SiteId> = left.iter().copied().filter(gets).collect();
    let keys = needed.iter().filter_map(key).cloned().collect();
    let allowed = args.send.allow_unknown_key;
    match ask_first(session, &keys, allowed, |_| String::new(), signals).await {
        Ok(_) => {}
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => {
            // The younger ones are not to wait for a key of this one.
            say(&format!("run {}: {error:#}", run.id.0));
            return Ok(false);
        }
    }
    let load = session.local.master_keys.load(&needed);
    signals.unless_stopped(load).await.context("nothing sent")?;
    Ok(true)
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
async fn may_go_on(
    session: &Session,
    run: &RunRecord,
    args: &ResumeArgs,
    signals: &mut Signals,
) -> anyhow::Result<bool> {
    // The younger ones are not to wait for this answer.
    if !is_still_right(session, run, args.allow_old_run, args.send.yes, signals).await? {
        return Ok(false);
    }
    if args.send.yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        bail!("nobody is here to say that the run shall go on: give --yes");
    }
    asked("look at the unknown, then push the rest? type y: ", "y", signals).await
}
