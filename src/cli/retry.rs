use clap::Args;
use jiff::tz::TimeZone;

use super::key::refuse_strays;
use super::printer::Telling;
use super::sending::{
    AllowArgs, Planned, SendArgs, config_to_send, is_still_right, run_on_record, say, send, session,
};
use super::session::Session;
use super::signals::Signals;
use super::status::Status;
use super::{Common, Globals, log};
use crate::config::Config;
use crate::rules::moment::clock;
use crate::rules::plan::{Again, Plan};
use crate::rules::run::RunId;
use crate::rules::state::SiteState;
use crate::site::SiteId;
use crate::store::{Holder, RunRecord, Store, StoreError};
use crate::text::{Count, some_names};

/// Flags of `retry`.
#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    /// What failed in this run. Default: in the newest.
    #[arg(long, value_name = "NUMBER")]
    run: Option<u64>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    send: SendArgs,
    #[command(flatten)]
    allow: AllowArgs,
    /// Also repeat a run that is older than an hour: its key may have been replaced since.
    #[arg(long)]
    allow_old_run: bool,
}

/// What is to be done about a run.
enum Todo {
    /// This is to be sent, or looked at.
    Send(Box<Planned>),
    /// Nothing; what was said of it, and how the command ends.
    Nothing(Status),
}

/// `retry`.
pub(super) async fn run(globals: &Globals, args: RetryArgs) -> anyhow::Result<Status> {
    refuse_strays(&args.common.stray)?;
    let mut signals = Signals::listen()?;
    let config = config_to_send(globals, "retry", &args.send, &mut signals).await?;
    let named = args.common.selection.by_name(&config.sites)?;
    log::start(&config.log, globals);
    let session = session(&config, globals, args.send.dry_run).await?;
    let todo = match todo(&session, &config, named, &args, &mut signals).await {
        Ok(Todo::Send(planned)) => planned,
        Ok(Todo::Nothing(status)) => {
            session.close().await;
            return Ok(status);
        }
        Err(error) => {
            session.close().await;
            return Err(error);
        }
    };
    send(
        session,
        *todo,
        &args.send,
        Telling::of(args.common.json),
        &mut signals,
    )
    .await
}

async fn todo(
    session: &Session,
    config: &Config,
    named: Vec<SiteId>,
    args: &RetryArgs,
    signals: &mut Signals,
) -> anyhow::Result<Todo> {
    let selection = args.common.selection.by_state(named, &session.known)?;
    let Some(run) = run_on_record(session, args.run).await? else {
        say("no run is on record: there is nothing to retry");
        return Ok(Todo::Nothing(Status::Good));
    };
    let state = |id: SiteId| &session.known[id.index()];
    let again = Again::of(run.id, selection.iter().copied(), state, args.allow.into());
    let looks = again.looks().count();
    if again.puts.is_empty() && looks == 0 {
        say_aside(session, &again);
        if again.held_back() > 0 {
            say("nothing sent");
            return Ok(Todo::Nothing(Status::NothingSent));
        }
        if let Some(holder) = not_heard_of(session, run.id).await? {
            return Err(StoreError::Busy(Box::new(holder)).into());
        }
        say(&nothing_to_retry(&session.known, &run, &selection));
        return Ok(Todo::Nothing(Status::Good));
    }
    if let Some(others) = failed_elsewhere(&session.known, &run, &selection) {
        say(&others);
    }
    if !again.puts.is_empty()
        && !args.send.dry_run
        && !is_still_right(session, &run, args.allow_old_run, args.send.yes, signals).await?
    {
        say("nothing sent");
        return Ok(Todo::Nothing(Status::NothingSent));
    }
    if !args.send.dry_run {
        say_aside(session, &again);
    }
    let allow = args.allow.into();
    let plan = Plan::retry(Some(run.id), &again.puts, &session.sites, state, allow);
    let plan = plan.map(|plan| plan.in_waves(&config.rollout, &session.sites, state, session.clock.now()));
    Ok(Todo::Send(Box::new(Planned {
        plan,
        aside: again.aside,
        ..Planned::default()
    })))
}

/// Whose process works on the run, where that is not heard of: what has failed in it cannot be told yet.
async fn not_heard_of(session: &Session, run: RunId) -> anyhow::Result<Option<Holder>> {
    let live = session.store.live_runs().await?;
    let mut of_run = live.into_iter().filter(|live| live.run.id == run);
    Ok(of_run.find_map(|live| live.holder.free_in.is_some().then_some(live.holder)))
}

/// Who is not sent anything, and why.
fn say_aside(session: &Session, again: &Again) {
    let zone = TimeZone::system();
    let now = session.clock.now();
    let names = |sites: &[SiteId]| {
        let name = |site: &SiteId| session.sites[site.index()].name.as_str();
        some_names(&sites.iter().map(name).collect::<Vec<_>>())
    };
    for line in Again::lines(&again.aside, names, |at| clock(at, now, &zone)) {
        say(&line);
    }
}

/// Why there is nothing to do; and where there would be.
fn nothing_to_retry(known: &[SiteState], run: &RunRecord, selection: &[SiteId]) -> String {
    let text = format!("nothing failed in run {}: there is nothing to retry", run.id.0);
    match failed_elsewhere(known, run, selection) {
        None => text,
        Some(others) => format!("{text}; {others}"),
    }
}

/// What failed in other runs than this one, of which nothing is repeated here.
fn failed_elsewhere(known: &[SiteState], run: &RunRecord, selection: &[SiteId]) -> Option<String> {
    let failed = selection.iter().map(|id| &known[id.index()]);
    let runs = failed
        .filter(|state| state.retry_plan().is_failed())
        .filter_map(|state| state.run);
    let others: Vec<RunId> = runs.filter(|of| *of != run.id).collect();
    let newest = others.iter().max()?;
    Some(format!(
        "{} failed in other runs: `retry --run {}` repeats the newest of them",
        Count(others.len(), "site"),
        newest.0
    ))
}
